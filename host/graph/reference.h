// Every operation once more, naively, in double: the oracle of the tests. Needs no OpenCL.
#ifndef GANC_REFERENCE_H
#define GANC_REFERENCE_H

#include "graph/graph.h"

typedef struct reference reference;

// An evaluator of a graph as it is now, starting from its variables' values on the host. The graph must live
// as long.
reference *reference_new(const gn_graph *graph);
void reference_free(reference *reference);

// Computes every node, from the variables' present values; then the assignments take effect.
void reference_run(reference *reference);

// A node's elements after the last run; a variable's, which may be changed before the next.
const double *reference_node(const reference *reference, const gn_node *node);
double *reference_variable(reference *reference, const gn_variable *variable);

// One operation: `out` gets the node's elements from those of its inputs. OP_VARIABLE and OP_RECORD also take
// `previous`: what the variable holds.
void reference_evaluate(const gn_node *node, const double *const inputs[MAX_INPUTS], const double *previous,
                        double *out);

#endif
