// The planner, in eight passes over a copy of the graph, in which equal nodes are one, see common.c:
//
//  1. copy_needed  takes what the assignments need, and gives each reader its own copy of what is cheaper to
//                  compute again than to load (a broadcast, a slope). It cuts long sums in two stages,
//                  makes products and sums of others where it can, see linear.c, and of patches that are
//                  their image a view.
//  2. cut          makes convolutions of many images a piece of the batch at a time, see pieces.c.
//  3. order_state  makes updates in place safe: whoever reads a variable's old value runs before the update
//                  (an edge of the order), and where that contradicts the rest, reads a copy made before it.
//  4. fuse         joins nodes into steps of one launch each, see fuse.c.
//  5. recompute    takes from memory what its readers can as well compute, see recompute.c.
//  6. schedule     puts the joined steps in order.
//  7. place        gives each tensor that memory must hold a place in the arena, perhaps that of
//                  what it is computed from; what consists of two others is a place for both, and rows
//                  of another lie in its place, see concat.c.
//  8. find_waits   says which steps must wait for which, see waits.c: all others may run at the same time.
//
// A view (OP_RESHAPE) is no work: everywhere an input stands for the node whose memory it is, plan_base().
#include "base/switches.h"
#include "graph/planner.h"

#include <string.h>

gn_node *plan_base(gn_node *node) {
    while (node->op == OP_RESHAPE)
        node = node->input[0];
    return node;
}

static bool is_writer(const gn_node *node) {
    return node->op == OP_ASSIGN || node->op == OP_RECORD;
}

plan_options plan_options_default(void) {
    enum { PIECE = 8 << 20 }; // from 6 to 16 MiB a step takes the same time, see pieces.c
    return (plan_options){
        .common = !gn_is_off("common"),
        .split = !gn_is_off("split"),
        .linear = !gn_is_off("linear"),
        .fuse = !gn_is_off("fuse"),
        .recompute = !gn_is_off("recompute"),
        .passes = !gn_is_off("passes"),
        .epilogue = !gn_is_off("epilogue"),
        .columns = !gn_is_off("columns"),
        .concat = !gn_is_off("concat"),
        .reuse = !gn_is_off("reuse"),
        .in_place = !gn_is_off("in-place"),
        .concurrent = !gn_is_off("concurrent"),
        .alignment = 128,
        .max_allocation = SIZE_MAX,
        .piece_bytes = gn_is_off("pieces") ? SIZE_MAX : PIECE,
    };
}

// ---- 1. What is needed -------------------------------------------------------------------------------

static void mark_needed(bool *needed, const gn_graph *graph) {
    for (int i = graph->count - 1; i >= 0; i--) {
        const gn_node *node = graph->nodes[i];
        needed[i] |= is_writer(node);
        for (int j = 0; j < input_count(node) && needed[i]; j++)
            needed[node->input[j]->id] = true;
    }
}

double gn_graph_flops(const gn_graph *graph) {
    bool *needed = gn_calloc((size_t)graph->count, sizeof *needed);
    mark_needed(needed, graph);
    double flops = 0;
    for (int i = 0; i < graph->count; i++)
        flops += needed[i] ? op_table[graph->nodes[i]->op].flops(graph->nodes[i]) : 0;
    free(needed);
    return flops;
}

static bool is_cheap(const gn_node *node) {
    return op_table[node->op].form == FORM_BROADCAST || node->op == OP_LEAKY_SLOPE || node->op == OP_WITHIN;
}

// The copy of `input` that `reader` uses.
static gn_node *copy_input(planner *p, gn_node **copies, const gn_node *reader, gn_node *input) {
    if (p->options.fuse && is_cheap(input)) {
        gn_node fields = *input;
        fields.input[0] = copy_input(p, copies, input, input->input[0]);
        return node_new(p->plan->graph, fields);
    }
    gn_node *copy = copies[input->id];
    // A constant is written into the expressions that use it; another kind of reader needs it in memory.
    return plan_base(copy)->op == OP_CONSTANT && !is_elementwise(reader) && reader->op != OP_RESHAPE
               ? graph_copy(copy)
               : copy;
}

