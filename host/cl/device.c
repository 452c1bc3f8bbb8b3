// One device opened: its limits, a context with its queues, and the engine of its matrix products.
//
// Which devices there are is left to device_list.c, which of them is meant to device_select.c, kernels to
// kernels.c, matrix products to gemm.c.
#include "cl/device.h"
#include "base/error.h"
#include "base/switches.h"
#include "cl/awake.h"
#include "cl/gemm.h"
#include "cl/generated_kernels.h"
#include "cl/kernels.h"

#include <string.h>
#include <sys/stat.h>

enum { MIN_ALIGNMENT = 64 }; // bytes: a cache line and a float16; some drivers report less, or nothing

static bool choose_class(gn_device *device, const char *name) {
    device->class = device->info.class;
    if (!name) {
        return true;
    }
    if (strcmp(name, "cpu") && strcmp(name, "gpu")) {
        return gn_fail("class \"%s\" is neither cpu nor gpu", name);
    }
    device->class = name[0] == 'c' ? CLASS_CPU : CLASS_GPU;
    return true;
}

static bool choose_kernels(gn_device *device, const char *folder) {
    struct stat is;
    if (!folder) {
        return true;
    }
    if (stat(folder, &is) || !S_ISDIR(is.st_mode)) {
        return gn_fail("%s is no folder; kernels are read from a folder like kernels_cl", folder);
    }
    device->kernels_folder = gn_strdup(folder);
    return true;
}

static bool query(const gn_device *device, cl_device_info what, void *out, size_t size) {
    cl_int status = clGetDeviceInfo(device->info.id, what, size, out, NULL);
    return status == CL_SUCCESS ||
           gn_fail("%s: clGetDeviceInfo: %s", device->info.name, cl_error_name(status));
}

// Of a tensor larger than half of the last cache little is left there when it is read. Storing it past the
// caches saves fetching what it overwrites: dcgan's patches of 128 images or more took 0.4 .. 0.65 of the
// time on a Zen 3 with 32 MiB, the step 0.93 .. 1.0. Some machines show a driver their second cache alone;
// where tensors of 1 MiB that the third would hold went past it, a step took 1.07 of the time. And some show
// the cache of a whole socket, which others use as well: of 480 MiB a Xeon had less than 128 for itself, and
// there a step of dcgan with 1,024 images took 0.98 of the time.
static size_t cached_bytes(device_class class, cl_ulong cache) {
    enum { LEAST = 8 << 20, MOST = 64 << 20 };
    if (class != CLASS_CPU || cache == 0 || gn_is_off("stream")) {
        return SIZE_MAX;
    }
    return cache / 2 < LEAST ? LEAST : cache / 2 > MOST ? MOST : (size_t)(cache / 2);
}

static bool query_limits(gn_device *device) {
    cl_ulong allocation, local, cache;
    cl_uint align_bits;
    if (!query(device, CL_DEVICE_MAX_MEM_ALLOC_SIZE, &allocation, sizeof allocation) ||
        !query(device, CL_DEVICE_LOCAL_MEM_SIZE, &local, sizeof local) ||
        !query(device, CL_DEVICE_GLOBAL_MEM_CACHE_SIZE, &cache, sizeof cache) ||
        !query(device, CL_DEVICE_MEM_BASE_ADDR_ALIGN, &align_bits, sizeof align_bits) ||
        !query(device, CL_DEVICE_MAX_WORK_GROUP_SIZE, &device->max_group, sizeof device->max_group)) {
        return false;
    }
    device->max_allocation = (size_t)allocation;
    device->local_memory = (size_t)local;
    device->cached = cached_bytes(device->class, cache);
    device->alignment = align_bits / 8 > MIN_ALIGNMENT ? align_bits / 8 : MIN_ALIGNMENT;
    return true;
}

