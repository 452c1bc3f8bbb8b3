// Convolutions and resizing against what they are in PyTorch and Pillow: the definitions written out once
// more, on weights in PyTorch's layout, which the layers' variables have in files. So this is also a test of
// those layouts and of how weights start. Needs no device: test_operations has the kernels.
#include "graph/reference.h"
#include "graph_fixture.h"
#include "models/layers.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEED = 3 };

static void setup(void) {
    start_graph(SEED);
}

static double largest_error(const double *a, const double *b, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(a[i] - b[i]));
    return largest;
}

// A variable's initial values in the layout of PyTorch's files, as doubles; the caller frees.
static double *file_values(const char *name, gn_shape shape) {
    gn_variable *variable = gn_state_find(state, name);
    ck_assert_msg(variable != NULL, "there is no variable %s", name);
    ck_assert_msg(gn_shape_equal(gn_variable_file_shape(variable), shape), "%s has another shape in files",
                  name);
    size_t count = gn_shape_count(shape);
    float *values = gn_calloc(count, sizeof *values), *file = gn_calloc(count, sizeof *file);
    double *doubles = gn_calloc(count, sizeof *doubles);
    ck_assert(gn_state_get(NULL, variable, values));
    gn_variable_to_file(variable, values, file);
    for (size_t i = 0; i < count; i++)
        doubles[i] = (double)file[i];
    free(values);
    free(file);
    return doubles;
}

static gn_node *normals(const char *name, gn_shape shape) {
    float *values = gn_calloc(gn_shape_count(shape), sizeof *values);
    gn_draw_normal(SEED, name, 0, values, gn_shape_count(shape));
    gn_node *node = gn_read(graph, gn_state_add(state, name, GN_F32, shape, values));
    free(values);
    return node;
}

// ---- Convolutions ------------------------------------------------------------------------------------

enum { N = 2, H = 6, W = 9, C = 3, O = 5 };

typedef struct {
    int kernel, stride, padding;
} window;

static const window windows[] = {{1, 1, 0}, {1, 2, 0}, {2, 1, 1}, {3, 1, 1}, {3, 2, 0},
                                 {3, 2, 1}, {4, 1, 0}, {4, 2, 2}, {4, 3, 2}, {5, 4, 1}};
enum { WINDOWS = sizeof windows / sizeof *windows };

// y[n, oy, ox, o] of both kinds is a sum of x[n, iy, ix, c] times a weight of tap (ky, kx); what differs is
// where an input and a tap lead, and the order of the weight's first axes.
static void by_definition(const window *w, bool transposed, const double *x, const double *weight,
                          const double *bias, gn_shape shape, double *y) {
    int height = shape.size[1], width = shape.size[2], k = w->kernel;
    for (size_t i = 0; i < gn_shape_count(shape); i++)
        y[i] = bias[i % O];
    for (int n = 0; n < N; n++)
        for (int c = 0; c < C; c++)
            for (int o = 0; o < O; o++)
                for (int tap = 0; tap < k * k; tap++)
                    for (int oy = 0; oy < height; oy++)
                        for (int ox = 0; ox < width; ox++)
                            for (int iy = 0; iy < H; iy++)
                                for (int ix = 0; ix < W; ix++) {
                                    int ky = tap / k, kx = tap % k, s = w->stride, p = w->padding;
                                    bool meets = transposed ? oy == iy * s + ky - p && ox == ix * s + kx - p
                                                            : iy == oy * s + ky - p && ix == ox * s + kx - p;
                                    if (meets)
                                        y[((n * height + oy) * width + ox) * O + o] +=
                                            x[((n * H + iy) * W + ix) * C + c] *
                                            weight[(transposed ? c * O + o : o * C + c) * k * k + tap];
                                }
}

