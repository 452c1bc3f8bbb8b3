// A device's peaks, by the kernels of peak.cl: each is run several times and the fastest counts, because
// whatever disturbs a measurement makes it slower.
#include "cl/peak.h"
#include "base/clock.h"
#include "base/error.h"
#include "cl/kernels.h"
#include "cl/memory.h"

#include <string.h>

enum {
    MOST_REPEATS = 8,
    READ_RUN = 64,        // RUN of peak.cl
    GPU_GROUP = 256,      // work-items of a group
    CPU_GROUP = 64,       // the same, some vectors' worth of data
    FMA_MILLISECONDS = 4, // that an arithmetic launch should take, so that starting it does not count
    EMPTY_LAUNCHES = 500,
};
static const double smallest_footprint = 64 << 10, largest_footprint = 256 << 20; // bytes

// What is there while measuring.
typedef struct {
    profile *profile;
    gn_device *device;
    cl_program program; // peak.cl
    cl_mem a, b;        // as large as the largest footprint needs
    int repeats;        // of each launch, if not too long
    int width;          // floats in a vector of the kernels that move memory
    double agreement;   // of long launches, the most: what events say in relation to the clock
} bench;

static bool build(bench *b) {
    char *source = kernels_source(b->device, "peak.cl"),
         *options = gn_format("-DRUN=%d -DVECTOR=float%d", READ_RUN, b->width);
    b->program = source ? kernels_build(b->device, "peak.cl", source, options) : NULL;
    free(options);
    free(source);
    return b->program != NULL;
}

// A kernel with its arguments: one or two buffers, and a number where `size` is not 0. NULL on failure.
static cl_kernel make_kernel(bench *b, const char *name, cl_mem second, const void *number, size_t size) {
    cl_int status;
    cl_kernel kernel = clCreateKernel(b->program, name, &status);
    if (!kernel) {
        gn_fail("clCreateKernel of %s: %s", name, cl_error_name(status));
        return NULL;
    }
    status = clSetKernelArg(kernel, 0, sizeof b->a, &b->a);
    if (second && status == CL_SUCCESS)
        status = clSetKernelArg(kernel, 1, sizeof second, &second);
    if (size && status == CL_SUCCESS)
        status = clSetKernelArg(kernel, 1, size, number);
    if (status == CL_SUCCESS)
        return kernel;
    gn_fail("clSetKernelArg of %s: %s", name, cl_error_name(status));
    clReleaseKernel(kernel);
    return NULL;
}

// The largest power of two that the device and the kernel take, up to `wanted`, and that divides `items`.
static size_t group_of(const bench *b, cl_kernel kernel, size_t wanted, size_t items) {
    size_t limit = 1;
    clGetKernelWorkGroupInfo(kernel, b->device->info.id, CL_KERNEL_WORK_GROUP_SIZE, sizeof limit, &limit,
                             NULL);
    limit = limit < b->device->max_group ? limit : b->device->max_group;
    size_t group = wanted;
    while (group > 1 && (group > limit || items % group))
        group /= 2;
    return group;
}

// Milliseconds of the fastest of `repeats` launches; the first, which may compile, does not count. Negative
// on failure.
static double fastest(bench *b, cl_kernel kernel, size_t items, size_t group, int repeats) {
    double best = -1;
    for (int i = 0; i <= repeats; i++) {
        int count;
        if (!profile_start(b->profile))
            return -1;
        double began = seconds_now();
        cl_int status = profile_kernel(b->device, kernel, 1, &items, &group, NULL);
        if (!profile_stop(b->profile))
            return -1;
        double passed = 1e3 * (seconds_now() - began);
        if (status != CL_SUCCESS) {
            gn_fail("peak.cl on %s: %s", b->device->info.name, cl_error_name(status));
            return -1;
        }
        double ms = profile_times(b->profile, &count)[0].ms;
        if (i > 0 && (best < 0 || ms < best))
            best = ms;
        if (i > 0 && ms > 1 && ms / passed > b->agreement)
            b->agreement = ms / passed;
    }
    return best;
}

// ---- Launches ----------------------------------------------------------------------------------------

