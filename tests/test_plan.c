// Plans without a device: a plan is looked at, and carried out on host memory exactly as it says.
//
// The machine below runs a plan's steps, every tensor at the place that the plan gives it, in the arena or in
// its variable, blocks of elements from the last to the first. The steps come in their order, or in the most
// contrary one that what they wait for allows. It computes by the reference's own arithmetic, so what its
// variables hold in the end must be equal to the reference's to the last bit: a wrong order, two tensors in
// one place or an update in place that comes too early gives another number.
#include "graph/plan.h"
#include "graph/reference.h"
#include "graph_fixture.h"
#include "test.h"
#include "train/session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// ---- A machine that carries out a plan ---------------------------------------------------------------

enum { MAX_VARIABLES = 256 };

typedef struct {
    const plan *plan;
    double **chunks; // of the arena: a double for every four bytes
    const gn_variable *variables[MAX_VARIABLES];
    double *held[MAX_VARIABLES]; // what they hold
    int count;
    bool *computed; // by node id: in this run or, of constants, in the first
    bool has_run;
} machine;

static double *variable_memory(const machine *m, const gn_variable *variable) {
    int i = 0;
    while (m->variables[i] != variable)
        i++;
    return m->held[i];
}

static machine machine_new(const plan *plan) {
    machine m = {.plan = plan};
    m.chunks = gn_calloc((size_t)plan->chunk_count + 1, sizeof *m.chunks);
    for (int i = 0; i < plan->chunk_count; i++)
        m.chunks[i] = gn_calloc(plan->chunks[i] / 4 + 1, sizeof(double));
    m.computed = gn_calloc((size_t)plan->graph->count, sizeof *m.computed);
    for (gn_variable *v = gn_state_next(plan->graph->state, NULL); v;
         v = gn_state_next(plan->graph->state, v)) {
        REQUIRE(m.count < MAX_VARIABLES, "more than %d variables", MAX_VARIABLES);
        size_t size = gn_shape_count(v->shape);
        double *held = gn_calloc(size, sizeof *held);
        for (size_t i = 0; i < size; i++)
            held[i] = v->type == GN_F32   ? (double)((float *)v->values)[i]
                      : v->type == GN_I32 ? ((int32_t *)v->values)[i]
                                          : ((uint8_t *)v->values)[i];
        m.variables[m.count] = v;
        m.held[m.count++] = held;
    }
    return m;
}

static void machine_free(machine *m) {
    for (int i = 0; i < m->plan->chunk_count; i++)
        free(m->chunks[i]);
    for (int i = 0; i < m->count; i++)
        free(m->held[i]);
    free(m->chunks);
    free(m->computed);
}

// Where a node's elements lie. In the arena four bytes share a double, as digits of its integer.
typedef struct {
    double *memory;
    bool packed;
} place;

static place place_of(const machine *m, gn_node *node) {
    placement at = m->plan->places[node->id];
    bool in_variable = plan_is_in_variable(m->plan, node);
    double *memory = in_variable     ? variable_memory(m, node->variable)
                     : at.chunk >= 0 ? m->chunks[at.chunk] + at.offset / 4
                                     : NULL;
    REQUIRE(memory, "%s %d has no place", op_table[node->op].name, node->id);
    return (place){memory, !in_variable && node->type == GN_U8};
}

static double get(place from, size_t i) {
    return from.packed ? (double)((uint64_t)from.memory[i / 4] >> i % 4 * 8 & 255) : from.memory[i];
}

static void set(place to, size_t i, double value) {
    if (to.packed) {
        uint64_t old = isnan(to.memory[i / 4]) ? 0 : (uint64_t)to.memory[i / 4], shift = i % 4 * 8;
        to.memory[i / 4] = (double)((old & ~((uint64_t)255 << shift)) | (uint64_t)value << shift);
    } else
        to.memory[i] = value;
}

// An input as a step sees it: a number, the value of a node of the same step, or memory.
typedef struct {
    bool is_number;
    double number;
    int in_step; // index of the node in the step, else -1
    place place;
    const gn_node *broadcast; // whose index decides what is read; else NULL
} operand;

static bool is_in_step(const plan *plan, const gn_node *node) {
    for (int s = 0; s < plan->count; s++)
        if (plan_step_has(&plan->steps[s], node))
            return true;
    return false;
}

// Is the node rows of another, which are read where they lie?
static bool are_rows(const plan *plan, const gn_node *node) {
    return node->op == OP_SLICE && plan->parts[node->id].whole && !is_in_step(plan, node);
}

static bool is_computed(const machine *m, const gn_node *node) {
    int parts = 0;
    if (node->op == OP_VARIABLE || m->computed[node->id])
        return true;
    if (are_rows(m->plan, node))
        return is_computed(m, m->plan->parts[node->id].whole);
    for (int i = 0; i < m->plan->graph->count; i++)
        if (m->plan->parts[i].whole == node && !are_rows(m->plan, m->plan->graph->nodes[i])) {
            if (!is_computed(m, m->plan->graph->nodes[i]))
                return false;
            parts++;
        }
    return parts > 0;
}

static operand operand_of(const machine *m, const plan_step *step, const gn_node *node, int which) {
    gn_node *base = plan_base(node->input[which]);
    if (base->op == OP_CONSTANT)
        return (operand){.in_step = -1, .is_number = true, .number = base->number[0]};
    for (int i = 0; i < step->count; i++)
        if (step->nodes[i] == base) {
            REQUIRE(op_table[node->op].form != FORM_BROADCAST || step->form == FORM_COLUMNS,
                    "a broadcast of what its own step computes");
            return (operand){.in_step = i};
        }
    REQUIRE(is_computed(m, base), "%s %d runs before its input %s %d", op_table[node->op].name, node->id,
            op_table[base->op].name, base->id);
    return (operand){.in_step = -1,
                     .place = place_of(m, base),
                     .broadcast = op_table[node->op].form == FORM_BROADCAST ? node : NULL};
}

// Where element i of a broadcast comes from.
static size_t broadcast_source(const gn_node *broadcast, size_t i) {
    const gn_shape *to = &broadcast->shape, *from = &broadcast->input[0]->shape;
    size_t source = 0, below = 1;
    for (int axis = to->dims - 1; axis >= 0; axis--) {
        source += from->size[axis] > 1 ? i % (size_t)to->size[axis] * below : 0;
        i /= (size_t)to->size[axis];
        below *= (size_t)from->size[axis];
    }
    return source;
}

// What a broadcast, a slice or a pad has as element i.
static double get_elsewhere(place from, const gn_node *node, size_t i) {
    if (node->op == OP_BROADCAST)
        return get(from, broadcast_source(node, i));
    int last = node->shape.dims - 1;
    size_t width = (size_t)node->shape.size[last], of_input = (size_t)node->input[0]->shape.size[last];
    size_t first = (size_t)node->integer[0], row = i / width, column = i % width;
    if (node->op == OP_SLICE)
        return get(from, row * of_input + column + first);
    return column >= first && column < first + of_input ? get(from, row * of_input + column - first) : 0;
}

static void load(const operand *from, double *const *values, size_t first, size_t count, double *out) {
    if (from->in_step >= 0)
        memcpy(out, values[from->in_step], count * sizeof *out);
    else if (from->is_number)
        for (size_t i = 0; i < count; i++)
            out[i] = from->number;
    else if (!from->broadcast && !from->place.packed)
        memcpy(out, from->place.memory + first, count * sizeof *out);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = from->broadcast ? get_elsewhere(from->place, from->broadcast, first + i)
                                     : get(from->place, first + i);
}

static void store(place to, size_t first, size_t count, const double *values) {
    if (!to.packed)
        memcpy(to.memory + first, values, count * sizeof *values);
    for (size_t i = 0; to.packed && i < count; i++)
        set(to, first + i, values[i]);
}

// Elements [first, first + count) of a product, a row's after each other, from what its operands hold by now:
// a step must not have written to them.
static void compute_product(const gn_node *node, const operand operands[2], size_t first, size_t count,
                            double *sums) {
    bool ta = node->integer[0], tb = node->integer[1];
    size_t m = (size_t)node->shape.size[0], n = (size_t)node->shape.size[1];
    size_t k = gn_shape_count(node->input[0]->shape) / m;
    const double *a = operands[0].place.memory,
                 *b = operands[1].place.memory; // of floats, which are not packed
    memset(sums, 0, count * sizeof *sums);
    for (size_t e = first, end; e < first + count; e = end) {
        size_t row = e / n, column = e % n;
        end = (row + 1) * n < first + count ? (row + 1) * n : first + count;
        for (size_t l = 0; l < k; l++) {
            double factor = a[ta ? l * m + row : row * k + l];
            const double *other = tb ? b + column * k + l : b + l * n + column;
            for (size_t i = 0; i < end - e; i++)
                sums[e - first + i] += factor * other[tb ? i * k : i];
        }
    }
}

// The nodes of a step at the elements [first, first + count): values[k] gets those of node k.
static void compute_block(const plan_step *step, int nodes, operand (*operands)[MAX_INPUTS], double **values,
                          size_t first, size_t count, double (*inputs)[MAX_INPUTS]) {
    for (int k = 0; k < nodes; k++) {
        gn_node node = *step->nodes[k];
        if (node.op == OP_MATMUL) {
            compute_product(&node, operands[k], first, count, values[k]);
            continue;
        }
        const double *in[MAX_INPUTS] = {NULL};
        for (int j = 0; j < op_table[node.op].inputs; j++) {
            load(&operands[k][j], values, first, count, (double *)inputs + (size_t)j * count);
            in[j] = (double *)inputs + (size_t)j * count;
        }
        node.op = op_table[node.op].form == FORM_BROADCAST ? OP_COPY : node.op; // load() has done it
        node.shape = gn_shape_of(1, (int)count);
        reference_evaluate(&node, in, NULL, values[k]);
    }
}

static void spoil(place place, size_t count) {
    for (size_t i = 0; i < (place.packed ? (count + 3) / 4 : count); i++)
        place.memory[i] = NAN;
}

enum { COLUMNS = 2, DEPTH = 3 }; // of products, see plan_options

// What a product's step promises to a kernel that makes COLUMNS columns at once, and DEPTH terms.
static void check_product(const machine *m, const plan_step *step) {
    const gn_node *product = step->nodes[0];
    for (int k = 1; k < step->count; k++) {
        gn_node *node = step->nodes[k];
        bool elsewhere = op_table[node->op].form == FORM_BROADCAST;
        REQUIRE(op_table[node->op].form == FORM_POINTWISE || elsewhere, "%s in an epilogue",
                op_table[node->op].name);
        REQUIRE(!elsewhere || broadcast_node_run(node) % COLUMNS == 0,
                "a broadcast that changes within a vector");
        REQUIRE(gn_shape_count(node->shape) == gn_shape_count(product->shape), "another size");
    }
    REQUIRE(step->count == 1 || product->shape.size[1] % COLUMNS == 0, "an odd number of columns");
    REQUIRE(gn_shape_count(step->sums->shape) == gn_shape_count(product->shape) &&
                step->sums->type == GN_F32 && plan_step_has(step, step->sums) &&
                plan_is_stored(m->plan, step->sums),
            "no place for the sums");
    if (product->input[0]->shape.size[!product->integer[0]] > DEPTH) {
        REQUIRE(!plan_is_in_variable(m->plan, step->sums), "unfinished sums in a variable");
        spoil(place_of(m, step->sums), gn_shape_count(product->shape));
    }
}

// A fused step, block after block from the last to the first, as work-items may run in any order. Within a
// block everything is loaded before anything is stored.
static void run_fused(machine *m, const plan_step *step) {
    gn_node *last = step->nodes[step->count - 1];
    int sums = plan_step_sums(step), nodes = step->count - sums;
    size_t total = gn_shape_count(sums ? last->input[0]->shape : last->shape), block = total / 50 + 1;
    operand(*operands)[MAX_INPUTS] = gn_calloc((size_t)step->count, sizeof *operands);
    double **values = gn_calloc((size_t)step->count, sizeof *values);
    double(*inputs)[MAX_INPUTS] = gn_calloc(block, sizeof *inputs);
    if (step->form == FORM_MATMUL)
        check_product(m, step);
    for (int k = 0; k < step->count; k++) {
        values[k] = gn_calloc(k < nodes ? block : total, sizeof(double)); // of a sum, its terms
        for (int j = 0; j < op_table[step->nodes[k]->op].inputs; j++)
            operands[k][j] = operand_of(m, step, step->nodes[k], j);
    }
    for (size_t end = total; end > 0;) {
        size_t first = (end - 1) / block * block;
        compute_block(step, nodes, operands, values, first, end - first, inputs);
        for (int k = nodes; k < step->count; k++)
            load(&operands[k][0], values, first, end - first, values[k] + first);
        for (int k = 0; k < nodes; k++)
            if (plan_is_stored(m->plan, step->nodes[k]))
                store(place_of(m, step->nodes[k]), first, end - first, values[k]);
        end = first;
    }
    for (int k = nodes; k < step->count; k++) {
        size_t count = gn_shape_count(step->nodes[k]->shape);
        double *sum = gn_calloc(count, sizeof *sum);
        REQUIRE(step->nodes[k]->op == OP_SUM && gn_shape_count(step->nodes[k]->input[0]->shape) == total,
                "sums of several sizes, or before what they add up");
        reference_evaluate(step->nodes[k], (const double *[MAX_INPUTS]){values[k]}, NULL, sum);
        store(place_of(m, step->nodes[k]), 0, count, sum);
        free(sum);
    }
    for (int k = 0; k < step->count; k++)
        free(values[k]);
    free(operands);
    free(values);
    free(inputs);
}

