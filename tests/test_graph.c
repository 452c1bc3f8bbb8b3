// Graphs without a device: shapes, versions of a variable, simplifications, the reference's answers where
// they can be worked out by hand, known gradients, and that the operations are closed under differentiation.
#include "graph/reference.h"
#include "graph_fixture.h"
#include "op_cases.h"
#include "test.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

static void setup(void) {
    start_graph(7);
}

static gn_node *zeros(gn_shape shape) {
    char name[32];
    snprintf(name, sizeof name, "zeros %d", graph->count);
    return gn_read(graph, gn_state_add(state, name, GN_F32, shape, NULL));
}

static gn_node *floats(gn_shape shape, const float *values) {
    char name[32];
    snprintf(name, sizeof name, "floats %d", graph->count);
    return gn_read(graph, gn_state_add(state, name, GN_F32, shape, values));
}

static gn_node *ints(gn_shape shape, const int32_t *values) {
    char name[32];
    snprintf(name, sizeof name, "ints %d", graph->count);
    return gn_read(graph, gn_state_add(state, name, GN_I32, shape, values));
}

#define LINE(...) floats(gn_shape_of(1, (int)(sizeof((float[]){__VA_ARGS__}) / 4)), (float[]){__VA_ARGS__})

static double largest_error; // of this test

static void check_values(const gn_node *node, gn_shape shape, const double *expected, size_t count) {
    char is[SHAPE_TEXT], should[SHAPE_TEXT];
    ck_assert_msg(gn_shape_equal(node->shape, shape), "%s: shape %s, not %s", op_table[node->op].name,
                  shape_text(node->shape, is), shape_text(shape, should));
    reference *run = reference_new(graph);
    reference_run(run);
    const double *values = reference_node(run, node);
    REQUIRE(gn_shape_count(shape) == count, "%zu values are expected of %s", count,
            shape_text(shape, should));
    for (size_t i = 0; i < count; i++) {
        double error = fabs(values[i] - expected[i]) / fmax(1, fabs(expected[i]));
        REQUIRE(error < 1e-7, "%s: element %zu is %.9g, not %.9g", op_table[node->op].name, i, values[i],
                expected[i]);
        largest_error = fmax(largest_error, error);
    }
    reference_free(run);
}

#define CHECK_VALUES(node, shape, ...)                                                                       \
    check_values(node, shape, (double[]){__VA_ARGS__}, sizeof((double[]){__VA_ARGS__}) / sizeof(double))

// ---- The table ---------------------------------------------------------------------------------------

START_TEST(every_operation_is_described) {
    const op_description *op = &op_table[_i];
    ck_assert_ptr_nonnull(op->name);
    for (int i = 0; i < _i; i++)
        ck_assert_str_ne(op->name, op_table[i].name);
    ck_assert_msg(op->infer && op->flops && op->bytes, "%s", op->name);
    ck_assert_int_le(op->inputs, MAX_INPUTS);
    ck_assert_msg(!op->gradient == (op->zero && *op->zero), "%s: a gradient rule or a reason, not both",
                  op->name);
}
END_TEST

START_TEST(every_operation_has_a_case) {
    int cases = 0;
    for (int i = 0; i < op_case_count; i++)
        cases += op_cases[i].op == (op_kind)_i;
    ck_assert_msg(cases > 0, "no case in op_cases.c tests %s", op_table[_i].name);
    if (!op_table[_i].gradient)
        return;
    cases = 0;
    for (int i = 0; i < op_case_count; i++)
        cases += op_cases[i].op == (op_kind)_i && op_cases[i].smooth;
    ck_assert_msg(cases > 0, "no case in op_cases.c tests the gradient of %s", op_table[_i].name);
}
END_TEST

