#include "op_cases.h"

#include <math.h>

const int op_sizes[] = {1, 15, 16, 17, 31, 33, 64, 65, 100};
const int op_size_count = sizeof op_sizes / sizeof *op_sizes;

// ---- Inputs ------------------------------------------------------------------------------------------

static gn_shape scalar(void) {
    return (gn_shape){0};
}

static gn_shape line(int n) {
    return gn_shape_of(1, n);
}

static gn_shape plane(int rows, int columns) {
    return gn_shape_of(2, rows, columns);
}

// A name that is new in the state, and different numbers for each: the name is their stream.
static char *new_name(const gn_state *state, const char *what) {
    int count = 0;
    for (const gn_variable *v = gn_state_next(state, NULL); v; v = gn_state_next(state, v))
        count++;
    return gn_format("%s.%d", what, count);
}

static gn_variable *add_variable(gn_graph *graph, const char *what, gn_type type, gn_shape shape,
                                 const void *values) {
    char *name = new_name(graph->state, what);
    gn_variable *variable = gn_state_add(graph->state, name, type, shape, values);
    free(name);
    return variable;
}

// f32, each element value(u) of a u drawn from [0, 1).
static gn_variable *add_f32(gn_graph *graph, gn_shape shape, double (*value)(double u)) {
    size_t count = gn_shape_count(shape);
    float *values = gn_calloc(count, sizeof *values);
    char *name = new_name(graph->state, "input");
    gn_draw_uniform(gn_state_seed(graph->state), name, 0, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)value(values[i]);
    free(name);
    gn_variable *variable = add_variable(graph, "input", GN_F32, shape, values);
    free(values);
    return variable;
}

static double between(double u) { // -1 .. 1
    return 2 * u - 1;
}

static double positive(double u) { // 0.5 .. 2
    return 0.5 + 1.5 * u;
}

static double probability(double u) { // 0.1 .. 0.9
    return 0.1 + 0.8 * u;
}

// -1 .. 1 without what is near the kinks at 0 and at -0.5 and 0.5.
static double kinkless(double u) {
    double x = 2 * u - 1, size = fabs(x) < 0.5 ? 0.1 + 0.6 * fabs(x) : 0.2 + 0.8 * fabs(x);
    return x < 0 ? -size : size;
}

static double on_kinks(double u) { // one of -1, -0.5, 0, 0.5, 1
    return floor(5 * u) / 2 - 1;
}

static double large(double u) { // -80 .. 80
    return 160 * u - 80;
}

static double tiny(double u) { // -1e-5 .. 1e-5
    return 2e-5 * u - 1e-5;
}

static double any_size(double u) { // 1e-30 .. 1e30
    return pow(10, 60 * u - 30);
}

static double certain(double u) { // 0, 1, or close to one of them
    return u < 0.25 ? 0 : u < 0.5 ? 1 : u < 0.75 ? 1e-6 * u : 1 - 1e-6 * u;
}

static gn_node *f32(gn_graph *graph, gn_shape shape, double (*value)(double u)) {
    return gn_read(graph, add_f32(graph, shape, value));
}

static gn_node *i32(gn_graph *graph, gn_shape shape, int bound) { // 0 .. bound - 1
    size_t count = gn_shape_count(shape);
    int32_t *values = gn_calloc(count, sizeof *values);
    char *name = new_name(graph->state, "input");
    gn_draw_below(gn_state_seed(graph->state), name, 0, values, count, bound);
    free(name);
    gn_variable *variable = add_variable(graph, "input", GN_I32, shape, values);
    free(values);
    return gn_read(graph, variable);
}

static gn_node *u8(gn_graph *graph, gn_shape shape) {
    size_t count = gn_shape_count(shape);
    int32_t *draws = gn_calloc(count, sizeof *draws);
    uint8_t *values = gn_calloc(count, sizeof *values);
    gn_draw_below(gn_state_seed(graph->state), "bytes", 0, draws, count, 256);
    for (size_t i = 0; i < count; i++)
        values[i] = (uint8_t)draws[i];
    gn_variable *variable = add_variable(graph, "input", GN_U8, shape, values);
    free(draws);
    free(values);
    return gn_read(graph, variable);
}

static gn_node *whole(gn_graph *graph, int32_t value) { // an i32 scalar that a graph cannot know
    return gn_read(graph, add_variable(graph, "step", GN_I32, scalar(), &value));
}