// What a step of columns promises: a column is made from itself, from memory that the step does not write,
// and from its own elements of variables that the step assigns to.
static void check_columns(const plan_step *step, sum_loops loops) {
    size_t width = (size_t)loops.inner, all = width * (size_t)loops.run;
    REQUIRE(loops.outer == 1, "sums that are not over rows");
    for (int k = 0; k < step->count; k++) {
        const gn_node *node = step->nodes[k];
        size_t count = gn_shape_count(node->shape);
        sum_loops own = node->op == OP_SUM ? sum_node_loops(node) : loops;
        REQUIRE(own.outer == 1 && own.run == loops.run && own.inner == loops.inner, "sums of several sizes");
        REQUIRE(count == width || count == all, "%s of another size", op_table[node->op].name);
        REQUIRE(node->op != OP_ASSIGN || count == width, "rows are assigned to");
        REQUIRE(node->op != OP_SLICE && node->op != OP_PAD, "neighbours are read");
    }
}

// Column after column, from the last to the first; what it has is stored when all of it is known.
static void run_columns(machine *m, const plan_step *step) {
    sum_loops loops = plan_step_loops(step);
    size_t width = (size_t)loops.inner, rows = (size_t)loops.run;
    double **values = gn_calloc((size_t)step->count, sizeof *values);
    double *inputs[MAX_INPUTS];
    check_columns(step, loops);
    for (int k = 0; k < step->count; k++)
        values[k] = gn_calloc(rows, sizeof(double));
    for (int j = 0; j < MAX_INPUTS; j++)
        inputs[j] = gn_calloc(rows, sizeof(double));
    for (size_t column = width; column-- > 0;) {
        for (int k = 0; k < step->count; k++) {
            gn_node node = *step->nodes[k], terms = {.shape = gn_shape_of(2, (int)rows, 1)};
            size_t count = node.op == OP_SUM ? rows : gn_shape_count(node.shape) / width;
            for (int j = 0; j < op_table[node.op].inputs; j++) {
                operand from = operand_of(m, step, &node, j);
                bool repeated = from.in_step >= 0 && node.op == OP_BROADCAST &&
                                gn_shape_count(node.input[j]->shape) == width;
                REQUIRE(!repeated || count == 1 || broadcast_source(&node, width + column) == column,
                        "a column reads another");
                for (size_t r = 0; r < count; r++)
                    if (from.in_step >= 0)
                        inputs[j][r] = values[from.in_step][repeated ? 0 : r];
                    else
                        load(&from, NULL, r * width + column, 1, &inputs[j][r]);
            }
            node.op = node.op == OP_BROADCAST ? OP_COPY : node.op;
            node.shape = gn_shape_of(2, node.op == OP_SUM ? 1 : (int)count, 1);
            node.input[0] = node.op == OP_SUM ? &terms : node.input[0];
            reference_evaluate(&node, (const double *const *)inputs, NULL, values[k]);
        }
        for (int k = 0; k < step->count; k++)
            for (size_t r = 0; r < gn_shape_count(step->nodes[k]->shape) / width; r++)
                if (plan_is_stored(m->plan, step->nodes[k]))
                    store(place_of(m, step->nodes[k]), r * width + column, 1, &values[k][r]);
    }
    for (int k = 0; k < step->count; k++)
        free(values[k]);
    for (int j = 0; j < MAX_INPUTS; j++)
        free(inputs[j]);
    free(values);
}

// A step of one node with a kernel of its own.
static void run_kernel(machine *m, const plan_step *step) {
    gn_node *node = step->nodes[0];
    REQUIRE(step->count == 1, "a kernel of its own for %d nodes", step->count);
    double *in[MAX_INPUTS] = {NULL};
    for (int j = 0; j < op_table[node->op].inputs; j++) {
        operand from = operand_of(m, step, node, j);
        REQUIRE(from.place.memory, "%s reads a constant, which has no memory", op_table[node->op].name);
        size_t count = gn_shape_count(node->input[j]->shape);
        in[j] = gn_calloc(count, sizeof(double));
        for (size_t i = 0; i < count; i++)
            in[j][i] = get(from.place, i);
    }
    if (node->op == OP_RECORD && in[0] && in[1]) { // writes one element; the rest of the log is there already
        int row = (int)in[0][0] % node->shape.size[0], at = row * node->shape.size[1] + node->integer[0];
        store(place_of(m, node), (size_t)at, 1, in[1]);
    } else {
        double *out = gn_calloc(gn_shape_count(node->shape), sizeof *out);
        reference_evaluate(node, (const double *const *)in, NULL, out);
        store(place_of(m, node), 0, gn_shape_count(node->shape), out);
        free(out);
    }
    for (int j = 0; j < MAX_INPUTS; j++)
        free(in[j]);
}

// May the step start, after those that have ended?
static bool may_start(const plan_step *step, const bool *ended) {
    for (int i = 0; i < step->wait_count; i++)
        if (!ended[step->waits[i]])
            return false;
    return true;
}

// The first step that has not ended; contrary: the last of those that may start.
static int next_step(const plan *plan, const bool *ended, bool contrary) {
    int s = contrary ? plan->count - 1 : 0;
    while (ended[s] || (contrary && !may_start(&plan->steps[s], ended)))
        s += contrary ? -1 : 1;
    return s;
}

// Is the node written where the step reads something?
static bool takes_over(const plan *plan, const plan_step *step, const gn_node *node) {
    for (int k = 0; k < step->count; k++)
        for (int j = 0; j < op_table[step->nodes[k]->op].inputs; j++) {
            const gn_node *base = plan_base(step->nodes[k]->input[j]);
            if (!plan_step_has(step, base) && plan->places[base->id].chunk == plan->places[node->id].chunk &&
                plan->places[base->id].offset == plan->places[node->id].offset)
                return true;
        }
    return false;
}

static void run_step(machine *m, const plan_step *step) {
    for (int k = 0; k < step->count; k++)
        if (m->plan->places[step->nodes[k]->id].chunk >= 0 && !takes_over(m->plan, step, step->nodes[k]))
            spoil(place_of(m, step->nodes[k]), gn_shape_count(step->nodes[k]->shape));
    if (step->form == FORM_POINTWISE || step->form == FORM_SUM || step->form == FORM_MATMUL)
        run_fused(m, step);
    else if (step->form == FORM_COLUMNS)
        run_columns(m, step);
    else
        run_kernel(m, step);
    for (int k = 0; k < step->count; k++)
        m->computed[step->nodes[k]->id] = true;
}

// Before the first run the constants are computed, and nothing else is there yet.
static void machine_run(machine *m, bool contrary) {
    const plan *plan = m->plan;
    bool *ended = gn_calloc((size_t)plan->count + 1, sizeof *ended);
    int left = plan->count;
    for (int s = 0; s < plan->count; s++) {
        const plan_step *step = &plan->steps[s];
        for (int k = 0; k < step->count; k++)
            m->computed[step->nodes[k]->id] &= step->constant;
        if (step->constant && !m->has_run)
            run_step(m, step);
        ended[s] = step->constant;
        left -= step->constant;
    }
    for (; left > 0; left--) {
        int s = next_step(plan, ended, contrary);
        ended[s] = true;
        run_step(m, &plan->steps[s]);
    }
    free(ended);
    m->has_run = true;
    for (int i = 0; i < plan->commit_count; i++) {
        gn_node *node = plan->commits[i];
        memcpy(variable_memory(m, node->variable), place_of(m, node).memory,
               gn_shape_count(node->shape) * sizeof(double)); // never bytes
    }
}

// ---- What must hold for every plan -------------------------------------------------------------------

// May one tensor, where each lies at the beginning of a buffer, be written over another as that is read for
// the last time? Whether at the same index shows when the plan runs.
static bool may_take_over(const plan *plan, plan_options options, int born, int old_born, int old_dies) {
    return options.apart && old_dies == born && old_born < born && plan->steps[born].form == FORM_POINTWISE;
}

// Tensors that are alive together lie apart, aligned and inside the arena. Returns the most bytes alive at
// once.
static size_t check_places(const plan *plan, plan_options options) {
    int count = plan->graph->count;
    int *born = gn_calloc((size_t)count, sizeof *born), *dies = gn_calloc((size_t)count, sizeof *dies);
    for (int s = 0; s < plan->count; s++)
        for (int k = 0; k < plan->steps[s].count; k++) {
            gn_node *node = plan->steps[s].nodes[k];
            born[node->id] = dies[node->id] = s;
            for (int j = 0; j < op_table[node->op].inputs; j++)
                dies[plan_base(node->input[j])->id] = s;
        }
    for (int i = 0; i < plan->commit_count; i++)
        dies[plan->commits[i]->id] = plan->count;
    for (int s = 0; s < plan->count; s++)
        for (int k = 0; k < plan->steps[s].count && plan->steps[s].constant; k++) {
            born[plan->steps[s].nodes[k]->id] = 0;
            dies[plan->steps[s].nodes[k]->id] = plan->count;
        }

    bool *has_parts = gn_calloc((size_t)count, sizeof *has_parts);
    bool *rows = gn_calloc((size_t)count, sizeof *rows);
    for (int i = 0; i < count; i++) {
        rows[i] = are_rows(plan, plan->graph->nodes[i]);
        for (const gn_node *whole = plan->parts[i].whole; whole; whole = plan->parts[whole->id].whole)
            dies[whole->id] = dies[whole->id] > dies[i] ? dies[whole->id] : dies[i];
        if (plan->parts[i].whole && !rows[i])
            has_parts[plan->parts[i].whole->id] = true;
    }
    for (int i = 0; i < count; i++)
        for (const gn_node *whole = plan->parts[i].whole; whole; whole = plan->parts[whole->id].whole)
            dies[i] = dies[whole->id] > dies[i] ? dies[whole->id] : dies[i];

    size_t *live = gn_calloc((size_t)plan->count + 1, sizeof *live), most = 0;
    for (int i = 0; i < count; i++) {
        const gn_node *node = plan->graph->nodes[i];
        placement a = plan->places[i];
        if (a.chunk < 0 || has_parts[i]) // the parts are looked at
            continue;
        size_t bytes = node_bytes(node);
        if (rows[i]) {
            part in = plan->parts[i];
            placement all = plan->places[in.whole->id];
            REQUIRE(a.chunk == all.chunk && a.offset == all.offset + in.offset &&
                        in.offset + bytes <= node_bytes(in.whole) && a.offset % options.alignment == 0,
                    "rows %d are not where they lie", i);
            continue;
        }
        size_t padded = (bytes + options.alignment - 1) / options.alignment * options.alignment;
        REQUIRE(a.offset % options.alignment == 0, "offset %zu is not aligned", a.offset);
        REQUIRE(!options.apart || a.offset == 0, "node %d lies behind another", i);
        REQUIRE(a.chunk < plan->chunk_count && a.offset + padded <= plan->chunks[a.chunk],
                "node %d is outside", i);
        for (int s = born[i]; s <= dies[i]; s++)
            live[s] += padded;
        for (int j = 0; j < i; j++) {
            const gn_node *other = plan->graph->nodes[j];
            placement b = plan->places[j];
            size_t other_bytes = node_bytes(other);
            bool meet = born[i] <= dies[j] && born[j] <= dies[i] &&
                        !may_take_over(plan, options, born[i], born[j], dies[j]) &&
                        !may_take_over(plan, options, born[j], born[i], dies[i]);
            bool together = !has_parts[j] && !rows[j] && (!options.reuse || meet);
            REQUIRE(
                a.chunk != b.chunk || !together ||
                    (!options.apart && (a.offset >= b.offset + other_bytes || b.offset >= a.offset + bytes)),
                "nodes %d and %d are alive together in one place", i, j);
        }
    }
    for (int s = 0; s <= plan->count; s++)
        most = live[s] > most ? live[s] : most;
    ck_assert_uint_eq(plan->live_bytes, most);
    if (!options.apart)
        ck_assert_uint_ge(plan_arena_bytes(plan), most);
    for (int i = 0; i < plan->chunk_count; i++)
        ck_assert_uint_le(plan->chunks[i], options.max_allocation);
    free(has_parts);
    free(rows);
    free(born);
    free(dies);
    free(live);
    return most;
}

// Bit by bit: fuse, reuse, in place, split, epilogue (with updates), columns, linear, apart, passes, concat,
// recompute, common, pieces.
static plan_options options_of(int bits) {
    return (plan_options){.fuse = bits & 1,
                          .reuse = bits & 2,
                          .in_place = bits & 4,
                          .split = bits & 8,
                          .epilogue = bits & 16,
                          .columns = bits & 32,
                          .linear = bits & 64,
                          .apart = bits & 128,
                          .passes = bits & 256,
                          .concat = bits & 512,
                          .recompute = bits & 1024,
                          .common = bits & 2048,
                          .product_columns = COLUMNS,
                          .product_depth = DEPTH,
                          .product_updates = true,
                          .alignment = 128,
                          .max_allocation = SIZE_MAX,
                          .piece_bytes = bits & 4096 ? 1400 : SIZE_MAX};
}

static double largest_error;    // of this test
static double rounding = 1e-12; // what it may be, where sums are split, or made of others

static double largest_of(const double *values, size_t count) {
    double largest = 1e-6;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(values[i]));
    return largest;
}

