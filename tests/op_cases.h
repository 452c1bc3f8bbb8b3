// One table of cases for every operation: what the suites of derivatives and of devices go through, so that
// an operation cannot exist without being tested.
//
//     for (int i = 0; i < op_case_count; i++)
//         for (int j = 0; j < op_size_count; j++) {
//             gn_state *state = gn_state_new(1);
//             gn_graph *graph = gn_graph_new(state);
//             gn_node *node = op_cases[i].build(graph, op_sizes[j]);
//             gn_variable *result = op_case_output(node);
//             ... run the graph by reference.c, run it on a device, compare what `result` holds
//         }
#ifndef GANC_OP_CASES_H
#define GANC_OP_CASES_H

#include "graph/graph.h"

typedef struct {
    op_kind op;
    const char *name; // "sum rows"; no two cases share one
    // Adds variables to the graph's state, under names that are new there and with values that follow from
    // its seed, and returns a node of the operation that reads them. `n` sets the size, at least 1.
    gn_node *(*build)(gn_graph *graph, int n);
    // Is it differentiable at these values by all of its f32 variables, and equal to what its gradient rule,
    // or its stated zero, says? Then central differences can check it.
    bool smooth;
} op_case;

extern const op_case op_cases[];
extern const int op_case_count;

// Sizes that straddle vectors, tiles and work-groups.
extern const int op_sizes[];
extern const int op_size_count;

// Has the node's value kept in a variable when the graph runs, and returns that variable: for an assignment
// or a record its own, else a new one, f32 or i32; bytes are kept as f32.
gn_variable *op_case_output(gn_node *node);

#endif
