// disguise.c: an OpenCL layer that makes PoCL's device look like somebody's card, for tests without the card.
//
//     OPENCL_LAYERS=libdisguise.so DISGUISE="vendor=NVIDIA Corporation;id=0x10de;type=gpu" ganc devices
//
// The ICD loader hands every call to a layer first (CL/cl_layer.h). This one changes what the device says of
// itself, and then holds callers to it: what exceeds a limit fails with the code that a driver would give.
// Nothing but PoCL's platform is shown. DISGUISE_2, where it is set, adds a platform that shows the same card
// once more; both hold "key=value;key=value":
//
//     platform, name, vendor, driver, version   texts
//     id, units, type     type is gpu, cpu or accelerator
//     bus                 number of the PCI bus, told by cl_khr_pci_bus_info
//     memory, alloc, local    bytes: all global memory, one buffer, local memory
//     group               work-items of a work-group
//     kernel-group, kernel    the same for kernels alone whose name begins with `kernel`; all without it
//     compiler, available     0 for a device without
//     devices             0 for a platform without
//     platforms           0 where the loader finds none
//     fails               the name of one function, which then fails with CL_OUT_OF_RESOURCES
//
// Limits are enforced as DISGUISE says them.
#include <CL/cl.h>
#include <CL/cl_ext.h>
#include <CL/cl_icd.h>
#include <CL/cl_layer.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PCI_BUS_INFO 0x410F // CL_DEVICE_PCI_BUS_INFO_KHR; not every cl_ext.h has it

static const cl_icd_dispatch *target; // what lies below: the loader
static cl_icd_dispatch layer;         // the same, with the functions here in place of some
static size_t in_use;                 // bytes of all buffers

// The second platform and its device. They begin as every object of OpenCL does.
static struct { const cl_icd_dispatch *dispatch; } second_platform = {&layer}, second_device = {&layer};

// ---- Settings ----------------------------------------------------------------------------------------

enum { TEXT = 256 };

// The value of a key; false where it is not given.
static bool setting(const char *disguise, const char *key, char value[TEXT]) {
    const char *at = getenv(disguise);
    size_t length = strlen(key);
    while (at && *at) {
        size_t end = strcspn(at, ";");
        if (!strncmp(at, key, length) && at[length] == '=') {
            snprintf(value, TEXT, "%.*s", (int)(end - length - 1), at + length + 1);
            return true;
        }
        at += end + (at[end] == ';');
    }
    return false;
}

// A number, or `otherwise` where the key is not given.
static uint64_t number(const char *disguise, const char *key, uint64_t otherwise) {
    char value[TEXT];
    return setting(disguise, key, value) ? strtoull(value, NULL, 0) : otherwise;
}

static bool fails(const char *disguise, const char *function) {
    char value[TEXT];
    return setting(disguise, "fails", value) && !strcmp(value, function);
}

// ---- Objects -----------------------------------------------------------------------------------------

static const char *platform_disguise(cl_platform_id platform) {
    return platform == (cl_platform_id)&second_platform ? "DISGUISE_2" : "DISGUISE";
}

static const char *device_disguise(cl_device_id device) {
    return device == (cl_device_id)&second_device ? "DISGUISE_2" : "DISGUISE";
}

// PoCL's platform, which is behind both; NULL where there is none.
static cl_platform_id real_platform(void) {
    static const char pocl[] = "Portable Computing Language";
    cl_platform_id platforms[16] = {NULL};
    cl_uint count = 0;
    char name[TEXT];
    if (target->clGetPlatformIDs(16, platforms, &count) != CL_SUCCESS)
        return NULL;
    for (cl_uint i = 0; i < count && i < 16; i++)
        if (target->clGetPlatformInfo(platforms[i], CL_PLATFORM_NAME, sizeof name, name, NULL) ==
                CL_SUCCESS &&
            !strcmp(name, pocl))
            return platforms[i];
    return NULL;
}

static cl_device_id real_device(cl_device_id device) {
    cl_device_id first = NULL;
    if (device != (cl_device_id)&second_device)
        return device;
    target->clGetDeviceIDs(real_platform(), CL_DEVICE_TYPE_ALL, 1, &first, NULL);
    return first;
}

// Answers a query for `bytes` at `answer`, as every clGet*Info() does.
static cl_int give(const void *answer, size_t bytes, size_t size, void *value, size_t *size_ret) {
    if (value && size < bytes)
        return CL_INVALID_VALUE;
    if (value)
        memcpy(value, answer, bytes);
    if (size_ret)
        *size_ret = bytes;
    return CL_SUCCESS;
}