// Into how many parts a sum is cut: where only few results share its work, the largest divisor of the run up
// to the root. Else a batch norm over images would keep no more than channels / vector work-items busy.
static int sum_parts(sum_loops loops) {
    enum { LONG_RUN = 1024, FEW_RESULTS = 1024 };
    int parts = 1;
    if (loops.run >= LONG_RUN && loops.outer * loops.inner <= FEW_RESULTS)
        for (int i = 2; i * i <= loops.run; i++)
            parts = loops.run % i == 0 ? i : parts;
    return parts;
}

static gn_node *new_sum(gn_node *x, gn_shape shape) {
    return node_new(x->graph, (gn_node){.op = OP_SUM, .input = {x}, .shape = shape});
}

static gn_node *split_sum(const planner *p, const gn_node *sum) {
    sum_loops loops = sum_node_loops(sum);
    int parts = p->options.split ? sum_parts(loops) : 1;
    if (parts == 1)
        return new_sum(sum->input[0], sum->shape);
    gn_node *cut =
        gn_reshape(sum->input[0], gn_shape_of(4, loops.outer, parts, loops.run / parts, loops.inner));
    gn_node *partial = new_sum(cut, gn_shape_of(4, loops.outer, parts, 1, loops.inner));
    return gn_reshape(new_sum(partial, gn_shape_of(4, loops.outer, 1, 1, loops.inner)), sum->shape);
}

// A column times a row adds nothing up: as a pointwise step it joins what is around it.
static gn_node *copy_product(const planner *p, const gn_node *product) {
    gn_node *combination = p->options.linear ? planner_combine_products(product) : NULL;
    if (combination)
        return combination;
    gn_node *a = product->input[0], *b = product->input[1];
    bool one_term = a->shape.size[!product->integer[0]] == 1;
    if (!one_term || !p->options.fuse)
        return node_new(p->plan->graph, *product);
    int rows = product->shape.size[0], columns = product->shape.size[1];
    return gn_mul(gn_broadcast(gn_reshape(a, gn_shape_of(2, rows, 1)), product->shape),
                  gn_broadcast(gn_reshape(b, gn_shape_of(2, 1, columns)), product->shape));
}

// Are the patches the image itself, element by element? So they are where the window is all of it, or each
// pixel in turn.
static bool are_image(patch_loops patches) {
    bool all = patches.kernel == patches.height && patches.kernel == patches.width;
    return patches.padding == 0 && (all || (patches.kernel == 1 && patches.stride == 1));
}

static gn_node *copy_patches(const planner *p, const gn_node *patches) {
    return p->options.fuse && are_image(patch_node_loops(patches))
               ? gn_reshape(patches->input[0], patches->shape)
               : node_new(p->plan->graph, *patches);
}

// What `node` is, with the copies of its inputs.
static gn_node copy_fields(planner *p, gn_node **copies, const gn_node *node) {
    gn_node fields = *node;
    for (int j = 0; j < input_count(node); j++)
        fields.input[j] = copy_input(p, copies, node, node->input[j]);
    if (fields.previous)
        fields.previous = copies[fields.previous->id]; // NULL where nobody needs the old value
    return fields;
}

static gn_node *copy_sum(planner *p, gn_node **copies, const gn_node *sum) {
    gn_node *copy = p->options.linear ? planner_combine_sums(p, copies, sum) : NULL;
    if (copy)
        return copy;
    gn_node fields = copy_fields(p, copies, sum);
    copy = split_sum(p, &fields);
    planner_know_sum(p, sum, copy);
    return copy;
}

static gn_node *copy_node(planner *p, gn_node **copies, const gn_node *node) {
    if (node->op == OP_SUM)
        return copy_sum(p, copies, node);
    gn_node fields = copy_fields(p, copies, node);
    if (fields.op == OP_MATMUL)
        return copy_product(p, &fields);
    if (op_table[fields.op].form == FORM_PATCHES)
        return copy_patches(p, &fields);
    gn_node *copy = p->options.linear && p->options.fuse ? planner_add_rows_first(&fields) : NULL;
    return copy ? copy : node_new(p->plan->graph, fields);
}