// What a variable holds must equal what it should, to an error relative to its largest element; a
// gradient may be nothing but rounding, as of a bias before a batch norm.
static void check_variable(const gn_variable *v, const double *is, const double *should, double error,
                           const char *where) {
    double largest = 0; // is looked for where it is needed
    size_t count = gn_shape_count(v->shape);
    for (size_t i = 0; i < count; i++) {
        REQUIRE(isfinite(should[i]), "%s: %s becomes %g", where, v->name, should[i]);
        if (is[i] == should[i])
            continue;
        largest = largest > 0 ? largest : largest_of(should, count);
        double off = fabs(is[i] - should[i]) / largest;
        REQUIRE(off <= error, "%s: element %zu of %s is %.17g, not %.17g", where, i, v->name, is[i],
                should[i]);
        largest_error = fmax(largest_error, off);
    }
}

// What the variables of a graph hold after a run of a machine must be what the reference says.
static void check_variables(const machine *m, reference *truth, gn_graph *graph, double error,
                            const char *where) {
    for (int i = 0; i < graph->count; i++) {
        gn_variable *v = graph->nodes[i]->variable;
        if (v && gn_read(graph, v) == graph->nodes[i]) // each variable once
            check_variable(v, variable_memory(m, v), reference_variable(truth, v), error, where);
    }
}

// A plan of the graph, with options_of(bits), gives the reference's numbers, truth[run] after each run, in
// both orders: to the last bit; or, where sums are split or products combined or cut, to rounding.
static void check_plan(gn_graph *graph, const char *what, int seed, int bits, reference *const *truth,
                       int runs) {
    plan_options options = options_of(bits);
    options.alignment = bits & 512 ? 4 : 128; // a concatenation's second part begins anywhere
    int before = graph->count;
    plan *plan = plan_new(graph, options);
    ck_assert_int_eq(graph->count, before);
    check_places(plan, options);
    for (int contrary = 0; contrary < 2; contrary++) {
        machine m = machine_new(plan);
        for (int run = 0; run < runs; run++) {
            char where[80];
            snprintf(where, sizeof where, "%s %d, options_of(%d), run %d, contrary %d", what, seed, bits, run,
                     contrary);
            machine_run(&m, contrary);
            bool rounds = options.split || options.linear || options.piece_bytes < SIZE_MAX;
            check_variables(&m, truth[run], graph, rounds ? rounding : 0, where);
        }
        machine_free(&m);
    }
    plan_free(plan);
}

// The bits first, first + stride, ... last of options_of(). A list ends with a stride of zero.
typedef struct {
    int first, stride, last;
} option_range;

// Checks plans with each of these options. `what` and `seed` name the graph.
static void check_options(gn_graph *graph, const char *what, int seed, int runs, const option_range *ranges) {
    reference *truth[4]; // after one run, after two, ...
    REQUIRE(runs <= 4, "%d runs", runs);
    for (int run = 0; run < runs; run++) {
        truth[run] = reference_new(graph);
        for (int i = 0; i <= run; i++)
            reference_run(truth[run]);
    }
    for (; ranges->stride; ranges++)
        for (int bits = ranges->first; bits <= ranges->last; bits += ranges->stride)
            check_plan(graph, what, seed, bits, truth, runs);
    for (int run = 0; run < runs; run++)
        reference_free(truth[run]);
}

static void check_plans(gn_graph *graph, const char *what, int seed, int runs) {
    static const option_range all[] = {
        {0, 1, 7},      {17, 2, 23},     {33, 2, 39},      {257, 2, 263},   {513, 2, 519},    {823, 64, 887},
        {439, 64, 503}, {1025, 2, 1031}, {1847, 64, 1911}, {2049, 2, 2055}, {3895, 64, 3959}, {0},
    };
    check_options(graph, what, seed, runs, all);
}

static int count_nodes(const plan *plan, op_kind op) {
    int count = 0;
    for (int s = 0; s < plan->count; s++)
        for (int k = 0; k < plan->steps[s].count; k++)
            count += plan->steps[s].nodes[k]->op == op;
    return count;
}

// ---- Graphs to plan ----------------------------------------------------------------------------------

static void setup(void) {
    start_graph(5);
}

static gn_variable *variable(const char *name, gn_shape shape) {
    float *values = gn_calloc(gn_shape_count(shape), sizeof *values);
    gn_draw_uniform(5, name, 0, values, gn_shape_count(shape));
    gn_variable *v = gn_state_add(state, name, GN_F32, shape, values);
    free(values);
    return v;
}

// Keeps the node's value in a new variable.
static void keep(gn_node *node) {
    char name[32];
    snprintf(name, sizeof name, "kept %d", graph->count);
    gn_assign(graph, variable(name, node->shape), node);
}

static int copies_in_place(bool fuse) {
    plan *plan = plan_new(graph, options_of(6 + fuse));
    int copies = count_nodes(plan, OP_COPY);
    plan_free(plan);
    return copies;
}

static int steps_of(int bits) {
    plan *plan = plan_new(graph, options_of(bits));
    int count = plan->count;
    plan_free(plan);
    return count;
}

// ---- What is scheduled -------------------------------------------------------------------------------

START_TEST(nothing_to_do) {
    gn_exp(gn_read(graph, variable("x", gn_shape_of(1, 4))));
    ck_assert_int_eq(steps_of(7), 0);
    check_plans(graph, "nothing", 0, 2);
}
END_TEST

START_TEST(dead_code_is_left_out) {
    gn_node *x = gn_read(graph, variable("x", gn_shape_of(2, 4, 4))), *w[2], *gradient[2];
    w[0] = gn_read(graph, variable("w0", gn_shape_of(2, 4, 4)));
    w[1] = gn_read(graph, variable("w1", gn_shape_of(2, 4, 4)));
    gn_node *y = gn_matmul(gn_tanh(gn_matmul(x, w[0])), w[1]);
    gn_grad(gn_mean(gn_square(y)), w, 2, gradient);
    gn_exp(y);
    keep(gradient[0]);
    plan *plan = plan_new(graph, options_of(0));
    ck_assert_int_eq(count_nodes(plan, OP_EXP), 0);
    ck_assert_int_eq(count_nodes(plan, OP_SUM), 0);    // the loss itself is not asked for
    ck_assert_int_eq(count_nodes(plan, OP_MATMUL), 4); // 2 forward; by the hidden layer and w0, not x or w1
    plan_free(plan);
    check_plans(graph, "dead code", 0, 2);
}
END_TEST

START_TEST(fusing_saves_steps) {
    gn_node *a = gn_read(graph, variable("a", gn_shape_of(2, 5, 7))),
            *row = gn_read(graph, variable("b", gn_shape_of(1, 7)));
    gn_node *y = gn_tanh(gn_leaky_relu(gn_add(gn_mul(a, row), gn_offset(row, 1)), 0.2));
    keep(y);
    ck_assert_int_eq(steps_of(7), 2); // of the row alone, and all the rest
    ck_assert_int_gt(steps_of(6), 7);
    keep(gn_sum_axis(gn_square(gn_sub(a, row)), 0));
    ck_assert_int_eq(steps_of(7), 4); // a sum with all that it adds up, and what keeps it
    check_plans(graph, "fusing", 0, 2);
}
END_TEST

// A sum and a product stand between the ends of a pointwise chain: its ends must not become one step.
START_TEST(fusing_makes_no_circles) {
    gn_node *a = gn_read(graph, variable("a", gn_shape_of(2, 6, 6)));
    gn_node *e = gn_exp(a), *total = gn_sum_axis(e, 1);
    gn_node *softmax = gn_div(e, total), *product = gn_matmul(softmax, e);
    keep(gn_mul(gn_add(product, e), gn_sub(softmax, gn_mean(product))));
    ck_assert_int_lt(steps_of(7), steps_of(6));
    check_plans(graph, "circles", 0, 2);
}
END_TEST

// A window over the whole image, and one over a pixel at a time, move nothing; a pixel of several does.
START_TEST(patches_that_are_the_image) {
    static const struct {
        int kernel, stride, padding;
        bool same;
    } windows[] = {{3, 1, 0, true},  {3, 2, 0, true},  {1, 1, 0, true},
                   {3, 1, 1, false}, {1, 2, 0, false}, {2, 1, 0, false}};
    for (size_t i = 0; i < sizeof windows / sizeof *windows; i++) {
        int kernel = windows[i].kernel, stride = windows[i].stride, padding = windows[i].padding;
        gn_node *x = gn_read(graph, variable("x", gn_shape_of(4, 2, 3, 3, 2)));
        gn_node *w = gn_read(graph, variable("w", gn_shape_of(2, kernel * kernel * 2, 5))), *gradients[2];
        gn_node *y = gn_conv2d(gn_exp(x), w, kernel, stride, padding);
        gn_grad(gn_mean(gn_square(y)), (gn_node *[]){x, w}, 2, gradients);
        keep(gradients[0]);
        keep(gradients[1]);
        plan *plan = plan_new(graph, options_of(7));
        ck_assert_int_eq(count_nodes(plan, OP_IM2COL), !windows[i].same);
        ck_assert_int_eq(count_nodes(plan, OP_COL2IM), !windows[i].same);
        plan_free(plan);
        check_plans(graph, "patches", (int)i, 2);
        teardown();
        setup();
    }
}
END_TEST

START_TEST(constants_reach_all_readers) {
    gn_node *ones = gn_broadcast(gn_constant(graph, 2), gn_shape_of(2, 3, 3));
    gn_variable *log = gn_state_add(state, "log", GN_F32, gn_shape_of(2, 4, 2), NULL);
    keep(gn_matmul(ones, ones));
    keep(gn_sum_axis(ones, 0));
    keep(gn_mean(gn_reshape(gn_constant(graph, 3), gn_shape_of(1, 1))));
    keep(gn_add(gn_constant(graph, 1), gn_constant(graph, 2)));
    keep(gn_random_normal("z", gn_constant_int(graph, 3), gn_shape_of(1, 5), 0));
    keep(gn_slice(gn_broadcast(gn_constant(graph, 4), gn_shape_of(1, 5)), 1, 2));
    gn_record(graph, log, gn_constant_int(graph, 2), 1, gn_constant(graph, 7));
    check_plans(graph, "constants", 0, 2);
}
END_TEST

static int count_constants(const plan *plan) {
    int count = 0;
    for (int s = 0; s < plan->count; s++)
        count += plan->steps[s].constant;
    return count;
}

// A product needs them in memory; of the two, one is large, and to be computed anew in memory that others
// use.
START_TEST(constants_are_computed_once) {
    gn_node *x = gn_read(graph, variable("x", gn_shape_of(2, 4, 4)));
    gn_node *small = gn_broadcast(gn_constant(graph, 2), gn_shape_of(2, 4, 4));
    gn_node *large = gn_broadcast(gn_constant(graph, 3), gn_shape_of(2, 4, 1 << 13));
    keep(gn_matmul(x, small));
    keep(gn_mean(gn_matmul(x, large)));
    keep(gn_matmul(small, gn_broadcast(gn_constant(graph, 4), gn_shape_of(2, 4, 3))));
    for (int fuse = 0; fuse < 2; fuse++) {
        plan *plan = plan_new(graph, options_of(6 + fuse));
        ck_assert_int_eq(count_constants(plan), fuse ? 4 : 3); // fused, `small` is one for each reader
        plan_free(plan);
    }
    check_plans(graph, "constants", 1, 3);
}
END_TEST

// The sum over a matrix is two steps, of which the first computes something large in every run; a root goes
// into the step that counts. What reads them has nothing but constants in it, and must come after them all
// the same.
START_TEST(constants_of_steps_that_run_are_none) {
    gn_node *large = gn_broadcast(gn_constant(graph, 1), gn_shape_of(2, 128, 256));
    keep(gn_mean(gn_exp(large)));
    gn_variable *counter = variable("counter", gn_shape_of(0));
    gn_assign(graph, counter, gn_offset(gn_read(graph, counter), 1));
    gn_node *root = gn_broadcast(gn_sqrt(gn_constant(graph, 2)), gn_shape_of(2, 4, 3));
    keep(gn_matmul(gn_read(graph, variable("x", gn_shape_of(2, 4, 4))), root));
    check_plans(graph, "constants of steps that run", 0, 3);
}
END_TEST

START_TEST(switches_by_environment) {
    static const struct {
        const char *off;
        int bits;
    } cases[] = {{"reuse,in-place", 3961},
                 {"fuse", 3966},
                 {"split", 3959},
                 {"split,linear,common,fuse,reuse,in-place,epilogue,columns,passes,concat,recompute", 0},
                 {"epilogue", 3951},
                 {"columns", 3935},
                 {"linear", 3903},
                 {"passes", 3711},
                 {"concat", 3455},
                 {"recompute", 2943},
                 {"common", 1919},
                 {"", 3967}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        setenv("GANC_OFF", cases[i].off, 1);
        plan_options is = plan_options_default(), should = options_of(cases[i].bits);
        ck_assert(is.fuse == should.fuse && is.reuse == should.reuse);
        ck_assert(is.in_place == should.in_place && is.split == should.split);
        ck_assert(is.epilogue == should.epilogue && is.columns == should.columns);
        ck_assert(is.linear == should.linear && is.passes == should.passes && is.concat == should.concat);
        ck_assert(is.recompute == should.recompute && is.common == should.common && is.concurrent);
    }
    ck_assert(plan_options_default().piece_bytes < SIZE_MAX);
    setenv("GANC_OFF", "concurrent,pieces", 1);
    ck_assert(!plan_options_default().concurrent);
    ck_assert(plan_options_default().piece_bytes == SIZE_MAX);
    unsetenv("GANC_OFF");
}
END_TEST

