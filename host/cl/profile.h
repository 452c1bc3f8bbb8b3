// Times of single launches, for benchmarks.
#ifndef GANC_CL_PROFILE_H
#define GANC_CL_PROFILE_H

#include "cl/device.h"

enum { PROFILE_NAME = 64 };

// What one kernel took.
typedef struct {
    int launch, part;          // of the program: see profile_begin(); which kernel of that launch
    char kernel[PROFILE_NAME]; // its name in its file; empty for what was launched out of our sight, as
                               // CLBlast's are
    double ms;
} profile_time;

typedef struct profile profile;

// Prepares timing on the device. The caller frees; NULL on failure.
profile *profile_new(gn_device *device);
void profile_free(profile *p); // accepts NULL

// Between the two everything launched on the device is timed. stop() waits for it.
bool profile_start(profile *p);
bool profile_stop(profile *p);

// What the last start() .. stop() saw, in order; valid until the next start().
const profile_time *profile_times(const profile *p, int *count);

// Milliseconds that passed between the kernels then, from the first one's start on; 0 by the clock, which
// cannot tell.
double profile_gaps(const profile *p);

// Events are taken unless a driver's disagree with the clock. By the clock every launch is waited for, and
// the wait counts: times are then too long rather than too short.
void profile_by_clock(profile *p);
bool profile_is_by_clock(const profile *p);
gn_device *profile_device(const profile *p);

// ---- For those who launch ----------------------------------------------------------------------------

// Each does what OpenCL's function does, in the in-order queue but where an order is given, and is timed
// where that was asked for: then no order may be.
cl_int profile_kernel(gn_device *device, cl_kernel kernel, cl_uint dims, const size_t *global,
                      const size_t *local, const launch_order *order);
cl_int profile_copy(gn_device *device, cl_mem from, cl_mem to, size_t bytes);

// Around launch number `launch` of a program, which may be several kernels, or none that we see: those are
// then timed as one. They do nothing where no timing was asked for.
void profile_begin(gn_device *device, int launch);
void profile_end(gn_device *device);

#endif
