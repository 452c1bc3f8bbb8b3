// Before the planner's first pass: equal nodes become one.
//
// Two nodes that do the same to the same inputs have the same value, and one is enough (Cocke 1970, "Global
// common subexpression elimination"). WGAN-GP's generator runs twice in the step that updates it, on the same
// noise and with the same weights: only its running statistics move a second time. A random node is a
// function of its stream and the step, so equal ones draw the same numbers. What reads a variable before and
// after an assignment reads two nodes, its versions.
#include "graph/planner.h"

#include <math.h>
#include <string.h>

// To the sign of a zero.
static bool is_same_number(double a, double b) {
    return a == b && !signbit(a) == !signbit(b);
}

static bool is_equal(const gn_node *a, const gn_node *b) {
    return a->op == b->op && a->type == b->type && gn_shape_equal(a->shape, b->shape) &&
           a->input[0] == b->input[0] && a->input[1] == b->input[1] &&
           is_same_number(a->number[0], b->number[0]) && is_same_number(a->number[1], b->number[1]) &&
           !memcmp(a->integer, b->integer, sizeof a->integer) && a->variable == b->variable &&
           a->previous == b->previous && !strcmp(a->stream ? a->stream : "", b->stream ? b->stream : "");
}

gn_node planner_copied_fields(gn_node *const *copies, const gn_node *node) {
    gn_node fields = *node;
    for (int j = 0; j < input_count(node); j++)
        fields.input[j] = copies[node->input[j]->id];
    if (node->previous)
        fields.previous = copies[node->previous->id];
    return fields;
}

gn_graph *planner_merge_equal(const gn_graph *graph) {
    gn_graph *merged = gn_graph_new(graph->state);
    gn_node **copies = gn_calloc((size_t)graph->count, sizeof *copies);
    for (int i = 0; i < graph->count; i++) {
        gn_node fields = planner_copied_fields(copies, graph->nodes[i]);
        for (int j = 0; j < merged->count && !copies[i]; j++)
            if (is_equal(merged->nodes[j], &fields))
                copies[i] = merged->nodes[j];
        if (!copies[i])
            copies[i] = node_new(merged, fields);
    }
    free(copies);
    return merged;
}
