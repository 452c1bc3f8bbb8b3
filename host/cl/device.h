// A device opened, for everything that runs on one.
#ifndef GANC_CL_DEVICE_H
#define GANC_CL_DEVICE_H

#include "cl/device_list.h"
#include "ganc.h"

// A device opened: a context with an in-order queue, in which everything is enqueued but the launches of
// programs that run several at a time. Those go to the other queue, where events alone say what waits for
// what; a barrier in the first makes all else wait for the end of such a run.
struct gn_device {
    device_info info;
    device_class class; // of the kernels to use; not always the device's own
    cl_context context;
    cl_command_queue queue;
    // Out of order. NULL with kernels for a GPU, where that cannot be had, where products take no events,
    // where it is slow, or where nothing is computed.
    cl_command_queue concurrent;
    char *kernels_folder;  // NULL: the kernels in the binary
    bool compile_only;     // nothing that it computes is used
    size_t max_allocation; // bytes of one buffer
    size_t alignment;      // bytes, of a sub-buffer's origin
    size_t max_group;      // work-items in a work-group
    size_t local_memory;   // bytes
    size_t cached; // bytes of a tensor up to which it is stored through the caches, and above past them
    size_t arenas; // bytes that its programs' steps use, beside the variables
    struct gemm *gemm;
    cl_program fixed; // kernels that programs share; NULL until the first one needs some: see program.c
    struct generated_kernel *generated; // those written for its programs' plans, the last first
    struct profile *profile;            // not NULL while launches are timed: see profile.h
};

// What a launch in the concurrent queue waits for, and where the event goes that says that it has ended. A
// launch without it goes to the in-order queue.
typedef struct {
    const cl_event *waits;
    cl_uint count; // at least one
    cl_event *ended;
} launch_order;

#endif