// ---- Sources -----------------------------------------------------------------------------------------

static gn_node *constant(gn_graph *graph, int n) {
    return gn_constant(graph, n + 0.1);
}

static gn_node *constant_int(gn_graph *graph, int n) {
    return gn_constant_int(graph, -n);
}

static gn_node *variable_f32(gn_graph *graph, int n) {
    return f32(graph, plane(n, 3), between);
}

static gn_node *variable_i32(gn_graph *graph, int n) {
    return i32(graph, line(n), 1000000);
}

static gn_node *variable_u8(gn_graph *graph, int n) {
    return u8(graph, plane(n, 3));
}

// ---- Element by element ------------------------------------------------------------------------------

// NAME_line takes an input of shape (n), NAME_plane of (n, n + 1).
#define UNARY(name, value, call)                                                                             \
    static gn_node *name##_of(gn_node *x) {                                                                  \
        return call;                                                                                         \
    }                                                                                                        \
    static gn_node *name##_line(gn_graph *graph, int n) {                                                    \
        return name##_of(f32(graph, line(n), value));                                                        \
    }                                                                                                        \
    static gn_node *name##_plane(gn_graph *graph, int n) {                                                   \
        return name##_of(f32(graph, plane(n, n + 1), value));                                                \
    }

#define BINARY(name, value_a, value_b, call)                                                                 \
    static gn_node *name##_of(gn_node *a, gn_node *b) {                                                      \
        return call;                                                                                         \
    }                                                                                                        \
    static gn_node *name##_line(gn_graph *graph, int n) {                                                    \
        return name##_of(f32(graph, line(n), value_a), f32(graph, line(n), value_b));                        \
    }                                                                                                        \
    static gn_node *name##_plane(gn_graph *graph, int n) {                                                   \
        return name##_of(f32(graph, plane(n, n + 1), value_a), f32(graph, line(n + 1), value_b));            \
    }

static gn_node *bce(gn_node *p, double target) {
    return node_new(p->graph, (gn_node){.op = OP_BCE, .input = {p}, .number = {target}});
}

static gn_node *leaky_slope(gn_node *x, double slope) {
    return node_new(x->graph, (gn_node){.op = OP_LEAKY_SLOPE, .input = {x}, .number = {slope}});
}

BINARY(add, between, between, gn_add(a, b))
BINARY(sub, between, between, gn_sub(a, b))
BINARY(mul, between, between, gn_mul(a, b))
BINARY(division, between, positive, gn_div(a, b))
BINARY(division_wide, large, any_size, gn_div(a, b))
UNARY(scale, between, gn_scale(x, -0.3))
UNARY(square, between, gn_square(x))
UNARY(neg, between, gn_neg(x))
UNARY(exponential, between, gn_exp(x))
UNARY(exp_large, large, gn_exp(x))
UNARY(expm1_moderate, between, gn_expm1(x))
UNARY(expm1_tiny, tiny, gn_expm1(x))
UNARY(logarithm, positive, gn_log(x))
UNARY(log_wide, any_size, gn_log(x))
UNARY(root, positive, gn_sqrt(x))
UNARY(root_wide, any_size, gn_sqrt(x))
UNARY(hyperbolic_tangent, between, gn_tanh(x))
UNARY(tanh_large, large, gn_tanh(x))
UNARY(tanh_tiny, tiny, gn_tanh(x))
UNARY(sigmoid, between, gn_sigmoid(x))
UNARY(sigmoid_large, large, gn_sigmoid(x))
UNARY(slope, kinkless, leaky_slope(x, 0.2))
UNARY(slope_kinks, on_kinks, leaky_slope(x, 0.2))
UNARY(clamp, kinkless, gn_clamp(x, -0.5, 0.5))
UNARY(clamp_kinks, on_kinks, gn_clamp(x, -0.5, 0.5))
UNARY(clamp_below, kinkless, gn_clamp(x, -INFINITY, 0.5))
UNARY(within, kinkless, graph_within(x, -0.5, 0.5))
UNARY(within_kinks, on_kinks, graph_within(x, -0.5, 0.5))
UNARY(within_above, kinkless, graph_within(x, -0.5, INFINITY))
UNARY(bce_real, probability, bce(x, 1))
UNARY(bce_fake, probability, bce(x, 0))
UNARY(bce_between, probability, bce(x, 0.3))
UNARY(bce_real_certain, certain, bce(x, 1))
UNARY(bce_fake_certain, certain, bce(x, 0))
UNARY(copy, between, graph_copy(x))