static gn_node *copy_sum_of_products(planner *p, gn_node **copies, const gn_node *sum) {
    gn_node first = copy_fields(p, copies, sum->input[0]), second = copy_fields(p, copies, sum->input[1]);
    return planner_join_products(&first, &second);
}

static void copy_needed(planner *p, const gn_graph *graph) {
    size_t count = (size_t)graph->count;
    bool *needed = gn_calloc(count, sizeof *needed);
    bool *joined = gn_calloc(count, sizeof *joined); // sums of products, and these
    gn_node **copies = gn_calloc(count, sizeof *copies);
    bool may_join = p->options.linear && p->options.fuse && planner_has_parts(p);
    mark_needed(needed, graph);
    for (int i = 0; i < graph->count && may_join; i++) {
        const gn_node *sum = graph->nodes[i];
        if (needed[i] && planner_is_sum_of_products(graph, needed, sum, p->options.alignment))
            joined[i] = joined[sum->input[0]->id] = joined[sum->input[1]->id] = true;
    }
    p->plan->graph = gn_graph_new(graph->state);
    for (int i = 0; i < graph->count; i++) {
        const gn_node *node = graph->nodes[i];
        bool product = joined[i] && node->op == OP_MATMUL;
        if (needed[i] && !product && !(p->options.fuse && is_cheap(node)))
            copies[i] = joined[i] ? copy_sum_of_products(p, copies, node) : copy_node(p, copies, node);
    }
    free(copies);
    free(joined);
    free(needed);
}

// Products and sums that were made of others have left behind what they would have been computed from.
static void drop_unneeded(gn_graph *graph) {
    bool *needed = gn_calloc((size_t)graph->count, sizeof *needed);
    int kept = 0;
    mark_needed(needed, graph);
    for (int i = 0; i < graph->count; i++)
        if (graph->nodes[i]->previous && !needed[graph->nodes[i]->previous->id])
            graph->nodes[i]->previous = NULL;
    for (int i = 0; i < graph->count; i++) {
        gn_node *node = graph->nodes[i];
        if (needed[i]) {
            node->id = kept;
            graph->nodes[kept++] = node;
        } else {
            free(node->stream);
            free(node);
        }
    }
    graph->count = kept;
    free(needed);
}

// ---- 3. State ----------------------------------------------------------------------------------------

void planner_add_edge(planner *p, gn_node *before, gn_node *after) {
    if (after->id >= p->edges_to_room) {
        int room = p->plan->graph->count;
        p->edges_to = gn_realloc(p->edges_to, (size_t)room * sizeof *p->edges_to);
        while (p->edges_to_room < room)
            p->edges_to[p->edges_to_room++] = -1;
    }
    int *end = &p->edges_to[after->id];
    while (*end >= 0)
        end = &p->edges[*end].next;
    *end = p->edge_count;
    p->edges = gn_realloc(p->edges, (size_t)(p->edge_count + 1) * sizeof *p->edges);
    p->edges[p->edge_count++] = (order_edge){before, after, -1};
}

static bool search_back(planner *p, gn_node *node, const gn_node *goal) {
    if (node == goal)
        return true;
    if (p->visited[node->id])
        return false;
    p->visited[node->id] = 1;
    for (int i = 0; i < input_count(node); i++)
        if (search_back(p, node->input[i], goal))
            return true;
    for (int e = planner_edge_to(p, node); e >= 0; e = p->edges[e].next)
        if (search_back(p, p->edges[e].before, goal))
            return true;
    return false;
}

// Must `node` run after `goal`?
static bool runs_after(planner *p, gn_node *node, const gn_node *goal) {
    p->visited = gn_realloc(p->visited, (size_t)p->plan->graph->count);
    memset(p->visited, 0, (size_t)p->plan->graph->count);
    return search_back(p, node, goal);
}

bool planner_reads(const gn_node *node, const gn_node *base) {
    for (int i = 0; i < input_count(node) && node->op != OP_RESHAPE; i++)
        if (plan_base(node->input[i]) == base)
            return true;
    return false;
}

void planner_redirect(gn_node *reader, const gn_node *base, gn_node *copy) {
    for (int i = 0; i < input_count(reader); i++)
        if (plan_base(reader->input[i]) == base)
            reader->input[i] = gn_reshape(copy, reader->input[i]->shape);
}

