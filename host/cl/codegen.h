// OpenCL C for the fused steps of a plan.
#ifndef GANC_CL_CODEGEN_H
#define GANC_CL_CODEGEN_H

#include "cl/device.h"
#include "graph/plan.h"

// The kernels of a plan's pointwise and sum steps, as one source. Steps with the same text share a kernel.
typedef struct {
    char *source;
    int *kernel_of_step; // by step: its kernel is called fused_N; -1 for other steps
    int kernels;
} generated_code;

// `pointwise` and `reduce` are the texts of pointwise.cl and reduce.cl.
generated_code codegen(const gn_device *device, const plan *plan, const char *pointwise, const char *reduce);
void generated_code_free(generated_code *code);

// The buffers of a fused step's kernel in the order of its parameters, as the nodes whose memory they are:
// first what it reads, then what it writes. At most `MAX_STEP_BUFFERS`.
enum { MAX_STEP_BUFFERS = 128 };
typedef struct {
    gn_node *read[MAX_STEP_BUFFERS], *written[MAX_STEP_BUFFERS];
    int reads, writes;
} step_buffers;
step_buffers codegen_buffers(const plan *plan, const plan_step *step);

// How many elements a work-item of the step takes.
int codegen_vector(const gn_device *device, const plan_step *step);

// Work-items of a work-group that sums on GPU devices.
enum { SUM_COLUMNS = 32, SUM_LANES = 8 };

#endif