static gn_node *add_i32(gn_graph *graph, int n) {
    return gn_add(i32(graph, line(n), 1000), i32(graph, line(n), 1000));
}

static gn_node *add_counter(gn_graph *graph, int n) {
    return gn_add(whole(graph, n), gn_constant_int(graph, 1));
}

static gn_node *copy_i32(gn_graph *graph, int n) {
    return graph_copy(i32(graph, line(n), 1000));
}

static gn_node *copy_constant(gn_graph *graph, int n) {
    return graph_copy(gn_constant(graph, 1.0 / n));
}

static gn_node *to_f32_of_i32(gn_graph *graph, int n) {
    return gn_to_f32(i32(graph, line(n), 1000));
}

static gn_node *to_f32_of_u8(gn_graph *graph, int n) {
    return gn_to_f32(u8(graph, plane(n, n + 1)));
}

static gn_node *assign_f32(gn_graph *graph, int n) {
    gn_variable *to = add_f32(graph, plane(n, n + 1), between);
    return gn_assign(graph, to, gn_neg(f32(graph, plane(n, n + 1), between)));
}

static gn_node *assign_to_itself(gn_graph *graph, int n) {
    gn_variable *x = add_f32(graph, line(n), between);
    return gn_assign(graph, x, gn_scale(gn_read(graph, x), 0.9));
}

static gn_node *assign_i32(gn_graph *graph, int n) {
    gn_node *value = i32(graph, line(n), 1000);
    return gn_assign(graph, add_variable(graph, "input", GN_I32, line(n), NULL), value);
}

static gn_node *assign_number(gn_graph *graph, int n) {
    return gn_assign(graph, add_f32(graph, plane(n, 2), between), gn_constant(graph, 0.1));
}

static gn_node *assign_product(gn_graph *graph, int n) {
    gn_node *product = gn_matmul(f32(graph, plane(n, 3), between), f32(graph, plane(3, n + 1), between));
    return gn_assign(graph, add_f32(graph, plane(n, n + 1), between), product);
}

// ---- Shapes ------------------------------------------------------------------------------------------

static gn_node *reshape_matrix(gn_graph *graph, int n) {
    return gn_reshape(f32(graph, plane(n, n + 1), between), plane(n + 1, n));
}

static gn_node *reshape_flat(gn_graph *graph, int n) {
    return gn_reshape(f32(graph, gn_shape_of(4, 2, n, 3, 1), between), line(6 * n));
}

static gn_node *reshape_i32(gn_graph *graph, int n) {
    return gn_reshape(i32(graph, line(2 * n), 1000), plane(2, n));
}

static gn_node *broadcast_row(gn_graph *graph, int n) {
    return gn_broadcast(f32(graph, plane(1, n), between), plane(n + 1, n));
}

static gn_node *broadcast_column(gn_graph *graph, int n) {
    return gn_broadcast(f32(graph, plane(n, 1), between), plane(n, n + 1));
}

static gn_node *broadcast_scalar(gn_graph *graph, int n) {
    return gn_broadcast(f32(graph, scalar(), between), plane(n, n + 1));
}

static gn_node *broadcast_middle(gn_graph *graph, int n) {
    return gn_broadcast(f32(graph, gn_shape_of(3, 2, 1, n), between), gn_shape_of(3, 2, n + 1, n));
}

static gn_node *broadcast_ends(gn_graph *graph, int n) {
    return gn_broadcast(f32(graph, gn_shape_of(3, 1, n, 1), between), gn_shape_of(3, 3, n, n + 1));
}

static gn_node *broadcast_alternating(gn_graph *graph, int n) {
    return gn_broadcast(f32(graph, gn_shape_of(4, 1, n, 1, 3), between), gn_shape_of(4, 2, n, 4, 3));
}

static gn_node *broadcast_i32(gn_graph *graph, int n) {
    return gn_broadcast(i32(graph, plane(n, 1), 1000), plane(n, n + 1));
}

static gn_node *slice_start(gn_graph *graph, int n) {
    return gn_slice(f32(graph, plane(3, 2 * n + 1), between), 0, n);
}