static void order_writer(planner *p, gn_node *writer) {
    gn_node *old = writer->previous, *copy = NULL;
    if (!old)
        return;
    for (int i = 0, count = p->plan->graph->count; i < count; i++) {
        gn_node *reader = p->plan->graph->nodes[i];
        if (reader == writer || !planner_reads(reader, old))
            continue;
        if (!runs_after(p, reader, writer)) {
            planner_add_edge(p, reader, writer);
            continue;
        }
        if (!copy) {
            copy = graph_copy(old);
            planner_add_edge(p, copy, writer);
        }
        planner_redirect(reader, old, copy);
    }
}

// Is the assignment kept in the arena until the run ends? Not where the variable is recorded in as well,
// which happens in its own memory.
static bool is_staged(const planner *p, const gn_node *writer) {
    const gn_graph *graph = p->plan->graph;
    bool staged = !p->options.in_place;
    for (int i = 0; i < graph->count && staged; i++)
        staged = graph->nodes[i]->op != OP_RECORD || graph->nodes[i]->variable != writer->variable;
    return staged;
}

// The versions of a variable follow each other. That must be known before anything is decided about readers:
// one that needs a later version cannot run before an earlier one is replaced.
static void order_state(planner *p) {
    gn_graph *graph = p->plan->graph;
    int count = graph->count;
    for (int i = 0; i < count; i++) {
        gn_node *node = graph->nodes[i], *previous = node->previous;
        if (is_writer(node) && !is_staged(p, node) && previous && is_writer(previous))
            planner_add_edge(p, previous, node);
    }
    for (int i = 0; i < count; i++)
        if (is_writer(graph->nodes[i]) && !is_staged(p, graph->nodes[i]))
            order_writer(p, graph->nodes[i]);
}

// ---- 6. Order ----------------------------------------------------------------------------------------

// Puts the group's nodes, and before them all groups that they wait for, into the plan.
static void schedule_group(planner *p, int group);

static void schedule_inputs(planner *p, gn_node *node) {
    for (int i = 0; i < input_count(node); i++)
        if (planner_group_of(p, node->input[i]) >= 0)
            schedule_group(p, planner_group_of(p, node->input[i]));
    for (int e = planner_edge_to(p, node); e >= 0; e = p->edges[e].next)
        if (planner_group_of(p, p->edges[e].before) >= 0)
            schedule_group(p, planner_group_of(p, p->edges[e].before));
}

// Appends the node to the step after its inputs in the same step.
static void append_node(planner *p, plan_step *step, gn_node *node) {
    if (plan_step_has(step, node))
        return;
    for (int i = 0; i < input_count(node); i++)
        if (planner_group_of(p, node->input[i]) == p->group[node->id])
            append_node(p, step, plan_base(node->input[i]));
    step->nodes[step->count++] = node;
}

static void schedule_group(planner *p, int group) {
    if (p->visited[group])
        return;
    p->visited[group] = 1; // also ends the walk at the group's own nodes
    gn_graph *graph = p->plan->graph;
    int count = 0;
    for (int i = p->first[group]; i >= 0; i = p->next[i], count++)
        schedule_inputs(p, graph->nodes[i]);

    plan_step *step = &p->plan->steps[p->plan->count++];
    step->nodes = gn_calloc((size_t)count, sizeof(gn_node *));
    gn_node *product = planner_product_of(p, group);
    if (product)
        append_node(p, step, product);
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        if (graph->nodes[i]->op != OP_SUM)
            append_node(p, step, graph->nodes[i]);
    for (int i = p->first[group]; i >= 0; i = p->next[i])
        append_node(p, step, graph->nodes[i]);
    op_form form = op_table[step->nodes[count - 1]->op].form;
    step->form = product                  ? FORM_MATMUL
                 : p->columns[group]      ? FORM_COLUMNS
                 : form == FORM_BROADCAST ? FORM_POINTWISE
                                          : form;
}