// A long sum of few results becomes two, of all that lies before it, in the middle and after it.
START_TEST(long_sums_are_split) {
    gn_node *x = gn_read(graph, variable("x", gn_shape_of(4, 3, 40, 50, 2)));
    keep(gn_sum_to(gn_square(x), gn_shape_of(1, 2)));
    keep(gn_sum_to(gn_tanh(x), gn_shape_of(4, 3, 1, 1, 2)));
    keep(gn_sum_to(x, (gn_shape){0}));
    keep(gn_sum_axis(gn_reshape(gn_exp(x), gn_shape_of(2, 6, 2000)), 1));
    keep(gn_sum_axis(x, 2)); // not long
    for (int bits = 0; bits < 16; bits += 15) {
        plan *plan = plan_new(graph, options_of(bits));
        ck_assert_int_eq(count_nodes(plan, OP_SUM), bits & 8 ? 9 : 5);
        plan_free(plan);
    }
    check_options(graph, "long sums", 0, 2, (option_range[]){{0, 1, 15}, {0}});
    printf("test_plan: split sums: largest error %.2g\n", largest_error);
}
END_TEST

// ---- Hazards -----------------------------------------------------------------------------------------

// The old value is read by what is built after the update: it runs before, and nothing is copied.
START_TEST(old_value_after_update) {
    gn_variable *w = variable("w", gn_shape_of(2, 4, 4));
    gn_node *old = gn_read(graph, w);
    gn_assign(graph, w, gn_offset(gn_scale(old, 0.5), 1));
    keep(gn_square(old));
    keep(gn_matmul(old, old));
    keep(gn_sum_axis(old, 0));
    keep(gn_reshape(old, gn_shape_of(1, 16)));
    ck_assert_int_eq(copies_in_place(true), 0);
    check_plans(graph, "old value", 0, 3);
}
END_TEST

// a' = b, b' = a: one of them must be kept.
START_TEST(swap) {
    gn_variable *a = variable("a", gn_shape_of(1, 100)), *b = variable("b", gn_shape_of(1, 100));
    gn_node *old_a = gn_read(graph, a), *old_b = gn_read(graph, b);
    gn_assign(graph, a, old_b);
    gn_assign(graph, b, old_a);
    ck_assert_int_eq(copies_in_place(true), 1);
    ck_assert_int_eq(copies_in_place(false), 1);
    check_plans(graph, "swap", 0, 3);
}
END_TEST

START_TEST(rotation) {
    gn_variable *v[3] = {variable("a", gn_shape_of(2, 3, 3)), variable("b", gn_shape_of(2, 3, 3)),
                         variable("c", gn_shape_of(2, 3, 3))};
    gn_node *old[3];
    for (int i = 0; i < 3; i++)
        old[i] = gn_read(graph, v[i]);
    for (int i = 0; i < 3; i++)
        gn_assign(graph, v[i], gn_scale(gn_matmul(old[(i + 1) % 3], old[(i + 2) % 3]), 0.3));
    check_plans(graph, "rotation", 0, 3);
}
END_TEST

// Three assignments of one variable, and readers of each version, built in the order of `readers`.
static void chain(const int readers[4], const char *what) {
    gn_variable *w = variable("w", gn_shape_of(2, 4, 4));
    gn_node *version[4] = {gn_read(graph, w)};
    for (int i = 1; i < 4; i++)
        version[i] = gn_assign(graph, w, gn_scale(gn_offset(version[i - 1], i), 0.5));
    for (int i = 0; i < 4; i++) {
        keep(gn_exp(version[readers[i]]));
        keep(gn_matmul(version[readers[i]], version[readers[i]]));
    }
    ck_assert_int_eq(copies_in_place(true), 0);
    check_plans(graph, what, 0, 3);
}

START_TEST(chain_of_assignments) {
    chain((const int[]){0, 1, 2, 3}, "chain");
    teardown();
    setup();
    chain((const int[]){3, 2, 1, 0}, "chain, read backwards");
}
END_TEST

// Assignments that do not read what they replace, each version read together with each other.
// A step writes the last of a variable's versions alone, where nobody else reads those between.
START_TEST(versions_in_registers) {
    gn_variable *w = variable("w", gn_shape_of(2, 4, 4));
    gn_node *moved = gn_assign(graph, w, gn_scale(gn_read(graph, w), 0.9));
    gn_assign(graph, w, gn_clamp(moved, -0.5, 0.5));
    ck_assert_int_eq(steps_of(6), 5);
    ck_assert_int_eq(steps_of(7), 1);
    check_plans(graph, "clipped", 0, 3);
    keep(gn_matmul(moved, gn_read(graph, variable("x", gn_shape_of(2, 4, 3)))));
    ck_assert_int_eq(steps_of(7), 4); // the first version, the product, its variable, the second version
    check_plans(graph, "clipped", 1, 3);
}
END_TEST

START_TEST(versions_read_together) {
    for (int pair = 0; pair < 16; pair++) {
        gn_variable *w = variable("w", gn_shape_of(2, 4, 4));
        gn_node *x = gn_read(graph, variable("x", gn_shape_of(2, 4, 4))), *version[4] = {gn_read(graph, w)};
        for (int i = 1; i < 4; i++)
            version[i] = gn_assign(graph, w, gn_offset(x, i));
        keep(gn_add(version[pair / 4], version[pair % 4]));
        keep(gn_matmul(version[pair / 4], version[pair % 4]));
        check_plans(graph, "versions", pair, 3);
        teardown();
        setup();
    }
}
END_TEST

// What reads the old value needs the new one as well: the old one must be copied.
START_TEST(old_and_new_together) {
    gn_variable *w = variable("w", gn_shape_of(2, 4, 4));
    gn_node *old = gn_read(graph, w), *new = gn_assign(graph, w, gn_scale(gn_offset(old, 1), 0.5));
    keep(gn_sum_to(gn_mul(old, new), (gn_shape){0})); // as one fused step
    ck_assert_int_eq(copies_in_place(true), 1);
    keep(gn_matmul(old, new));
    keep(gn_add(gn_reshape(old, gn_shape_of(1, 16)), gn_reshape(new, gn_shape_of(1, 16))));
    keep(gn_add(gn_broadcast(old, gn_shape_of(3, 2, 4, 4)), gn_broadcast(new, gn_shape_of(3, 2, 4, 4))));
    ck_assert_int_eq(copies_in_place(true), 1);
    check_plans(graph, "old and new", 0, 3);
}
END_TEST

// As above, but the way from the new value to the reader of the old one is long.
START_TEST(old_value_after_a_detour) {
    gn_variable *w = variable("w", gn_shape_of(2, 4, 4)), *v = variable("v", gn_shape_of(1, 4));
    gn_node *old = gn_read(graph, w);
    gn_node *new = gn_assign(graph, w, gn_scale(old, 0.5));
    gn_node *moved = gn_assign(graph, v, gn_sum_to(new, gn_shape_of(1, 4)));
    keep(gn_mul(old, moved));
    keep(graph_matmul(old, true, new, false));
    check_plans(graph, "detour", 0, 3);
}
END_TEST

// A row that is updated by a sum over what reads it, broadcast, before and after: as running statistics are.
START_TEST(broadcast_of_old_and_new) {
    gn_variable *s = variable("s", gn_shape_of(1, 7));
    gn_node *x = gn_read(graph, variable("x", gn_shape_of(2, 5, 7))), *old = gn_read(graph, s);
    gn_node *new = gn_assign(graph, s, gn_add(gn_scale(old, 0.9), gn_scale(gn_sum_to(x, s->shape), 0.1)));
    keep(gn_sub(x, old));
    keep(gn_sub(x, new));
    keep(gn_div(gn_sub(x, old), gn_offset(new, 2)));
    check_plans(graph, "row", 0, 3);
}
END_TEST

// A log is written in place always: what reads it before and after must see it so.
START_TEST(log_read_before_and_after) {
    gn_variable *log = variable("log", gn_shape_of(2, 3, 2));
    gn_variable *counter = gn_state_add(state, "counter", GN_I32, (gn_shape){0}, NULL);
    gn_node *step = gn_read(graph, counter), *before = gn_read(graph, log);
    gn_record(graph, log, step, 0, gn_mean(before));
    gn_node *between = gn_read(graph, log);
    gn_record(graph, log, step, 1, gn_offset(gn_mean(gn_square(between)), 1));
    keep(gn_sum_axis(before, 0));
    keep(gn_add(before, gn_read(graph, log))); // needs a copy of the log
    keep(gn_exp(between));
    keep(gn_tanh(gn_read(graph, log)));
    gn_assign(graph, counter, gn_add(step, gn_constant_int(graph, 1)));
    check_plans(graph, "log", 0, 4);
}
END_TEST

START_TEST(log_assigned_and_recorded) {
    for (int which = 0; which < 8; which++) { // three writes in a row, each of either kind
        gn_variable *log = variable("log", gn_shape_of(2, 3, 2));
        gn_node *version[4] = {gn_read(graph, log)}, *one = gn_constant_int(graph, 1);
        for (int i = 1; i < 4; i++)
            version[i] = which >> (i - 1) & 1 ? gn_assign(graph, log, gn_scale(version[i - 1], 0.5))
                                              : gn_record(graph, log, one, i % 2, gn_constant(graph, i));
        for (int i = 3; i >= 0; i--)
            keep(gn_exp(version[i]));
        keep(gn_add(version[0], version[3]));
        check_plans(graph, "assigned and recorded", which, 3);
        teardown();
        setup();
    }
}
END_TEST

// The step counter is read by everything, also by what is built after it was moved on.
START_TEST(counter_read_after_it_moved) {
    gn_variable *counter = gn_state_add(state, "counter", GN_I32, (gn_shape){0}, NULL);
    gn_variable *order =
        gn_state_add(state, "order", GN_I32, gn_shape_of(1, 6), (int32_t[]){5, 2, 0, 1, 4, 3});
    gn_node *table = gn_read(graph, variable("table", gn_shape_of(2, 6, 3)));
    gn_node *step = gn_read(graph, counter);
    gn_node *next = gn_assign(graph, counter, gn_add(step, gn_constant_int(graph, 1)));
    gn_node *rows = gn_batch_rows(gn_read(graph, order), step, 2);
    keep(gn_gather(table, rows));
    keep(gn_random_normal("z", step, gn_shape_of(1, 5), 0));
    keep(gn_random_normal("z", next, gn_shape_of(1, 5), 0));
    keep(gn_add(gn_to_f32(step), gn_to_f32(next)));
    gn_assign(graph, table->variable, gn_scale(table, 0.5)); // after it was gathered from
    check_plans(graph, "counter", 0, 4);
}
END_TEST

// ---- Epilogues ---------------------------------------------------------------------------------------

enum { ALL = 7, WITH_EPILOGUES = 23 }; // options_of() without and with

// The only product's place in the arena; -1 where it never goes to memory.
static int chunk_of_product(plan_options options) {
    plan *plan = plan_new(graph, options);
    int chunk = -1;
    for (int i = 0; i < plan->graph->count; i++)
        if (plan->graph->nodes[i]->op == OP_MATMUL)
            chunk = plan->places[i].chunk;
    plan_free(plan);
    return chunk;
}

static gn_node *matrix(const char *name, int rows, int columns) {
    return gn_read(graph, variable(name, gn_shape_of(2, rows, columns)));
}

// How many steps the graph's plan has without a switch and with it.
static void check_switch(const char *what, const char *name, int bits, int without, int with) {
    ck_assert_msg(steps_of(ALL) == without && steps_of(bits) == with, "%s: %d steps, and %d with %s", what,
                  steps_of(ALL), steps_of(bits), name);
    check_plans(graph, what, 0, 3);
    teardown();
    setup();
}

static void check_steps(const char *what, int without, int with) {
    check_switch(what, "epilogues", WITH_EPILOGUES, without, with);
}

START_TEST(epilogues_join) {
    gn_node *bias = gn_read(graph, variable("b", gn_shape_of(1, 8)));
    gn_node *y = gn_matmul(matrix("x", 4, 6), matrix("w", 6, 8));
    keep(gn_leaky_relu(gn_add(y, bias), 0.2));
    ck_assert_int_ge(chunk_of_product(options_of(ALL)), 0);
    plan_options into_arena = options_of(WITH_EPILOGUES & ~4); // its output lends its place
    ck_assert_int_eq(chunk_of_product(into_arena), -1);
    ck_assert_int_ge(chunk_of_product(options_of(WITH_EPILOGUES)), 0); // a variable does not
    check_steps("layer", 2, 1);

    y = gn_matmul(matrix("x", 4, 2), matrix("w", 2, 8)); // a short sum needs no place
    keep(gn_tanh(y));
    ck_assert_int_eq(chunk_of_product(options_of(WITH_EPILOGUES)), -1);
    check_steps("short sum", 2, 1);

    y = gn_matmul(matrix("x", 4, 6), matrix("w", 6, 8)); // a view between, another reader
    keep(gn_exp(gn_reshape(y, gn_shape_of(3, 2, 2, 8))));
    keep(gn_sum_axis(y, 0));
    ck_assert_int_ge(chunk_of_product(options_of(WITH_EPILOGUES)), 0);
    check_steps("view", 4, 3);

    gn_node *a = matrix("a", 4, 6), *b = matrix("b", 6, 8); // only one of two products takes their sum
    keep(gn_add(gn_matmul(a, b), graph_matmul(matrix("c", 6, 4), true, gn_tanh(b), false)));
    check_steps("two products", 4, 3);
}
END_TEST

