// The planner's fifth pass: what is computed again rather than stored.
//
// A step writes what other steps read. Where these have at hand, in memory, all that it is computed from, by
// a few additions and multiplications, they can compute it themselves: it is written no more, and read only
// where it takes less to read than what it is made of. Of a batch norm over images
//
//     y = activation((x - mean) scale + bias)
//
// neither x - mean stays in memory for the way back, nor the activation's slope, nor the gradient times that
// slope: all steps read x, and on the way back the gradient. Compilers know it as rematerialisation (Briggs,
// Cooper and Torczon 1992).
//
// The slope of a leaky ReLU at x is that at its result as well, which the next layer needs anyway.
#include "graph/planner.h"

enum { MOST_NODES = 32, MOST_ROOTS = 16, MOST_READERS = 16 };

// How a node is computed from what is in memory.
typedef struct {
    gn_node *nodes[MOST_NODES]; // the last is the node itself; inputs before what uses them
    int count;
    gn_node *roots[MOST_ROOTS]; // what is in memory
    int root_count;
} expression;

static bool has_node(gn_node *const *list, int count, const gn_node *node) {
    for (int i = 0; i < count; i++)
        if (list[i] == node)
            return true;
    return false;
}

// Is the node's value in memory, since it is state, or since another step reads it?
static bool is_in_memory(const planner *p, const gn_node *node) {
    const gn_graph *graph = p->plan->graph;
    bool found = node->op == OP_VARIABLE;
    for (int i = 0; i < graph->count && !found; i++)
        found = p->group[i] >= 0 && p->group[i] != p->group[node->id] && planner_reads(graph->nodes[i], node);
    return found;
}

static bool is_quick(const gn_node *node) {
    switch (node->op) {
    case OP_ADD:
    case OP_SUB:
    case OP_MUL:
    case OP_NEG:
    case OP_LEAKY_SLOPE:
    case OP_WITHIN:
    case OP_BROADCAST:
        return true;
    default:
        return false;
    }
}

// Adds the node, and before it what it is computed from. False where that is too much, or no quick work.
static bool express(const planner *p, gn_node *node, expression *e) {
    if (has_node(e->nodes, e->count, node))
        return true;
    if (!is_quick(node))
        return false;
    for (int i = 0; i < input_count(node); i++) {
        gn_node *input = plan_base(node->input[i]);
        if (input->op == OP_CONSTANT || has_node(e->roots, e->root_count, input))
            continue;
        if (!is_in_memory(p, input)) {
            if (node->op == OP_BROADCAST || !express(p, input, e))
                return false;
        } else if (e->root_count == MOST_ROOTS)
            return false;
        else
            e->roots[e->root_count++] = input;
    }
    if (e->count == MOST_NODES)
        return false;
    e->nodes[e->count++] = node;
    return true;
}

// The groups besides the node's own that read it; -1 where there are too many, or where one of them needs it
// in memory: it reads it elsewhere than at the same index, or can take no more nodes.
static int find_readers(const planner *p, const gn_node *node, int groups[MOST_READERS]) {
    const gn_graph *graph = p->plan->graph;
    int count = 0;
    for (int i = 0; i < graph->count; i++) {
        const gn_node *reader = graph->nodes[i];
        int group = p->group[i];
        if (group < 0 || group == p->group[node->id] || !planner_reads(reader, node))
            continue;
        bool sums = reader->op == OP_SUM && gn_shape_count(reader->shape) < gn_shape_count(node->shape);
        if (!sums && !(op_table[reader->op].form == FORM_POINTWISE &&
                       gn_shape_count(reader->shape) == gn_shape_count(node->shape)))
            return -1;
        bool known = false;
        for (int j = 0; j < count; j++)
            known |= groups[j] == group;
        if (!known && count == MOST_READERS)
            return -1;
        if (!known)
            groups[count++] = group;
    }
    return count;
}

static bool group_reads(const planner *p, int group, const gn_node *node) {
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        if (planner_reads(p->plan->graph->nodes[i], node))
            return true;
    return false;
}

// May the group read this version of a variable, or is it replaced before?
static bool is_there_for(planner *p, int group, const gn_node *version) {
    const gn_graph *graph = p->plan->graph;
    for (int i = 0; i < graph->count; i++)
        if (graph->nodes[i]->previous == version && p->group[i] >= 0 &&
            (p->group[i] == group || planner_runs_after(p, group, p->group[i])))
            return false;
    return true;
}

// What the group would read more, in bytes, if it computed the node. False where it cannot.
static bool find_cost(planner *p, int group, const gn_node *node, const expression *e, double *bytes) {
    for (int i = 0; i < e->count; i++)
        if (!planner_may_take(p, group, e->nodes[i]))
            return false;
    *bytes = -(double)node_bytes(node);
    for (int i = 0; i < e->root_count; i++)
        if (!group_reads(p, group, e->roots[i])) {
            if (!is_there_for(p, group, e->roots[i]))
                return false;
            *bytes += (double)node_bytes(e->roots[i]);
        }
    return true;
}