static bool measure_launches(bench *b, device_peaks *peaks) {
    size_t one = 1;
    cl_kernel kernel = make_kernel(b, "peak_empty", NULL, NULL, 0);
    if (!kernel)
        return false;
    cl_int status = CL_SUCCESS;
    double times[2] = {0}; // waiting for each, and for all together
    for (int i = 0; i < 2 * b->repeats && status == CL_SUCCESS; i++) {
        int launches = i % 2 ? EMPTY_LAUNCHES : 1;
        double began = seconds_now();
        for (int j = 0; j < launches && status == CL_SUCCESS; j++)
            status = profile_kernel(b->device, kernel, 1, &one, &one, NULL);
        gn_device_wait(b->device);
        double us = 1e6 * (seconds_now() - began) / launches, *best = &times[i % 2];
        *best = i < 2 || us < *best ? us : *best;
    }
    clReleaseKernel(kernel);
    peaks->wait_us = times[0];
    peaks->launch_us = times[1];
    return status == CL_SUCCESS ||
           gn_fail("peak_empty on %s: %s", b->device->info.name, cl_error_name(status));
}

// ---- Arithmetic --------------------------------------------------------------------------------------

static double time_fma(bench *b, const char *name, size_t items, cl_uint steps, int repeats) {
    cl_kernel kernel = make_kernel(b, name, NULL, &steps, sizeof steps);
    if (!kernel)
        return -1;
    size_t group = group_of(b, kernel, b->device->class == CLASS_CPU ? 1 : GPU_GROUP, items);
    double ms = fastest(b, kernel, items, group, repeats);
    clReleaseKernel(kernel);
    return ms;
}

// One of the kernels peak_fma_.
static bool measure_shape(bench *b, const char *name, int width, int chains, device_peaks *peaks) {
    size_t items = (size_t)b->device->info.units * (b->device->class == CLASS_CPU ? 8 : 16 * GPU_GROUP);
    double ms = 0;
    cl_uint steps = 64;
    while (ms >= 0 && ms < 1 && steps < 1u << 28)
        ms = time_fma(b, name, items, steps *= 4, 1);
    if (ms > 0) {
        steps = (cl_uint)(steps * FMA_MILLISECONDS / ms) + 1;
        ms = time_fma(b, name, items, steps, b->repeats);
    }
    if (ms <= 0)
        return ms == 0; // events that show nothing
    double gflops = 2e-6 * width * chains * (double)steps * (double)items / ms;
    if (gflops > peaks->gflops) {
        peaks->gflops = gflops;
        snprintf(peaks->shape, sizeof peaks->shape, "float%d, %d chains", width, chains);
    }
    return true;
}

static bool measure_shapes(bench *b, device_peaks *peaks) {
    char names[2048];
    cl_int status = clGetProgramInfo(b->program, CL_PROGRAM_KERNEL_NAMES, sizeof names, names, NULL);
    if (status != CL_SUCCESS)
        return gn_fail("clGetProgramInfo of peak.cl: %s", cl_error_name(status));
    for (char *rest = NULL, *name = strtok_r(names, ";", &rest); name; name = strtok_r(NULL, ";", &rest)) {
        int width, chains;
        if (sscanf(name, "peak_fma_%dx%d", &width, &chains) == 2 &&
            !measure_shape(b, name, width, chains, peaks))
            return false;
    }
    return true;
}

// Each launch is long and alone. So its event and the clock say nearly the same at least once, however busy
// the machine is; where they never do, the events lie.
static bool measure_arithmetic(bench *b, device_peaks *peaks) {
    if (!measure_shapes(b, peaks))
        return false;
    if (b->agreement > 0.8 && b->agreement < 1.1)
        return true;
    profile_by_clock(b->profile);
    peaks->gflops = 0;
    return measure_shapes(b, peaks);
}

// ---- Memory ------------------------------------------------------------------------------------------

