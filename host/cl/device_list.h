// OpenCL devices: what there is, and which one is meant.
#ifndef GANC_CL_DEVICE_LIST_H
#define GANC_CL_DEVICE_LIST_H

#include <CL/cl.h>
#include <stdbool.h>

typedef enum { CLASS_CPU, CLASS_GPU } device_class;
const char *device_class_name(device_class class); // "cpu", "gpu"

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

// Gives every device of a list that is in order the selector that means it alone.
void device_list_assign_selectors(device_list *list);

// What a device is. An accelerator is neither: Intel's FPGA emulator bears Intel's id and would be the first
// "GPU". A simulator that claims to be everything at once (Oclgrind) is a CPU.
bool device_is_cpu(const device_info *device);
bool device_is_gpu(const device_info *device);

// PoCL, of any version.
bool device_is_pocl(const device_info *device);

// Who made a GPU: "amd", "nvidia" or "intel"; NULL for anybody else and for whatever is no GPU.
const char *device_vendor(const device_info *device);

// Whether `part` occurs in `text`, in any case.
bool text_contains(const char *text, const char *part);

#endif