// Does the node say when its group has its turn? The last one does that was not added to compute it again;
// but a product is not put off until its epilogue was built: what it reads would be kept that long.
static bool leads_group(const planner *p, gn_node *node) {
    gn_node *product = planner_product_of(p, p->group[node->id]);
    if (product)
        return node == product;
    for (int i = p->first[p->group[node->id]]; i >= 0; i = p->next[i])
        if (i > node->id && i < p->built)
            return false;
    return node->id < p->built;
}

// In the order in which the leading nodes were built, but for what inputs and edges demand.
static void schedule(planner *p) {
    gn_graph *graph = p->plan->graph;
    p->plan->steps = gn_calloc((size_t)graph->count, sizeof(plan_step));
    memset(p->visited, 0, (size_t)graph->count);
    for (int i = 0; i < graph->count; i++)
        if (p->group[i] >= 0 && leads_group(p, graph->nodes[i]))
            schedule_group(p, p->group[i]);
}

// Does the step read nothing but what is marked, and what it computes itself?
static bool reads_only(const plan_step *step, const bool *marked) {
    for (int i = 0; i < step->count; i++) {
        const gn_node *node = step->nodes[i];
        for (int j = 0; j < input_count(node); j++) {
            const gn_node *input = plan_base(node->input[j]);
            if (!marked[input->id] && !plan_step_has(step, input))
                return false;
        }
    }
    return true;
}

// Steps that need be carried out once, since only constants and each other's results go into them. The memory
// of what they compute is nobody else's, so they are not large.
static void find_constants(plan *plan) {
    enum { LARGE = 1 << 16 };
    bool *constant = gn_calloc((size_t)plan->graph->count, sizeof *constant);
    for (int i = 0; i < plan->graph->count; i++)
        constant[i] = plan->graph->nodes[i]->op == OP_CONSTANT;
    for (int s = 0; s < plan->count; s++) {
        plan_step *step = &plan->steps[s];
        step->constant = reads_only(step, constant);
        for (int i = 0; i < step->count; i++)
            step->constant &= !step->nodes[i]->variable && node_bytes(step->nodes[i]) <= LARGE;
        for (int i = 0; i < step->count; i++)
            constant[step->nodes[i]->id] = step->constant;
    }
    free(constant);
}

sum_loops plan_step_loops(const plan_step *step) {
    int i = step->count - 1;
    while (step->nodes[i]->op != OP_SUM)
        i--;
    return sum_node_loops(step->nodes[i]);
}

int plan_step_sums(const plan_step *step) {
    int sums = 0;
    for (int i = 0; i < step->count; i++)
        sums += step->nodes[i]->op == OP_SUM;
    return sums;
}

bool plan_step_has(const plan_step *step, const gn_node *node) {
    for (int i = 0; i < step->count; i++)
        if (step->nodes[i] == node)
            return true;
    return false;
}

// ---- 7. Places ---------------------------------------------------------------------------------------

// From the step that writes a tensor to the last that reads it.
typedef struct {
    int born, dies;
} life;

// A tensor in need of a place.
typedef struct {
    gn_node *node;
    size_t bytes;
    life life;
} tenant;

static bool is_newest_version(const gn_graph *graph, const gn_node *assignment) {
    for (int i = 0; i < graph->count; i++)
        if (is_writer(graph->nodes[i]) && graph->nodes[i]->previous == assignment)
            return false;
    return true;
}

// Unfinished sums may lie where an output of the epilogue will, in the arena: each element is written there
// only when its sum is complete. A variable holds what the epilogue may read. So where there are no outputs
// in the arena, the product gets a place after all, if its sums are long.
static void place_sums(planner *p, plan_step *step) {
    gn_node *product = step->nodes[0], *any = NULL, *lent = p->stored[product->id] ? product : NULL;
    int depth = product->input[0]->shape.size[!product->integer[0]];
    for (int i = 1; i < step->count; i++) {
        gn_node *node = step->nodes[i];
        if (!p->stored[node->id] || node->type != GN_F32)
            continue;
        any = node;
        if (!lent && !plan_is_in_variable(p->plan, node))
            lent = node;
    }
    step->sums = lent ? lent : any && depth <= p->options.product_depth ? any : product;
    p->stored[step->sums->id] = true;
}