// ---- Platforms and devices ---------------------------------------------------------------------------

static cl_int CL_API_CALL get_platform_ids(cl_uint entries, cl_platform_id *platforms, cl_uint *count) {
    cl_platform_id all[] = {real_platform(), (cl_platform_id)&second_platform};
    cl_uint found = getenv("DISGUISE_2") ? 2 : 1;
    if (!all[0] || number("DISGUISE", "platforms", 1) == 0)
        return CL_PLATFORM_NOT_FOUND_KHR;
    if (count)
        *count = found;
    if (platforms)
        memcpy(platforms, all, (entries < found ? entries : found) * sizeof *all);
    return CL_SUCCESS;
}

static cl_int CL_API_CALL get_platform_info(cl_platform_id platform, cl_platform_info what, size_t size,
                                            void *value, size_t *size_ret) {
    char name[TEXT];
    if (fails(platform_disguise(platform), "clGetPlatformInfo"))
        return CL_OUT_OF_RESOURCES;
    if (what == CL_PLATFORM_NAME && setting(platform_disguise(platform), "platform", name))
        return give(name, strlen(name) + 1, size, value, size_ret);
    return target->clGetPlatformInfo(real_platform(), what, size, value, size_ret);
}

static cl_int CL_API_CALL get_device_ids(cl_platform_id platform, cl_device_type type, cl_uint entries,
                                         cl_device_id *devices, cl_uint *count) {
    const char *disguise = platform_disguise(platform);
    if (fails(disguise, "clGetDeviceIDs"))
        return CL_OUT_OF_RESOURCES;
    cl_device_id device = (cl_device_id)&second_device;
    cl_device_type own = 0;
    if (platform != (cl_platform_id)&second_platform)
        target->clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 1, &device, NULL);
    layer.clGetDeviceInfo(device, CL_DEVICE_TYPE, sizeof own, &own, NULL);
    if (number(disguise, "devices", 1) == 0 || !(type & (own | CL_DEVICE_TYPE_DEFAULT)))
        return CL_DEVICE_NOT_FOUND;
    if (count)
        *count = 1;
    if (devices && entries)
        *devices = device;
    return CL_SUCCESS;
}

// What a device says of itself: the key, and the bytes of a number (0 for a text).
static const struct {
    cl_device_info what;
    const char *key;
    size_t bytes;
} answers[] = {
    {CL_DEVICE_NAME, "name", 0},
    {CL_DEVICE_VENDOR, "vendor", 0},
    {CL_DRIVER_VERSION, "driver", 0},
    {CL_DEVICE_VERSION, "version", 0},
    {CL_DEVICE_VENDOR_ID, "id", sizeof(cl_uint)},
    {CL_DEVICE_MAX_COMPUTE_UNITS, "units", sizeof(cl_uint)},
    {CL_DEVICE_GLOBAL_MEM_SIZE, "memory", sizeof(cl_ulong)},
    {CL_DEVICE_MAX_MEM_ALLOC_SIZE, "alloc", sizeof(cl_ulong)},
    {CL_DEVICE_LOCAL_MEM_SIZE, "local", sizeof(cl_ulong)},
    {CL_DEVICE_MAX_WORK_GROUP_SIZE, "group", sizeof(size_t)},
    {CL_DEVICE_COMPILER_AVAILABLE, "compiler", sizeof(cl_bool)},
    {CL_DEVICE_AVAILABLE, "available", sizeof(cl_bool)},
};

static cl_device_type type_of(const char *word) {
    return !strcmp(word, "gpu")   ? CL_DEVICE_TYPE_GPU
           : !strcmp(word, "cpu") ? CL_DEVICE_TYPE_CPU
                                  : CL_DEVICE_TYPE_ACCELERATOR;
}