static double check_convolution(const window *w, bool transposed) {
    network net = network_new(graph, "net", true);
    network_start(&net, "model");
    gn_node *x = normals("x", gn_shape_of(4, N, H, W, C));
    gn_node *y = (transposed ? conv_transpose2d : conv2d)(&net, x, O, w->kernel, w->stride, w->padding);
    int k = w->kernel, height = (H + 2 * w->padding - k) / w->stride + 1,
        width = (W + 2 * w->padding - k) / w->stride + 1;
    if (transposed) {
        height = (H - 1) * w->stride - 2 * w->padding + k;
        width = (W - 1) * w->stride - 2 * w->padding + k;
    }
    ck_assert(gn_shape_equal(gn_node_shape(y), gn_shape_of(4, N, height, width, O)));

    double *weight = file_values("net.model.0.weight",
                                 transposed ? gn_shape_of(4, C, O, k, k) : gn_shape_of(4, O, C, k, k));
    double *bias = file_values("net.model.0.bias", gn_shape_of(1, O));
    size_t count = gn_shape_count(gn_node_shape(y));
    double *expected = gn_calloc(count, sizeof *expected);
    reference *run = reference_new(graph);
    reference_run(run);
    by_definition(w, transposed, reference_node(run, x), weight, bias, gn_node_shape(y), expected);
    double error = largest_error(reference_node(run, y), expected, count);
    ck_assert_msg(error < 1e-12, "kernel %d, stride %d, padding %d%s: off by %g", k, w->stride, w->padding,
                  transposed ? ", transposed" : "", error);
    reference_free(run);
    free(expected);
    free(weight);
    free(bias);
    return error;
}

START_TEST(convolutions) {
    double largest = 0;
    for (int i = 0; i < 2 * WINDOWS; i++) {
        largest = fmax(largest, check_convolution(&windows[i / 2], i % 2));
        teardown();
        setup();
    }
    printf("test_conv: %d convolutions: largest error %.2g\n", 2 * WINDOWS, largest);
}
END_TEST

// x W' + b, viewed as (N, channels, height, width)
START_TEST(dense_images) {
    enum {
        INPUTS = 7,
        HEIGHT = 2,
        WIDTH = 3,
        CHANNELS = 4,
        PIXELS = HEIGHT * WIDTH,
        OUTPUTS = PIXELS * CHANNELS
    };
    network net = network_new(graph, "net", true);
    network_single(&net, "linear");
    gn_node *x = normals("x", gn_shape_of(2, N, INPUTS));
    gn_node *y = dense_image(&net, x, HEIGHT, WIDTH, CHANNELS);
    ck_assert(gn_shape_equal(gn_node_shape(y), gn_shape_of(4, N, HEIGHT, WIDTH, CHANNELS)));
    double *weight = file_values("net.linear.weight", gn_shape_of(2, OUTPUTS, INPUTS));
    double *bias = file_values("net.linear.bias", gn_shape_of(1, OUTPUTS));
    reference *run = reference_new(graph);
    reference_run(run);
    double expected[N * OUTPUTS];
    for (int n = 0; n < N; n++)
        for (int output = 0; output < OUTPUTS; output++) {
            int channel = output / PIXELS, pixel = output % PIXELS;
            double sum = bias[output];
            for (int i = 0; i < INPUTS; i++)
                sum += reference_node(run, x)[n * INPUTS + i] * weight[output * INPUTS + i];
            expected[(n * PIXELS + pixel) * CHANNELS + channel] = sum;
        }
    double error = largest_error(reference_node(run, y), expected, N * OUTPUTS);
    ck_assert_msg(error < 1e-12, "off by %g", error);
    reference_free(run);
    free(weight);
    free(bias);
}
END_TEST

// ---- How weights start -------------------------------------------------------------------------------

typedef struct {
    double mean, std, largest; // of the absolute values
} statistics;

static statistics statistics_of(const char *name) {
    gn_variable *variable = gn_state_find(state, name);
    ck_assert_msg(variable != NULL, "there is no variable %s", name);
    size_t count = gn_shape_count(gn_variable_shape(variable));
    float *values = gn_calloc(count, sizeof *values);
    ck_assert(gn_state_get(NULL, variable, values));
    double sum = 0, squares = 0, largest = 0;
    for (size_t i = 0; i < count; i++) {
        sum += (double)values[i];
        squares += (double)values[i] * (double)values[i];
        largest = fmax(largest, fabs((double)values[i]));
    }
    free(values);
    double mean = sum / (double)count;
    return (statistics){mean, sqrt(squares / (double)count - mean * mean), largest};
}