static gn_node *slice_middle(gn_graph *graph, int n) {
    return gn_slice(f32(graph, plane(n, 3 * n + 2), between), n + 1, n);
}

static gn_node *slice_end(gn_graph *graph, int n) {
    return gn_slice(f32(graph, gn_shape_of(3, 2, n, 19), between), 16, 3);
}

static gn_node *slice_line(gn_graph *graph, int n) {
    return gn_slice(f32(graph, line(n + 2), between), 1, n);
}

static gn_node *pad_behind(gn_graph *graph, int n) {
    return gn_pad(f32(graph, plane(n, n), between), 0, 10);
}

static gn_node *pad_before(gn_graph *graph, int n) {
    return gn_pad(f32(graph, plane(3, n), between), n + 1, 0);
}

static gn_node *pad_around(gn_graph *graph, int n) {
    return gn_pad(f32(graph, gn_shape_of(4, 2, n, 2, 3), between), 1, 2);
}

// ---- Many to one -------------------------------------------------------------------------------------

static gn_node *sum(gn_graph *graph, gn_shape from, gn_shape to) {
    return node_new(graph, (gn_node){.op = OP_SUM, .input = {f32(graph, from, between)}, .shape = to});
}

static gn_node *sum_rows(gn_graph *graph, int n) {
    return sum(graph, plane(n + 1, n), plane(1, n));
}

static gn_node *sum_columns(gn_graph *graph, int n) {
    return sum(graph, plane(n, n + 1), plane(n, 1));
}

static gn_node *sum_all(gn_graph *graph, int n) {
    return sum(graph, plane(n, n + 1), plane(1, 1));
}

static gn_node *sum_line(gn_graph *graph, int n) {
    return sum(graph, line(97 * n), line(1));
}

static gn_node *sum_middle(gn_graph *graph, int n) {
    return sum(graph, gn_shape_of(4, 2, n, 3, 5), gn_shape_of(4, 2, 1, 1, 5));
}

static gn_node *sum_middle_wide(gn_graph *graph, int n) {
    return sum(graph, gn_shape_of(3, 3, 7, n), gn_shape_of(3, 3, 1, n));
}

static gn_node *sum_front(gn_graph *graph, int n) {
    return sum(graph, gn_shape_of(4, 2, 3, n, 16), gn_shape_of(4, 1, 1, 1, 16));
}

static gn_node *sum_back(gn_graph *graph, int n) {
    return sum(graph, gn_shape_of(3, n, 3, 11), gn_shape_of(3, n, 1, 1));
}

static gn_node *sum_tall(gn_graph *graph, int n) {
    return sum(graph, plane(60 * n, 3), plane(1, 3));
}

// op(a) (m, k) times op(b) (k, n)
static gn_node *matmul(gn_graph *graph, int m, int k, int n, bool transpose_a, bool transpose_b) {
    gn_node *a = f32(graph, transpose_a ? plane(k, m) : plane(m, k), between);
    gn_node *b = f32(graph, transpose_b ? plane(n, k) : plane(k, n), between);
    return graph_matmul(a, transpose_a, b, transpose_b);
}

#define MATMUL(suffix, transpose_a, transpose_b)                                                             \
    static gn_node *matmul_##suffix(gn_graph *graph, int n) {                                                \
        return matmul(graph, n, n / 2 + 1, n + 3, transpose_a, transpose_b);                                 \
    }                                                                                                        \
    static gn_node *matmul_deep_##suffix(gn_graph *graph, int n) {                                           \
        return matmul(graph, 3, 16 * n + 1, 2, transpose_a, transpose_b);                                    \
    }                                                                                                        \
    static gn_node *matmul_thin_##suffix(gn_graph *graph, int n) {                                           \
        return matmul(graph, n, 20, 1, transpose_a, transpose_b);                                            \
    }

MATMUL(nn, false, false)
MATMUL(nt, false, true)
MATMUL(tn, true, false)
MATMUL(tt, true, true)

// A matrix and its own transpose: both operands are the same memory.
static gn_node *matmul_itself(gn_graph *graph, int n) {
    gn_node *a = f32(graph, plane(n, 9), between);
    return graph_matmul(a, false, a, true);
}

// ---- Patches -----------------------------------------------------------------------------------------