START_TEST(epilogues_that_do_not_fit) {
    keep(gn_tanh(gn_matmul(matrix("x", 4, 6), matrix("w", 6, 7)))); // columns
    check_steps("odd columns", 2, 2);

    gn_node *x = matrix("x", 4, 6), *thirds = gn_broadcast(matrix("s", 8, 1), gn_shape_of(2, 8, 3));
    gn_node *y = gn_reshape(gn_matmul(x, matrix("w", 6, 6)), gn_shape_of(2, 8, 3));
    keep(gn_mul(y, thirds)); // a vector would span two numbers
    check_steps("odd broadcast", 2, 2);

    y = gn_matmul(matrix("x", 4, 4), matrix("w", 4, 4)); // what follows has more elements
    keep(gn_broadcast(y, gn_shape_of(3, 2, 4, 4)));
    check_steps("broadcast of it", 2, 2);

    gn_variable *v = variable("v", gn_shape_of(2, 6, 8)); // the device does not want updates
    gn_node *g = graph_matmul(matrix("x", 4, 6), true, matrix("g", 4, 8), false);
    gn_assign(graph, v, gn_sub(gn_read(graph, v), gn_scale(g, 0.1)));
    plan_options options = options_of(WITH_EPILOGUES);
    options.product_updates = false;
    plan *plan = plan_new(graph, options);
    ck_assert_int_eq(plan->count, 2);
    plan_free(plan);
    options.product_updates = true;
    options.product_columns = 0;
    plan = plan_new(graph, options);
    ck_assert_int_eq(plan->count, 2);
    plan_free(plan);
    check_steps("update", 2, 1);

    v = variable("v", gn_shape_of(2, 16, 8)); // what the product reads would be kept for the gradient by x
    g = graph_matmul(matrix("x", 1 << 14, 16), true, matrix("g", 1 << 14, 8), false);
    gn_assign(graph, v, gn_sub(gn_read(graph, v), gn_scale(g, 0.1)));
    ck_assert_int_eq(steps_of(WITH_EPILOGUES), 2);
}
END_TEST

// The product is read at all indices until its step ends: it must not share one with a write to its operands.
START_TEST(epilogues_and_operands) {
    gn_variable *w = variable("w", gn_shape_of(2, 6, 6));
    gn_node *old = gn_read(graph, w);
    gn_assign(graph, w, gn_scale(gn_matmul(old, old), 0.4));
    check_steps("square", 2, 2);

    w = variable("w", gn_shape_of(2, 6, 6)); // through an operand that is computed at the same index
    gn_node *t = gn_tanh(gn_read(graph, w));
    gn_assign(graph, w, gn_add(gn_matmul(t, matrix("x", 6, 6)), t));
    keep(gn_exp(t));
    check_steps("operand", 3, 2);

    // A layer back: the weights change only when the gradient by its input is there.
    w = variable("w", gn_shape_of(2, 6, 6));
    gn_node *x = matrix("x", 6, 6), *g = matrix("g", 6, 6);
    old = gn_read(graph, w);
    gn_assign(graph, w, gn_sub(old, gn_scale(graph_matmul(x, true, g, false), 0.1)));
    keep(gn_mul(graph_matmul(g, false, old, true), x));
    check_steps("layer back", 4, 2);

    // The epilogue of one product waits for another that reads what it replaces, and reads that one as well.
    w = variable("w", gn_shape_of(2, 6, 6));
    old = gn_read(graph, w);
    gn_node *p = gn_matmul(matrix("x", 6, 6), matrix("y", 6, 6)), *q = gn_matmul(gn_tanh(p), old);
    gn_assign(graph, w, gn_scale(gn_add(p, q), 0.2));
    check_steps("in between", 4, 3);
}
END_TEST

enum { WITH_COLUMNS = ALL | 32 };

static void check_columns_steps(const char *what, int without, int with) {
    check_switch(what, "columns", WITH_COLUMNS, without, with);
}

START_TEST(columns_join) {
    gn_node *x = matrix("x", 4, 6),
            *mean = gn_scale(gn_sum_axis(x, 0), 0.25); // a batch norm with its statistics
    gn_node *centred = gn_sub(x, mean), *variance = gn_scale(gn_sum_axis(gn_square(centred), 0), 0.25);
    gn_variable *running = variable("running", gn_shape_of(2, 1, 6));
    gn_assign(graph, running, gn_add(gn_scale(gn_read(graph, running), 0.9), gn_scale(mean, 0.1)));
    gn_node *scale =
        gn_div(gn_read(graph, variable("w", gn_shape_of(2, 1, 6))), gn_sqrt(gn_offset(variance, 1)));
    keep(gn_matmul(gn_tanh(gn_mul(centred, scale)), matrix("y", 6, 3)));
    check_columns_steps("batch norm", 8, 3);

    gn_node *g = gn_tanh(matrix("g", 4, 6)); // a bias's gradient with its update, which another reads before
    gn_variable *bias = variable("bias", gn_shape_of(2, 1, 6));
    gn_node *old = gn_read(graph, bias);
    gn_assign(graph, bias, gn_sub(old, gn_scale(gn_sum_axis(g, 0), 0.1)));
    keep(gn_matmul(g, matrix("z", 6, 2)));
    keep(gn_add(matrix("h", 4, 6), old));
    check_columns_steps("bias", 6, 4);
}
END_TEST

enum { WITH_PASSES = ALL | 256 };

static void check_passes_steps(const char *what, int without, int with) {
    check_switch(what, "passes", WITH_PASSES, without, with);
}

START_TEST(sums_share_a_pass) {
    gn_node *x = matrix("x", 4, 6), *y = matrix("y", 4, 6); // what is added up is needed elsewhere as well
    gn_node *difference = gn_sub(x, y);
    keep(gn_sum_axis(difference, 0));
    keep(gn_matmul(difference, matrix("w", 6, 3)));
    check_passes_steps("stored terms", 5, 4);

    y = gn_matmul(matrix("x", 4, 5),
                  matrix("w", 5, 6)); // two sums of one product, as of a batch norm's gradient
    x = matrix("y", 4, 6);
    keep(gn_sum_axis(y, 0));
    keep(gn_sum_axis(gn_mul(y, x), 0));
    check_passes_steps("two sums", 5, 4);

    y = gn_tanh(matrix("x", 4, 6)); // along rows and over them: no pass for both
    keep(gn_sum_axis(y, 0));
    keep(gn_sum_axis(y, 1));
    check_passes_steps("sums of two ways", 5, 4);

    y = gn_tanh(matrix("x", 4, 6)); // one needs the other: so it is with a variance and its mean
    x = gn_sub(y, gn_scale(gn_sum_axis(y, 0), 0.25));
    keep(gn_sum_axis(gn_square(x), 0));
    keep(gn_matmul(x, matrix("w", 6, 3)));
    check_passes_steps("centred", 8, 6);

    y = gn_tanh(matrix("x", 4, 6)); // at once
    keep(gn_sum_axis(gn_square(gn_sub(y, gn_sum_axis(y, 0))), 0));
    check_passes_steps("less its sum", 4, 3);

    y = gn_tanh(matrix("x", 4, 6)); // more than a pass has room for: four sums and tanh, then two sums
    for (int i = 0; i < 6; i++)
        keep(gn_sum_axis(gn_scale(y, i + 2), 0));
    check_passes_steps("many sums", 13, 8);
}
END_TEST

START_TEST(columns_that_do_not_fit) {
    gn_node *x = matrix("x", 6, 6); // as many rows as columns: what a row has one of is no row
    gn_node *sums = gn_sum_axis(gn_tanh(x), 0);
    keep(gn_mul(x, gn_reshape(sums, gn_shape_of(2, 6, 1))));
    check_columns_steps("transposed", 2, 2);

    x = matrix("x", 4, 6); // along rows
    keep(gn_sub(x, gn_reshape(gn_sum_axis(x, 1), gn_shape_of(2, 4, 1))));
    check_columns_steps("rows", 2, 2);

    gn_variable *v = variable("v", gn_shape_of(2, 4, 6)); // rows that are assigned to
    x = gn_read(graph, v);
    gn_assign(graph, v, gn_sub(x, gn_sum_axis(x, 0)));
    check_columns_steps("assigned rows", 2, 2);

    x = matrix("x", 4, 6); // a matrix product stands between
    sums = gn_sum_axis(x, 0);
    keep(gn_sub(gn_matmul(gn_sub(x, sums), matrix("y", 6, 6)), sums));
    check_columns_steps("product between", 4, 3);
}
END_TEST

// How many tensors the plan writes into the arena, of so many elements at least.
static int stored(int bits, size_t elements) {
    plan *plan = plan_new(graph, options_of(bits));
    int count = 0;
    for (int s = 0; s < plan->count; s++)
        for (int k = 0; k < plan->steps[s].count; k++) {
            const gn_node *node = plan->steps[s].nodes[k];
            count += plan->places[node->id].chunk >= 0 && gn_shape_count(node->shape) >= elements;
        }
    plan_free(plan);
    return count;
}

enum { WITH_RECOMPUTE = WITH_EPILOGUES | 1024 };

// How many of 24 elements or more are stored without and with recomputing, with epilogues.
static void check_stored(const char *what, int without, int with) {
    ck_assert_msg(stored(WITH_EPILOGUES, 24) == without && stored(WITH_RECOMPUTE, 24) == with,
                  "%s: %d tensors are stored, %d with recomputing", what, stored(WITH_EPILOGUES, 24),
                  stored(WITH_RECOMPUTE, 24));
    ck_assert_int_ge(steps_of(WITH_EPILOGUES), steps_of(WITH_RECOMPUTE));
    check_plans(graph, what, 0, 3);
    teardown();
    setup();
}

START_TEST(readers_compute_for_themselves) {
    gn_node *x = gn_tanh(matrix("x", 40, 6)), *w = matrix("w", 6, 3); // a batch norm with its gradient
    keep(gn_matmul(x, w));
    gn_node *centred = gn_sub(x, gn_sum_axis(x, 0));
    gn_node *y = gn_leaky_relu(gn_mul(centred, gn_sum_axis(gn_square(centred), 0)), 0.2), *gradient;
    gn_grad(gn_mean(gn_square(gn_matmul(y, matrix("v", 6, 3)))), &x, 1, &gradient);
    keep(gn_matmul(gradient, w));
    check_stored("batch norm", 12, 9); // not x - mean, the slope, and the gradient times the slope

    x = matrix("x", 4, 6); // the slope of a layer's activation, which the next layer reads
    w = matrix("w", 6, 6);
    y = gn_matmul(gn_leaky_relu(gn_add(gn_matmul(x, w), matrix("b", 1, 6)), 0.2), matrix("v", 6, 6));
    gn_grad(gn_mean(gn_square(y)), &w, 1, &gradient);
    keep(gradient);
    check_stored("slope", 5, 4);

    x = gn_tanh(matrix("x", 4, 6)); // to read both operands takes more than to read their product
    y = gn_mul(x, gn_exp(matrix("y", 4, 6)));
    keep(gn_matmul(x, matrix("v", 6, 3)));
    keep(gn_add(y, gn_sum_axis(y, 0)));
    check_stored("two operands", 2, 2);

    x = gn_tanh(matrix("x", 4, 6)); // an element of it is read elsewhere
    y = gn_add(x, matrix("b", 1, 6));
    keep(gn_matmul(x, matrix("v", 6, 3)));
    keep(gn_add(gn_exp(y), gn_sum_axis(y, 0)));
    keep(gn_matmul(y, matrix("u", 6, 3)));
    check_stored("operand", 3, 3);

    x = gn_tanh(matrix("x", 4, 6)); // the bias is replaced before the second reader can run
    gn_variable *bias = variable("b", gn_shape_of(2, 1, 6));
    y = gn_add(x, gn_read(graph, bias));
    keep(gn_matmul(x, matrix("v", 6, 3)));
    gn_node *new_bias = gn_assign(graph, bias, gn_sum_axis(y, 0));
    keep(gn_sum_axis(gn_mul(y, gn_exp(new_bias)), 0));
    check_stored("old bias", 2, 2);
}
END_TEST

static session_graphs build_session(session *s, const model *model, int batch, int z_dim) {
    enum { IMAGES = 64 };
    static uint8_t images[IMAGES * IMAGE_PIXELS], labels[IMAGES];
    for (int i = 0; i < IMAGES * IMAGE_PIXELS; i++)
        images[i] = (uint8_t)(i * 37 % 251);
    for (int i = 0; i < IMAGES; i++)
        labels[i] = (uint8_t)(i * 7 % IMAGE_CLASSES);
    dataset data = {.count = IMAGES, .height = 28, .width = 28, .images = images, .labels = labels};
    *s = (session){.model = model, .hyper = model->defaults};
    s->hyper.batch = batch;
    s->hyper.z_dim = z_dim;
    session_graphs graphs = session_build(s, &data, 3, NULL);
    for (int i = 0; i < IMAGES; i++) // of equal images a batch norm makes zeros, of either sign by rounding
        ((int32_t *)s->order->values)[i] = i;
    return graphs;
}

static void session_end(session *s, session_graphs *graphs) {
    session_graphs_free(graphs);
    session_free(s);
}

// ---- Products made of products -------------------------------------------------------------------------

// How many nodes of an operation a plan of the graph has.
static int count_planned(const gn_graph *graph, int bits, op_kind op) {
    plan *plan = plan_new(graph, options_of(bits));
    int count = count_nodes(plan, op);
    plan_free(plan);
    return count;
}

static int products(bool linear) {
    return count_planned(graph, linear ? ALL | 64 : ALL, OP_MATMUL);
}

static gn_node *between(gn_node *x, gn_node *y, gn_node *share) {
    return gn_add(gn_mul(share, x), gn_mul(gn_sub(gn_constant(graph, 1), share), y));
}

