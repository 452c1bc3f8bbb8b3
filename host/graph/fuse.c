// The planner's fourth pass: which nodes share a launch. And what later passes may do with the groups.
//
//  - A sum takes the pointwise nodes that serve it alone, and pointwise nodes at the same index each other.
//  - Sums over the same elements share a pass over them, and so does what computes these for others as well.
//  - A concatenation that is no work where it is alone, see concat.c, is left alone.
//  - A matrix product takes those that read it, as its epilogue.
//  - Scalars share launches whoever needs them: each would be one of a single work-item.
//  - Sums over the rows of a matrix join what they need and what is made of them, in columns: all of a batch
//    norm is one launch, and so is the gradient of a bias with its optimiser's step.
#include "graph/planner.h"

#include <string.h>

// ---- Groups ------------------------------------------------------------------------------------------

static void start_groups(planner *p) {
    gn_graph *graph = p->plan->graph;
    size_t count = (size_t)graph->count;
    p->first = gn_calloc(count, sizeof(int));
    p->last = gn_calloc(count, sizeof(int));
    p->columns = gn_calloc(count, sizeof(bool));
    planner_fit(p);
    for (int i = 0; i < graph->count; i++) {
        op_form form = op_table[graph->nodes[i]->op].form;
        p->group[i] = form == FORM_SOURCE || form == FORM_VIEW ? -1 : i;
        p->first[i] = p->last[i] = i;
    }
}

int planner_group_of(const planner *p, gn_node *input) {
    return p->group[plan_base(input)->id];
}

void planner_fit(planner *p) {
    int count = p->plan->graph->count;
    p->group = gn_realloc(p->group, (size_t)count * sizeof(int));
    p->next = gn_realloc(p->next, (size_t)count * sizeof(int));
    p->visited = gn_realloc(p->visited, (size_t)count);
    for (; p->fitted < count; p->fitted++)
        p->group[p->fitted] = p->next[p->fitted] = -1;
}

void planner_add_to_group(planner *p, int group, const gn_node *node) {
    planner_fit(p);
    p->group[node->id] = group;
    p->next[p->last[group]] = node->id;
    p->last[group] = node->id;
}

void planner_remove(planner *p, const gn_node *node) {
    int group = p->group[node->id], before = -1;
    for (int i = p->first[group]; i != node->id; i = p->next[i])
        before = i;
    *(before < 0 ? &p->first[group] : &p->next[before]) = p->next[node->id];
    if (p->last[group] == node->id)
        p->last[group] = before;
    p->group[node->id] = p->next[node->id] = -1;
}

// The nodes of `from` join the group `to`.
static void join(planner *p, int from, int to) {
    for (int i = p->first[from]; i >= 0; i = p->next[i])
        p->group[i] = to;
    p->next[p->last[to]] = p->first[from];
    p->last[to] = p->last[from];
}

// Is every reader of `node` in one of the two groups?
static bool is_read_only_in(planner *p, const gn_node *node, int group, int other) {
    for (int i = 0; i < p->plan->graph->count; i++)
        if (planner_reads(p->plan->graph->nodes[i], node) && p->group[i] != group && p->group[i] != other)
            return false;
    return true;
}

// Must the two ends of an order edge be in different steps? A step makes an element of each node at a time:
// what its product reads at all indices it cannot write, and of two versions of a variable only the later
// one, which will do where nobody else reads the earlier one.
static bool is_apart(planner *p, const gn_node *before, const gn_node *after) {
    bool replaced = before == after->previous;
    bool passing = before->op == OP_ASSIGN && after->op == OP_ASSIGN &&
                   is_read_only_in(p, before, p->group[before->id], p->group[after->id]);
    return before->op == OP_MATMUL || (replaced && !passing);
}

static bool group_reaches(planner *p, int group, int goal, bool direct);