static cl_int CL_API_CALL get_device_info(cl_device_id device, cl_device_info what, size_t size, void *value,
                                          size_t *size_ret) {
    const char *disguise = device_disguise(device);
    char text[TEXT];
    if (fails(disguise, "clGetDeviceInfo"))
        return CL_OUT_OF_RESOURCES;
    for (size_t i = 0; i < sizeof answers / sizeof *answers; i++) {
        if (answers[i].what != what || !setting(disguise, answers[i].key, text))
            continue;
        cl_ulong wide = strtoull(text, NULL, 0);
        cl_uint narrow = (cl_uint)wide;
        return answers[i].bytes == 0               ? give(text, strlen(text) + 1, size, value, size_ret)
               : answers[i].bytes == sizeof narrow ? give(&narrow, sizeof narrow, size, value, size_ret)
                                                   : give(&wide, sizeof wide, size, value, size_ret);
    }
    if (what == CL_DEVICE_TYPE && setting(disguise, "type", text)) {
        cl_device_type type = type_of(text);
        return give(&type, sizeof type, size, value, size_ret);
    }
    if (what == CL_DEVICE_EXTENSIONS && setting(disguise, "bus", text)) {
        static const char extensions[] = "cl_khr_pci_bus_info";
        return give(extensions, sizeof extensions, size, value, size_ret);
    }
    if (what == PCI_BUS_INFO && setting(disguise, "bus", text)) {
        cl_uint bus[4] = {0, (cl_uint)strtoul(text, NULL, 0), 0, 0}; // domain, bus, device, function
        return give(bus, sizeof bus, size, value, size_ret);
    }
    if (what == CL_DEVICE_PLATFORM && device == (cl_device_id)&second_device) {
        cl_platform_id platform = (cl_platform_id)&second_platform;
        return give(&platform, sizeof platform, size, value, size_ret);
    }
    return target->clGetDeviceInfo(real_device(device), what, size, value, size_ret);
}

// ---- What is made on a device ------------------------------------------------------------------------

static cl_context CL_API_CALL create_context(
    const cl_context_properties *properties, cl_uint count, const cl_device_id *devices,
    void(CL_CALLBACK *notify)(const char *, const void *, size_t, void *), void *user, cl_int *status) {
    cl_context_properties real[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)real_platform(), 0};
    bool refused = count != 1 || fails(device_disguise(devices[0]), "clCreateContext");
    if (refused) {
        if (status)
            *status = CL_OUT_OF_RESOURCES;
        return NULL;
    }
    cl_device_id device = real_device(devices[0]);
    return target->clCreateContext(properties ? real : NULL, 1, &device, notify, user, status);
}

static cl_command_queue CL_API_CALL create_queue(cl_context context, cl_device_id device,
                                                 cl_command_queue_properties properties, cl_int *status) {
    if (fails(device_disguise(device), "clCreateCommandQueue")) {
        if (status)
            *status = CL_OUT_OF_RESOURCES;
        return NULL;
    }
    return target->clCreateCommandQueue(context, real_device(device), properties, status);
}

static cl_int CL_API_CALL build_program(cl_program program, cl_uint count, const cl_device_id *devices,
                                        const char *options, void(CL_CALLBACK *notify)(cl_program, void *),
                                        void *user) {
    if (number("DISGUISE", "compiler", 1) == 0)
        return CL_COMPILER_NOT_AVAILABLE;
    cl_device_id device = count ? real_device(devices[0]) : NULL;
    return target->clBuildProgram(program, count ? 1 : 0, count ? &device : NULL, options, notify, user);
}

static cl_int CL_API_CALL get_program_build_info(cl_program program, cl_device_id device,
                                                 cl_program_build_info what, size_t size, void *value,
                                                 size_t *size_ret) {
    return target->clGetProgramBuildInfo(program, real_device(device), what, size, value, size_ret);
}

static void CL_CALLBACK buffer_is_gone(cl_mem buffer, void *bytes) {
    __atomic_sub_fetch(&in_use, *(size_t *)bytes, __ATOMIC_SEQ_CST);
    free(bytes);
}

static cl_mem CL_API_CALL create_buffer(cl_context context, cl_mem_flags flags, size_t bytes, void *values,
                                        cl_int *status) {
    cl_int refused = bytes > number("DISGUISE", "alloc", SIZE_MAX) ? CL_INVALID_BUFFER_SIZE
                     : in_use + bytes > number("DISGUISE", "memory", SIZE_MAX)
                         ? CL_MEM_OBJECT_ALLOCATION_FAILURE
                         : CL_SUCCESS;
    if (refused != CL_SUCCESS) {
        if (status)
            *status = refused;
        return NULL;
    }
    cl_mem buffer = target->clCreateBuffer(context, flags, bytes, values, status);
    size_t *kept = buffer ? malloc(sizeof *kept) : NULL;
    if (kept) {
        *kept = bytes;
        __atomic_add_fetch(&in_use, bytes, __ATOMIC_SEQ_CST);
        target->clSetMemObjectDestructorCallback(buffer, buffer_is_gone, kept);
    }
    return buffer;
}

// ---- Kernels -----------------------------------------------------------------------------------------