START_TEST(products_between_rows) {
    gn_node *x = matrix("x", 4, 6), *y = matrix("y", 4, 6), *w = matrix("w", 6, 5);
    gn_node *z = between(x, y, matrix("share", 4, 1));
    keep(gn_matmul(gn_concat_rows(x, y), w));
    keep(gn_tanh(gn_matmul(z, w)));
    ck_assert_int_eq(products(false), 2);
    ck_assert_int_eq(products(true), 1);
    check_plans(graph, "between rows", 0, 2);

    keep(gn_matmul(gn_mul(z, matrix("v", 4, 6)), w)); // by the elements, not by the rows
    keep(gn_matmul(z, matrix("u", 6, 5)));            // by a matrix that nobody else takes
    ck_assert_int_eq(products(true), 3);
    check_plans(graph, "between rows", 1, 2);
}
END_TEST

START_TEST(products_between_single_matrices) {
    gn_node *x = matrix("x", 4, 4), *y = matrix("y", 4, 4), *w = matrix("w", 4, 4);
    keep(gn_matmul(x, w));
    keep(gn_matmul(y, w));
    keep(gn_matmul(between(x, y, matrix("row", 1, 4)), w)); // one factor a column, in a square
    ck_assert_int_eq(products(true), 3);
    keep(gn_matmul(between(y, x, matrix("column", 4, 1)), w));
    ck_assert_int_eq(products(true), 3);
    ck_assert_int_eq(products(false), 4);
    check_plans(graph, "between matrices", 0, 2);
}
END_TEST

// One factor an image, in front of views that make rows of the images.
START_TEST(products_between_images) {
    gn_shape images = gn_shape_of(4, 4, 2, 3, 1), shares = gn_shape_of(4, 4, 1, 1, 1),
             rows = gn_shape_of(2, 4, 6);
    gn_node *x = gn_read(graph, variable("x", images)), *y = gn_read(graph, variable("y", images)), *both[2];
    gn_node *w = matrix("w", 6, 5);
    both[0] = gn_reshape(gn_mul(gn_read(graph, variable("a", shares)), x), rows);
    both[1] = gn_reshape(gn_mul(gn_read(graph, variable("b", shares)), y), rows);
    keep(gn_matmul(gn_concat_rows(gn_reshape(x, rows), gn_reshape(y, rows)), w));
    keep(gn_matmul(gn_add(both[0], both[1]), w));
    check_plans(graph, "between images", 0, 2);
}
END_TEST

static int sums(bool linear) {
    return count_planned(graph, linear ? ALL | 64 : ALL, OP_SUM);
}

START_TEST(sums_of_known_rows) {
    gn_node *x = matrix("x", 4, 6), *y = gn_reshape(matrix("y", 2, 12), gn_shape_of(2, 4, 6));
    gn_node *r = matrix("r", 1, 6), *s = matrix("s", 1, 1);
    keep(gn_sum_axis(x, 0));
    keep(gn_sum_axis(y, 0));
    keep(gn_sum_axis(gn_sub(gn_add(gn_mul(x, r), gn_scale(gn_neg(y), 3)), gn_add(r, s)), 0));
    ck_assert_int_eq(sums(false), 3);
    ck_assert_int_eq(sums(true), 2);
    plan *plan = plan_new(graph, options_of(71)); // what the third would have added up is not left over
    ck_assert_int_eq(count_nodes(plan, OP_NEG), 1);
    for (int i = 0; i < plan->graph->count; i++)
        ck_assert(plan->graph->nodes[i]->op != OP_NEG || gn_shape_count(plan->graph->nodes[i]->shape) == 6);
    plan_free(plan);
    check_plans(graph, "known rows", 0, 2);

    keep(gn_sum_axis(gn_mul(x, y), 0));                        // no row times x
    keep(gn_sum_axis(gn_mul(x, matrix("c", 4, 1)), 0));        // a factor for each row
    keep(gn_sum_axis(x, 1));                                   // along the rows
    keep(gn_sum_axis(gn_add(x, matrix("z", 4, 6)), 0));        // one of two
    keep(gn_sum_axis(gn_reshape(x, gn_shape_of(2, 8, 3)), 0)); // other rows
    ck_assert_int_eq(sums(true), 7);
    check_plans(graph, "known rows", 1, 2);
}
END_TEST

// How many sums and differences with as many elements as the matrix the plan computes.
static int additions_to_rows(bool linear) {
    plan *plan = plan_new(graph, options_of(linear ? ALL | 64 : ALL));
    int count = 0;
    for (int s = 0; s < plan->count; s++)
        for (int k = 0; k < plan->steps[s].count; k++) {
            const gn_node *node = plan->steps[s].nodes[k];
            count += (node->op == OP_ADD || node->op == OP_SUB) && gn_shape_count(node->shape) == 24;
        }
    plan_free(plan);
    return count;
}

START_TEST(rows_are_added_first) {
    gn_node *x = matrix("x", 4, 6), *r = matrix("r", 1, 6), *s = matrix("s", 1, 6);
    keep(gn_exp(gn_sub(gn_add(x, r), s)));
    keep(gn_tanh(gn_add(gn_add(x, s), r)));
    ck_assert_int_eq(additions_to_rows(false), 4);
    ck_assert_int_eq(additions_to_rows(true), 2);
    check_plans(graph, "rows first", 0, 2);

    keep(gn_exp(gn_sub(gn_add(x, r), matrix("c", 4, 1)))); // a row and a column
    keep(gn_exp(gn_sub(gn_add(x, r), matrix("y", 4, 6)))); // a row and a matrix
    ck_assert_int_eq(additions_to_rows(true), 6);
    check_plans(graph, "rows first", 1, 2);
}
END_TEST

enum { WITH_CONCAT = ALL | 64 | 512 };

static void check_concat_steps(const char *what, int without, int with) {
    check_switch(what, "concat", WITH_CONCAT, without, with);
}

START_TEST(concatenations_are_no_work) {
    gn_node *a = gn_tanh(matrix("a", 8, 4)), *b = gn_exp(matrix("b", 3, 4)), *w = matrix("w", 4, 5);
    keep(gn_matmul(gn_concat_rows(a, b), w));
    keep(gn_matmul(a, w)); // a part is read by itself
    check_concat_steps("rows", 7, 6);

    a = gn_tanh(matrix("a", 8, 4)), b = gn_exp(matrix("b", 8, 4)), w = matrix("w", 4, 5); // a part has parts
    gn_node *c = gn_tanh(matrix("c", 3, 4));
    keep(gn_matmul(gn_concat_rows(gn_concat_rows(a, b), c), w));
    check_concat_steps("nested", 7, 5);

    a = gn_tanh(matrix("a", 7, 4)), w = matrix("w", 4, 5); // what would lie behind it could not be a buffer
    keep(gn_matmul(gn_concat_rows(a, gn_exp(matrix("b", 3, 4))), w));
    check_concat_steps("unaligned", 5, 5);

    a = matrix("a", 8, 4), w = matrix("w", 4, 5); // no place in the arena
    keep(gn_matmul(gn_concat_rows(a, gn_exp(matrix("b", 3, 4))), w));
    check_concat_steps("variable", 4, 4);

    a = gn_tanh(matrix("a", 8, 4)), w = matrix("w", 4, 5); // twice the same, and twice a part
    keep(gn_matmul(gn_concat_rows(a, a), w));
    b = gn_exp(matrix("b", 3, 4)), c = gn_exp(matrix("c", 3, 4));
    keep(gn_matmul(gn_concat_rows(a, b), w));
    keep(gn_matmul(gn_concat_rows(a, c), w));
    check_concat_steps("twice", 12, 11);

    a = gn_tanh(matrix("a", 8, 4)), w = matrix("w", 8, 5); // by columns
    keep(gn_matmul(gn_concat(a, gn_exp(matrix("b", 8, 4))), w));
    check_concat_steps("columns", 5, 5);
}
END_TEST

START_TEST(sums_of_products_are_products) {
    gn_node *x[2] = {gn_tanh(matrix("x", 8, 4)), gn_exp(matrix("y", 16, 4))}, *g[2];
    g[0] = gn_exp(matrix("g", 8, 8));
    g[1] = gn_tanh(matrix("h", 16, 8));
    gn_node *sum = gn_add(graph_matmul(x[0], true, g[0], false), graph_matmul(x[1], true, g[1], false));
    keep(sum);
    ck_assert_int_eq(steps_of(ALL), 7);
    ck_assert_int_eq(steps_of(WITH_CONCAT), 6);
    keep(gn_matmul(x[0], sum)); // whoever reads it
    ck_assert_int_eq(steps_of(WITH_CONCAT), 8);
    check_plans(graph, "sum of products", 0, 2);
    gn_node *first = sum->input[0];
    keep(gn_matmul(x[1], first)); // one of the two is needed
    ck_assert_int_eq(steps_of(WITH_CONCAT), steps_of(ALL));
    check_plans(graph, "sum of products", 1, 2);
}
END_TEST

// The critic's first layer is known at the points between real and fake.
START_TEST(penalty_needs_no_first_layer) {
    session s;
    session_graphs graphs = build_session(&s, &wgan_gp, 4, 5);
    for (int turn = 0; turn < 2; turn++) {
        int with = count_planned(graphs.steps[turn], 127, OP_MATMUL),
            without = count_planned(graphs.steps[turn], 63, OP_MATMUL);
        ck_assert_int_eq(with, without - 1);
    }
    session_end(&s, &graphs);
}
END_TEST

// ---- Convolutions in pieces -----------------------------------------------------------------------------

// A convolution, and what it makes of its gradients. The image and what comes back are in the arena.
static void build_convolution(int images, bool transposed, bool backward) {
    gn_shape in = transposed ? gn_shape_of(4, images, 3, 3, 4) : gn_shape_of(4, images, 5, 5, 2),
             weights = transposed ? gn_shape_of(2, 4, 18) : gn_shape_of(2, 18, 4);
    gn_node *x = gn_tanh(gn_read(graph, variable("x", in))), *w = gn_read(graph, variable("w", weights));
    gn_node *y = (transposed ? gn_conv_transpose2d : gn_conv2d)(x, w, 3, 2, 1), *gradients[2];
    keep(gn_tanh(y));
    if (!backward)
        return;
    gn_grad(gn_mean(gn_square(gn_tanh(y))), (gn_node *[]){x, w}, 2, gradients);
    keep(gn_exp(gradients[0]));
    keep(gradients[1]);
}

// In pieces of up to so many bytes, where those of an image are 648, the plan of the graph has so many maps
// and products, and no work to take pieces apart or put them together.
static void check_pieces(const char *what, size_t bytes, int im2col, int col2im, int products) {
    static const option_range ranges[] = {{4096, 1, 4103}, {4609, 2, 4615}, {7991, 64, 8055}, {0}};
    plan_options options = options_of(7 | 512 | 4096);
    options.alignment = 8;
    options.piece_bytes = bytes;
    plan *plan = plan_new(graph, options);
    ck_assert_msg(count_nodes(plan, OP_IM2COL) == im2col && count_nodes(plan, OP_COL2IM) == col2im &&
                      count_nodes(plan, OP_MATMUL) == products,
                  "%s: %d im2col, %d col2im, %d products", what, count_nodes(plan, OP_IM2COL),
                  count_nodes(plan, OP_COL2IM), count_nodes(plan, OP_MATMUL));
    ck_assert_msg(count_nodes(plan, OP_SLICE) + count_nodes(plan, OP_PAD) == 0, "%s: rows are copied", what);
    plan_free(plan);
    check_options(graph, what, 0, 2, ranges);
    teardown();
    setup();
}

START_TEST(convolutions_in_pieces) {
    build_convolution(6, false, false);
    check_pieces("forward", 1400, 3, 0, 3);
    build_convolution(6, false, true); // the gradient by the weights needs the patches once more
    check_pieces("both ways", 1400, 1, 3, 5);
    build_convolution(6, true, false);
    check_pieces("transposed forward", 1400, 0, 3, 3);
    build_convolution(6, true, true);
    check_pieces("transposed both ways", 1400, 3, 3, 9);
    build_convolution(6, true, true);
    check_pieces("of half the images", 2000, 1, 1, 3);
    build_convolution(7, true, true);
    check_pieces("one by one", 1400, 7, 7, 21);
    build_convolution(11, true, true); // one by one they would be too small
    check_pieces("a prime number", 3000, 1, 1, 3);
}
END_TEST

START_TEST(pieces_and_their_readers) {
    gn_node *x = gn_tanh(gn_read(graph, variable("x", gn_shape_of(4, 6, 3, 3, 4))));
    gn_node *y = gn_conv_transpose2d(x, gn_read(graph, variable("w", gn_shape_of(2, 4, 18))), 3, 2, 1);
    keep(gn_sum_to(y, gn_shape_of(1, 2)));
    check_pieces("a sum", 1400, 0, 3, 3);

    x = gn_tanh(gn_read(graph, variable("x", gn_shape_of(4, 6, 5, 5, 2))));
    y = gn_matmul(graph_im2col(x, 3, 2, 1), gn_read(graph, variable("w", gn_shape_of(2, 18, 18))));
    keep(gn_tanh(graph_col2im(y, x->shape, 3, 2, 1)));
    check_pieces("from patches to patches", 1400, 3, 1, 3);

    x = graph_im2col(gn_tanh(gn_read(graph, variable("x", gn_shape_of(4, 6, 5, 5, 2)))), 3, 2, 1);
    keep(graph_matmul(x, true, x, false));
    check_pieces("patches times patches", 1400, 1, 0, 1);

    gn_node *w = gn_read(graph, variable("w", gn_shape_of(2, 4, 18)));
    x = graph_im2col(gn_tanh(gn_read(graph, variable("x", gn_shape_of(4, 6, 5, 5, 2)))), 3, 2, 1);
    keep(graph_matmul(w, false, x, true));
    check_pieces("images make columns", 1400, 1, 0, 1);

    y = gn_matmul(gn_tanh(matrix("x", 54, 4)), matrix("w", 4, 18));
    keep(gn_tanh(graph_col2im(y, gn_shape_of(4, 6, 5, 5, 2), 3, 2, 1)));
    keep(gn_exp(y));
    check_pieces("columns that are needed", 1400, 0, 1, 1);
}
END_TEST