// Windows over n images. Sizes are part of a kernel's text, n is not: so all n share a kernel.
static gn_node *im2col(gn_graph *graph, int n, int height, int width, int channels, int kernel, int stride,
                       int padding) {
    gn_node *x = f32(graph, gn_shape_of(4, n, height, width, channels), between);
    return graph_im2col(x, kernel, stride, padding);
}

static gn_node *col2im(gn_graph *graph, int n, int height, int width, int channels, int kernel, int stride,
                       int padding) {
    int rows = (height + 2 * padding - kernel) / stride + 1,
        columns = (width + 2 * padding - kernel) / stride + 1;
    gn_node *x = f32(graph, plane(n * rows * columns, kernel * kernel * channels), between);
    return graph_col2im(x, gn_shape_of(4, n, height, width, channels), kernel, stride, padding);
}

#define PATCHES(name, height, width, channels, kernel, stride, padding)                                      \
    static gn_node *im2col_##name(gn_graph *graph, int n) {                                                  \
        return im2col(graph, n, height, width, channels, kernel, stride, padding);                           \
    }                                                                                                        \
    static gn_node *col2im_##name(gn_graph *graph, int n) {                                                  \
        return col2im(graph, n, height, width, channels, kernel, stride, padding);                           \
    }

PATCHES(pixels, 3, 4, 3, 1, 1, 0)
PATCHES(skipping, 5, 4, 2, 1, 2, 0) // pixels that no column holds
PATCHES(two, 5, 3, 8, 2, 1, 1)
PATCHES(three, 7, 6, 16, 3, 2, 1)
PATCHES(three_bare, 5, 7, 1, 3, 2, 0)
PATCHES(three_dense, 3, 5, 4, 3, 1, 2)
PATCHES(four, 6, 9, 1, 4, 2, 2)
PATCHES(four_whole, 4, 4, 32, 4, 1, 0) // one place
PATCHES(four_far, 9, 7, 3, 4, 3, 1)
PATCHES(tall, 11, 1, 6, 2, 2, 1)

static gn_node *resize_images(gn_graph *graph, int n) {
    return gn_resize(u8(graph, gn_shape_of(3, n, 28, 28)));
}

// ---- Data --------------------------------------------------------------------------------------------

#define GATHER(suffix, table)                                                                                \
    static gn_node *gather_##suffix(gn_graph *graph, int n) {                                                \
        return gn_gather(table, i32(graph, line(n), n + 2));                                                 \
    }

GATHER(f32_16, f32(graph, plane(n + 2, 32), between))
GATHER(f32_4, f32(graph, plane(n + 2, 12), between))
GATHER(f32_odd, f32(graph, plane(n + 2, 7), between))
GATHER(f32_scalars, f32(graph, line(n + 2), between))
GATHER(f32_images, f32(graph, gn_shape_of(4, n + 2, 3, 2, 5), between))
GATHER(i32_16, i32(graph, plane(n + 2, 16), 1000))
GATHER(i32_4, i32(graph, plane(n + 2, 20), 1000))
GATHER(i32_odd, i32(graph, plane(n + 2, 3), 1000))
GATHER(i32_scalars, i32(graph, line(n + 2), 10))
GATHER(u8_16, u8(graph, plane(n + 2, 784)))
GATHER(u8_4, u8(graph, plane(n + 2, 36)))
GATHER(u8_odd, u8(graph, plane(n + 2, 25)))
GATHER(u8_scalars, u8(graph, line(n + 2)))

static gn_node *one_hot_ten(gn_graph *graph, int n) {
    return gn_one_hot(i32(graph, line(n), 10), 10);
}

static gn_node *one_hot_many(gn_graph *graph, int n) {
    return gn_one_hot(i32(graph, line(5), n), n);
}

static gn_node *batch_rows(gn_graph *graph, int images, int step, int batch) {
    int32_t *order = gn_calloc((size_t)images, sizeof *order);
    gn_draw_permutation(gn_state_seed(graph->state), "order", 0, order, (size_t)images);
    gn_variable *variable = add_variable(graph, "order", GN_I32, line(images), order);
    free(order);
    return gn_batch_rows(gn_read(graph, variable), whole(graph, step), batch);
}

static gn_node *batch_rows_first(gn_graph *graph, int n) {
    return batch_rows(graph, 3 * n + n / 2, 0, n);
}