// A case is what it says, at every size: and what it computes is finite and follows from the seed.
START_TEST(cases_build) {
    const op_case *c = &op_cases[_i];
    for (int i = 0; i < _i; i++)
        ck_assert_str_ne(c->name, op_cases[i].name);
    for (int s = 0; s < op_size_count; s++) {
        gn_state *states[2];
        gn_graph *graphs[2];
        gn_node *nodes[2];
        reference *runs[2];
        for (int i = 0; i < 2; i++) {
            states[i] = gn_state_new(3);
            graphs[i] = gn_graph_new(states[i]);
            nodes[i] = c->build(graphs[i], op_sizes[s]);
            op_case_output(nodes[i]);
            runs[i] = reference_new(graphs[i]);
            reference_run(runs[i]);
        }
        ck_assert_msg(nodes[0]->op == c->op, "%s builds %s", c->name, op_table[nodes[0]->op].name);
        ck_assert(op_table[c->op].flops(nodes[0]) >= 0 && op_table[c->op].bytes(nodes[0]) >= 0);
        size_t count = gn_shape_count(nodes[0]->shape);
        const double *values = reference_node(runs[0], nodes[0]);
        ck_assert_mem_eq(values, reference_node(runs[1], nodes[1]), count * sizeof(double));
        for (size_t i = 0; i < count; i++)
            REQUIRE(isfinite(values[i]), "%s: element %zu is %g", c->name, i, values[i]);
        for (int i = 0; i < 2; i++) {
            reference_free(runs[i]);
            gn_graph_free(graphs[i]);
            gn_state_free(states[i]);
        }
    }
}
END_TEST

// ---- Shapes ------------------------------------------------------------------------------------------