// group_reaches() by the ways through `before`, an input of the group's `node` or, with `edge`, the other end
// of an order edge to it.
static bool reaches_through(planner *p, gn_node *before, const gn_node *node, bool edge, int goal,
                            bool direct) {
    int from = planner_group_of(p, before);
    if (from < 0 || from == p->group[node->id])
        return false;
    if (from == goal)
        return direct || (edge && is_apart(p, before, node));
    if (p->visited[from])
        return false;
    p->visited[from] = 1;
    return group_reaches(p, from, goal, true);
}

// Does some way back from `group` to `goal` exist? Ways of a single edge count only if `direct`, or if its
// ends cannot share a step.
static bool group_reaches(planner *p, int group, int goal, bool direct) {
    for (int i = p->first[group]; i >= 0; i = p->next[i]) {
        gn_node *node = p->plan->graph->nodes[i];
        for (int j = 0; j < input_count(node); j++)
            if (reaches_through(p, node->input[j], node, false, goal, direct))
                return true;
        for (int e = planner_edge_to(p, node); e >= 0; e = p->edges[e].next)
            if (reaches_through(p, p->edges[e].before, node, true, goal, direct))
                return true;
    }
    return false;
}

// Buffers of a step: pointers among the 1,024 bytes of arguments that every device takes.
enum { ROOM = 1024 / 8 };

// What the two groups, as one step, read and compute: as many buffers as they need, or more.
static int count_operands(planner *p, int one, int other) {
    gn_node **nodes = p->plan->graph->nodes;
    const int groups[] = {one, other};
    int count = 0;
    memset(p->visited, 0, (size_t)p->plan->graph->count);
    for (int g = 0; g < 2; g++)
        for (int i = p->first[groups[g]]; i >= 0; i = p->next[i], count++)
            for (int j = 0; j < input_count(nodes[i]); j++) {
                const gn_node *input = plan_base(nodes[i]->input[j]);
                int from = p->group[input->id];
                bool counts = from != one && from != other && input->op != OP_CONSTANT;
                count += counts && !p->visited[input->id];
                p->visited[input->id] |= counts;
            }
    return count;
}

// What the two groups compute for themselves alone, which no buffer need hold.
static int count_own(planner *p, int one, int other) {
    const int groups[] = {one, other};
    int count = 0;
    for (int g = 0; g < 2; g++)
        for (int i = p->first[groups[g]]; i >= 0; i = p->next[i]) {
            const gn_node *node = p->plan->graph->nodes[i];
            count += node->op != OP_ASSIGN && is_read_only_in(p, node, one, other);
        }
    return count;
}

static bool has_room(planner *p, int one, int other) {
    int operands = count_operands(p, one, other);
    return operands <= ROOM || operands - count_own(p, one, other) <= ROOM;
}

// Must a third group run between the two?
static bool is_between(planner *p, int producer, int consumer) {
    memset(p->visited, 0, (size_t)p->plan->graph->count);
    return group_reaches(p, consumer, producer, false);
}

// Two groups may become one unless a third must run between them, or they need too many buffers.
static bool can_join(planner *p, int producer, int consumer) {
    return !is_between(p, producer, consumer) && has_room(p, producer, consumer);
}

bool planner_runs_after(planner *p, int group, int other) {
    memset(p->visited, 0, (size_t)p->plan->graph->count);
    return group_reaches(p, group, other, true);
}

// The same whichever of the two reads the other: neither needs the other by way of a third.
static bool can_join_either_way(planner *p, int one, int other) {
    return !is_between(p, one, other) && !is_between(p, other, one) && has_room(p, one, other);
}

static bool same_count(const gn_node *a, const gn_node *b) {
    return gn_shape_count(a->shape) == gn_shape_count(b->shape);
}

// ---- Pointwise nodes and sums --------------------------------------------------------------------------

// The sum's group takes the pointwise nodes that serve it alone, from its input backwards.
static void absorb(planner *p, gn_node *input, int group) {
    gn_node *node = plan_base(input);
    if (!is_elementwise(node) || node->op == OP_ASSIGN || p->group[node->id] == group ||
        !same_count(node, p->plan->graph->nodes[group]->input[0]) || planner_may_place_parts(p, node) ||
        !is_read_only_in(p, node, group, group) || !can_join(p, node->id, group))
        return;
    join(p, node->id, group);
    for (int i = 0; i < input_count(node); i++)
        absorb(p, node->input[i], group);
}