static void apply_layers(double weight_std) {
    network net = network_new(graph, "net", true);
    net.weight_std = weight_std;
    network_start(&net, "model");
    gn_node *x = conv2d(&net, normals("x", gn_shape_of(4, 1, 5, 5, 16)), 400, 3, 1, 0);
    x = batch_norm(&net, x, 1e-5);
    conv_transpose2d(&net, x, 100, 2, 1, 0);
}

// Uniform in +-1 / sqrt(fan_in): nothing beyond, and some of thousands of draws close to it.
static void expect_uniform(const char *name, double bound, double nearest) {
    statistics s = statistics_of(name);
    ck_assert_msg(s.largest <= bound * (1 + 1e-6) && s.largest > nearest * bound, "%s reaches %g of %g", name,
                  s.largest, bound);
    ck_assert_msg(fabs(s.mean) < 0.2 * bound, "%s has a mean of %g", name, s.mean);
}

static void expect_normal(const char *name, double mean, double std, double tolerance) {
    statistics s = statistics_of(name);
    ck_assert_msg(fabs(s.mean - mean) < tolerance * std, "%s has a mean of %g, not %g", name, s.mean, mean);
    ck_assert_msg(fabs(s.std - std) < tolerance * std, "%s has a deviation of %g, not %g", name, s.std, std);
}

START_TEST(default_initialisation) {
    apply_layers(0);
    expect_uniform("net.model.0.weight", 1 / sqrt(3 * 3 * 16), 0.99);
    expect_uniform("net.model.0.bias", 1 / sqrt(3 * 3 * 16), 0.9);
    expect_uniform("net.model.2.weight", 1 / sqrt(2 * 2 * 100), 0.99);
    expect_uniform("net.model.2.bias", 1 / sqrt(2 * 2 * 100), 0.9);
    statistics weight = statistics_of("net.model.1.weight");
    ck_assert(weight.mean == 1 && weight.std == 0);
}
END_TEST

// DCGAN's: normal weights of convolutions and batch norms, all else as by default.
START_TEST(normal_initialisation) {
    apply_layers(0.02);
    expect_normal("net.model.0.weight", 0, 0.02, 0.05);
    expect_normal("net.model.2.weight", 0, 0.02, 0.05);
    expect_normal("net.model.1.weight", 1, 0.02, 0.2);
    expect_uniform("net.model.0.bias", 1 / sqrt(3 * 3 * 16), 0.9);
    expect_uniform("net.model.2.bias", 1 / sqrt(2 * 2 * 100), 0.9);
    ck_assert(statistics_of("net.model.1.bias").largest == 0);
}
END_TEST

// ---- Resizing ----------------------------------------------------------------------------------------

// What Pillow makes of a row whose bytes are 0, 9, 18, ...: along rows, and along columns.
START_TEST(resize_as_pillow) {
    static const uint8_t line[32] = {0,   7,   15,  23,  31,  39,  47,  55,  62,  70,  78,
                                     86,  94,  102, 110, 118, 125, 133, 141, 149, 157, 165,
                                     173, 181, 188, 196, 204, 212, 220, 228, 236, 243};
    uint8_t images[2][28][28];
    for (int y = 0; y < 28; y++)
        for (int x = 0; x < 28; x++) {
            images[0][y][x] = (uint8_t)(9 * x);
            images[1][y][x] = (uint8_t)(9 * y);
        }
    gn_node *resized =
        gn_resize(gn_read(graph, gn_state_add(state, "images", GN_U8, gn_shape_of(3, 2, 28, 28), images)));
    reference *run = reference_new(graph);
    reference_run(run);
    for (int i = 0; i < 2 * 32 * 32; i++) {
        int expected = line[i < 32 * 32 ? i % 32 : i / 32 % 32];
        double value = reference_node(run, resized)[i];
        REQUIRE(value == expected, "pixel %d of image %d is %g, not %d", i % 1024, i / 1024, value, expected);
    }
    reference_free(run);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("conv");
    TCase *tests = tcase_create("conv");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_add_test(tests, convolutions);
    tcase_add_test(tests, dense_images);
    tcase_add_test(tests, default_initialisation);
    tcase_add_test(tests, normal_initialisation);
    tcase_add_test(tests, resize_as_pillow);
    suite_add_tcase(suite, tests);
    return suite;
}
