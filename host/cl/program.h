// Programs: what the public face does not show.
#ifndef GANC_CL_PROGRAM_H
#define GANC_CL_PROGRAM_H

#include "cl/device.h"
#include "graph/plan.h"

// gn_program_new() with the planner's switches given.
gn_program *program_new(gn_device *device, gn_graph *graph, plan_options options);

// Has the driver compile the kernels of the graph's matrix products, which programs of this device use from
// then on.
bool program_compile_products(gn_device *device, gn_graph *graph);

// Has the driver compile what it leaves to a kernel's first launch: carries out all launches once, on zeros,
// the last first, while go_on(context). False where it was stopped, or failed.
bool program_compile_kernels(gn_program *program, bool (*go_on)(void *context), void *context);

typedef struct {
    int launches;       // kernels and matrix products of a run
    size_t arena_bytes; // memory for what lives within a run
    size_t live_bytes;  // the most of it that is in use at once
} program_cost;
program_cost program_get_cost(const gn_program *program);

// What a kernel of a run is and needs, for benchmarks.
typedef struct {
    const char *template; // of a generated kernel: the name in its template's file; else NULL
    char *shape;          // what it computes, and its sizes; the program's
    double flops;         // floating-point operations, by the operation table
    double bytes;         // of each buffer that it reads or writes, once
} launch_work;
launch_work program_work(const gn_program *program, int launch, int part); // part: which kernel of the launch

#endif