// The most work-items that a group of the kernel may have, if `own` is what the device itself allows.
static size_t group_limit(cl_kernel kernel, size_t own) {
    char prefix[TEXT] = "", name[TEXT] = "";
    size_t limit = (size_t)number("DISGUISE", "group", own);
    setting("DISGUISE", "kernel", prefix);
    target->clGetKernelInfo(kernel, CL_KERNEL_FUNCTION_NAME, sizeof name, name, NULL);
    if (!strncmp(name, prefix, strlen(prefix))) {
        size_t for_kernel = (size_t)number("DISGUISE", "kernel-group", limit);
        limit = for_kernel < limit ? for_kernel : limit;
    }
    return own < limit ? own : limit;
}

static cl_int CL_API_CALL get_kernel_work_group_info(cl_kernel kernel, cl_device_id device,
                                                     cl_kernel_work_group_info what, size_t size, void *value,
                                                     size_t *size_ret) {
    size_t own;
    if (what != CL_KERNEL_WORK_GROUP_SIZE)
        return target->clGetKernelWorkGroupInfo(kernel, real_device(device), what, size, value, size_ret);
    cl_int status =
        target->clGetKernelWorkGroupInfo(kernel, real_device(device), what, sizeof own, &own, NULL);
    own = status == CL_SUCCESS ? group_limit(kernel, own) : 0;
    return status == CL_SUCCESS ? give(&own, sizeof own, size, value, size_ret) : status;
}

static cl_int CL_API_CALL enqueue_kernel(cl_command_queue queue, cl_kernel kernel, cl_uint dims,
                                         const size_t *offset, const size_t *global, const size_t *local,
                                         cl_uint count, const cl_event *wait, cl_event *event) {
    size_t items = 1;
    cl_ulong local_bytes = 0;
    cl_device_id device;
    target->clGetCommandQueueInfo(queue, CL_QUEUE_DEVICE, sizeof device, &device, NULL);
    target->clGetKernelWorkGroupInfo(kernel, device, CL_KERNEL_LOCAL_MEM_SIZE, sizeof local_bytes,
                                     &local_bytes, NULL);
    for (cl_uint i = 0; local && i < dims; i++)
        items *= local[i];
    if (items > group_limit(kernel, SIZE_MAX))
        return CL_INVALID_WORK_GROUP_SIZE;
    if (local_bytes > number("DISGUISE", "local", SIZE_MAX))
        return CL_OUT_OF_RESOURCES;
    return target->clEnqueueNDRangeKernel(queue, kernel, dims, offset, global, local, count, wait, event);
}

// ---- The layer ---------------------------------------------------------------------------------------

CL_API_ENTRY cl_int CL_API_CALL clGetLayerInfo(cl_layer_info what, size_t size, void *value,
                                               size_t *size_ret) {
    static const char name[] = "disguise";
    cl_layer_api_version version = CL_LAYER_API_VERSION_100;
    return what == CL_LAYER_API_VERSION ? give(&version, sizeof version, size, value, size_ret)
           : what == CL_LAYER_NAME      ? give(name, sizeof name, size, value, size_ret)
                                        : CL_INVALID_VALUE;
}

CL_API_ENTRY cl_int CL_API_CALL clInitLayer(cl_uint entries, const cl_icd_dispatch *below,
                                            cl_uint *entries_ret, const cl_icd_dispatch **dispatch) {
    size_t own = sizeof layer / sizeof(void *),
           known = entries < own ? entries : own; // loaders differ in age
    if (known * sizeof(void *) <= offsetof(cl_icd_dispatch, clSetMemObjectDestructorCallback))
        return CL_INVALID_VALUE;
    target = below;
    memcpy(&layer, below, known * sizeof(void *));
    layer.clGetPlatformIDs = get_platform_ids;
    layer.clGetPlatformInfo = get_platform_info;
    layer.clGetDeviceIDs = get_device_ids;
    layer.clGetDeviceInfo = get_device_info;
    layer.clCreateContext = create_context;
    layer.clCreateCommandQueue = create_queue;
    layer.clBuildProgram = build_program;
    layer.clGetProgramBuildInfo = get_program_build_info;
    layer.clCreateBuffer = create_buffer;
    layer.clGetKernelWorkGroupInfo = get_kernel_work_group_info;
    layer.clEnqueueNDRangeKernel = enqueue_kernel;
    *entries_ret = (cl_uint)known;
    *dispatch = &layer;
    return CL_SUCCESS;
}