static gn_node *batch_rows_last(gn_graph *graph, int n) { // of an epoch whose last rows make no batch
    return batch_rows(graph, 3 * n + n / 2, 2, n);
}

static gn_node *batch_rows_late(gn_graph *graph, int n) {
    return batch_rows(graph, 3 * n, 1000000 + n, n);
}

static gn_node *batch_rows_all(gn_graph *graph, int n) {
    return batch_rows(graph, n, 5, n);
}

static gn_node *record_number(gn_graph *graph, int n) {
    return gn_record(graph, add_f32(graph, plane(n, 3), between), whole(graph, n / 2), 2,
                     gn_constant(graph, 7.5));
}

static gn_node *record_again(gn_graph *graph, int n) { // in a row that was used before
    gn_node *value = f32(graph, line(1), between);
    return gn_record(graph, add_f32(graph, plane(n, 2), between), whole(graph, 3 * n + n / 2), 0, value);
}

// ---- Random numbers ----------------------------------------------------------------------------------

#define RANDOM(name, call)                                                                                   \
    static gn_node *name(gn_graph *graph, int n) {                                                           \
        gn_node *step = whole(graph, n);                                                                     \
        return call;                                                                                         \
    }

RANDOM(uniform_first, gn_random_uniform("u", step, line(n), 0))
RANDOM(uniform_later, gn_random_uniform("u", step, plane(n, 3), 2 * n + 1))
RANDOM(uniform_aligned, gn_random_uniform("u", step, plane(n, n + 1), 4))
RANDOM(normal_first, gn_random_normal("z", step, line(n), 0))
RANDOM(normal_later, gn_random_normal("z", step, plane(n, 3), 2 * n + 1))
RANDOM(normal_even, gn_random_normal("z", step, plane(n, n + 1), 2))
RANDOM(below_first, gn_random_below("k", step, line(n), 0, 10))
RANDOM(below_later, gn_random_below("k", step, plane(n, 3), 2 * n + 1, 10))
RANDOM(below_large, gn_random_below("k", step, line(n), 3, INT32_MAX))

// ---- The table ---------------------------------------------------------------------------------------