START_TEST(broadcasting) {
    static const struct {
        gn_shape a, b, result;
    } cases[] = {
        {{0, {0}}, {0, {0}}, {0, {0}}},
        {{2, {3, 4}}, {0, {0}}, {2, {3, 4}}},
        {{0, {0}}, {1, {5}}, {1, {5}}},
        {{2, {3, 4}}, {1, {4}}, {2, {3, 4}}},
        {{1, {1}}, {1, {5}}, {1, {5}}},
        {{2, {3, 1}}, {1, {4}}, {2, {3, 4}}},
        {{2, {1, 4}}, {2, {3, 1}}, {2, {3, 4}}},
        {{3, {2, 1, 4}}, {2, {3, 1}}, {3, {2, 3, 4}}},
        {{1, {7}}, {4, {2, 3, 1, 1}}, {4, {2, 3, 1, 7}}},
        {{4, {1, 3, 1, 7}}, {4, {2, 1, 5, 1}}, {4, {2, 3, 5, 7}}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gn_node *a = zeros(cases[i].a), *b = zeros(cases[i].b);
        ck_assert(gn_shape_equal(gn_node_shape(gn_add(a, b)), cases[i].result));
        ck_assert(gn_shape_equal(gn_node_shape(gn_div(b, a)), cases[i].result));
        // What the gradient needs: back to where it came from.
        ck_assert(gn_shape_equal(gn_node_shape(gn_sum_to(gn_mul(a, b), cases[i].a)), cases[i].a));
    }
    gn_node *column = floats(gn_shape_of(2, 2, 1), (float[]){10, 20}), *row = LINE(1, 2, 3);
    CHECK_VALUES(gn_sub(column, row), gn_shape_of(2, 2, 3), 9, 8, 7, 19, 18, 17);
    CHECK_VALUES(gn_broadcast(row, gn_shape_of(3, 2, 1, 3)), gn_shape_of(3, 2, 1, 3), 1, 2, 3, 1, 2, 3);
}
END_TEST

START_TEST(shapes) {
    gn_node *x = zeros(gn_shape_of(4, 2, 3, 4, 5));
    ck_assert(gn_shape_equal(gn_slice(x, 1, 3)->shape, gn_shape_of(4, 2, 3, 4, 3)));
    ck_assert(gn_shape_equal(gn_pad(x, 1, 3)->shape, gn_shape_of(4, 2, 3, 4, 9)));
    ck_assert(
        gn_shape_equal(gn_concat(x, zeros(gn_shape_of(4, 2, 3, 4, 1)))->shape, gn_shape_of(4, 2, 3, 4, 6)));
    ck_assert(gn_shape_equal(gn_sum_axis(x, 1)->shape, gn_shape_of(4, 2, 1, 4, 5)));
    ck_assert(gn_shape_equal(gn_sum_to(x, gn_shape_of(1, 5))->shape, gn_shape_of(1, 5)));
    ck_assert(gn_shape_equal(gn_sum_to(x, gn_shape_of(4, 1, 3, 1, 5))->shape, gn_shape_of(4, 1, 3, 1, 5)));
    ck_assert_int_eq(gn_mean(x)->shape.dims, 0);
    gn_node *a = zeros(gn_shape_of(2, 3, 4)), *b = zeros(gn_shape_of(2, 4, 5));
    ck_assert(gn_shape_equal(gn_matmul(a, b)->shape, gn_shape_of(2, 3, 5)));
    ck_assert(gn_shape_equal(graph_matmul(b, true, a, true)->shape, gn_shape_of(2, 5, 3)));
    gn_node *rows = ints(gn_shape_of(1, 7), NULL);
    ck_assert(gn_shape_equal(gn_gather(x, rows)->shape, gn_shape_of(4, 7, 3, 4, 5)));
    ck_assert(gn_shape_equal(gn_one_hot(rows, 10)->shape, gn_shape_of(2, 7, 10)));
    ck_assert_int_eq(gn_gather(rows, rows)->type, GN_I32);
    ck_assert_int_eq(gn_one_hot(rows, 10)->type, GN_F32);
}
END_TEST

static void bad_broadcast(void) {
    gn_add(zeros(gn_shape_of(2, 3, 4)), zeros(gn_shape_of(1, 3)));
}

static void bad_types(void) {
    gn_add(zeros(gn_shape_of(1, 3)), ints(gn_shape_of(1, 3), NULL));
}

static void bad_product_type(void) {
    gn_mul(ints(gn_shape_of(1, 3), NULL), ints(gn_shape_of(1, 3), NULL));
}

static void bad_matmul(void) {
    gn_matmul(zeros(gn_shape_of(2, 3, 4)), zeros(gn_shape_of(2, 3, 4)));
}

static void bad_slice(void) {
    gn_slice(zeros(gn_shape_of(2, 3, 4)), 2, 3);
}

static void bad_reshape(void) {
    gn_reshape(zeros(gn_shape_of(2, 3, 4)), gn_shape_of(1, 11));
}

static void bad_sum(void) { // not one run of axes
    node_new(
        graph,
        (gn_node){.op = OP_SUM, .input = {zeros(gn_shape_of(3, 2, 3, 4))}, .shape = gn_shape_of(3, 1, 3, 1)});
}

static void bad_gather(void) {
    gn_gather(gn_neg(zeros(gn_shape_of(2, 3, 4))), ints(gn_shape_of(1, 2), NULL));
}

static void bad_batch(void) {
    gn_batch_rows(ints(gn_shape_of(1, 5), NULL), gn_constant_int(graph, 0), 6);
}

static void bad_column(void) {
    gn_variable *log = gn_state_add(state, "log", GN_F32, gn_shape_of(2, 4, 2), NULL);
    gn_record(graph, log, gn_constant_int(graph, 0), 2, gn_constant(graph, 1));
}

static void bad_assignment(void) {
    gn_variable *v = gn_state_add(state, "v", GN_F32, gn_shape_of(1, 3), NULL);
    gn_assign(graph, v, zeros(gn_shape_of(2, 1, 3)));
}

static void bad_name(void) {
    gn_state_add(state, "v", GN_F32, gn_shape_of(1, 3), NULL);
    gn_state_add(state, "v", GN_F32, gn_shape_of(1, 3), NULL);
}

static void bad_state(void) {
    gn_state *other = gn_state_new(1);
    gn_read(graph, gn_state_add(other, "v", GN_F32, gn_shape_of(1, 3), NULL));
}

static void bad_graph(void) {
    gn_graph *other = gn_graph_new(state);
    gn_add(zeros(gn_shape_of(1, 3)), gn_constant(other, 1));
}

static void bad_loss(void) {
    gn_node *x = zeros(gn_shape_of(1, 3)), *gradient;
    gn_grad(x, &x, 1, &gradient);
}

static void (*const bad_uses[])(void) = {bad_broadcast,  bad_types, bad_product_type, bad_matmul, bad_slice,
                                         bad_reshape,    bad_sum,   bad_gather,       bad_batch,  bad_column,
                                         bad_assignment, bad_name,  bad_state,        bad_graph,  bad_loss};

// Each aborts, after a line on stderr.
START_TEST(misuse_aborts) {
    bad_uses[_i]();
}
END_TEST

// ---- State -------------------------------------------------------------------------------------------

START_TEST(reads_give_the_newest_version) {
    gn_variable *v = gn_state_add(state, "v", GN_F32, gn_shape_of(1, 2), (float[]){1, 2});
    gn_variable *w = gn_state_add(state, "w", GN_F32, gn_shape_of(1, 2), (float[]){5, 6});
    gn_node *old = gn_read(graph, v);
    ck_assert_int_eq(old->op, OP_VARIABLE);
    ck_assert_ptr_eq(gn_read(graph, v), old);
    gn_node *first = gn_assign(graph, v, gn_scale(old, 10));
    ck_assert_ptr_eq(gn_read(graph, v), first);
    gn_node *second = gn_assign(graph, v, gn_add(gn_read(graph, v), old));
    ck_assert_ptr_eq(gn_read(graph, v), second);
    ck_assert_ptr_eq(second->previous, first);
    ck_assert_ptr_eq(first->previous, old);
    ck_assert_int_eq(gn_read(graph, w)->op, OP_VARIABLE);
    gn_node *filled = gn_assign(graph, w, gn_constant(graph, 3)); // a scalar stretches
    CHECK_VALUES(old, gn_shape_of(1, 2), 1, 2);
    CHECK_VALUES(first, gn_shape_of(1, 2), 10, 20);
    CHECK_VALUES(second, gn_shape_of(1, 2), 11, 22);
    CHECK_VALUES(filled, gn_shape_of(1, 2), 3, 3);

    gn_graph *other = gn_graph_new(state); // starts from what the variable holds then
    ck_assert_int_eq(gn_read(other, v)->op, OP_VARIABLE);
    gn_graph_free(other);

    reference *run = reference_new(graph);
    reference_run(run);
    ck_assert(reference_variable(run, v)[1] == 22);
    reference_run(run);
    ck_assert(reference_variable(run, v)[1] == 242 && reference_variable(run, w)[0] == 3);
    reference_free(run);
}
END_TEST

START_TEST(a_log_is_a_ring) {
    gn_variable *log = gn_state_add(state, "log", GN_F32, gn_shape_of(2, 3, 2), NULL);
    gn_variable *counter = gn_state_add(state, "counter", GN_I32, (gn_shape){0}, (int32_t[]){1});
    gn_node *step = gn_read(graph, counter);
    gn_record(graph, log, step, 0, gn_to_f32(step));
    gn_record(graph, log, step, 1, gn_scale(gn_to_f32(step), -1));
    gn_assign(graph, counter, gn_add(step, gn_constant_int(graph, 1)));
    reference *run = reference_new(graph);
    for (int i = 0; i < 4; i++)
        reference_run(run);
    static const double rows[] = {3, -3, 4, -4, 2, -2}; // of steps 1, 2, 3, 4
    ck_assert_mem_eq(reference_variable(run, log), rows, sizeof rows);
    reference_free(run);
}
END_TEST

// ---- Simplifications ---------------------------------------------------------------------------------

START_TEST(neutral_elements_vanish) {
    gn_node *x = zeros(gn_shape_of(2, 3, 4)), *row = zeros(gn_shape_of(1, 4));
    gn_node *zero = gn_constant(graph, 0), *one = gn_constant(graph, 1);
    gn_node *ones = gn_broadcast(one, gn_shape_of(2, 3, 4));
    ck_assert_ptr_eq(gn_add(x, zero), x);
    ck_assert_ptr_eq(gn_add(zero, x), x);
    ck_assert_ptr_eq(gn_sub(x, zero), x);
    ck_assert_ptr_eq(gn_mul(x, one), x);
    ck_assert_ptr_eq(gn_mul(ones, x), x);
    ck_assert_ptr_eq(gn_div(x, ones), x);
    ck_assert_ptr_eq(gn_scale(x, 1), x);
    ck_assert_ptr_eq(gn_offset(x, 0), x);
    ck_assert_ptr_eq(gn_reshape(x, gn_shape_of(2, 3, 4)), x);
    ck_assert_ptr_eq(gn_broadcast(x, gn_shape_of(2, 3, 4)), x);
    ck_assert_ptr_eq(gn_sum_to(x, gn_shape_of(2, 3, 4)), x);
    ck_assert_int_eq(gn_mul(row, ones)->op, OP_BROADCAST); // no product, but its shape
    ck_assert_int_eq(gn_sub(zero, x)->op, OP_SUB);
    ck_assert_int_eq(gn_div(one, x)->op, OP_DIV);
    ck_assert_int_eq(gn_mul(x, zero)->op, OP_MUL); // not zero where x is not a number
}
END_TEST

START_TEST(constants_fold) {
    gn_node *five = gn_broadcast(gn_constant(graph, 5), gn_shape_of(2, 3, 1));
    double value = 0;
    ck_assert(node_is_constant(gn_mul(five, gn_broadcast(gn_constant(graph, 3), gn_shape_of(1, 4))), &value));
    ck_assert(value == 15);
    ck_assert(gn_shape_equal(gn_scale(five, 2)->shape, gn_shape_of(2, 3, 1)));
    ck_assert(node_is_constant(gn_neg(five), &value) && value == -5);
    ck_assert(node_is_constant(gn_reshape(five, gn_shape_of(1, 3)), &value) && value == 5);
    ck_assert(!node_is_constant(zeros(gn_shape_of(1, 3)), &value));
}
END_TEST

START_TEST(operations_are_counted_once_and_only_if_needed) {
    gn_node *a = zeros(gn_shape_of(2, 3, 4)), *b = zeros(gn_shape_of(2, 4, 5));
    gn_node *product = gn_matmul(a, b), *root = gn_sqrt(product);
    gn_exp(product);
    ck_assert(gn_graph_flops(graph) == 0);
    for (int i = 0; i < 2; i++) {
        char name[8];
        snprintf(name, sizeof name, "out %d", i);
        gn_assign(graph, gn_state_add(state, name, GN_F32, gn_shape_of(2, 3, 5), NULL), gn_neg(root));
    }
    ck_assert(gn_graph_flops(graph) == 2 * 3 * 4 * 5 + 15 + 2 * 15);
}
END_TEST

// ---- Known answers -----------------------------------------------------------------------------------

START_TEST(answers_pointwise) {
    gn_shape three = gn_shape_of(1, 3);
    gn_node *x = LINE(-2, 0, 0.5f), *y = LINE(4, 1, 0.25f);
    CHECK_VALUES(gn_add(x, y), three, 2, 1, 0.75);
    CHECK_VALUES(gn_sub(x, y), three, -6, -1, 0.25);
    CHECK_VALUES(gn_mul(x, y), three, -8, 0, 0.125);
    CHECK_VALUES(gn_div(x, y), three, -0.5, 0, 2);
    CHECK_VALUES(gn_scale(x, 3), three, -6, 0, 1.5);
    CHECK_VALUES(gn_offset(x, 3), three, 1, 3, 3.5);
    CHECK_VALUES(gn_neg(x), three, 2, 0, -0.5);
    CHECK_VALUES(gn_square(x), three, 4, 0, 0.25);
    CHECK_VALUES(gn_sqrt(y), three, 2, 1, 0.5);
    CHECK_VALUES(gn_exp(x), three, 0.135335283237, 1, 1.64872127070);
    CHECK_VALUES(gn_expm1(x), three, -0.864664716763, 0, 0.64872127070);
    CHECK_VALUES(gn_log(y), three, 1.38629436112, 0, -1.38629436112);
    CHECK_VALUES(gn_tanh(x), three, -0.964027580076, 0, 0.462117157260);
    CHECK_VALUES(gn_sigmoid(x), three, 0.119202922022, 0.5, 0.622459331202);
    CHECK_VALUES(gn_leaky_relu(x, 0.2), three, -0.4, 0, 0.5);
    CHECK_VALUES(gn_clamp(x, -1, 0.25), three, -1, 0, 0.25);
    CHECK_VALUES(graph_within(x, -2, 0.25), three, 1, 1, 0);
    CHECK_VALUES(graph_copy(x), three, -2, 0, 0.5);
    CHECK_VALUES(gn_to_f32(ints(three, (int32_t[]){-7, 0, 9})), three, -7, 0, 9);
    CHECK_VALUES(gn_add(ints(three, (int32_t[]){-7, 0, 9}), gn_constant_int(graph, 2)), three, -5, 2, 11);
    printf("test_graph: pointwise answers, largest error %.2g\n", largest_error);
}
END_TEST

// Each logarithm stops at -100.
START_TEST(answers_bce) {
    gn_shape one = {0};
    CHECK_VALUES(gn_bce(LINE(0.5f, 0.25f), 1), one, (0.69314718056 + 1.38629436112) / 2);
    CHECK_VALUES(gn_bce(LINE(0.5f, 0.75f), 0), one, (0.69314718056 + 1.38629436112) / 2);
    CHECK_VALUES(gn_bce(LINE(0.25f), 0.5), one, 0.5 * (1.38629436112 + 0.28768207245));
    CHECK_VALUES(gn_bce(LINE(0, 1), 1), one, 50);
    CHECK_VALUES(gn_bce(LINE(0, 1), 0), one, 50);
    CHECK_VALUES(gn_bce(LINE(1), 1), one, 0);
}
END_TEST

START_TEST(answers_shapes_and_sums) {
    gn_node *x = floats(gn_shape_of(2, 2, 3), (float[]){1, 2, 3, 4, 5, 6});
    CHECK_VALUES(gn_slice(x, 1, 2), gn_shape_of(2, 2, 2), 2, 3, 5, 6);
    CHECK_VALUES(gn_pad(x, 1, 0), gn_shape_of(2, 2, 4), 0, 1, 2, 3, 0, 4, 5, 6);
    CHECK_VALUES(gn_concat(x, gn_slice(x, 2, 1)), gn_shape_of(2, 2, 4), 1, 2, 3, 3, 4, 5, 6, 6);
    CHECK_VALUES(gn_reshape(x, gn_shape_of(2, 3, 2)), gn_shape_of(2, 3, 2), 1, 2, 3, 4, 5, 6);
    CHECK_VALUES(gn_sum_axis(x, 0), gn_shape_of(2, 1, 3), 5, 7, 9);
    CHECK_VALUES(gn_sum_axis(x, 1), gn_shape_of(2, 2, 1), 6, 15);
    CHECK_VALUES(gn_sum_to(x, gn_shape_of(1, 3)), gn_shape_of(1, 3), 5, 7, 9);
    CHECK_VALUES(gn_mean(x), (gn_shape){0}, 3.5);
    gn_node *y = floats(gn_shape_of(4, 2, 1, 2, 2), (float[]){1, 2, 3, 4, 5, 6, 7, 8});
    CHECK_VALUES(gn_sum_axis(y, 2), gn_shape_of(4, 2, 1, 1, 2), 4, 6, 12, 14);
    CHECK_VALUES(gn_sum_to(y, gn_shape_of(4, 1, 1, 2, 1)), gn_shape_of(4, 1, 1, 2, 1), 14, 22);
    CHECK_VALUES(gn_sum_to(y, gn_shape_of(2, 2, 1)), gn_shape_of(2, 2, 1), 14, 22);
}
END_TEST

START_TEST(answers_matmul) {
    gn_shape shape = gn_shape_of(2, 2, 2);
    gn_node *a = floats(gn_shape_of(2, 2, 3), (float[]){1, 2, 3, 4, 5, 6});
    gn_node *a_transposed = floats(gn_shape_of(2, 3, 2), (float[]){1, 4, 2, 5, 3, 6});
    gn_node *b = floats(gn_shape_of(2, 3, 2), (float[]){1, -1, 0, 2, 3, 1});
    gn_node *b_transposed = floats(gn_shape_of(2, 2, 3), (float[]){1, 0, 3, -1, 2, 1});
    CHECK_VALUES(gn_matmul(a, b), shape, 10, 6, 22, 12);
    CHECK_VALUES(graph_matmul(a, false, b_transposed, true), shape, 10, 6, 22, 12);
    CHECK_VALUES(graph_matmul(a_transposed, true, b, false), shape, 10, 6, 22, 12);
    CHECK_VALUES(graph_matmul(a_transposed, true, b_transposed, true), shape, 10, 6, 22, 12);
}
END_TEST

START_TEST(answers_data) {
    gn_node *table = floats(gn_shape_of(2, 3, 2), (float[]){1, 2, 3, 4, 5, 6});
    gn_node *rows = ints(gn_shape_of(1, 4), (int32_t[]){2, 0, 0, 1});
    CHECK_VALUES(gn_gather(table, rows), gn_shape_of(2, 4, 2), 5, 6, 1, 2, 1, 2, 3, 4);
    CHECK_VALUES(gn_one_hot(rows, 3), gn_shape_of(2, 4, 3), 0, 0, 1, 1, 0, 0, 1, 0, 0, 0, 1, 0);
    gn_node *order = ints(gn_shape_of(1, 5), (int32_t[]){4, 3, 2, 1, 0}); // two batches of two
    CHECK_VALUES(gn_batch_rows(order, gn_constant_int(graph, 0), 2), gn_shape_of(1, 2), 4, 3);
    CHECK_VALUES(gn_batch_rows(order, gn_constant_int(graph, 1), 2), gn_shape_of(1, 2), 2, 1);
    CHECK_VALUES(gn_batch_rows(order, gn_constant_int(graph, 6), 2), gn_shape_of(1, 2), 4, 3);
}
END_TEST

// A draw of the graph is the host's, from element `first` on.
START_TEST(answers_random) {
    enum { FIRST = 5, COUNT = 9 };
    float uniform[FIRST + COUNT], normal[FIRST + COUNT];
    int32_t below[FIRST + COUNT];
    gn_draw_uniform(7, "u", 11, uniform, FIRST + COUNT);
    gn_draw_normal(7, "z", 11, normal, FIRST + COUNT);
    gn_draw_below(7, "k", 11, below, FIRST + COUNT, 100);
    gn_node *step = gn_constant_int(graph, 11);
    gn_shape shape = gn_shape_of(2, 3, 3);
    double expected[3][COUNT];
    for (int i = 0; i < COUNT; i++) {
        expected[0][i] = uniform[FIRST + i];
        expected[1][i] = normal[FIRST + i];
        expected[2][i] = below[FIRST + i];
    }
    check_values(gn_random_uniform("u", step, shape, FIRST), shape, expected[0], COUNT);
    check_values(gn_random_normal("z", step, shape, FIRST), shape, expected[1], COUNT);
    check_values(gn_random_below("k", step, shape, FIRST, 100), shape, expected[2], COUNT);
}
END_TEST

// ---- Gradients ---------------------------------------------------------------------------------------

START_TEST(gradients_by_hand) {
    gn_node *x = LINE(-1, 0.5f, 2), *gradient[3];
    gn_shape three = gn_shape_of(1, 3);
    gn_grad(gn_mean(gn_square(x)), &x, 1, gradient); // 2 x / n
    CHECK_VALUES(gradient[0], three, -2.0 / 3, 1.0 / 3, 4.0 / 3);
    gn_grad(gn_sum_to(gn_mul(gn_square(x), x), (gn_shape){0}), &x, 1, gradient); // 3 x^2, then 6 x
    CHECK_VALUES(gradient[0], three, 3, 0.75, 12);
    gn_grad(gn_sum_to(gradient[0], (gn_shape){0}), &x, 1, gradient);
    CHECK_VALUES(gradient[0], three, -6, 3, 12);
    gn_grad(gn_sum_to(gn_leaky_relu(x, 0.2), (gn_shape){0}), &x, 1, gradient);
    CHECK_VALUES(gradient[0], three, 0.2, 1, 1);
    gn_grad(gn_sum_to(gn_clamp(x, -0.5, 0.5), (gn_shape){0}), &x, 1, gradient); // the bounds are within
    CHECK_VALUES(gradient[0], three, 0, 1, 0);

    // sum(w * (a b)): by a it is w b', by b it is a' w
    gn_node *a = floats(gn_shape_of(2, 1, 2), (float[]){1, 2});
    gn_node *b = floats(gn_shape_of(2, 2, 2), (float[]){1, -1, 0, 2});
    gn_node *w = floats(gn_shape_of(2, 1, 2), (float[]){3, 5});
    gn_node *product = gn_matmul(a, b), *by[] = {a, b, product};
    gn_grad(gn_sum_to(gn_mul(product, w), (gn_shape){0}), by, 3, gradient);
    CHECK_VALUES(gradient[0], gn_shape_of(2, 1, 2), -2, 10);
    CHECK_VALUES(gradient[1], gn_shape_of(2, 2, 2), 3, 5, 6, 10);
    CHECK_VALUES(gradient[2], gn_shape_of(2, 1, 2), 3, 5); // by a node between
}
END_TEST

START_TEST(gradients_where_there_is_none) {
    gn_variable *v = gn_state_add(state, "v", GN_F32, gn_shape_of(1, 2), (float[]){1, 2});
    gn_node *x = gn_read(graph, v), *unused = LINE(1, 2, 3);
    gn_node *updated = gn_assign(graph, v, gn_square(x)), *later = LINE(4, 5);
    gn_node *loss = gn_mean(gn_mul(updated, updated));
    gn_node *by[] = {x, unused, updated, loss, later}, *gradient[5];
    gn_grad(loss, by, 5, gradient);
    CHECK_VALUES(gradient[0], gn_shape_of(1, 2), 0, 0); // an assignment lets nothing through
    CHECK_VALUES(gradient[1], gn_shape_of(1, 3), 0, 0, 0);
    CHECK_VALUES(gradient[2], gn_shape_of(1, 2), 1, 4); // but by the new value there is one
    CHECK_VALUES(gradient[3], (gn_shape){0}, 1);
    CHECK_VALUES(gradient[4], gn_shape_of(1, 2), 0, 0);
}
END_TEST

// A node used in two ways gets the sum of both; ways that need none cost nothing.
START_TEST(gradients_add_up) {
    gn_node *x = LINE(0.5f, 2), *data = LINE(3, 4), *gradient;
    gn_node *hidden = gn_exp(x);
    gn_node *loss = gn_sum_to(gn_add(gn_mul(hidden, data), gn_mul(hidden, hidden)), (gn_shape){0});
    gn_grad(loss, &x, 1, &gradient); // d e^x + 2 e^2x
    CHECK_VALUES(gradient, gn_shape_of(1, 2), 3 * exp(0.5) + 2 * exp(1), 4 * exp(2) + 2 * exp(4));
    gn_node *product = gn_matmul(gn_reshape(x, gn_shape_of(2, 1, 2)), gn_reshape(data, gn_shape_of(2, 2, 1)));
    gn_grad(gn_reshape(product, (gn_shape){0}), &x, 1, &gradient);
    gn_assign(graph, gn_state_add(state, "out", GN_F32, gn_shape_of(1, 2), NULL), gradient);
    ck_assert(gn_graph_flops(graph) == 4); // (1, 1) x (1, 2); not by the data, nor forward
}
END_TEST

// The gradient of each case, of that gradient, and so on until no new operation appears: every node of them
// has a rule or a reason for zero. As every operation has a case, the set is closed.
START_TEST(closed_under_differentiation) {
    const op_case *c = &op_cases[_i];
    if (!op_table[c->op].gradient)
        return;
    gn_node *node = c->build(graph, 3);
    if (node->type != GN_F32)
        return;
    gn_node *inputs[4], *gradients[4], *loss = gn_mean(gn_square(node));
    int count = 0;
    for (int i = 0; i < graph->count; i++)
        if (graph->nodes[i]->op == OP_VARIABLE && graph->nodes[i]->type == GN_F32)
            inputs[count++] = graph->nodes[i];
    bool seen[OP_COUNT] = {false};
    int order = 0, walked = 0;
    for (bool is_new = true; is_new; order++) {
        is_new = false;
        for (; walked < graph->count; walked++) {
            op_kind op = graph->nodes[walked]->op;
            REQUIRE(op_table[op].gradient || (op_table[op].zero && *op_table[op].zero),
                    "%s: a gradient of order %d contains %s, which has neither rule nor reason", c->name,
                    order, op_table[op].name);
            is_new |= !seen[op];
            seen[op] = true;
        }
        ck_assert_msg(order < 6, "%s: still new operations in its gradient of order %d", c->name, order);
        gn_grad(loss, inputs, count, gradients);
        loss = gn_constant(graph, 0);
        for (int i = 0; i < count; i++)
            loss = gn_add(loss, gn_mean(gn_square(gradients[i])));
    }
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("graph");
    TCase *table = tcase_create("table");
    tcase_add_loop_test(table, every_operation_is_described, 0, OP_COUNT);
    tcase_add_loop_test(table, every_operation_has_a_case, 0, OP_COUNT);
    tcase_add_loop_test(table, cases_build, 0, op_case_count);
    suite_add_tcase(suite, table);

    TCase *graphs = tcase_create("graphs");
    tcase_add_checked_fixture(graphs, setup, teardown);
    tcase_add_test(graphs, broadcasting);
    tcase_add_test(graphs, shapes);
    tcase_add_loop_test_raise_signal(graphs, misuse_aborts, SIGABRT, 0, sizeof bad_uses / sizeof *bad_uses);
    tcase_add_test(graphs, reads_give_the_newest_version);
    tcase_add_test(graphs, a_log_is_a_ring);
    tcase_add_test(graphs, neutral_elements_vanish);
    tcase_add_test(graphs, constants_fold);
    tcase_add_test(graphs, operations_are_counted_once_and_only_if_needed);
    suite_add_tcase(suite, graphs);

    TCase *answers = tcase_create("answers");
    tcase_add_checked_fixture(answers, setup, teardown);
    tcase_add_test(answers, answers_pointwise);
    tcase_add_test(answers, answers_bce);
    tcase_add_test(answers, answers_shapes_and_sums);
    tcase_add_test(answers, answers_matmul);
    tcase_add_test(answers, answers_data);
    tcase_add_test(answers, answers_random);
    suite_add_tcase(suite, answers);

    TCase *gradients = tcase_create("gradients");
    tcase_add_checked_fixture(gradients, setup, teardown);
    tcase_add_test(gradients, gradients_by_hand);
    tcase_add_test(gradients, gradients_where_there_is_none);
    tcase_add_test(gradients, gradients_add_up);
    tcase_add_loop_test(gradients, closed_under_differentiation, 0, op_case_count);
    suite_add_tcase(suite, gradients);
    return suite;
}