static bool is_in_sum(const planner *p, const gn_node *node) {
    return p->group[node->id] >= 0 && p->plan->graph->nodes[p->group[node->id]]->op == OP_SUM;
}

// Joins the group of `input` to that of `node`, which reads it at the same index, if they may.
static void join_input(planner *p, const gn_node *input, const gn_node *node) {
    int from = p->group[input->id], to = p->group[node->id];
    if (from != to && same_count(input, node) && can_join(p, from, to))
        join(p, from, to);
}

// ---- Products ----------------------------------------------------------------------------------------

gn_node *planner_product_of(const planner *p, int group) {
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        if (p->plan->graph->nodes[i]->op == OP_MATMUL)
            return p->plan->graph->nodes[i];
    return NULL;
}

// May the product's epilogue assign to the weights? Then it runs behind the gradient by the layer's input,
// which reads them, and what the product reads is kept until then: for a convolution that is much more than a
// gradient that goes to memory.
static bool may_update(const planner *p, const gn_node *product) {
    enum { MUCH = 1 << 20 }; // bytes that are worth a launch
    return p->options.product_updates &&
           node_bytes(product->input[0]) + node_bytes(product->input[1]) <= node_bytes(product) + MUCH;
}

// Can the node be in the product's epilogue? Its kernel finishes some columns at once, and loads what a
// broadcast reads as one vector, or as one number.
static bool fits_epilogue(const planner *p, const gn_node *product, const gn_node *node) {
    return is_elementwise(node) && (node->op != OP_ASSIGN || may_update(p, product)) &&
           (op_table[node->op].form != FORM_BROADCAST ||
            broadcast_node_run(node) % p->options.product_columns == 0);
}

// Can this group be the product's epilogue, which has no product yet?
static bool is_epilogue(const planner *p, const gn_node *product, int group) {
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        if (!fits_epilogue(p, product, p->plan->graph->nodes[i]))
            return false;
    return true;
}

// The last products first: where two could take what reads both, the other one is ready by then.
static void add_epilogues(planner *p) {
    gn_graph *graph = p->plan->graph;
    for (int i = graph->count - 1; i >= 0; i--) {
        gn_node *product = graph->nodes[i];
        if (product->op != OP_MATMUL || product->shape.size[1] % p->options.product_columns)
            continue;
        for (int j = i + 1; j < graph->count; j++)
            if (is_elementwise(graph->nodes[j]) && planner_reads(graph->nodes[j], product) &&
                is_epilogue(p, product, p->group[j]))
                join_input(p, product, graph->nodes[j]);
    }
}

// ---- Columns -----------------------------------------------------------------------------------------

// A step of columns keeps few work-items busy. It may compute this many elements of its own: about what it
// does in the time of the launches that it saves. Where there is one column, one work-item has these rows.
enum { COLUMNS_ELEMENTS = 1 << 17, ROWS_OF_ONE_COLUMN = 256 };

// The loops of the group's sums over rows; false where it has none, or other sums.
static bool find_columns(const planner *p, int group, sum_loops *loops) {
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        if (p->plan->graph->nodes[i]->op == OP_SUM) {
            *loops = sum_node_loops(p->plan->graph->nodes[i]);
            return loops->outer == 1 && loops->run > 1 &&
                   (loops->inner > 1 || loops->run <= ROWS_OF_ONE_COLUMN);
        }
    return false;
}

static bool is_sum_of(const gn_node *node, sum_loops loops) {
    sum_loops own = sum_node_loops(node);
    return own.outer == 1 && own.run == loops.run && own.inner == loops.inner;
}