// clang-format off
#define BOTH(op, text, name, smooth) \
    {op, text ", (n)", name##_line, smooth}, {op, text ", (n, n + 1)", name##_plane, smooth}
#define PATCHES_OF(name, text, smooth) \
    {OP_IM2COL, "im2col" text, im2col_##name, smooth}, {OP_COL2IM, "col2im" text, col2im_##name, smooth}

const op_case op_cases[] = {
    {OP_CONSTANT, "constant f32", constant, true},
    {OP_CONSTANT, "constant i32", constant_int, false},
    {OP_VARIABLE, "variable f32", variable_f32, true},
    {OP_VARIABLE, "variable i32", variable_i32, false},
    {OP_VARIABLE, "variable u8", variable_u8, false},

    BOTH(OP_ADD, "add", add, true),
    {OP_ADD, "add i32", add_i32, false},
    {OP_ADD, "add a counter", add_counter, false},
    BOTH(OP_SUB, "sub", sub, true),
    BOTH(OP_MUL, "mul", mul, true),
    BOTH(OP_MUL, "mul by a number", scale, true),
    BOTH(OP_MUL, "mul by itself", square, true),
    BOTH(OP_DIV, "div", division, true),
    BOTH(OP_DIV, "div by any size", division_wide, false),
    BOTH(OP_NEG, "neg", neg, true),
    BOTH(OP_EXP, "exp", exponential, true),
    BOTH(OP_EXP, "exp of -80 .. 80", exp_large, false),
    BOTH(OP_EXPM1, "expm1", expm1_moderate, true),
    BOTH(OP_EXPM1, "expm1 near 0", expm1_tiny, false),
    BOTH(OP_LOG, "log", logarithm, true),
    BOTH(OP_LOG, "log of any size", log_wide, false),
    BOTH(OP_SQRT, "sqrt", root, true),
    BOTH(OP_SQRT, "sqrt of any size", root_wide, false),
    BOTH(OP_TANH, "tanh", hyperbolic_tangent, true),
    BOTH(OP_TANH, "tanh of -80 .. 80", tanh_large, false),
    BOTH(OP_TANH, "tanh near 0", tanh_tiny, false),
    BOTH(OP_SIGMOID, "sigmoid", sigmoid, true),
    BOTH(OP_SIGMOID, "sigmoid of -80 .. 80", sigmoid_large, false),
    BOTH(OP_LEAKY_SLOPE, "leaky_slope", slope, true),
    BOTH(OP_LEAKY_SLOPE, "leaky_slope at its kink", slope_kinks, false),
    BOTH(OP_CLAMP, "clamp", clamp, true),
    BOTH(OP_CLAMP, "clamp at its kinks", clamp_kinks, false),
    BOTH(OP_CLAMP, "clamp from above only", clamp_below, true),
    BOTH(OP_WITHIN, "within", within, true),
    BOTH(OP_WITHIN, "within at its kinks", within_kinks, false),
    BOTH(OP_WITHIN, "within, open above", within_above, true),
    BOTH(OP_BCE, "bce, target 1", bce_real, true),
    BOTH(OP_BCE, "bce, target 0", bce_fake, true),
    BOTH(OP_BCE, "bce, target 0.3", bce_between, true),
    BOTH(OP_BCE, "bce at 0 and 1, target 1", bce_real_certain, false),
    BOTH(OP_BCE, "bce at 0 and 1, target 0", bce_fake_certain, false),
    {OP_TO_F32, "to_f32 of i32", to_f32_of_i32, false},
    {OP_TO_F32, "to_f32 of u8", to_f32_of_u8, false},
    BOTH(OP_COPY, "copy", copy, true),
    {OP_COPY, "copy i32", copy_i32, false},
    {OP_COPY, "copy a constant", copy_constant, false},
    {OP_ASSIGN, "assign f32", assign_f32, false},
    {OP_ASSIGN, "assign from the old value", assign_to_itself, false},
    {OP_ASSIGN, "assign i32", assign_i32, false},
    {OP_ASSIGN, "assign a number", assign_number, false},
    {OP_ASSIGN, "assign a product", assign_product, false},

    {OP_RESHAPE, "reshape a matrix", reshape_matrix, true},
    {OP_RESHAPE, "reshape 4-D to 1-D", reshape_flat, true},
    {OP_RESHAPE, "reshape i32", reshape_i32, false},
    {OP_BROADCAST, "broadcast a row", broadcast_row, true},
    {OP_BROADCAST, "broadcast a column", broadcast_column, true},
    {OP_BROADCAST, "broadcast a scalar", broadcast_scalar, true},
    {OP_BROADCAST, "broadcast a middle axis", broadcast_middle, true},
    {OP_BROADCAST, "broadcast both ends", broadcast_ends, true},
    {OP_BROADCAST, "broadcast every other axis", broadcast_alternating, true},
    {OP_BROADCAST, "broadcast i32", broadcast_i32, false},
    {OP_SLICE, "slice from the start", slice_start, true},
    {OP_SLICE, "slice from the middle", slice_middle, true},
    {OP_SLICE, "slice to the end, 3-D", slice_end, true},
    {OP_SLICE, "slice, 1-D", slice_line, true},
    {OP_PAD, "pad behind", pad_behind, true},
    {OP_PAD, "pad before", pad_before, true},
    {OP_PAD, "pad both sides, 4-D", pad_around, true},

    {OP_SUM, "sum rows", sum_rows, true},
    {OP_SUM, "sum columns", sum_columns, true},
    {OP_SUM, "sum everything", sum_all, true},
    {OP_SUM, "sum a long line", sum_line, true},
    {OP_SUM, "sum the middle of 4-D", sum_middle, true},
    {OP_SUM, "sum the middle of 3-D", sum_middle_wide, true},
    {OP_SUM, "sum all but the last axis of 4-D", sum_front, true},
    {OP_SUM, "sum all but the first axis of 3-D", sum_back, true},
    {OP_SUM, "sum many rows of three", sum_tall, true},
    {OP_MATMUL, "matmul a b", matmul_nn, true},
    {OP_MATMUL, "matmul a b'", matmul_nt, true},
    {OP_MATMUL, "matmul a' b", matmul_tn, true},
    {OP_MATMUL, "matmul a' b'", matmul_tt, true},
    {OP_MATMUL, "matmul a b, deep", matmul_deep_nn, true},
    {OP_MATMUL, "matmul a b', deep", matmul_deep_nt, true},
    {OP_MATMUL, "matmul a' b, deep", matmul_deep_tn, true},
    {OP_MATMUL, "matmul a' b', deep", matmul_deep_tt, true},
    {OP_MATMUL, "matmul a b, one column", matmul_thin_nn, true},
    {OP_MATMUL, "matmul a b', one column", matmul_thin_nt, true},
    {OP_MATMUL, "matmul a' b, one column", matmul_thin_tn, true},
    {OP_MATMUL, "matmul a' b', one column", matmul_thin_tt, true},
    {OP_MATMUL, "matmul a a'", matmul_itself, true},

    PATCHES_OF(pixels, ", single pixels of 3", true),
    PATCHES_OF(skipping, ", every other pixel", true),
    PATCHES_OF(two, ", 2x2", true),
    PATCHES_OF(three, ", 3x3, stride 2, padding 1", true),
    PATCHES_OF(three_bare, ", 3x3, stride 2, one channel", true),
    PATCHES_OF(three_dense, ", 3x3, padding 2", true),
    PATCHES_OF(four, ", 4x4, stride 2, padding 2", true),
    PATCHES_OF(four_whole, ", 4x4, the whole image", true),
    PATCHES_OF(four_far, ", 4x4, stride 3", true),
    PATCHES_OF(tall, ", 2x2, one pixel wide", true),

    {OP_RESIZE, "resize", resize_images, false},
    {OP_GATHER, "gather f32, rows of 32", gather_f32_16, false},
    {OP_GATHER, "gather f32, rows of 12", gather_f32_4, false},
    {OP_GATHER, "gather f32, rows of 7", gather_f32_odd, false},
    {OP_GATHER, "gather f32, single elements", gather_f32_scalars, false},
    {OP_GATHER, "gather f32, rows of (3, 2, 5)", gather_f32_images, false},
    {OP_GATHER, "gather i32, rows of 16", gather_i32_16, false},
    {OP_GATHER, "gather i32, rows of 20", gather_i32_4, false},
    {OP_GATHER, "gather i32, rows of 3", gather_i32_odd, false},
    {OP_GATHER, "gather i32, single elements", gather_i32_scalars, false},
    {OP_GATHER, "gather u8, rows of 784", gather_u8_16, false},
    {OP_GATHER, "gather u8, rows of 36", gather_u8_4, false},
    {OP_GATHER, "gather u8, rows of 25", gather_u8_odd, false},
    {OP_GATHER, "gather u8, single elements", gather_u8_scalars, false},
    {OP_ONE_HOT, "one_hot, ten classes", one_hot_ten, false},
    {OP_ONE_HOT, "one_hot, n classes", one_hot_many, false},
    {OP_BATCH_ROWS, "batch_rows, step 0", batch_rows_first, false},
    {OP_BATCH_ROWS, "batch_rows, last of an epoch", batch_rows_last, false},
    {OP_BATCH_ROWS, "batch_rows, a late step", batch_rows_late, false},
    {OP_BATCH_ROWS, "batch_rows, one batch", batch_rows_all, false},
    {OP_RECORD, "record a number", record_number, false},
    {OP_RECORD, "record over an older row", record_again, false},

    {OP_RANDOM_UNIFORM, "random_uniform", uniform_first, false},
    {OP_RANDOM_UNIFORM, "random_uniform, odd first", uniform_later, false},
    {OP_RANDOM_UNIFORM, "random_uniform, first 4", uniform_aligned, false},
    {OP_RANDOM_NORMAL, "random_normal", normal_first, false},
    {OP_RANDOM_NORMAL, "random_normal, odd first", normal_later, false},
    {OP_RANDOM_NORMAL, "random_normal, first 2", normal_even, false},
    {OP_RANDOM_BELOW, "random_below", below_first, false},
    {OP_RANDOM_BELOW, "random_below, odd first", below_later, false},
    {OP_RANDOM_BELOW, "random_below, largest bound", below_large, false},
};
// clang-format on
const int op_case_count = sizeof op_cases / sizeof *op_cases;

gn_variable *op_case_output(gn_node *node) {
    if (node->op == OP_ASSIGN || node->op == OP_RECORD)
        return node->variable;
    gn_node *value = node->type == GN_U8 ? gn_to_f32(node) : node;
    gn_variable *output = add_variable(node->graph, "output", value->type, value->shape, NULL);
    gn_assign(node->graph, output, value);
    return output;
}
