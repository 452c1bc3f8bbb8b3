// Every operation on the device against reference.c, which computes in double: all cases of op_cases.c, their
// first and second gradients, and updates of state whose order could go wrong; for both classes of kernels
// and with the planner's optimisations off.
//
// Compiling takes most of the time, and kernels of the same text are compiled once a device: so a test has
// one, and puts all its cases into one graph. GANC_TEST_SIZE is the one size to take for values, where a
// device is slow.
#include "cl/generated_kernels.h"
#include "cl/program.h"
#include "graph/reference.h"
#include "op_cases.h"
#include "test.h"

#include <math.h>
#include <string.h>

enum { SEED = 5, MAX_VARIABLES = 16, NAME_LENGTH = 80 };
static const double eps = 0x1p-23; // of float

static const char *const classes[] = {"cpu", "gpu"};

static gn_device *open_device(const char *class) {
    gn_device_options options = {.device_class = class, .gemm = "native"}; // test_gemm has the others
    gn_device *device = gn_device_open(NULL, &options);
    ck_assert_msg(device != NULL, "%s", gn_error());
    return device;
}

// ---- What rounding may do ----------------------------------------------------------------------------

// What an element's error is measured against, and how many eps of that it may be.
typedef struct {
    enum { OF_ELEMENT, OF_LARGEST } of; // the element's size; the tensor's largest
    double allowed;
    double terms; // summed up for an element
} tolerance;

// Of one operation on exact inputs of which those of sums and products are at most 1: what OpenCL C 1.2,
// section 7.4, allows its functions.
static tolerance operation_tolerance(gn_node *node) {
    switch (node->op) {
    case OP_ASSIGN:
        return operation_tolerance(plan_base(node->input[0]));
    case OP_SUM:
        return (tolerance){OF_LARGEST, 4,
                           (double)gn_shape_count(node->input[0]->shape) /
                               (double)gn_shape_count(node->shape)};
    case OP_MATMUL:
        return (tolerance){OF_LARGEST, 4, node->input[0]->shape.size[!node->integer[0]]};
    case OP_COL2IM: // a pixel has at most kernel^2 copies
        return (tolerance){OF_LARGEST, 1, node->integer[0] * node->integer[0]};
    case OP_MUL: // perhaps by a number that float rounds
        return (tolerance){OF_ELEMENT, 1, 1};
    case OP_DIV:
    case OP_SQRT:
        return (tolerance){OF_ELEMENT, 3, 1};
    case OP_EXP:
    case OP_EXPM1:
    case OP_LOG:
        return (tolerance){OF_ELEMENT, 4, 1};
    case OP_TANH:
    case OP_SIGMOID:
    case OP_BCE:
        return (tolerance){OF_ELEMENT, 6, 1};
    default: // rounded correctly, or only moved
        return (tolerance){OF_ELEMENT, 0.5, 1};
    }
}

// ---- A table of results ------------------------------------------------------------------------------

typedef struct {
    gn_variable *variable;
    char name[NAME_LENGTH]; // "tanh, (n), n = 17, first gradient"
    op_kind op;
    tolerance tolerance;
} result;

typedef struct {
    gn_state *state;
    gn_graph *graph;
    result *results;
    int count;
    struct {
        double error; // in units of what is allowed
        char name[NAME_LENGTH];
    } worst[OP_COUNT];
} check;

static check *check_new(void) {
    check *c = gn_calloc(1, sizeof *c);
    c->state = gn_state_new(SEED);
    c->graph = gn_graph_new(c->state);
    return c;
}

static void check_free(check *c) {
    gn_graph_free(c->graph);
    gn_state_free(c->state);
    free(c->results);
    free(c);
}

static void expect_result(check *c, gn_variable *variable, op_kind op, tolerance tolerance, const char *name,
                          int n, const char *which) {
    c->results = gn_realloc(c->results, (size_t)(c->count + 1) * sizeof *c->results);
    result *r = &c->results[c->count++];
    *r = (result){.variable = variable, .op = op, .tolerance = tolerance};
    if (n > 0)
        snprintf(r->name, sizeof r->name, "%s, n = %d%s", name, n, which);
    else
        snprintf(r->name, sizeof r->name, "%s", name);
}

