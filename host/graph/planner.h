// What the passes of the planner share, see plan.c.
#ifndef GANC_PLANNER_H
#define GANC_PLANNER_H

#include "graph/plan.h"

// What must run before what, besides a node's inputs.
typedef struct {
    gn_node *before, *after;
    int next; // the next edge to the same `after`, -1 at the end
} order_edge;

// A sum over rows that the plan makes.
typedef struct {
    const gn_node *terms; // in the graph that is copied, behind views
    int columns;          // of those rows
    gn_node *sum;         // in the copy
} sum_of_rows;

// A plan while it is put together. What will be a step is a group, a list of nodes through `next`.
typedef struct {
    plan *plan;
    plan_options options;
    sum_of_rows *sums;
    int sum_count;
    order_edge *edges;
    int edge_count;
    int *edges_to;     // by node id: the first edge to it, -1 for none
    int edges_to_room; // the nodes from this id on have none
    int *group;        // by node id: the step that computes it; -1 for sources, views and what is left out
    int *next;         // by node id: the next node of the same group, -1 at the end
    int fitted;        // how many nodes these two have room for
    int built;         // how many nodes there were before copies that are computed again
    int *first, *last; // by group; -1 where nothing is left of it
    bool *columns;     // by group: is it FORM_COLUMNS?
    char *visited;     // by node id or group: for searches
    bool *stored;      // by node id
} planner;

static inline int input_count(const gn_node *node) {
    return op_table[node->op].inputs;
}

// Computed from elements at the same index, or from a smaller tensor broadcast?
static inline bool is_elementwise(const gn_node *node) {
    op_form form = op_table[node->op].form;
    return form == FORM_POINTWISE || form == FORM_BROADCAST;
}

// Is the value behind `base` an input of the node?
bool planner_reads(const gn_node *node, const gn_node *base);

// `reader` reads `copy` in place of `base`, through views of its own.
void planner_redirect(gn_node *reader, const gn_node *base, gn_node *copy);

// `before` must run before `after`, though that does not read it.
void planner_add_edge(planner *p, gn_node *before, gn_node *after);

// The step that computes an input, -1 for none.
int planner_group_of(const planner *p, gn_node *input);

// The first edge to a node, -1 for none; the others follow through `next`.
static inline int planner_edge_to(const planner *p, const gn_node *node) {
    return node->id < p->edges_to_room ? p->edges_to[node->id] : -1;
}

// Does a broadcast of one row, which has as many elements as there are columns, give all rows the same?
bool planner_repeats_row(const gn_node *broadcast, sum_loops loops);

// The matrix product of a group, NULL for none.
gn_node *planner_product_of(const planner *p, int group);

// Is the node, behind views, one tensor behind another? Then these are `first` and `second`.
bool planner_is_concatenation(const gn_node *node, gn_node **first, gn_node **second);

// Is the node a concatenation of tensors for which it may be a place? Not where it shares a step with others.
bool planner_may_place_parts(const planner *p, const gn_node *node);

// May tensors lie in others, as parts and rows of them, see concat.c?
static inline bool planner_has_parts(const planner *p) {
    return p->options.concat && !p->options.apart;
}

// The node's fields for a copy of its graph, with the copies, by id, of what it reads and replaces.
gn_node planner_copied_fields(gn_node *const *copies, const gn_node *node);

// Before the first pass, see common.c: a copy of the graph where equal nodes are one; the caller frees it.
gn_graph *planner_merge_equal(const gn_graph *graph);

// Of the first pass, see linear.c: what has the value of a matrix product, given by its fields, for less,
// made of products that are in the plan's graph already. NULL where there is no such thing.
gn_node *planner_combine_products(const gn_node *product);

// Is the node the sum of two products of transposed matrices, which nothing else needs, and which may become
// one?
bool planner_is_sum_of_products(const gn_graph *graph, const bool *needed, const gn_node *sum,
                                size_t alignment);

// That one product, of the fields of the two.
gn_node *planner_join_products(const gn_node *first, const gn_node *second);

// A sum of the graph that is copied, made of sums that are in the copy already; NULL where it cannot be.
gn_node *planner_combine_sums(const planner *p, gn_node *const *copies, const gn_node *sum);

// That a sum has been copied, for others to be made of.
void planner_know_sum(planner *p, const gn_node *sum, gn_node *copy);

// What has the value of (x + r) - s or (x + r) + s, given by its fields, with r and s, which are broadcast,
// added to each other first; NULL where it is nothing of the kind.
gn_node *planner_add_rows_first(const gn_node *sum);

// The second pass, see pieces.c: replaces convolutions of many images by those of pieces of the batch.
void planner_cut(planner *p);

// The fourth pass, see fuse.c: puts nodes into groups.
void planner_fuse(planner *p);

// Makes room for all nodes of the graph; new ones are in no group.
void planner_fit(planner *p);

void planner_add_to_group(planner *p, int group, const gn_node *node);
void planner_remove(planner *p, const gn_node *node); // from its group

// May the group compute the elementwise node as well, which has as many elements as what it computes?
bool planner_may_take(const planner *p, int group, const gn_node *node);

// Must a group run after another?
bool planner_runs_after(planner *p, int group, int other);

// The fifth pass, see recompute.c: removes from memory what others compute for themselves.
void planner_recompute(planner *p);

// Of the seventh pass, see concat.c: removes steps that concatenate what other steps can write in place, and
// those that copy rows which their readers can as well read in place.
void planner_place_parts(planner *p);

// The last pass, see waits.c: which steps wait for which.
void planner_find_waits(planner *p);

#endif
