// The generated kernels of a device, each compiled once: plans have many in common, as those of WGAN's two
// steps, of which one does all that the other does.
#ifndef GANC_CL_GENERATED_KERNELS_H
#define GANC_CL_GENERATED_KERNELS_H

#include "cl/codegen.h"

typedef struct generated_kernel {
    char *text; // see codegen.h
    char name[KERNEL_NAME];
    cl_program program;
    struct generated_kernel *next;
} generated_kernel;

// Compiles, in one program, those kernels of the plan that the device does not have. False on failure.
bool generated_kernels_compile(gn_device *device, const plan *plan, const generated_code *code);

// The kernel of that text, which has been compiled for the device; valid until generated_kernels_forget().
const generated_kernel *generated_kernels_get(const gn_device *device, const char *text);

// Programs made from now on have none of theirs from an earlier one's; those that there are keep theirs.
void generated_kernels_forget(gn_device *device);

#endif