static int later(int a, int b) {
    return a > b ? a : b;
}

// When tensors are alive, by node id; dead ones end before they begin. A whole begins with the first of its
// parts, ends with the last of them, and they with it.
static void find_lives(const plan *plan, life *lives) {
    int count = plan->graph->count;
    for (int i = 0; i < count; i++)
        lives[i] = (life){plan->count, -1};
    for (int s = 0; s < plan->count; s++)
        for (int k = 0; k < plan->steps[s].count; k++) {
            const gn_node *node = plan->steps[s].nodes[k];
            lives[node->id] = plan->steps[s].constant ? (life){0, plan->count} : (life){s, s};
            for (int j = 0; j < input_count(node); j++) {
                life *read = &lives[plan_base(node->input[j])->id];
                read->dies = later(read->dies, s);
            }
        }
    for (int i = 0; i < plan->commit_count; i++)
        lives[plan->commits[i]->id].dies = plan->count;
    for (int i = 0; i < count; i++)
        for (const gn_node *whole = plan->parts[i].whole; whole; whole = plan->parts[whole->id].whole) {
            life *all = &lives[whole->id];
            all->born = lives[i].born < all->born ? lives[i].born : all->born;
            all->dies = later(all->dies, lives[i].dies);
        }
    for (int i = 0; i < count; i++)
        for (const gn_node *whole = plan->parts[i].whole; whole; whole = plan->parts[whole->id].whole)
            lives[i].dies = later(lives[i].dies, lives[whole->id].dies);
}

// Marks what must be in memory.
static void find_stored(planner *p) {
    plan *plan = p->plan;
    for (int i = 0; i < plan->graph->count; i++) {
        gn_node *node = plan->graph->nodes[i];
        for (int j = 0; j < input_count(node) && node->op != OP_RESHAPE; j++) {
            int id = plan_base(node->input[j])->id;
            p->stored[id] |= p->group[id] != p->group[i];
        }
        p->stored[i] |= is_writer(node) && !plan->passing[i];
    }
    for (int s = 0; s < plan->count; s++)
        if (plan->steps[s].form == FORM_MATMUL)
            place_sums(p, &plan->steps[s]);
}

static int list_tenants(planner *p, tenant *tenants) {
    plan *plan = p->plan;
    int nodes = plan->graph->count, count = 0;
    life *lives = gn_calloc((size_t)nodes, sizeof *lives);
    size_t alignment = p->options.alignment;
    find_stored(p);
    find_lives(plan, lives);
    for (int i = 0; i < nodes; i++) {
        gn_node *node = plan->graph->nodes[i];
        size_t padded = (node_bytes(node) + alignment - 1) / alignment * alignment;
        if (p->stored[i] && p->group[i] >= 0 && lives[i].born <= lives[i].dies &&
            !plan_is_in_variable(plan, node))
            tenants[count++] = (tenant){node, padded, lives[i]};
    }
    free(lives);
    return count;
}

// The most bytes that are alive at once; parts count, and what they are part of does not.
static size_t count_live(const plan *plan, const tenant *tenants, int count) {
    bool *has_parts = gn_calloc((size_t)plan->graph->count, sizeof *has_parts);
    size_t most = 0;
    for (int i = 0; i < count; i++) {
        const gn_node *whole = plan->parts[tenants[i].node->id].whole;
        if (whole)
            has_parts[whole->id] = true;
    }
    for (int s = 0; s < plan->count; s++) {
        size_t live = 0;
        for (int i = 0; i < count; i++)
            live += tenants[i].life.born <= s && s <= tenants[i].life.dies && !has_parts[tenants[i].node->id]
                        ? tenants[i].bytes
                        : 0;
        most = live > most ? live : most;
    }
    free(has_parts);
    return most;
}

static int by_size(const void *a, const void *b) {
    const tenant *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? 1 : -1;
    return x->node->id - y->node->id;
}