static bool is_same(const gn_node *a, const gn_node *b) {
    bool same = a->op == b->op && gn_shape_equal(a->shape, b->shape) && a->number[0] == b->number[0] &&
                a->number[1] == b->number[1];
    for (int i = 0; i < input_count(a) && same; i++)
        same = plan_base(a->input[i]) == plan_base(b->input[i]) &&
               gn_shape_equal(a->input[i]->shape, b->input[i]->shape);
    return same;
}

// The node with these fields in the group: one that is there, or a new one.
static gn_node *node_in_group(planner *p, int group, gn_node fields) {
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        if (is_same(&fields, p->plan->graph->nodes[i]))
            return p->plan->graph->nodes[i];
    gn_node *node = node_new(p->plan->graph, fields);
    planner_add_to_group(p, group, node);
    return node;
}

// The group computes the expression, whose value it used to read.
static void compute_in(planner *p, int group, const expression *e) {
    gn_graph *graph = p->plan->graph;
    gn_node *copies[MOST_NODES], *old = e->nodes[e->count - 1];
    for (int k = 0; k < e->count; k++) {
        gn_node fields = *e->nodes[k];
        for (int i = 0; i < input_count(&fields); i++)
            for (int j = 0; j < k; j++)
                if (plan_base(fields.input[i]) == e->nodes[j])
                    fields.input[i] = gn_reshape(copies[j], fields.input[i]->shape);
        copies[k] = node_in_group(p, group, fields);
    }
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        planner_redirect(graph->nodes[i], old, copies[e->count - 1]);
    for (int r = 0; r < e->root_count; r++)
        for (int i = 0, count = graph->count; i < count; i++)
            if (graph->nodes[i]->previous == e->roots[r] && p->group[i] >= 0)
                planner_add_edge(p, copies[e->count - 1], graph->nodes[i]);
    planner_fit(p);
}

// Leaves out what nobody reads any more, as a constant in no group.
static void leave_out(planner *p, gn_node *node) {
    if (!is_elementwise(node) || node->op == OP_ASSIGN || p->group[node->id] < 0)
        return;
    for (int i = 0; i < p->plan->graph->count; i++)
        if (planner_reads(p->plan->graph->nodes[i], node))
            return;
    gn_node before = *node;
    planner_remove(p, node);
    node->op = OP_CONSTANT;
    for (int i = 0; i < input_count(&before); i++)
        leave_out(p, plan_base(before.input[i]));
}

// Its readers compute the node themselves, where they read and write less so.
static bool recompute(planner *p, gn_node *node) {
    int groups[MOST_READERS], count = find_readers(p, node, groups);
    expression e = {.count = 0};
    if (count <= 0 || !express(p, node, &e))
        return false;
    double bytes = -(double)node_bytes(node), more; // the write
    for (int i = 0; i < count; i++, bytes += more)
        if (!find_cost(p, groups[i], node, &e, &more))
            return false;
    if (bytes >= 0)
        return false;
    for (int i = 0; i < count; i++)
        compute_in(p, groups[i], &e);
    leave_out(p, node);
    return true;
}

// The leaky ReLU y = x slope(x) in memory whose slope this is; NULL where there is none.
static gn_node *activation_of(const planner *p, const gn_node *slope) {
    const gn_graph *graph = p->plan->graph;
    gn_node *x = plan_base(slope->input[0]);
    for (int i = 0; i < graph->count && slope->number[0] >= 0; i++) {
        gn_node *y = graph->nodes[i];
        for (int k = 0; k < 2 && y->op == OP_MUL; k++) {
            const gn_node *factor = plan_base(y->input[k]);
            if (factor != slope && factor->op == OP_LEAKY_SLOPE && factor->number[0] == slope->number[0] &&
                plan_base(factor->input[0]) == x && plan_base(y->input[1 - k]) == x && is_in_memory(p, y))
                return y;
        }
    }
    return NULL;
}

// From what comes first on: what that becomes decides what the others are computed from.
void planner_recompute(planner *p) {
    gn_graph *graph = p->plan->graph;
    p->built = graph->count;
    for (int i = 0; i < p->built && p->options.fuse && p->options.recompute; i++) {
        gn_node *node = graph->nodes[i], *y, *x = node->input[0];
        if (!is_elementwise(node) || p->group[i] < 0 || recompute(p, node) || node->op != OP_LEAKY_SLOPE ||
            !(y = activation_of(p, node)))
            continue;
        node->input[0] = gn_reshape(y, x->shape);
        planner_fit(p);
        if (!recompute(p, node))
            node->input[0] = x;
    }
}
