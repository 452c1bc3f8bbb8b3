// Copies of gemm.cl, each with names of its own: one kernel with its sizes and its epilogue.
//
// A plan's copies are compiled in one program: PoCL 3.1 takes 35 to 60 ms for each program even where all is
// in its cache, and 160 ms and more elsewhere. It is not the program of the plan's generated kernels, whose
// text says more, a learning rate for one: with another the products would be compiled anew. What a
// verification or a measurement wants has a program of its own, which no plan uses: the plan's text would
// else be another one at the next start.
#ifndef GANC_CL_GEMM_COPIES_H
#define GANC_CL_GEMM_COPIES_H

#include "cl/device.h"

enum { COPY_NAME = 32 };
#define GEMM_COPY "_copy_" // what a copy's kernel has, and a number, behind its name in gemm.cl

typedef struct gemm_copy {
    char *head;           // what is before gemm.cl
    char name[COPY_NAME]; // of its kernel: "gemm_nn_copy_3"
    cl_program program;
    bool of_plan; // in the program of one
    struct gemm_copy *next;
} gemm_copy;

typedef struct {
    const gn_device *device;
    char *source;        // gemm.cl
    const char *options; // for the compiler, or NULL
    gemm_copy *first;
} gemm_copies;

// What a copy is to be: its kernel, and what is before gemm.cl, which begins with that kernel's ONLY_*.
typedef struct {
    const char *kernel;
    char *head;
} copy_text;

// Compiles the copies, each once, in one program; for a plan, where no earlier plan has them. False on
// failure.
bool gemm_copies_compile(gemm_copies *copies, const copy_text *texts, int count, bool of_plan);

// The copy: a plan's, which the next start has too; else one compiled by itself, now or before. Valid until
// gemm_copies_free(). NULL on failure.
const gemm_copy *gemm_copies_get(gemm_copies *copies, copy_text text);

// Plans that are compiled from now on have none of theirs in an earlier one's program.
void gemm_copies_forget_plans(gemm_copies *copies);

// Releases all copies, and keeps the source.
void gemm_copies_free(gemm_copies *copies);

#endif