bool planner_repeats_row(const gn_node *broadcast, sum_loops loops) {
    broadcast_axes axes = broadcast_node_axes(broadcast);
    return loops.inner == 1 || (axes.count == 2 && axes.size[0] == loops.inner && !axes.stretched[0]);
}

// Can a step of columns compute the node, each column on its own? It has an element a column or, `with_rows`,
// one for each of its rows. A vector of columns that the step may assign to is read in no other column, and
// nothing with rows is assigned to, since rows are read again and again.
static bool fits_columns(const gn_node *node, sum_loops loops, bool with_rows) {
    size_t count = gn_shape_count(node->shape), width = (size_t)loops.inner;
    bool has_rows = count == width * (size_t)loops.run;
    if (node->op == OP_SUM)
        return with_rows && is_sum_of(node, loops);
    if (count != width && !(with_rows && has_rows))
        return false;
    if (node->op == OP_BROADCAST)
        return !has_rows || gn_shape_count(node->input[0]->shape) != width ||
               planner_repeats_row(node, loops);
    return op_table[node->op].form == FORM_POINTWISE && !(has_rows && node->op == OP_ASSIGN);
}

static bool group_fits_columns(const planner *p, int group, sum_loops loops, bool with_rows) {
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        if (!fits_columns(p->plan->graph->nodes[i], loops, with_rows))
            return false;
    return true;
}

// Does `other` fit into the columns of the group, if that has any?
static bool may_take(const planner *p, int group, int other) {
    sum_loops loops;
    return find_columns(p, group, &loops) && group_fits_columns(p, group, loops, true) &&
           group_fits_columns(p, other, loops, (int64_t)loops.run * loops.inner <= COLUMNS_ELEMENTS);
}

bool planner_may_take(const planner *p, int group, const gn_node *node) {
    sum_loops loops;
    const gn_node *product = planner_product_of(p, group);
    return product             ? fits_epilogue(p, product, node)
           : p->columns[group] ? find_columns(p, group, &loops) && fits_columns(node, loops, true)
                               : true;
}

// Joins what can share columns, of two groups of which one reads the other. Returns if any were joined.
static bool join_columns(planner *p) {
    gn_graph *graph = p->plan->graph;
    bool joined = false;
    for (int i = 0; i < graph->count; i++)
        for (int j = 0; j < input_count(graph->nodes[i]) && p->group[i] >= 0; j++) {
            int from = planner_group_of(p, graph->nodes[i]->input[j]), to = p->group[i];
            if (from < 0 || from == to || !(may_take(p, from, to) || may_take(p, to, from)) ||
                !can_join(p, from, to))
                continue;
            join(p, from, to);
            p->columns[to] = joined = true;
        }
    return joined;
}

// ---- Sums and what else is at their elements ------------------------------------------------------------

// The group's sums have the same loops; NULL where it has none, or where they lie in columns.
static const gn_node *sum_of(const planner *p, int group) {
    for (int i = p->first[group]; i >= 0 && !p->columns[group]; i = p->next[i])
        if (p->plan->graph->nodes[i]->op == OP_SUM)
            return p->plan->graph->nodes[i];
    return NULL;
}

// Can a pass over what `sum` adds up do the group's work as well?
static bool shares_pass(const planner *p, int group, const gn_node *sum) {
    sum_loops loops = sum_node_loops(sum);
    for (int i = p->first[group]; i >= 0; i = p->next[i]) {
        const gn_node *node = p->plan->graph->nodes[i];
        sum_loops own = node->op == OP_SUM ? sum_node_loops(node) : loops;
        bool fits = node->op == OP_SUM
                        ? own.outer == loops.outer && own.run == loops.run && own.inner == loops.inner
                        : is_elementwise(node) && node->op != OP_ASSIGN && same_count(node, sum->input[0]);
        if (!fits)
            return false;
    }
    return true;
}