static void compare_integers(const result *r, const double *expected, const int32_t *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        REQUIRE(values[i] == expected[i], "%s: element %zu of %zu is %d, not %.0f", r->name, i, count,
                values[i], expected[i]);
}

static void compare_floats(check *c, const result *r, const double *expected, const float *values,
                           size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(expected[i]));
    for (size_t i = 0; i < count; i++) {
        if (values[i] == (float)expected[i])
            continue;
        double size =
            r->tolerance.of == OF_ELEMENT ? fabs(expected[i]) : fmax(1, largest) * r->tolerance.terms;
        double error = fabs(values[i] - expected[i]) / (eps * size * r->tolerance.allowed);
        REQUIRE(error <= 1, "%s: element %zu of %zu is %.9g, not %.9g: off by %.3g of what may be", r->name,
                i, count, values[i], expected[i], error);
        if (error > c->worst[r->op].error) {
            c->worst[r->op].error = error;
            memcpy(c->worst[r->op].name, r->name, NAME_LENGTH);
        }
    }
}

// Runs the graph `steps` times on the device and by the reference, and compares after each.
static void run_and_compare(check *c, gn_device *device, plan_options options, int steps) {
    reference *reference = reference_new(c->graph); // before the device takes the variables
    gn_program *program = program_new(device, c->graph, options);
    ck_assert_msg(program != NULL, "%s", gn_error());
    for (int step = 0; step < steps; step++) {
        reference_run(reference);
        ck_assert_msg(gn_program_run(program), "%s", gn_error());
        for (int i = 0; i < c->count; i++) {
            const result *r = &c->results[i];
            size_t count = gn_shape_count(r->variable->shape);
            void *values = gn_calloc(count, sizeof(float));
            ck_assert_msg(gn_state_get(device, r->variable, values), "%s", gn_error());
            const double *expected = reference_variable(reference, r->variable);
            if (r->variable->type == GN_I32)
                compare_integers(r, expected, values, count);
            else
                compare_floats(c, r, expected, values, count);
            free(values);
        }
    }
    printf("class %s, %s%s%s: %d results of %d launches\n", device->class == CLASS_CPU ? "cpu" : "gpu",
           options.fuse ? "fuse " : "", options.reuse ? "reuse " : "", options.in_place ? "in-place" : "",
           c->count, program_get_cost(program).launches);
    gn_program_free(program);
    reference_free(reference);
}

static void print_worst(const check *c, const char *what) {
    for (int op = 0; op < OP_COUNT; op++)
        if (c->worst[op].error > 0)
            printf("  %-14s %s off by at most %.2f of what may be (%s)\n", op_table[op].name, what,
                   c->worst[op].error, c->worst[op].name);
}

// ---- Cases -------------------------------------------------------------------------------------------