// May `next` be written where `old` is read for the last time? The step that does both needs of that no more
// than the element at the index at which it writes. Only where tensors lie at the beginning of chunks are the
// two sure to have all their elements in the same places. Not in a step that sums as well: of reduce.cl's
// kernel for GPUs PoCL 3.1 carries out the first work-item of a group twice up to the barriers.
static bool takes_over(const planner *p, const tenant *next, const tenant *old) {
    const plan_step *step = &p->plan->steps[next->life.born];
    if (!p->options.apart || old->life.dies != next->life.born || old->life.born >= next->life.born ||
        node_bytes(old->node) != node_bytes(next->node) || step->form != FORM_POINTWISE)
        return false;
    for (int i = 0; i < step->count; i++)
        if (planner_reads(step->nodes[i], old->node) && op_table[step->nodes[i]->op].form == FORM_BROADCAST)
            return false;
    return true;
}

// May two tenants not share memory? A small one keeps its own where steps run at the same time: else they
// would wait for each other to save a few bytes.
static bool are_together(const planner *p, const tenant *a, const tenant *b) {
    enum { SMALL = 4096 };
    bool small = p->options.concurrent && !p->options.apart && (a->bytes <= SMALL || b->bytes <= SMALL);
    bool meet = a->life.born <= b->life.dies && b->life.born <= a->life.dies;
    return !p->options.reuse || small || (meet && !takes_over(p, a, b) && !takes_over(p, b, a));
}

// The lowest free offset in the chunk for tenant i, among those placed before it, which are in the order of
// theirs; SIZE_MAX where none is.
static size_t find_offset(const planner *p, const tenant *tenants, int i, int chunk) {
    size_t offset = 0;
    for (int j = 0; j < i; j++) {
        placement other = p->plan->places[tenants[j].node->id];
        if (are_together(p, &tenants[i], &tenants[j]) && other.chunk == chunk &&
            other.offset < offset + tenants[i].bytes && offset < other.offset + tenants[j].bytes)
            offset = other.offset + tenants[j].bytes;
    }
    return offset + tenants[i].bytes <= p->options.max_allocation ? offset : SIZE_MAX;
}

// The first chunk with room for tenant i, and where in it.
static placement find_room(const planner *p, const tenant *tenants, int i) {
    int chunk = 0;
    size_t offset = find_offset(p, tenants, i, chunk);
    while (offset == SIZE_MAX && chunk < p->plan->chunk_count)
        offset = find_offset(p, tenants, i, ++chunk);
    // Larger than any buffer can be: the device will say so.
    return (placement){chunk, offset == SIZE_MAX ? 0 : offset};
}

// The smallest chunk that nobody holds who is alive with tenant i, or a new one. The last is the smallest,
// since the largest tenants come first.
static placement find_chunk(const planner *p, const tenant *tenants, int i) {
    int chunk = p->plan->chunk_count - 1;
    for (int j = 0; j < i && chunk >= 0; j++)
        if (p->plan->places[tenants[j].node->id].chunk == chunk &&
            are_together(p, &tenants[i], &tenants[j])) {
            chunk--;
            j = -1; // against all again
        }
    return (placement){chunk < 0 ? p->plan->chunk_count : chunk, 0};
}

// Puts tenant i among those placed before it, in the order of the offsets.
static void insert_placed(const plan *plan, tenant *tenants, int i) {
    tenant placed = tenants[i];
    size_t offset = plan->places[placed.node->id].offset;
    for (; i > 0 && plan->places[tenants[i - 1].node->id].offset > offset; i--)
        tenants[i] = tenants[i - 1];
    tenants[i] = placed;
}

static placement place_of_part(const plan *plan, int id) {
    size_t offset = 0;
    for (; plan->parts[id].whole; id = plan->parts[id].whole->id)
        offset += plan->parts[id].offset;
    return (placement){plan->places[id].chunk, plan->places[id].offset + offset};
}