// ---- Equal nodes ---------------------------------------------------------------------------------------

enum { WITH_COMMON = ALL | 2048 };

// A layer on the same rows with the same weights, again; not with other weights, nor another slope, nor the
// weights after their update, nor transposed.
START_TEST(equal_nodes_are_one) {
    gn_variable *w = variable("w", gn_shape_of(2, 6, 6));
    gn_node *x = matrix("x", 6, 6), *r = matrix("r", 1, 6);
    for (int i = 0; i < 3; i++)
        keep(gn_matmul(gn_leaky_relu(gn_add(gn_matmul(x, gn_read(graph, w)), r), 0.2), gn_read(graph, w)));
    ck_assert_int_eq(count_planned(graph, ALL, OP_MATMUL), 6);
    ck_assert_int_eq(count_planned(graph, WITH_COMMON, OP_MATMUL), 2);
    check_plans(graph, "equal layers", 0, 2);

    keep(gn_matmul(gn_leaky_relu(gn_add(gn_matmul(x, gn_read(graph, w)), r), 0.1), gn_read(graph, w)));
    ck_assert_int_eq(count_planned(graph, WITH_COMMON, OP_MATMUL), 3);
    keep(gn_matmul(x, matrix("v", 6, 6)));
    keep(graph_matmul(x, true, gn_read(graph, w), false));
    ck_assert_int_eq(count_planned(graph, WITH_COMMON, OP_MATMUL), 5);
    gn_assign(graph, w, gn_scale(gn_read(graph, w), 0.5));
    keep(gn_matmul(x, gn_read(graph, w)));
    ck_assert_int_eq(count_planned(graph, WITH_COMMON, OP_MATMUL), 6);
    check_plans(graph, "equal layers", 1, 2);
}
END_TEST

// Draws are equal where the stream, the step and the first index are.
START_TEST(equal_draws_are_one) {
    gn_shape shape = gn_shape_of(2, 4, 4);
    gn_node *step = gn_read(graph, gn_state_add(gn_graph_state(graph), "step", GN_I32, (gn_shape){0}, NULL));
    gn_node *later = gn_add(step, gn_constant_int(graph, 1));
    keep(gn_random_normal("noise", step, shape, 0));
    keep(gn_tanh(gn_random_normal("noise", step, shape, 0)));
    keep(gn_random_normal("masks", step, shape, 0));
    keep(gn_random_normal("noise", later, shape, 0));
    keep(gn_random_normal("noise", step, shape, 16));
    ck_assert_int_eq(count_planned(graph, ALL, OP_RANDOM_NORMAL), 5);
    ck_assert_int_eq(count_planned(graph, WITH_COMMON, OP_RANDOM_NORMAL), 4);
}
END_TEST

// WGAN-GP runs its generator of four layers again in the step that updates it, and nothing else twice.
START_TEST(generator_runs_once) {
    session s;
    session_graphs graphs = build_session(&s, &wgan_gp, 4, 5);
    for (int turn = 0; turn < 2; turn++) {
        int with = count_planned(graphs.steps[turn], WITH_COMMON, OP_MATMUL),
            without = count_planned(graphs.steps[turn], ALL, OP_MATMUL);
        ck_assert_int_eq(with, without - 4 * turn);
    }
    session_end(&s, &graphs);
}
END_TEST

// ---- What steps wait for -------------------------------------------------------------------------------

static bool waits_for(const plan *plan, int s, int t) {
    for (int i = 0; i < plan->steps[s].wait_count; i++)
        if (plan->steps[s].waits[i] == t || waits_for(plan, plan->steps[s].waits[i], t))
            return true;
    return false;
}

// Two layers with a product of each beside them: four steps, of which only the second layer waits, for the
// first.
START_TEST(independent_steps_do_not_wait) {
    gn_node *x = matrix("x", 4, 4), *hidden = gn_matmul(x, matrix("w0", 4, 4));
    keep(gn_matmul(x, matrix("w1", 4, 4)));
    keep(gn_matmul(hidden, matrix("w2", 4, 4)));
    keep(gn_matmul(matrix("y", 4, 4), matrix("w3", 4, 4)));
    plan *plan = plan_new(graph, options_of(21));
    int waiting = 0;
    for (int s = 0; s < plan->count; s++)
        waiting += plan->steps[s].wait_count;
    ck_assert_int_eq(plan->count, 4);
    ck_assert_int_eq(waiting, 1);
    plan_free(plan);
    check_plans(graph, "independent", 0, 2);
}
END_TEST

// The update of a variable waits for all who read the old value, though none of them is its input.
START_TEST(updates_wait_for_readers) {
    gn_variable *v = variable("v", gn_shape_of(2, 4, 4));
    gn_node *old = gn_read(graph, v);
    keep(gn_matmul(old, matrix("w0", 4, 4)));
    keep(gn_matmul(matrix("w1", 4, 4), old));
    gn_assign(graph, v, matrix("new", 4, 4));
    plan *plan = plan_new(graph, options_of(7));
    int last = plan->count - 1, waiting = 0;
    for (int s = 0; s < last; s++)
        waiting += plan->steps[s].form == FORM_MATMUL && waits_for(plan, last, s);
    ck_assert_int_eq(plan->steps[last].nodes[0]->variable == v, true);
    ck_assert_int_eq(waiting, 2);
    plan_free(plan);
    check_plans(graph, "updates", 0, 2);
}
END_TEST

// One place in the arena for two chains, one behind the other: the second waits for the first to have left
// it.
START_TEST(tenants_wait_for_each_other) {
    gn_node *x = matrix("x", 4, 4);
    for (int i = 0; i < 2; i++)
        keep(gn_matmul(gn_matmul(gn_matmul(x, x), x), x));
    for (int reuse = 0; reuse < 2; reuse++) {
        plan *plan = plan_new(graph, options_of(5 + 2 * reuse));
        int first = 0;
        while (first < plan->count && (first == 0 || plan->steps[first].wait_count != 0))
            first++;
        ck_assert_int_eq(first < plan->count, !reuse);
        plan_free(plan);
    }
    check_plans(graph, "tenants", 0, 2);
}
END_TEST

// ---- Places --------------------------------------------------------------------------------------------

// Buffers of one tensor each that a chain needs, of steps of a node: one, where a step reads an element
// before it writes it. A product and a broadcast read others as well.
static void check_buffers(const char *what, int buffers) {
    enum { REUSE_IN_PLACE_APART = 2 | 4 | 128 };
    plan *plan = plan_new(graph, options_of(REUSE_IN_PLACE_APART));
    ck_assert_msg(plan->chunk_count == buffers, "%s: %d buffers", what, plan->chunk_count);
    plan_free(plan);
    check_plans(graph, what, 0, 2);
    teardown();
    setup();
}

START_TEST(results_take_over) {
    keep(gn_exp(gn_tanh(gn_exp(gn_tanh(matrix("x", 16, 16))))));
    check_buffers("chain", 1);

    gn_node *y = gn_tanh(matrix("x", 16, 16));
    keep(gn_mul(gn_exp(y), y)); // y is needed once more
    check_buffers("fork", 2);

    y = gn_tanh(matrix("x", 16, 16));
    keep(gn_exp(gn_matmul(y, y)));
    check_buffers("product", 2);

    y = gn_tanh(matrix("x", 16, 16)); // columns before they are overwritten, and behind that
    keep(gn_exp(gn_add(gn_pad(gn_slice(y, 8, 8), 0, 8), gn_pad(gn_slice(y, 0, 8), 8, 0))));
    check_buffers("halves", 3);
}
END_TEST

// ---- Random graphs -----------------------------------------------------------------------------------

static uint64_t random_state;

static int below(int bound) {
    random_state = random_state * 6364136223846793005u + 1442695040888963407u;
    return (int)((random_state >> 33) % (uint64_t)bound);
}

enum { MAX_POOL = 256 };
typedef struct {
    gn_node *nodes[MAX_POOL]; // f32, all of which may be used
    int count;
    gn_variable *variables[8];
    int variable_count;
    gn_variable *table, *counter, *log;
} pool;

static gn_node *pick(const pool *p) {
    return p->nodes[below(p->count)];
}

static void push(pool *p, gn_node *node) {
    if (p->count < MAX_POOL && gn_shape_count(node->shape) <= 600)
        p->nodes[p->count++] = node;
}

static bool broadcast_together(gn_shape a, gn_shape b) {
    for (int i = 1; i <= a.dims && i <= b.dims; i++) {
        int x = a.size[a.dims - i], y = b.size[b.dims - i];
        if (x != y && x != 1 && y != 1)
            return false;
    }
    return true;
}

static gn_node *bounded(gn_node *x) {
    return gn_clamp(x, -4, 4);
}

static gn_node *random_unary(gn_node *x) {
    switch (below(9)) {
    case 0:
        return gn_tanh(x);
    case 1:
        return gn_sigmoid(x);
    case 2:
        return gn_neg(x);
    case 3:
        return gn_scale(x, 0.7);
    case 4:
        return gn_exp(gn_tanh(x));
    case 5:
        return gn_sqrt(gn_offset(gn_square(bounded(x)), 1));
    case 6:
        return gn_leaky_relu(x, 0.2);
    case 7:
        return graph_within(x, -0.5, 0.5);
    default:
        return gn_log(gn_offset(gn_square(x), 1));
    }
}

static gn_node *random_binary(const pool *p) {
    gn_node *a = pick(p), *b = pick(p);
    for (int tries = 0; tries < 20 && !broadcast_together(a->shape, b->shape); tries++)
        b = pick(p);
    if (!broadcast_together(a->shape, b->shape))
        b = a;
    switch (below(4)) {
    case 0:
        return gn_add(a, b);
    case 1:
        return gn_sub(a, b);
    case 2:
        return bounded(gn_mul(a, b));
    default:
        return gn_div(a, gn_offset(gn_square(bounded(b)), 0.5));
    }
}

static gn_node *random_shape(const pool *p) {
    gn_node *x = pick(p);
    if (x->shape.dims == 0)
        return gn_broadcast(x, gn_shape_of(2, 1 + below(6), 4));
    int axis = below(x->shape.dims), last = x->shape.size[x->shape.dims - 1];
    switch (below(10)) {
    case 9:
        return gn_concat_rows(gn_tanh(x), below(2) ? x : gn_sub(x, gn_mean(x)));
    case 8: // a sum of products
        return x->shape.dims == 2 ? bounded(gn_add(graph_matmul(x, true, gn_tanh(x), false),
                                                   graph_matmul(gn_tanh(x), true, x, false)))
                                  : gn_concat_rows(x, gn_concat_rows(gn_tanh(x), gn_neg(x)));
    case 6:
        return below(2) ? gn_sub(x, bounded(gn_sum_axis(x, 0)))
                        : bounded(gn_mean(gn_square(gn_sub(x, gn_sum_axis(x, axis)))));
    case 7:
        return gn_add(x, gn_tanh(gn_sum_axis(gn_square(bounded(x)), 0)));
    case 0:
        return gn_sum_axis(x, axis);
    case 1:
        return gn_mean(x);
    case 2:
        return gn_slice(x, last / 3, last - last / 3);
    case 3:
        return gn_pad(x, below(3), below(3));
    case 4:
        return gn_reshape(x, gn_shape_of(1, (int)gn_shape_count(x->shape)));
    default:
        return x->shape.dims == 2 ? gn_reshape(x, gn_shape_of(2, x->shape.size[1], x->shape.size[0]))
                                  : gn_sum_to(x, gn_shape_of(1, last));
    }
}

static gn_node *random_product(const pool *p) {
    gn_node *a = pick(p), *b = pick(p);
    for (int tries = 0; tries < 20 && a->shape.dims != 2; tries++)
        a = pick(p);
    if (a->shape.dims != 2)
        return random_unary(a);
    for (int tries = 0; tries < 20 && (b->shape.dims != 2 || b->shape.size[0] != a->shape.size[1]); tries++)
        b = pick(p);
    bool fits = b->shape.dims == 2 && b->shape.size[0] == a->shape.size[1];
    bool transpose = below(2);
    return bounded(fits ? gn_matmul(a, b) : graph_matmul(a, transpose, a, !transpose));
}

// Gives a variable a new value made from any node, in the variable's shape.
static void random_assign(pool *p) {
    gn_variable *v = p->variables[below(p->variable_count)];
    gn_node *x = pick(p);
    for (int tries = 0; tries < 20 && !gn_shape_equal(x->shape, v->shape); tries++)
        x = pick(p);
    if (!gn_shape_equal(x->shape, v->shape)) // through its mean
        x = gn_add(gn_scale(gn_read(p->nodes[0]->graph, v), 0.5), gn_mean(x));
    push(p, gn_assign(p->nodes[0]->graph, v, below(2) ? gn_tanh(x) : bounded(x)));
}

