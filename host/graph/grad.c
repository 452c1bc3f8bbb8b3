// Reverse-mode differentiation that builds nodes.
//
// From the loss backwards through the list of nodes, each node's rule (ops.c) turns the gradient of its
// result into the gradients of its inputs; what reaches a node along several ways is added up. The result is
// part of the graph like everything else, so grad of a grad is nothing special.
#include "graph/graph.h"

// Which nodes up to `last` depend on one of `wrt` by a way that carries a gradient; the caller frees.
static bool *find_dependent(const gn_node *last, gn_node *const *wrt, int count) {
    const gn_graph *graph = last->graph;
    bool *dependent = gn_calloc((size_t)graph->count, sizeof *dependent);
    for (int i = 0; i < count; i++)
        dependent[wrt[i]->id] = true;
    for (int id = 0; id <= last->id; id++) {
        const op_description *op = &op_table[graph->nodes[id]->op];
        for (int i = 0; i < op->inputs && op->gradient; i++)
            dependent[id] |= dependent[graph->nodes[id]->input[i]->id];
    }
    return dependent;
}

void gn_grad(gn_node *loss, gn_node *const *wrt, int count, gn_node **gradients) {
    GN_ASSERT(gn_shape_count(loss->shape) == 1, "the gradient of a loss that is no scalar");
    gn_graph *graph = loss->graph;
    bool *dependent = find_dependent(loss, wrt, count);
    gn_node **adjoint = gn_calloc((size_t)graph->count, sizeof(gn_node *)); // of the nodes before this call
    adjoint[loss->id] = gn_broadcast(gn_constant(graph, 1), loss->shape);

    for (int id = loss->id; id >= 0; id--) {
        gn_node *node = graph->nodes[id];
        const op_description *op = &op_table[node->op];
        if (!adjoint[id] || !dependent[id] || !op->gradient)
            continue;
        gn_node *parts[MAX_INPUTS] = {NULL};
        op->gradient(node, adjoint[id], parts);
        for (int i = 0; i < op->inputs; i++) {
            gn_node **sum = &adjoint[node->input[i]->id];
            if (parts[i] && dependent[node->input[i]->id])
                *sum = *sum ? gn_add(*sum, parts[i]) : parts[i];
        }
    }
    for (int i = 0; i < count; i++) {
        gn_node *gradient = adjoint[wrt[i]->id];
        gradients[i] = gradient ? gradient : gn_broadcast(gn_constant(graph, 0), wrt[i]->shape);
    }
    free(adjoint);
    free(dependent);
}