// Largest first, each at the lowest offset that nobody alive with it holds, or in the smallest chunk: the
// greedy heuristics "by size", for offsets and for shared objects, of Pisarchyk and Lee 2020
// (arXiv:2001.03288). Chunks cannot take less than the largest tensor, the second largest, and so on, that is
// alive at any time: in dcgan's step they take 1.26 times what is alive at once.
static void place(planner *p) {
    plan *plan = p->plan;
    gn_graph *graph = plan->graph;
    size_t nodes = (size_t)graph->count;
    p->stored = gn_calloc(nodes, sizeof(bool));
    plan->places = gn_calloc(nodes, sizeof(placement));
    plan->passing = gn_calloc(nodes, sizeof(bool));
    plan->commits = gn_calloc(nodes, sizeof(gn_node *));
    tenant *tenants = gn_calloc(nodes, sizeof(tenant));
    for (int i = 0; i < graph->count; i++) {
        plan->places[i].chunk = -1;
        gn_node *node = graph->nodes[i];
        if (!is_writer(node))
            continue;
        if (is_staged(p, node) && is_newest_version(graph, node))
            plan->commits[plan->commit_count++] = node;
        if (!is_staged(p, node) && node->previous && p->group[node->previous->id] == p->group[node->id])
            plan->passing[node->previous->id] = true;
    }
    int count = list_tenants(p, tenants), wholes = 0;
    plan->live_bytes = count_live(plan, tenants, count);
    for (int i = 0; i < count; i++)
        if (!plan->parts[tenants[i].node->id].whole)
            tenants[wholes++] = tenants[i];
    qsort(tenants, (size_t)wholes, sizeof *tenants, by_size);
    plan->chunks = gn_calloc((size_t)wholes + 1, sizeof(size_t));
    for (int i = 0; i < wholes; i++) {
        placement at = p->options.apart ? find_chunk(p, tenants, i) : find_room(p, tenants, i);
        plan->places[tenants[i].node->id] = at;
        if (plan->chunks[at.chunk] < at.offset + tenants[i].bytes)
            plan->chunks[at.chunk] = at.offset + tenants[i].bytes;
        insert_placed(plan, tenants, i);
        if (plan->chunk_count <= at.chunk)
            plan->chunk_count = at.chunk + 1;
    }
    for (int i = 0; i < graph->count; i++)
        if (plan->parts[i].whole)
            plan->places[i] = place_of_part(plan, i);
    free(tenants);
}

bool plan_is_stored(const plan *plan, const gn_node *node) {
    return plan->places[node->id].chunk >= 0 || plan_is_in_variable(plan, node);
}

bool plan_is_in_variable(const plan *plan, const gn_node *node) {
    bool staged = false;
    for (int i = 0; i < plan->commit_count; i++)
        staged |= plan->commits[i]->variable == node->variable;
    return node->op == OP_VARIABLE || node->op == OP_RECORD ||
           (node->op == OP_ASSIGN && !staged && !plan->passing[node->id]);
}

size_t plan_arena_bytes(const plan *plan) {
    size_t bytes = 0;
    for (int i = 0; i < plan->chunk_count; i++)
        bytes += plan->chunks[i];
    return bytes;
}

plan *plan_new(const gn_graph *graph, plan_options options) {
    planner p = {.plan = gn_calloc(1, sizeof(plan)), .options = options};
    gn_graph *merged = options.common ? planner_merge_equal(graph) : NULL;
    copy_needed(&p, merged ? merged : graph);
    gn_graph_free(merged);
    drop_unneeded(p.plan->graph);
    if (options.fuse && planner_has_parts(&p))
        planner_cut(&p);
    order_state(&p);
    planner_fuse(&p);
    planner_recompute(&p);
    schedule(&p);
    find_constants(p.plan);
    p.plan->parts = gn_calloc((size_t)p.plan->graph->count + 1, sizeof(part));
    if (planner_has_parts(&p))
        planner_place_parts(&p);
    place(&p);
    planner_find_waits(&p);
    free(p.sums);
    free(p.edges);
    free(p.edges_to);
    free(p.group);
    free(p.next);
    free(p.first);
    free(p.last);
    free(p.columns);
    free(p.visited);
    free(p.stored);
    return p.plan;
}

void plan_free(plan *plan) {
    if (!plan)
        return;
    for (int i = 0; i < plan->count; i++) {
        free(plan->steps[i].nodes);
        free(plan->steps[i].waits);
    }
    free(plan->steps);
    free(plan->places);
    free(plan->passing);
    free(plan->parts);
    free(plan->chunks);
    free(plan->commits);
    gn_graph_free(plan->graph);
    free(plan);
}
