// OpenCL C for the fused steps of a plan.
#ifndef GANC_CL_CODEGEN_H
#define GANC_CL_CODEGEN_H

#include "cl/device.h"
#include "graph/plan.h"

// The text of a plan's kernels that are written for their sizes (pointwise, sums, columns, patches).
typedef struct {
    char *head;       // what their program begins with
    char **kernels;   // by step: its kernel, all but the name; NULL for other steps
    char **epilogues; // by step: a product's epilogue, see gemm.h; NULL for other steps
    int steps;
} generated_code;

// The texts of the kernel files.
typedef struct {
    char *operations, *pointwise, *reduce, *columns, *conv;
} code_templates;

generated_code codegen(const gn_device *device, const plan *plan, const code_templates *templates);
void generated_code_free(generated_code *code);

// What a step's kernel is called, which has that number in its program: "fused_3", "im2col_4".
enum { KERNEL_NAME = 32 };
const char *codegen_name(const plan_step *step, int number, char name[KERNEL_NAME]);

enum { GPU_GROUP = 256 }; // the most work-items that a group of a generated kernel has, on GPUs

// The buffers of a fused step's kernel in the order of its parameters, as the nodes whose memory they are:
// first what it reads, then what it writes; for a product's those of the epilogue. At most
// `MAX_STEP_BUFFERS`.
enum { MAX_STEP_BUFFERS = 128 };
typedef struct {
    gn_node *read[MAX_STEP_BUFFERS], *written[MAX_STEP_BUFFERS];
    int reads, writes;
} step_buffers;
step_buffers codegen_buffers(const plan *plan, const plan_step *step);

// How many elements a work-item of the step takes.
int codegen_vector(const gn_device *device, const plan_step *step);

// Of a step that sums: how many vectors side by side a work-item takes, see reduce.cl.
int codegen_side(const gn_device *device, const plan_step *step);

#endif
