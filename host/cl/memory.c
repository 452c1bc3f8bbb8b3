// Buffers, and the variables of a state on a device: a buffer each, made when the first program needs it.
#include "cl/memory.h"
#include "base/switches.h"
#include "cl/kernels.h"

#include <string.h>
#include <sys/mman.h>

size_t memory_variable_bytes(const gn_variable *variable) {
    return gn_shape_count(variable->shape) * gn_type_size(variable->type);
}

// Bytes of a huge page, and of the least buffer that gets such pages. A loop that walks down a large matrix
// touches more pages of 4 KiB than a core keeps addresses of, and in a virtual machine finding one is slow:
// on a Zen 3 a step took 0.95 of the time.
enum { HUGE_PAGE = 2 << 20, LARGE = 1 << 20 };

static void CL_CALLBACK free_pages(cl_mem buffer, void *pages) {
    (void)buffer;
    free(pages);
}

// A CPU's buffer in memory of ours, for which the system is asked for huge pages. NULL where there is none.
static cl_mem buffer_in_huge_pages(const gn_device *device, size_t bytes, const void *values) {
    size_t all = (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    void *pages = aligned_alloc(HUGE_PAGE, all);
    if (!pages)
        return NULL;
#ifdef MADV_HUGEPAGE
    madvise(pages, all, MADV_HUGEPAGE);
#endif
    if (values)
        memcpy(pages, values, bytes);
    cl_mem buffer =
        clCreateBuffer(device->context, CL_MEM_READ_WRITE | CL_MEM_USE_HOST_PTR, bytes, pages, NULL);
    if (!buffer || clSetMemObjectDestructorCallback(buffer, free_pages, pages) != CL_SUCCESS) {
        if (buffer)
            clReleaseMemObject(buffer);
        free(pages);
        return NULL;
    }
    return buffer;
}

static void release_buffer(void *buffer) {
    clReleaseMemObject(buffer);
}

cl_mem memory_buffer(const gn_device *device, size_t bytes, const char *what, void *values) {
    if (bytes > device->max_allocation) {
        gn_fail("%s needs a buffer of %.1f MiB, %s allows %.1f MiB; " MEMORY_ADVICE, what,
                (double)bytes / (1 << 20), device->info.name, (double)device->max_allocation / (1 << 20));
        return NULL;
    }
    cl_int status;
    cl_mem_flags flags = CL_MEM_READ_WRITE | (values ? CL_MEM_COPY_HOST_PTR : 0);
    cl_mem buffer = bytes >= LARGE && device_is_cpu(&device->info) && !gn_is_off("huge-pages")
                        ? buffer_in_huge_pages(device, bytes, values)
                        : NULL;
    if (buffer)
        return buffer;
    buffer = clCreateBuffer(device->context, flags, bytes, values, &status);
    if (!buffer)
        gn_fail("%s: clCreateBuffer of %zu bytes on %s: %s; " MEMORY_ADVICE, what, bytes, device->info.name,
                cl_error_name(status));
    return buffer;
}

cl_mem memory_of_variable(const gn_device *device, gn_variable *variable) {
    if (variable->buffer)
        return variable->buffer;
    variable->buffer =
        memory_buffer(device, memory_variable_bytes(variable), variable->name, variable->values);
    if (!variable->buffer)
        return NULL;
    variable->release = release_buffer;
    free(variable->values); // the device holds the truth from now on
    variable->values = NULL;
    return variable->buffer;
}

bool gn_state_get(gn_device *device, gn_variable *variable, void *values) {
    if (!variable->buffer) {
        memcpy(values, variable->values, memory_variable_bytes(variable));
        return true;
    }
    cl_int status = clEnqueueReadBuffer(device->queue, variable->buffer, CL_TRUE, 0,
                                        memory_variable_bytes(variable), values, 0, NULL, NULL);
    return status == CL_SUCCESS || gn_fail("reading '%s': clEnqueueReadBuffer on %s: %s", variable->name,
                                           device->info.name, cl_error_name(status));
}

bool gn_state_set(gn_device *device, gn_variable *variable, const void *values) {
    if (!variable->buffer) {
        memcpy(variable->values, values, memory_variable_bytes(variable));
        return true;
    }
    cl_int status = clEnqueueWriteBuffer(device->queue, variable->buffer, CL_TRUE, 0,
                                         memory_variable_bytes(variable), values, 0, NULL, NULL);
    return status == CL_SUCCESS || gn_fail("writing '%s': clEnqueueWriteBuffer on %s: %s", variable->name,
                                           device->info.name, cl_error_name(status));
}
