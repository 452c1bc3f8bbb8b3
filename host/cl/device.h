// A device opened, for everything that runs on one.
#ifndef GANC_CL_DEVICE_H
#define GANC_CL_DEVICE_H

#include "cl/device_list.h"
#include "ganc.h"

// A device opened: one context, one in-order queue.
struct gn_device {
    device_info info;
    device_class class; // of the kernels to use; not always the device's own
    cl_context context;
    cl_command_queue queue;
    char *kernels_folder;  // NULL: the kernels in the binary
    size_t max_allocation; // bytes of one buffer
    size_t alignment;      // bytes, of a sub-buffer's origin
    size_t max_group;      // work-items in a work-group
    size_t local_memory;   // bytes
    size_t arenas;         // bytes that its programs' steps use, beside the variables
    struct gemm *gemm;
    struct profile *profile; // not NULL while launches are timed: see profile.h
};

#endif
