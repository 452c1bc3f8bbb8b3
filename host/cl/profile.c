// Times of single launches: while a profile is on, the device's queue is one with CL_QUEUE_PROFILING_ENABLE,
// and every launch leaves an event behind. Otherwise a launch costs one comparison more.
//
// Where events lie (peak.c finds that out) each launch is waited for and timed by the clock. What a library
// launched out of our sight is the time between the end of what came before it and a marker behind it.
#include "cl/profile.h"
#include "base/clock.h"
#include "base/error.h"
#include "cl/gemm_copies.h"
#include "cl/kernels.h"

#include <string.h>

struct profile {
    gn_device *device;
    cl_command_queue timed, usual; // the device's queue while timing, and else
    cl_event origin;               // ended when timing began
    profile_time *times;
    cl_event *events; // of each time; NULL by the clock
    int count, capacity;
    int launch, before; // since profile_begin(): its number, and `count` then
    double began;       // seconds; by the clock
    bool clock;
    double gaps_ms;
    cl_int status; // the first failure of a marker
};

profile *profile_new(gn_device *device) {
    profile *p = gn_calloc(1, sizeof *p);
    cl_int status;
    p->device = device;
    p->usual = device->queue;
    p->timed = clCreateCommandQueue(device->context, device->info.id, CL_QUEUE_PROFILING_ENABLE, &status);
    if (status == CL_SUCCESS)
        return p;
    gn_fail("%s: clCreateCommandQueue for profiling: %s", device->info.name, cl_error_name(status));
    free(p);
    return NULL;
}

static void forget(profile *p) {
    for (int i = 0; i < p->count; i++)
        if (p->events[i])
            clReleaseEvent(p->events[i]);
    if (p->origin)
        clReleaseEvent(p->origin);
    p->origin = NULL;
    p->count = 0;
}

void profile_free(profile *p) {
    if (!p)
        return;
    p->device->queue = p->usual;
    p->device->profile = NULL;
    forget(p);
    clReleaseCommandQueue(p->timed);
    free(p->times);
    free(p->events);
    free(p);
}

bool profile_start(profile *p) {
    forget(p);
    if (!gn_device_wait(p->device))
        return false;
    p->device->queue = p->timed;
    p->device->profile = p;
    p->launch = 0;
    p->gaps_ms = 0;
    p->status = p->clock ? CL_SUCCESS : clEnqueueMarkerWithWaitList(p->timed, 0, NULL, &p->origin);
    return p->status == CL_SUCCESS ||
           gn_fail("%s: clEnqueueMarker: %s", p->device->info.name, cl_error_name(p->status));
}

static cl_int event_time(cl_event event, cl_profiling_info what, cl_ulong *ns) {
    return clGetEventProfilingInfo(event, what, sizeof *ns, ns, NULL);
}

bool profile_stop(profile *p) {
    bool done = gn_device_wait(p->device);
    p->device->queue = p->usual;
    p->device->profile = NULL;
    cl_ulong start, end, before = 0;
    cl_int status = p->status;
    if (done && !p->clock && status == CL_SUCCESS)
        status = event_time(p->origin, CL_PROFILING_COMMAND_END, &before);
    for (int i = 0; i < p->count && done && !p->clock && status == CL_SUCCESS; i++, before = end) {
        status = event_time(p->events[i], CL_PROFILING_COMMAND_END, &end);
        start = before;
        if (p->times[i].kernel[0] && status == CL_SUCCESS)
            status = event_time(p->events[i], CL_PROFILING_COMMAND_START, &start);
        p->times[i].ms = 1e-6 * (double)(cl_long)(end - start);
        p->gaps_ms += i > 0 && start > before ? 1e-6 * (double)(start - before) : 0;
    }
    return done && (status == CL_SUCCESS ||
                    gn_fail("%s: profiling: %s", p->device->info.name, cl_error_name(status)));
}

const profile_time *profile_times(const profile *p, int *count) {
    *count = p->count;
    return p->times;
}

double profile_gaps(const profile *p) {
    return p->gaps_ms;
}

void profile_by_clock(profile *p) {
    p->clock = true;
}

bool profile_is_by_clock(const profile *p) {
    return p->clock;
}

gn_device *profile_device(const profile *p) {
    return p->device;
}

// ---- Launches ----------------------------------------------------------------------------------------

// A place for one more time.
static int add_time(profile *p, const char *kernel) {
    if (p->count == p->capacity) {
        p->capacity = p->capacity ? 2 * p->capacity : 64;
        p->times = gn_realloc(p->times, (size_t)p->capacity * sizeof *p->times);
        p->events = gn_realloc(p->events, (size_t)p->capacity * sizeof *p->events);
    }
    p->times[p->count] = (profile_time){.launch = p->launch, .part = p->count - p->before};
    snprintf(p->times[p->count].kernel, PROFILE_NAME, "%s", kernel);
    p->events[p->count] = NULL;
    return p->count++;
}

// Waits for what was launched since `began`, and takes the time.
static double elapsed_ms(const profile *p, double began) {
    gn_device_wait(p->device);
    return 1e3 * (seconds_now() - began);
}

// Takes the time of a launch by the clock, if so; forgets the launch if it failed.
static cl_int settle_time(profile *p, int i, double began, cl_int status) {
    if (status != CL_SUCCESS)
        p->count = i;
    else if (p->clock)
        p->times[i].ms = elapsed_ms(p, began);
    return status;
}

cl_int profile_kernel(gn_device *device, cl_kernel kernel, cl_uint dims, const size_t *global,
                      const size_t *local, const launch_order *order) {
    profile *p = device->profile;
    if (order)
        return clEnqueueNDRangeKernel(device->concurrent, kernel, dims, NULL, global, local, order->count,
                                      order->waits, order->ended);
    if (!p)
        return clEnqueueNDRangeKernel(device->queue, kernel, dims, NULL, global, local, 0, NULL, NULL);
    char name[PROFILE_NAME] = "";
    clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name - 1, name, NULL);
    char *copy = strstr(name, GEMM_COPY);
    if (copy)
        *copy = 0;
    int i = add_time(p, name);
    double began = seconds_now();
    cl_int status = clEnqueueNDRangeKernel(device->queue, kernel, dims, NULL, global, local, 0, NULL,
                                           p->clock ? NULL : &p->events[i]);
    return settle_time(p, i, began, status);
}

cl_int profile_copy(gn_device *device, cl_mem from, cl_mem to, size_t bytes) {
    profile *p = device->profile;
    if (!p)
        return clEnqueueCopyBuffer(device->queue, from, to, 0, 0, bytes, 0, NULL, NULL);
    int i = add_time(p, "clEnqueueCopyBuffer");
    double began = seconds_now();
    cl_int status =
        clEnqueueCopyBuffer(device->queue, from, to, 0, 0, bytes, 0, NULL, p->clock ? NULL : &p->events[i]);
    return settle_time(p, i, began, status);
}

void profile_begin(gn_device *device, int launch) {
    profile *p = device->profile;
    if (!p)
        return;
    p->launch = launch;
    p->before = p->count;
    p->began = seconds_now();
}

void profile_end(gn_device *device) {
    profile *p = device->profile;
    if (!p || p->count > p->before)
        return;
    int i = add_time(p, "");
    if (p->clock)
        p->times[i].ms = elapsed_ms(p, p->began);
    else if (p->status == CL_SUCCESS)
        p->status = clEnqueueMarkerWithWaitList(p->timed, 0, NULL, &p->events[i]);
}