// Does the group read a sum that the other makes? That is complete only after the pass.
static bool reads_sum(const planner *p, int group, int other) {
    for (int i = p->first[group]; i >= 0; i = p->next[i]) {
        const gn_node *node = p->plan->graph->nodes[i];
        for (int j = 0; j < input_count(node); j++) {
            const gn_node *input = plan_base(node->input[j]);
            if (input->op == OP_SUM && p->group[input->id] == other)
                return true;
        }
    }
    return false;
}

static int count_sums(const planner *p, int group) {
    int sums = 0;
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        sums += p->plan->graph->nodes[i]->op == OP_SUM;
    return sums;
}

// Each sum of a pass takes a vector register on a CPU, and on a GPU 4 bytes of local memory a work-item.
static bool can_share_pass(planner *p, int from, int to) {
    enum { MOST_SUMS = 4 };
    return count_sums(p, from) + count_sums(p, to) <= MOST_SUMS && shares_pass(p, from, sum_of(p, to)) &&
           !reads_sum(p, from, to) && !reads_sum(p, to, from) && can_join_either_way(p, from, to);
}

// Joins groups of which a sum reads what the other computes, or reads too.
static void join_passes(planner *p) {
    gn_graph *graph = p->plan->graph;
    for (int i = 0; i < graph->count; i++) {
        const gn_node *sum = p->group[i] >= 0 ? sum_of(p, p->group[i]) : NULL;
        for (int j = 0; sum && j < input_count(graph->nodes[i]); j++) {
            gn_node *input = plan_base(graph->nodes[i]->input[j]);
            if (!same_count(input, sum->input[0]))
                continue;
            for (int k = 0; k < graph->count; k++) {
                int from = p->group[k], to = p->group[i];
                if (from >= 0 && from != to && !p->columns[from] &&
                    (k == input->id || (sum_of(p, from) && planner_reads(graph->nodes[k], input))) &&
                    can_share_pass(p, from, to))
                    join(p, from, to);
            }
        }
    }
}

// ---- All ---------------------------------------------------------------------------------------------

static bool is_scalar(const planner *p, int i) {
    const gn_node *node = p->plan->graph->nodes[i];
    return is_elementwise(node) && gn_shape_count(node->shape) == 1 && !is_in_sum(p, node);
}

// Each pair of groups is tried once until one of them, or what may lie between them, has changed. Whether
// what a group computes needs a buffer is not looked at first: that takes long.
static void join_scalars(planner *p) {
    int count = p->plan->graph->count, changes = 0;
    int *tried = gn_calloc((size_t)count, sizeof *tried); // by group: the change since which it was
    for (int i = 0; i < count; i++) {
        changes++;
        for (int j = 0; j < i && is_scalar(p, i); j++) {
            int one = p->group[i], other = p->group[j];
            if (!is_scalar(p, j) || one == other || tried[other] == changes)
                continue;
            tried[other] = changes;
            if (count_operands(p, one, other) <= ROOM && can_join_either_way(p, one, other)) {
                join(p, other, one);
                changes++;
            }
        }
    }
    free(tried);
}

static void join_pointwise(planner *p) {
    gn_graph *graph = p->plan->graph;
    for (int i = 0; i < graph->count; i++) {
        gn_node *node = graph->nodes[i];
        for (int j = 0; j < input_count(node) && is_elementwise(node) && !is_in_sum(p, node); j++) {
            gn_node *input = plan_base(node->input[j]);
            if (is_elementwise(input) && !is_in_sum(p, input) && !planner_may_place_parts(p, input))
                join_input(p, input, node);
        }
    }
}

void planner_fuse(planner *p) {
    gn_graph *graph = p->plan->graph;
    start_groups(p);
    if (!p->options.fuse)
        return;
    for (int i = 0; i < graph->count; i++)
        if (graph->nodes[i]->op == OP_SUM)
            absorb(p, graph->nodes[i]->input[0], i);
    join_pointwise(p);
    join_scalars(p);
    if (p->options.epilogue && p->options.product_columns)
        add_epilogues(p);
    while (p->options.columns && join_columns(p))
        ;
    if (p->options.passes)
        join_passes(p);
}