static void random_gradient(pool *p) {
    gn_node *wrt[2] = {pick(p), pick(p)}, *gradients[2];
    gn_grad(gn_mean(gn_square(pick(p))), wrt, 2, gradients);
    push(p, bounded(gradients[0]));
    push(p, bounded(gradients[1]));
}

static void random_node(pool *p) {
    gn_node *step = gn_read(graph, p->counter);
    switch (below(16)) {
    case 0:
    case 1:
    case 2:
        push(p, random_unary(pick(p)));
        break;
    case 3:
    case 4:
    case 5:
        push(p, random_binary(p));
        break;
    case 6:
    case 7:
        push(p, random_shape(p));
        break;
    case 8:
        push(p, random_product(p));
        break;
    case 9:
    case 10:
    case 11:
        random_assign(p);
        break;
    case 12:
        push(p, gn_read(graph, p->variables[below(p->variable_count)]));
        break;
    case 13:
        gn_record(graph, p->log, step, below(2), gn_mean(pick(p)));
        push(p, gn_read(graph, p->log));
        break;
    case 14:
        push(p, gn_random_normal("z", step, gn_shape_of(2, 3, 4), below(5)));
        push(p, gn_to_f32(gn_assign(graph, p->counter, gn_add(step, gn_constant_int(graph, 1)))));
        break;
    default:
        random_gradient(p);
    }
}

static void build_random_graph(void) {
    pool p = {.variable_count = 6};
    const gn_shape shapes[] = {{2, {4, 6}}, {2, {4, 6}}, {1, {6}}, {2, {4, 1}}, {0, {0}}, {3, {2, 3, 6}}};
    for (int i = 0; i < p.variable_count; i++) {
        char name[] = {'v', (char)('0' + i), 0};
        p.variables[i] = variable(name, shapes[i]);
        push(&p, gn_read(graph, p.variables[i]));
    }
    gn_variable *order = gn_state_add(state, "order", GN_I32, gn_shape_of(1, 5), (int32_t[]){3, 1, 4, 0, 2});
    p.table = variable("table", gn_shape_of(2, 5, 6));
    p.counter = gn_state_add(state, "counter", GN_I32, (gn_shape){0}, NULL);
    p.log = variable("log", gn_shape_of(2, 3, 2));
    gn_node *table = gn_read(graph, p.table);
    gn_node *rows = gn_batch_rows(gn_read(graph, order), gn_read(graph, p.counter), 2);
    push(&p, gn_gather(table, rows));
    p.variables[p.variable_count++] = p.table;
    for (int i = 10 + below(40); i > 0; i--)
        random_node(&p);
    push(&p, gn_gather(table, rows)); // of the old table, which may have changed
    for (int i = 0; i < 6; i++)       // old values and new ones, and all that led to them
        keep(gn_add(gn_mean(pick(&p)), gn_mean(pick(&p))));
}

// The seed of a failure stands in its message.
START_TEST(random_graphs) {
    const int graphs = getenv("GANC_TEST_BRIEF") ? 60 : 300, first_seed = 1;
    int nodes = 0, steps = 0, with_epilogues = 0, with_columns = 0, unfused = 0, copies = 0;
    for (int seed = first_seed; seed < first_seed + graphs; seed++) {
        random_state = (uint64_t)seed;
        build_random_graph();
        check_plans(graph, "random graph", seed, 3);
        nodes += graph->count;
        steps += steps_of(7);
        with_epilogues += steps_of(23);
        with_columns += steps_of(39);
        unfused += steps_of(6);
        copies += copies_in_place(true);
        teardown();
        setup();
    }
    printf("test_plan: %d random graphs (seeds %d .. %d): %d nodes, %d steps unfused, %d fused, %d with "
           "epilogues, %d with columns, %d copies\n",
           graphs, first_seed, first_seed + graphs - 1, nodes, unfused, steps, with_epilogues, with_columns,
           copies);
    ck_assert_int_lt(with_columns, steps);
    ck_assert_int_lt(with_epilogues, steps);
    ck_assert_int_lt(steps, unfused);
    ck_assert_int_gt(copies, 0);
}
END_TEST

// ---- Training steps ----------------------------------------------------------------------------------

START_TEST(training_steps_run) {
    session s;
    session_graphs graphs = build_session(&s, all_models[_i], 2, 3);
    // The later models bring no other state.
    static const option_range first[] = {{0, 1, 7}, {23, 32, 55}, {887, 1024, 1911}, {3959, 1, 3959}, {0}},
                              later[] = {{0, 7, 7}, {23, 32, 55}, {887, 1024, 1911}, {3959, 1, 3959}, {0}},
                              pieces[] = {{8055, 1, 8055}, {0}};
    rounding = 1e-6; // of a gradient that is nothing but rounding Adam makes a step, of up to 1e-9
    for (int turn = 0; turn < 2; turn++)
        if (graphs.steps[turn]) {
            check_options(graphs.steps[turn], all_models[_i]->name, turn, 1, _i == 0 ? first : later);
            if (all_models[_i] == &dcgan)
                check_options(graphs.steps[turn], "dcgan in pieces", turn, 1, pieces);
        }
    session_end(&s, &graphs);
}
END_TEST

// The bytes of a plan's arena, which are at most 1.3 times what is alive at once; and its steps.
static size_t check_arena(const gn_graph *graph, const char *name, const char *how, plan_options options,
                          int *steps) {
    plan *plan = plan_new(graph, options);
    size_t live = check_places(plan, options), bytes = plan_arena_bytes(plan);
    *steps = plan->count;
    printf("test_plan: %s %s: %d steps, %zu bytes in %d chunks for %zu alive\n", name, how, plan->count,
           bytes, plan->chunk_count, live);
    ck_assert_msg((double)bytes <= 1.3 * (double)live, "%s %s: an arena of %zu bytes for %zu alive", name,
                  how, bytes, live);
    plan_free(plan);
    return bytes;
}

// The arena of a training step is little more than what is alive at once.
static void check_fit(const gn_graph *graph, const char *name) {
    size_t arena[8];
    int steps[8];
    for (int bits = 0; bits < 8; bits++) {
        plan_options options = options_of(bits | 8);
        plan *plan = plan_new(graph, options);
        size_t live = check_places(plan, options);
        arena[bits] = plan_arena_bytes(plan);
        steps[bits] = plan->count;
        if (bits & 2)
            ck_assert_msg((double)arena[bits] <= 1.5 * (double)live,
                          "%s: an arena of %zu bytes for %zu alive", name, arena[bits], live);
        if (bits == 7)
            printf("test_plan: %s: %d steps, %d of them products, arena of %zu bytes for %zu alive\n", name,
                   plan->count, count_nodes(plan, OP_MATMUL), arena[bits], live);
        plan_free(plan);
    }
    plan_options all = options_of(3967), in_pieces = all;
    in_pieces.piece_bytes = 1 << 20;
    int finished;
    size_t bytes = check_arena(graph, name, "with all on", all, &finished);
    ck_assert_int_lt(finished, steps[7]);
    ck_assert_uint_le(check_arena(graph, name, "with convolutions in pieces", in_pieces, &finished), bytes);
    check_arena(graph, name, "in buffers of their own", options_of(3967 | 128), &finished);
    ck_assert_int_lt(steps[7], steps[6]);
    ck_assert_uint_lt(arena[7], arena[5]);
    ck_assert_uint_lt(arena[7], arena[3]);

    plan_options small = options_of(15);
    small.max_allocation = arena[7] * 2 / 3; // still more than the largest tensor
    small.alignment = 4096;
    plan *plan = plan_new(graph, small);
    check_places(plan, small);
    ck_assert_int_gt(plan->chunk_count, 1);
    plan_free(plan);
}

START_TEST(training_steps_fit) {
    session s;
    session_graphs graphs = build_session(&s, all_models[_i], 64, 100);
    for (int turn = 0; turn < 2; turn++)
        if (graphs.steps[turn])
            check_fit(graphs.steps[turn], all_models[_i]->name);
    session_end(&s, &graphs);
}
END_TEST

// gan: 4 products make the fake; 3 judge real and fake together; that goes back by 3 weights and 2 layers.
// Then 3 judge again, 3 go back to the image, and through the generator 4 weights and 3 layers. No gradient
// by the discriminator's weights in the generator's step, none by the noise or by real images. What goes back
// from the scores, twice, is a column times a row, which is no product in the plan.
START_TEST(training_step_computes_nothing_in_vain) {
    session s;
    session_graphs graphs = build_session(&s, &gan, 4, 5);
    plan *plan = plan_new(graphs.steps[1], options_of(15));
    ck_assert_int_eq(count_nodes(plan, OP_MATMUL), 4 + 3 + (3 + 2) + 3 + 3 + 4 + 3 - 2);
    ck_assert_int_eq(count_nodes(plan, OP_COPY), 0);
    plan_free(plan);
    session_end(&s, &graphs);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("plan");
    TCase *graphs = tcase_create("graphs");
    tcase_add_checked_fixture(graphs, setup, teardown);
    tcase_add_test(graphs, nothing_to_do);
    tcase_add_test(graphs, dead_code_is_left_out);
    tcase_add_test(graphs, fusing_saves_steps);
    tcase_add_test(graphs, fusing_makes_no_circles);
    tcase_add_test(graphs, patches_that_are_the_image);
    tcase_add_test(graphs, constants_reach_all_readers);
    tcase_add_test(graphs, constants_are_computed_once);
    tcase_add_test(graphs, constants_of_steps_that_run_are_none);
    tcase_add_test(graphs, switches_by_environment);
    tcase_add_test(graphs, long_sums_are_split);
    suite_add_tcase(suite, graphs);

    TCase *hazards = tcase_create("hazards");
    tcase_add_checked_fixture(hazards, setup, teardown);
    tcase_add_test(hazards, old_value_after_update);
    tcase_add_test(hazards, swap);
    tcase_add_test(hazards, rotation);
    tcase_add_test(hazards, chain_of_assignments);
    tcase_add_test(hazards, versions_in_registers);
    tcase_add_test(hazards, versions_read_together);
    tcase_add_test(hazards, old_and_new_together);
    tcase_add_test(hazards, old_value_after_a_detour);
    tcase_add_test(hazards, broadcast_of_old_and_new);
    tcase_add_test(hazards, log_read_before_and_after);
    tcase_add_test(hazards, log_assigned_and_recorded);
    tcase_add_test(hazards, counter_read_after_it_moved);
    suite_add_tcase(suite, hazards);

    TCase *epilogues = tcase_create("epilogues");
    tcase_add_checked_fixture(epilogues, setup, teardown);
    tcase_add_test(epilogues, epilogues_join);
    tcase_add_test(epilogues, epilogues_that_do_not_fit);
    tcase_add_test(epilogues, epilogues_and_operands);
    suite_add_tcase(suite, epilogues);

    TCase *columns = tcase_create("columns");
    tcase_add_checked_fixture(columns, setup, teardown);
    tcase_add_test(columns, columns_join);
    tcase_add_test(columns, columns_that_do_not_fit);
    tcase_add_test(columns, sums_share_a_pass);
    tcase_add_test(columns, readers_compute_for_themselves);
    suite_add_tcase(suite, columns);

    TCase *linear = tcase_create("linear");
    tcase_add_checked_fixture(linear, setup, teardown);
    tcase_add_test(linear, products_between_rows);
    tcase_add_test(linear, products_between_single_matrices);
    tcase_add_test(linear, products_between_images);
    tcase_add_test(linear, sums_of_known_rows);
    tcase_add_test(linear, rows_are_added_first);
    tcase_add_test(linear, concatenations_are_no_work);
    tcase_add_test(linear, sums_of_products_are_products);
    tcase_add_test(linear, penalty_needs_no_first_layer);
    suite_add_tcase(suite, linear);

    TCase *pieces = tcase_create("pieces");
    tcase_add_checked_fixture(pieces, setup, teardown);
    tcase_add_test(pieces, convolutions_in_pieces);
    tcase_add_test(pieces, pieces_and_their_readers);
    suite_add_tcase(suite, pieces);

    TCase *common = tcase_create("common");
    tcase_add_checked_fixture(common, setup, teardown);
    tcase_add_test(common, equal_nodes_are_one);
    tcase_add_test(common, equal_draws_are_one);
    tcase_add_test(common, generator_runs_once);
    suite_add_tcase(suite, common);

    TCase *waits = tcase_create("waits");
    tcase_add_checked_fixture(waits, setup, teardown);
    tcase_add_test(waits, independent_steps_do_not_wait);
    tcase_add_test(waits, updates_wait_for_readers);
    tcase_add_test(waits, tenants_wait_for_each_other);
    suite_add_tcase(suite, waits);

    TCase *places = tcase_create("places");
    tcase_add_checked_fixture(places, setup, teardown);
    tcase_add_test(places, results_take_over);
    suite_add_tcase(suite, places);

    TCase *random = tcase_create("random");
    tcase_add_checked_fixture(random, setup, teardown);
    tcase_set_timeout(random, 120);
    tcase_add_test(random, random_graphs);
    suite_add_tcase(suite, random);

    if (getenv("GANC_TEST_BRIEF")) // most of the time, for no step that the graphs above do not have
        return suite;
    int models = 0;
    while (all_models[models])
        models++;
    TCase *training = tcase_create("training");
    tcase_set_timeout(training, 120);
    tcase_add_loop_test(training, training_steps_run, 0, models);
    tcase_add_loop_test(training, training_steps_fit, 0, models);
    tcase_add_test(training, training_step_computes_nothing_in_vain);
    suite_add_tcase(suite, training);
    return suite;
}
