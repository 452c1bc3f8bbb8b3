// OpenCL devices: what there is, which one is meant, and one of them opened.
#ifndef GANC_CL_DEVICE_H
#define GANC_CL_DEVICE_H

#include "ganc.h"

#include <CL/cl.h>

typedef enum { CLASS_CPU, CLASS_GPU } device_class;

// One device as a row of `ganc devices`.
typedef struct {
    cl_platform_id platform;
    cl_device_id id;
    char selector[32]; // what --device would take for it: "cpu:0", "amd:1"
    char name[128];
    char vendor[128];
    char platform_name[128];
    char driver[128];  // CL_DRIVER_VERSION
    char version[128]; // CL_DEVICE_VERSION
    char bus[32];      // PCI address, "0000:03:00.0"; empty where the driver does not tell
    cl_uint vendor_id; // of PCI; PoCL gives a CPU's as well
    cl_device_type type;
    device_class class;
    cl_uint units;
    cl_ulong memory; // bytes
} device_info;

typedef struct {
    device_info *devices;
    int count;
    char **skipped; // one line for each platform or device that cannot be used, and why
    int skipped_count;
} device_list;

// Finds every usable device and settles the list. False, with an error that says what to install, where there
// is no OpenCL platform at all; a list may also be empty, with reasons in `skipped`.
bool device_list_find(device_list *list);
void device_list_free(device_list *list);

// Puts found devices in order, drops each GPU that another platform shows as well (and says so in `skipped`),
// and gives every device its selector. Pure: device_list_find() calls it, and the tests.
void device_list_settle(device_list *list);

// The device that a selector means; NULL for the default: GANC_DEVICE, else the first GPU, else the first
// CPU device. What matches nothing is an error that lists what exists.
const device_info *device_list_choose(const device_list *list, const char *selector);

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
    struct gemm *gemm;
};

#endif