static bool create_queue(gn_device *device) {
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)device->info.platform,
                                          0};
    cl_int status;
    device->context = clCreateContext(properties, 1, &device->info.id, NULL, NULL, &status);
    if (status != CL_SUCCESS) {
        return gn_fail("%s: clCreateContext: %s", device->info.name, cl_error_name(status));
    }
    device->queue = clCreateCommandQueue(device->context, device->info.id, 0, &status);
    if (status != CL_SUCCESS) {
        return gn_fail("%s: clCreateCommandQueue: %s", device->info.name, cl_error_name(status));
    }
    return true;
}

// For CPUs, whose cores it keeps busy. An H100's driver (580) takes such a queue and runs a step of wgan 1.16
// times as long in it.
static bool create_concurrent_queue(gn_device *device) {
    cl_command_queue_properties can, wanted = CL_QUEUE_OUT_OF_ORDER_EXEC_MODE_ENABLE;
    if (!query(device, CL_DEVICE_QUEUE_PROPERTIES, &can, sizeof can)) {
        return false;
    }
    if (device->class != CLASS_CPU || !(can & wanted) || !gemm_takes_order(device->gemm) ||
        device->compile_only) {
        return true;
    }
    cl_int status;
    bool cheap;
    device->concurrent = clCreateCommandQueue(device->context, device->info.id, wanted, &status);
    if (status != CL_SUCCESS) {
        return gn_fail("%s: clCreateCommandQueue out of order: %s", device->info.name, cl_error_name(status));
    }
    if (!gemm_order_is_cheap(device->gemm, &cheap)) {
        return false;
    }
    if (!cheap) {
        clReleaseCommandQueue(device->concurrent);
        device->concurrent = NULL;
    }
    return true;
}

static bool prepare(gn_device *device, const gn_device_options *options) {
    device->compile_only = options->compile_only;
    // Of other drivers' threads none is known to wait where it would be seen.
    threads_stay_awake(device_is_pocl(&device->info) && device_is_cpu(&device->info) &&
                       !device->compile_only && !gn_is_off("awake"));
    return choose_class(device, options->device_class) && choose_kernels(device, options->kernels) &&
           query_limits(device) && create_queue(device) && (device->gemm = gemm_new(device, options->gemm)) &&
           create_concurrent_queue(device);
}

gn_device *gn_device_open(const char *selector, const gn_device_options *options) {
    gn_device_options given = options ? *options : (gn_device_options){0};
    device_list list;
    if (!gn_check_switches() || !device_list_find(&list)) {
        return NULL;
    }
    const device_info *chosen = device_list_choose(&list, selector);
    gn_device *device = chosen ? gn_calloc(1, sizeof *device) : NULL;
    if (device) {
        device->info = *chosen;
    }
    device_list_free(&list);
    if (device && !prepare(device, &given)) {
        gn_device_free(device);
        return NULL;
    }
    return device;
}

void gn_device_free(gn_device *device) {
    if (!device) {
        return;
    }
    if (device->queue) {
        clFinish(device->queue);
    }
    gemm_free(device->gemm);
    generated_kernels_forget(device);
    if (device->fixed) {
        clReleaseProgram(device->fixed);
    }
    cl_command_queue queues[] = {device->queue, device->concurrent};
    for (int i = 0; i < 2; i++) {
        if (queues[i]) {
            clReleaseCommandQueue(queues[i]);
        }
    }
    if (device->context) {
        clReleaseContext(device->context);
    }
    free(device->kernels_folder);
    free(device);
}

const char *gn_device_name(const gn_device *device) {
    return device->info.name;
}

// Not by clFinish(), which in Mesa's rusticl 22.3 waits for nothing that was flushed before.
bool gn_device_wait(gn_device *device) {
    cl_event all = NULL;
    cl_int status = clEnqueueMarkerWithWaitList(device->queue, 0, NULL, &all);
    if (status == CL_SUCCESS) {
        status = clWaitForEvents(1, &all);
        clReleaseEvent(all);
    }
    return status == CL_SUCCESS || gn_fail("waiting for %s: %s", device->info.name, cl_error_name(status));
}