// One kernel over `bytes`: the vectors that it reads and writes. Raises the figure of the footprint.
static bool measure_kernel(bench *b, const char *name, double bytes, double *gbs) {
    bool cpu = b->device->class == CLASS_CPU, read = !strcmp(name, "peak_read"),
         copy = !strcmp(name, "peak_copy");
    size_t items = (size_t)bytes / sizeof(cl_float) / (size_t)b->width / (read ? READ_RUN : copy ? 2 : 1);
    const float value = 1;
    cl_kernel kernel =
        read || copy ? make_kernel(b, name, b->b, NULL, 0) : make_kernel(b, name, NULL, &value, sizeof value);
    if (!kernel)
        return false;
    size_t group = group_of(b, kernel, !cpu ? GPU_GROUP : read ? 1 : CPU_GROUP, items);
    int repeats = bytes > 1 << 24 && b->repeats > 2 ? 2 : b->repeats;
    double ms = fastest(b, kernel, items, group, repeats);
    clReleaseKernel(kernel);
    if (ms > 0 && 1e-6 * bytes / ms > *gbs)
        *gbs = 1e-6 * bytes / ms;
    return ms >= 0;
}

// Memory that nobody wrote to may be one page of zeros, whatever its size.
static bool fill(bench *b, size_t bytes) {
    const cl_float one = 1;
    cl_int status = clEnqueueFillBuffer(b->device->queue, b->b, &one, sizeof one, 0, bytes, 0, NULL, NULL);
    return status == CL_SUCCESS || gn_fail("clEnqueueFillBuffer: %s", cl_error_name(status));
}

static bool measure_memory(bench *b, device_peaks *peaks) {
    double largest = largest_footprint;
    while (largest > smallest_footprint &&
           (largest > (double)b->device->max_allocation || largest > (double)b->device->info.memory / 4))
        largest /= 2;
    clReleaseMemObject(b->a);
    b->a = memory_buffer(b->device, (size_t)largest, "measuring memory", NULL);
    b->b = b->a ? memory_buffer(b->device, (size_t)largest, "measuring memory", NULL) : NULL;
    if (!b->b || !fill(b, (size_t)largest))
        return false;
    for (double bytes = smallest_footprint; bytes <= largest && peaks->footprints < MAX_FOOTPRINTS;
         bytes *= 2) {
        int i = peaks->footprints++;
        peaks->bytes[i] = bytes;
        if (!measure_kernel(b, "peak_copy", bytes, &peaks->gbs[i]) ||
            !measure_kernel(b, "peak_write", bytes, &peaks->gbs[i]) ||
            !measure_kernel(b, "peak_read", bytes, &peaks->gbs[i]))
            return false;
    }
    return true;
}

// ---- All of it ---------------------------------------------------------------------------------------

static bool measure(profile *p, int rounds, device_peaks *peaks, bool arithmetic_alone) {
    *peaks = (device_peaks){.gflops = 0};
    bench b = {.profile = p, .device = profile_device(p)};
    b.repeats = rounds < MOST_REPEATS ? rounds : MOST_REPEATS;
    b.width = b.device->class == CLASS_CPU ? 16 : 4;
    size_t results = (size_t)b.device->info.units * 16 * GPU_GROUP * sizeof(cl_float16);
    bool done = build(&b) && (b.a = memory_buffer(b.device, results, "measuring arithmetic", NULL)) &&
                (arithmetic_alone || measure_launches(&b, peaks)) && measure_arithmetic(&b, peaks) &&
                (arithmetic_alone || measure_memory(&b, peaks));
    if (b.program)
        clReleaseProgram(b.program);
    if (b.a)
        clReleaseMemObject(b.a);
    if (b.b)
        clReleaseMemObject(b.b);
    return done;
}

bool peak_measure(profile *p, int rounds, device_peaks *peaks) {
    return measure(p, rounds, peaks, false);
}

bool peak_measure_arithmetic(profile *p, int rounds, device_peaks *peaks) {
    return measure(p, rounds, peaks, true);
}

double peak_gbs(const device_peaks *peaks, double bytes) {
    double best = 0;
    for (int i = 0; i < peaks->footprints; i++)
        if ((peaks->bytes[i] >= bytes || i == peaks->footprints - 1) && peaks->gbs[i] > best)
            best = peaks->gbs[i];
    return best;
}

void peak_reached(device_peaks *peaks, double gflops, double gbs, double bytes) {
    if (gflops > peaks->gflops)
        peaks->gflops = gflops;
    int i = 0;
    while (i < peaks->footprints - 1 && peaks->bytes[i] < bytes)
        i++;
    if (gbs > peak_gbs(peaks, bytes))
        peaks->gbs[i] = gbs;
}