// sum(x * weights), with weights of -1 .. 1
static gn_node *weighted_sum(gn_node *x) {
    size_t count = gn_shape_count(x->shape);
    float *values = gn_calloc(count, sizeof *values);
    char *name = gn_format("weights.%d", x->graph->count);
    gn_draw_uniform(SEED, name, 0, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = 2 * values[i] - 1;
    gn_variable *weights = gn_state_add(x->graph->state, name, GN_F32, x->shape, values);
    free(values);
    free(name);
    return gn_sum_to(gn_mul(x, gn_read(x->graph, weights)), (gn_shape){0});
}

// The gradients of `loss`, which follows from the tested node, by `inputs`, kept as results.
static void add_gradients(check *c, const op_case *tested, int n, const char *which, const gn_node *node,
                          gn_node *loss, gn_node *const *inputs, int count, gn_node **gradients) {
    gn_grad(loss, inputs, count, gradients);
    for (int i = 0; i < count; i++) {
        // A composition of several roundings, in which terms may cancel; perhaps summed over what was
        // broadcast.
        size_t terms = gn_shape_count(node->shape) / gn_shape_count(inputs[i]->shape);
        expect_result(c, op_case_output(gradients[i]), tested->op,
                      (tolerance){OF_LARGEST, 16, fmax(1, (double)terms)}, tested->name, n, which);
    }
}

static void add_derivatives(check *c, const op_case *tested, int n, gn_node *node, int first) {
    gn_node *inputs[MAX_VARIABLES], *gradients[MAX_VARIABLES];
    int count = 0;
    for (int id = first; id <= node->id; id++)
        if (c->graph->nodes[id]->op == OP_VARIABLE && c->graph->nodes[id]->type == GN_F32)
            inputs[count++] = c->graph->nodes[id];
    if (count == 0) // a constant
        return;
    add_gradients(c, tested, n, ", first gradient", node, weighted_sum(node), inputs, count, gradients);
    gn_node *sum = weighted_sum(gradients[0]);
    for (int i = 1; i < count; i++)
        sum = gn_add(sum, weighted_sum(gradients[i]));
    add_gradients(c, tested, n, ", second gradient", node, sum, inputs, count, gradients);
}

static void add_cases(check *c, int n, bool values, bool derivatives) {
    for (int i = 0; i < op_case_count; i++) {
        int first = c->graph->count;
        gn_node *node = op_cases[i].build(c->graph, n);
        if (derivatives && op_cases[i].smooth)
            add_derivatives(c, &op_cases[i], n, node, first);
        if (values)
            expect_result(c, op_case_output(node), node->op, operation_tolerance(node), op_cases[i].name, n,
                          "");
    }
}

static void add_values(check *c, int class) {
    const char *only = getenv("GANC_TEST_SIZE");
    if (only)
        add_cases(c, atoi(only), true, false);
    for (int i = 0; i < op_size_count && !only; i += class ? 3 : 4) // others for each class
        add_cases(c, op_sizes[i], true, false);
}

START_TEST(values) {
    gn_device *device = open_device(classes[_i]);
    check *c = check_new();
    add_values(c, _i);
    run_and_compare(c, device, plan_options_default(), 1);
    print_worst(c, "value");
    check_free(c);
    gn_device_free(device);
}
END_TEST

// What writes in order, as if its tensors were too large for the caches.
START_TEST(streams) {
    gn_device *device = open_device("cpu");
    device->cached = 0;
    check *c = check_new();
    for (int i = 0; i < op_case_count; i++) {
        gn_node *node = op_cases[i].build(c->graph, 16);
        op_form form = op_table[node->op].form;
        if (form == FORM_POINTWISE || form == FORM_PATCHES)
            expect_result(c, op_case_output(node), node->op, operation_tolerance(node), op_cases[i].name, 16,
                          "");
    }
    run_and_compare(c, device, plan_options_default(), 1);
    check_free(c);
    gn_device_free(device);
}
END_TEST

START_TEST(derivatives) {
    gn_device *device = open_device(classes[_i]);
    check *c = check_new();
    add_cases(c, 16, false, true);
    run_and_compare(c, device, plan_options_default(), 1);
    print_worst(c, "gradient");
    check_free(c);
    gn_device_free(device);
}
END_TEST

// The planner's default with some optimisations switched off: one bit each. Sums are split where there is
// fusing, so that what is unfused has the same kernels, which are many, whatever else is off.
enum { NO_FUSE = 1, NO_REUSE = 2, NO_IN_PLACE = 4, NOTHING_ON = 7 };

static plan_options without(int off) {
    plan_options options = plan_options_default();
    options.fuse = !(off & NO_FUSE);
    options.reuse = !(off & NO_REUSE);
    options.in_place = !(off & NO_IN_PLACE);
    options.split = options.fuse;
    return options;
}

START_TEST(unfused) {
    static const struct { int class, off; } runs[] = {{0, NO_FUSE}, {0, NOTHING_ON}, {1, NOTHING_ON}};
    gn_device *device = open_device(classes[runs[_i].class]);
    check *c = check_new();
    add_cases(c, 17, true, true);
    run_and_compare(c, device, without(runs[_i].off), 1);
    check_free(c);
    gn_device_free(device);
}
END_TEST

// Where tensors lie changes no kernel: those of `values` and of `derivatives` are compiled.
START_TEST(places) {
    static const int off[] = {NO_REUSE, NO_IN_PLACE};
    gn_device *device = open_device("cpu");
    for (int derived = 0; derived < 2; derived++) {
        check *c = check_new();
        if (derived)
            add_cases(c, 16, false, true);
        else
            add_values(c, 0);
        run_and_compare(c, device, without(off[_i]), 1);
        check_free(c);
    }
    gn_device_free(device);
}
END_TEST

// ---- Updates of state --------------------------------------------------------------------------------

// Each adds variables, updates them in an order that a planner could get wrong, and says what to compare.

static gn_variable *add_f32(check *c, const char *name, gn_shape shape) { // -1 .. 1
    size_t count = gn_shape_count(shape);
    float *values = gn_calloc(count, sizeof *values);
    gn_draw_uniform(SEED, name, 0, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = 2 * values[i] - 1;
    gn_variable *variable = gn_state_add(c->state, name, GN_F32, shape, values);
    free(values);
    expect_result(c, variable, OP_ASSIGN, (tolerance){OF_LARGEST, 16, 1}, name, 0, "");
    return variable;
}

static gn_variable *add_counter(check *c, const char *name, int32_t start) {
    gn_variable *variable = gn_state_add(c->state, name, GN_I32, gn_shape_of(0), &start);
    expect_result(c, variable, OP_ASSIGN, (tolerance){OF_ELEMENT, 0, 1}, name, 0, "");
    return variable;
}

static void swap_two(check *c) {
    gn_variable *a = add_f32(c, "swap.a", gn_shape_of(1, 33)), *b = add_f32(c, "swap.b", gn_shape_of(1, 33));
    gn_node *old_a = gn_read(c->graph, a), *old_b = gn_read(c->graph, b);
    gn_assign(c->graph, a, old_b);
    gn_assign(c->graph, b, old_a);
}

static void rotate_three(check *c) {
    gn_variable *v[3];
    gn_node *old[3];
    static const char *const names[] = {"rotate.0", "rotate.1", "rotate.2"};
    for (int i = 0; i < 3; i++) {
        v[i] = add_f32(c, names[i], gn_shape_of(2, 3, 5));
        old[i] = gn_read(c->graph, v[i]);
    }
    for (int i = 0; i < 3; i++)
        gn_assign(c->graph, v[i], gn_scale(old[(i + 1) % 3], 0.9));
}

// The old value, read before the update is built, is used after it: element by element, as a view, in a sum,
// as an operand of a product.
static void old_value_later(check *c) {
    gn_graph *graph = c->graph;
    gn_variable *x = add_f32(c, "later.x", gn_shape_of(2, 5, 7));
    gn_variable *copy = add_f32(c, "later.copy", gn_shape_of(2, 5, 7));
    gn_variable *view = add_f32(c, "later.view", gn_shape_of(1, 35));
    gn_variable *sum = add_f32(c, "later.sum", gn_shape_of(1, 7));
    gn_variable *product = add_f32(c, "later.product", gn_shape_of(2, 5, 5));
    gn_node *old = gn_read(graph, x);
    gn_assign(graph, x, gn_offset(gn_scale(old, -0.5), 0.25));
    gn_assign(graph, copy, gn_scale(old, 3));
    gn_assign(graph, view, gn_reshape(old, gn_shape_of(1, 35)));
    gn_assign(graph, sum, gn_sum_to(old, gn_shape_of(1, 7)));
    gn_assign(graph, product, graph_matmul(old, false, old, true));
}

// What reads the old value needs the new one as well: the old one must be copied.
static void contradiction(check *c) {
    gn_graph *graph = c->graph;
    gn_variable *x = add_f32(c, "both.x", gn_shape_of(2, 4, 4)),
                *y = add_f32(c, "both.y", gn_shape_of(2, 4, 4));
    gn_variable *z = add_f32(c, "both.z", gn_shape_of(2, 4, 4)),
                *w = add_f32(c, "both.w", gn_shape_of(1, 16));
    gn_node *old = gn_read(graph, x);
    gn_node *new = gn_assign(graph, x, gn_scale(gn_tanh(old), 0.8));
    gn_assign(graph, y, gn_sub(new, old));
    gn_assign(graph, z, gn_matmul(new, old));
    gn_assign(graph, w, gn_mul(gn_reshape(old, gn_shape_of(1, 16)), gn_sum_to(new, gn_shape_of(0))));
}

static void chain_of_three(check *c) {
    gn_graph *graph = c->graph;
    gn_variable *x = add_f32(c, "chain.x", gn_shape_of(1, 17)),
                *y = add_f32(c, "chain.y", gn_shape_of(1, 17));
    gn_node *x0 = gn_read(graph, x);
    gn_node *x1 = gn_assign(graph, x, gn_offset(x0, 0.5));
    gn_node *x2 = gn_assign(graph, x, gn_scale(x1, 0.5));
    gn_node *x3 = gn_assign(graph, x, gn_sub(x2, gn_scale(x0, 0.25)));
    gn_assign(graph, y, gn_add(gn_add(x0, x1), gn_mul(x2, x3)));
    ck_assert_ptr_eq(gn_read(graph, x), x3);
}

// A value that is overwritten before anybody reads it, though what it is computed from is needed later.
static void overwritten(check *c) {
    gn_graph *graph = c->graph;
    gn_variable *x = add_f32(c, "over.x", gn_shape_of(1, 19)), *y = add_f32(c, "over.y", gn_shape_of(1, 19));
    gn_node *t = gn_tanh(gn_read(graph, y));
    gn_assign(graph, x, t);
    gn_assign(graph, x, gn_constant(graph, 0.5));
    gn_assign(graph, y, gn_offset(t, 0.5));
}

// A product, a sum and a part of a variable that is updated by them: their kernels read where they write.
static void update_by_itself(check *c) {
    gn_graph *graph = c->graph;
    gn_variable *a = add_f32(c, "itself.product", gn_shape_of(2, 6, 6));
    gn_variable *b = add_f32(c, "itself.sum", gn_shape_of(2, 3, 16)),
                *d = add_f32(c, "itself.part", gn_shape_of(2, 3, 9));
    gn_node *x = gn_read(graph, a), *y = gn_read(graph, b), *z = gn_read(graph, d);
    gn_assign(graph, a, gn_scale(gn_matmul(x, x), 0.4));
    gn_assign(graph, b, gn_sub(y, gn_scale(gn_sum_to(y, gn_shape_of(1, 16)), 0.3)));
    gn_assign(graph, d, gn_concat(gn_slice(z, 4, 5), gn_slice(z, 0, 4)));
}

// A counter: draws and rows by its old value, a correction by its new one, as a training step has it.
static void counter(check *c) {
    gn_graph *graph = c->graph;
    gn_variable *step = add_counter(c, "counter.step", 3), *twice = add_counter(c, "counter.twice", 0);
    gn_variable *noise = add_f32(c, "counter.noise", gn_shape_of(1, 9));
    gn_variable *log = add_f32(c, "counter.log", gn_shape_of(2, 4, 2)),
                *before = add_f32(c, "counter.before", gn_shape_of(2, 4, 2));
    gn_node *old = gn_read(graph, step);
    gn_node *new = gn_assign(graph, step, gn_add(old, gn_constant_int(graph, 1)));
    gn_assign(graph, noise, gn_random_uniform("u", old, gn_shape_of(1, 9), 0));
    gn_assign(graph, twice, gn_add(new, old));
    gn_node *old_log = gn_read(graph, log);
    gn_record(graph, log, old, 0, gn_to_f32(old));
    gn_record(graph, log, new, 1, gn_to_f32(new));
    gn_assign(graph, before, old_log);
}

// Two losses on one parameter, the second through the updated one; a loss of the old one kept.
static void two_updates(check *c) {
    gn_graph *graph = c->graph;
    gn_variable *w = add_f32(c, "updates.w", gn_shape_of(2, 4, 3)),
                *v = add_f32(c, "updates.v", gn_shape_of(2, 4, 3));
    gn_variable *losses = add_f32(c, "updates.losses", gn_shape_of(1, 2));
    gn_node *first = gn_mean(gn_square(gn_sub(gn_read(graph, w), gn_read(graph, v))));
    gn_sgd(graph, &w, 1, first, 0.5);
    gn_node *second = gn_mean(gn_square(gn_tanh(gn_mul(gn_read(graph, w), gn_read(graph, v)))));
    gn_sgd(graph, &v, 1, second, 0.5);
    gn_sgd(graph, &w, 1, second, 0.5);
    gn_shape one = gn_shape_of(1, 1);
    gn_assign(graph, losses, gn_concat(gn_reshape(first, one), gn_reshape(second, one)));
}

// On one device: PoCL takes a second to read its library where a context compiles first.
START_TEST(updates_of_state) {
    static void (*const all[])(check *) = {swap_two,      rotate_three,   old_value_later,
                                           contradiction, chain_of_three, update_by_itself,
                                           counter,       two_updates,    overwritten};
    gn_device *device = open_device(classes[_i]);
    // The order is the planner's: for class gpu all on and all off will do.
    for (int off = 0; off <= NOTHING_ON; off += _i == 0 ? 1 : NOTHING_ON) {
        check *c = check_new();
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
            all[i](c);
        run_and_compare(c, device, without(off), 3);
        print_worst(c, "state");
        check_free(c);
    }
    gn_device_free(device);
}
END_TEST

// ---- Epilogues ---------------------------------------------------------------------------------------

static gn_variable *add_matrix(check *c, const char *name, int id, int rows, int columns) {
    char *full = gn_format("%s.%d", name, id);
    gn_variable *variable = add_f32(c, full, gn_shape_of(2, rows, columns));
    free(full);
    return variable;
}

// Two runs, to the rounding of sums; frees both.
static void compare_products_and_sums(check *c, gn_device *device, plan_options options, const char *name) {
    for (int i = 0; i < c->count; i++)
        c->results[i].tolerance = (tolerance){OF_LARGEST, 16, 1};
    run_and_compare(c, device, options, 2);
    print_worst(c, name);
    check_free(c);
    gn_device_free(device);
}

// op(x) op(w), of which a bias and a tanh make a layer. In one of three cases sums read it as well, in one an
// update.
static void add_product(check *c, int id, int m, int n, int k, bool tx, bool tw) {
    gn_graph *graph = c->graph;
    gn_node *x = gn_read(graph, tx ? add_matrix(c, "x", id, k, m) : add_matrix(c, "x", id, m, k));
    gn_node *w = gn_read(graph, tw ? add_matrix(c, "w", id, n, k) : add_matrix(c, "w", id, k, n));
    gn_node *product = gn_scale(graph_matmul(x, tx, w, tw), 0.1);
    gn_node *layer = gn_tanh(gn_add(product, gn_read(graph, add_matrix(c, "b", id, 1, n))));
    gn_assign(graph, add_matrix(c, "y", id, m, n + 1), gn_pad(layer, 0, 1)); // by a step of its own
    if (id % 3 == 0)
        gn_assign(graph, add_matrix(c, "z", id, 1, n), gn_sum_to(product, gn_shape_of(2, 1, n)));
    if (id % 3 == 1) {
        gn_variable *updated = add_matrix(c, "v", id, m, n);
        gn_assign(graph, updated, gn_sub(gn_scale(gn_read(graph, updated), 0.5), product));
    }
}

// Around tiles, vectors and the depth of a sum, by the native kernels, with epilogues and without.
START_TEST(epilogues) {
    static const int m[] = {5, 70}, n[] = {16, 17, 80}, k[] = {3, 127, 300};
    gn_device_options device_options = {.device_class = classes[_i / 2], .gemm = "native"};
    gn_device *device = gn_device_open(NULL, &device_options);
    ck_assert_msg(device != NULL, "%s", gn_error());
    check *c = check_new();
    for (int i = 0; i < 18; i++)
        add_product(c, i, m[i % 2], n[i / 2 % 3], k[i / 6], i % 4 == 1, i % 5 < 2);
    plan_options options = plan_options_default();
    options.epilogue = _i % 2 == 0;
    compare_products_and_sums(c, device, options, "epilogue");
}
END_TEST

// ---- Columns -----------------------------------------------------------------------------------------

// A batch norm with running statistics, and by the gradient of what follows an update of its two vectors.
static void add_batch_norm(check *c, int id, int rows, int columns) {
    gn_graph *graph = c->graph;
    double n = rows;
    gn_shape each = gn_shape_of(2, 1, columns);
    gn_node *x = gn_read(graph, add_matrix(c, "x", id, rows, columns));
    gn_variable *weight = add_matrix(c, "w", id, 1, columns), *bias = add_matrix(c, "b", id, 1, columns),
                *running = add_matrix(c, "r", id, 1, columns);
    gn_node *mean = gn_scale(gn_sum_to(x, each), 1 / n), *centred = gn_sub(x, mean);
    gn_node *variance = gn_scale(gn_sum_to(gn_square(centred), each), 1 / n);
    gn_assign(graph, running, gn_add(gn_scale(gn_read(graph, running), 0.9), gn_scale(mean, 0.1)));
    gn_node *scale = gn_div(gn_read(graph, weight), gn_sqrt(gn_offset(variance, 0.5)));
    gn_node *y = gn_tanh(gn_add(gn_mul(centred, scale), gn_read(graph, bias)));
    gn_variable *trained[] = {weight, bias};
    gn_sgd(graph, trained, 2, gn_mean(gn_mul(y, gn_square(x))), 0.5);
    gn_assign(graph, add_matrix(c, "y", id, rows, columns + 1), gn_pad(y, 0, 1)); // by a step of its own
}

// Around vectors and work-groups, in columns and, for class cpu, without: test_training has that for class
// gpu.
START_TEST(columns) {
    static const int rows[] = {2, 9, 70}, widths[] = {1, 2, 16, 35, 80};
    gn_device *device = open_device(classes[_i / 2]);
    check *c = check_new();
    for (int i = 0; i < 15; i++)
        add_batch_norm(c, i, rows[i % 3], widths[i / 3]);
    plan_options options = plan_options_default();
    options.columns = _i != 1;
    compare_products_and_sums(c, device, options, "columns");
}
END_TEST

// ---- Sums --------------------------------------------------------------------------------------------

// Of squares, over the middle axis of (outer, run, inner). On CPUs a work-item takes one vector or, where
// there are enough of them, two or four side by side.
START_TEST(sums_side_by_side) {
    static const int outer[] = {1, 63, 64}, inner[] = {16, 32, 64, 80, 128, 2};
    gn_device *device = open_device(classes[_i]);
    check *c = check_new();
    for (int i = 0; i < 18; i++) {
        gn_shape shape = gn_shape_of(3, outer[i % 3], 7, inner[i / 3]);
        char x[16], sum[16];
        snprintf(x, sizeof x, "x.%d", i);
        snprintf(sum, sizeof sum, "sum.%d", i);
        gn_node *squares = gn_square(gn_read(c->graph, add_f32(c, x, shape)));
        gn_assign(c->graph, add_f32(c, sum, gn_shape_of(3, outer[i % 3], 1, inner[i / 3])),
                  gn_sum_axis(squares, 1));
    }
    compare_products_and_sums(c, device, plan_options_default(), "sums");
}
END_TEST

// ---- Pieces ------------------------------------------------------------------------------------------

// A transposed convolution of six images, what an update makes of it, and of its image's gradient. Whole, and
// by two images at a time.
START_TEST(pieces) {
    gn_device *device = open_device("cpu");
    check *c = check_new();
    gn_graph *graph = c->graph;
    gn_node *x = gn_tanh(gn_read(graph, add_f32(c, "x", gn_shape_of(4, 6, 3, 3, 16)))), *by_image;
    gn_variable *w = add_matrix(c, "w", 0, 16, 3 * 3 * 16);
    gn_node *y = gn_tanh(gn_scale(gn_conv_transpose2d(x, gn_read(graph, w), 3, 2, 1), 0.1));
    gn_node *loss = gn_mean(gn_square(y));
    gn_grad(loss, &x, 1, &by_image);
    gn_assign(graph, add_f32(c, "y", gn_node_shape(y)), y);
    gn_assign(graph, add_f32(c, "gradient", gn_node_shape(x)), gn_scale(by_image, 1000));
    gn_sgd(graph, &w, 1, loss, 100);
    plan_options options = plan_options_default();
    plan *whole = plan_new(graph, options);
    options.piece_bytes = _i == 0 ? 2 * sizeof(float[3 * 3][3 * 3 * 16]) : SIZE_MAX;
    plan *cut = plan_new(graph, options);
    ck_assert_int_eq(cut->count - whole->count, _i == 0 ? 2 * (2 + 3) : 0);
    plan_free(whole);
    plan_free(cut);
    compare_products_and_sums(c, device, options, "piece");
}
END_TEST

// ---- Programs of one device ---------------------------------------------------------------------------

static int kernels_of(const gn_device *device) {
    int count = 0;
    for (const generated_kernel *kernel = device->generated; kernel; kernel = kernel->next)
        count++;
    return count;
}

// A kernel is compiled once, also where the program is gone that it was compiled for.
START_TEST(shared_kernels) {
    static const struct {
        bool sum, forget;
        int kernels; // of the device, afterwards
    } programs[] = {
        {false, false, 1}, {true, false, 2}, {false, false, 2}, {true, true, 2}, {false, true, 1}};
    gn_device *device = open_device(classes[_i]);
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++) {
        check *c = check_new();
        gn_node *x = gn_read(c->graph, add_f32(c, "x", gn_shape_of(2, 3, 5)));
        gn_assign(c->graph, add_f32(c, "negative", gn_shape_of(2, 3, 5)), gn_scale(x, -1));
        if (programs[i].sum)
            gn_assign(c->graph, add_f32(c, "sum", gn_shape_of(2, 1, 5)), gn_sum_to(x, gn_shape_of(2, 1, 5)));
        if (programs[i].forget)
            generated_kernels_forget(device);
        run_and_compare(c, device, plan_options_default(), 2);
        ck_assert_int_eq(kernels_of(device), programs[i].kernels);
        check_free(c);
    }
    gn_device_free(device);
}
END_TEST

static void add_case(Suite *suite, const char *name, const TTest *test, int runs) {
    TCase *tcase = tcase_create(name);
    tcase_set_timeout(tcase, 600);
    tcase_add_loop_test(tcase, test, 0, runs);
    suite_add_tcase(suite, tcase);
}

Suite *test_suite(void) {
    Suite *suite = suite_create("operations");
    add_case(suite, "values", values, 2);
    add_case(suite, "streams", streams, 1);
    add_case(suite, "derivatives", derivatives, 2);
    add_case(suite, "unfused", unfused, 3);
    add_case(suite, "places", places, 2);
    add_case(suite, "state", updates_of_state, 2);
    add_case(suite, "epilogues", epilogues, 4);
    add_case(suite, "columns", columns, 3);
    add_case(suite, "sums", sums_side_by_side, 2);
    add_case(suite, "pieces", pieces, 2);
    add_case(suite, "shared", shared_kernels, 2);
    return suite;
}
