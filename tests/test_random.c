// Random numbers: the published answers of Philox, the distributions, the accuracy of the normals, and the
// same bits on the host and on every device. Everything follows from fixed seeds, so that a bound of about
// five standard deviations is met always or never.
#include "cl/device.h"
#include "cl/kernels.h"
#include "ganc.h"
#include "graph/random.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEED = 20151, MANY = 1 << 20 };
#define PI 3.14159265358979323846

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

// ---- The generator -----------------------------------------------------------------------------------

// The known answers that come with the authors' Random123 library.
START_TEST(philox_known_answers) {
    static const struct {
        uint32_t counter[4], key[2], words[4];
    } answers[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    uint32_t words[4];
    random_philox(answers[_i].counter, answers[_i].key, words);
    for (int i = 0; i < 4; i++)
        ck_assert_uint_eq(words[i], answers[_i].words[i]);
}
END_TEST

START_TEST(stream_hash_known_answers) {
    ck_assert_uint_eq(random_stream(""), 0x811c9dc5);
    ck_assert_uint_eq(random_stream("a"), 0xe40c292c);
    ck_assert_uint_eq(random_stream("foobar"), 0xbf9cf968);
}
END_TEST

// Where each number comes from, said once more: key, counter, lane.
START_TEST(layout) {
    const uint64_t seed = 0x0123456789abcdef;
    const uint32_t step = 77, key[2] = {0x89abcdef, 0x01234567};
    enum { COUNT = 1003, BOUND = 60000 };
    float uniform[COUNT];
    int32_t below[COUNT];
    gn_draw_uniform(seed, "z", step, uniform, COUNT);
    gn_draw_below(seed, "z", step, below, COUNT, BOUND);
    for (uint32_t i = 0; i < COUNT; i++) {
        const uint32_t counter[4] = {i / 4, step, random_stream("z"), 0};
        uint32_t words[4];
        random_philox(counter, key, words);
        ck_assert(uniform[i] == (float)(words[i % 4] >> 8) / 16777216.0f);
        ck_assert_int_eq(below[i], (int32_t)((uint64_t)words[i % 4] * BOUND / 4294967296u));
    }
}
END_TEST

// A shorter draw is the start of a longer one, and nothing is written behind it.
START_TEST(a_draw_is_a_prefix) {
    enum { LONG = 64 };
    float uniform[LONG], normal[LONG], x[LONG + 1];
    int32_t below[LONG], k[LONG + 1];
    gn_draw_uniform(SEED, "z", 3, uniform, LONG);
    gn_draw_normal(SEED, "z", 3, normal, LONG);
    gn_draw_below(SEED, "z", 3, below, LONG, 10);
    for (size_t count = 0; count <= LONG; count++) {
        x[count] = 12345.0f;
        gn_draw_uniform(SEED, "z", 3, x, count);
        ck_assert_mem_eq(x, uniform, count * sizeof *x);
        gn_draw_normal(SEED, "z", 3, x, count);
        ck_assert_mem_eq(x, normal, count * sizeof *x);
        ck_assert(x[count] == 12345.0f);
        k[count] = 12345;
        gn_draw_below(SEED, "z", 3, k, count, 10);
        ck_assert_mem_eq(k, below, count * sizeof *k);
        ck_assert_int_eq(k[count], 12345);
    }
}
END_TEST

// ---- Distributions -----------------------------------------------------------------------------------

// How far chi-square of `bins` equally likely bins is from its mean, in standard deviations.
static double chi_square(const long *counts, int bins, long total) {
    const double expected = (double)total / bins;
    double sum = 0;
    for (int i = 0; i < bins; i++)
        sum += (counts[i] - expected) * (counts[i] - expected) / expected;
    return (sum - (bins - 1)) / sqrt(2.0 * (bins - 1));
}

START_TEST(uniform_distribution) {
    enum { BINS = 1024 };
    long counts[BINS] = {0};
    double sum = 0, squares = 0;
    float *x = allocate(MANY, sizeof *x);
    gn_draw_uniform(SEED, "u", 0, x, MANY);
    for (int i = 0; i < MANY; i++) {
        REQUIRE(x[i] >= 0 && x[i] < 1, "element %d is %g", i, x[i]);
        counts[(int)(x[i] * BINS)]++;
        sum += x[i];
        squares += (double)x[i] * x[i];
    }
    free(x);
    const double root = sqrt(MANY), mean = (sum / MANY - 0.5) * root / sqrt(1.0 / 12);
    const double square = (squares / MANY - 1.0 / 3) * root / sqrt(4.0 / 45),
                 chi = chi_square(counts, BINS, MANY);
    printf("uniform: mean %.2f, mean square %.2f, chi-square %.2f standard deviations off\n", mean, square,
           chi);
    ck_assert(fabs(mean) < 5 && fabs(square) < 5 && fabs(chi) < 5);
}
END_TEST

static int ascending(const void *a, const void *b) {
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

// The first four moments, and the test of Kolmogorov and Smirnov: the largest distance between the empirical
// and the true distribution function, times sqrt(n), exceeds 2.5 with probability 2 exp(-12.5).
START_TEST(normal_distribution) {
    static const double moments[5] = {1, 0, 1, 0, 3}, variances[5] = {1, 1, 2, 15, 96};
    double sums[5] = {0}, distance = 0;
    float *x = allocate(MANY, sizeof *x);
    gn_draw_normal(SEED, "n", 0, x, MANY);
    for (int i = 0; i < MANY; i++) {
        double power = 1;
        for (int k = 1; k <= 4; k++)
            sums[k] += power *= x[i];
    }
    for (int k = 1; k <= 4; k++) {
        const double off = (sums[k] / MANY - moments[k]) * sqrt(MANY / variances[k]);
        printf("normal: moment %d is %.2f standard deviations off\n", k, off);
        ck_assert(fabs(off) < 5);
    }
    qsort(x, MANY, sizeof *x, ascending);
    for (int i = 0; i < MANY; i++) {
        const double p = 0.5 * erfc(-x[i] / sqrt(2));
        distance = fmax(distance, fmax(fabs(p - (double)i / MANY), fabs(p - (double)(i + 1) / MANY)));
    }
    free(x);
    printf("normal: Kolmogorov-Smirnov distance * sqrt(n) = %.2f\n", distance * sqrt(MANY));
    ck_assert(distance * sqrt(MANY) < 2.5);
}
END_TEST

START_TEST(below_distribution) {
    static const int bounds[] = {1, 2, 3, 10, 1000};
    const int bound = bounds[_i];
    long counts[1000] = {0};
    int32_t *k = allocate(MANY, sizeof *k);
    gn_draw_below(SEED, "below", 0, k, MANY, bound);
    for (int i = 0; i < MANY; i++) {
        REQUIRE(k[i] >= 0 && k[i] < bound, "element %d is %d", i, k[i]);
        counts[k[i]]++;
    }
    free(k);
    const double chi = bound > 1 ? chi_square(counts, bound, MANY) : 0;
    printf("below %d: chi-square %.2f standard deviations off\n", bound, chi);
    ck_assert(fabs(chi) < 5);
}
END_TEST

// The correlation of two rows of normals, in standard deviations of what chance gives.
static double correlation(const float *a, const float *b, int count) {
    double sum = 0;
    for (int i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum / sqrt(count);
}

START_TEST(draws_are_independent) {
    enum { COUNT = 1 << 18 };
    float *x = allocate(COUNT, sizeof *x), *y = allocate(COUNT, sizeof *y);
    double worst = 0;
    gn_draw_normal(SEED, "z", 0, x, COUNT);
    for (int lag = 1; lag <= 16; lag++)
        worst = fmax(worst, fabs(correlation(x, x + lag, COUNT - lag)));
    static const struct {
        uint64_t seed;
        const char *stream;
        uint32_t step;
    } others[] = {{SEED, "z", 1},           {SEED, "z", 2},       {SEED, "z", 0x80000000u},
                  {SEED, "fake_labels", 0}, {SEED, "fixed_z", 0}, {SEED, "Z", 0},
                  {SEED + 1, "z", 0},       {SEED + 2, "z", 0},   {(1ull << 32) + SEED, "z", 0}};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        gn_draw_normal(others[i].seed, others[i].stream, others[i].step, y, COUNT);
        worst = fmax(worst, fabs(correlation(x, y, COUNT)));
    }
    free(x);
    free(y);
    printf("correlations: the largest of %zu is %.2f standard deviations\n",
           16 + sizeof others / sizeof *others, worst);
    ck_assert(worst < 5);
}
END_TEST

// ---- Accuracy ----------------------------------------------------------------------------------------

// Against libm in double. The error is relative to the value, except that a cosine whose true value is 0 (a
// quarter turn) is taken as at least 1e-7 in size; the smallest other one is 3.7e-7.
START_TEST(normals_are_accurate) {
    float *x = allocate(MANY, sizeof *x);
    double worst = 0;
    gn_draw_normal(SEED, "accuracy", 9, x, MANY);
    for (uint32_t i = 0; i < MANY; i += 2) {
        const uint32_t counter[4] = {i / 4, 9, random_stream("accuracy"), 0}, key[2] = {SEED, 0};
        uint32_t words[4];
        random_philox(counter, key, words);
        const double u = ((words[i % 4] >> 8) + 1) / 16777216.0, v = (words[i % 4 + 1] >> 8) / 16777216.0;
        const double r = sqrt(-2 * log(u)), turn[2] = {cos(2 * PI * v), sin(2 * PI * v)};
        for (int lane = 0; lane < 2 && r > 0; lane++) {
            const double size = r * fmax(fabs(turn[lane]), 1e-7);
            worst = fmax(worst, fabs(x[i + lane] - r * turn[lane]) / size);
        }
    }
    free(x);
    printf("normals: largest relative error %.2e\n", worst);
    ck_assert(worst < 1e-6);
}
END_TEST

// ---- Permutations ------------------------------------------------------------------------------------

START_TEST(a_permutation_holds_each_number_once) {
    static const int counts[] = {0, 1, 2, 3, 4, 5, 6, 1000, 60000};
    const int count = counts[_i];
    int32_t *order = allocate((size_t)count + 1, sizeof *order);
    char *seen = allocate((size_t)count + 1, 1);
    order[count] = -7;
    gn_draw_permutation(SEED, "order", 2, order, (size_t)count);
    for (int i = 0; i < count; i++) {
        REQUIRE(order[i] >= 0 && order[i] < count && !seen[order[i]], "element %d is %d", i, order[i]);
        seen[order[i]] = 1;
    }
    ck_assert_int_eq(order[count], -7);
    free(order);
    free(seen);
}
END_TEST

// All 24 permutations of four numbers come up equally often.
START_TEST(permutations_are_equally_likely) {
    enum { DRAWS = 240000 };
    long counts[24] = {0};
    for (uint32_t step = 0; step < DRAWS; step++) {
        int32_t p[4];
        gn_draw_permutation(SEED, "order", step, p, 4);
        int rank = 0;
        for (int i = 0; i < 4; i++) {
            int smaller = 0;
            for (int j = i + 1; j < 4; j++)
                smaller += p[j] < p[i];
            rank = rank * (4 - i) + smaller;
        }
        counts[rank]++;
    }
    const double chi = chi_square(counts, 24, DRAWS);
    printf("permutations: chi-square %.2f standard deviations off\n", chi);
    ck_assert(fabs(chi) < 5);
}
END_TEST

// ---- Devices -----------------------------------------------------------------------------------------

// Everything a device draws has the host's bits: three streams, at a step that the device counts, whole and
// in two parts that meet at `first`, within a block of four or between two.
static void same_bits_on(const char *selector, int count, int first) {
    enum { BOUND = 10 };
    const uint64_t seed = 0xfedcba9876543210;
    gn_device *device = gn_device_open(selector, NULL);
    ck_assert_msg(device != NULL, "%s", gn_error());
    gn_state *state = gn_state_new(seed);
    const int32_t start = 41;
    gn_variable *counter = gn_state_add(state, "step", GN_I32, gn_shape_of(0), &start);
    const gn_shape whole = gn_shape_of(1, count), rest = gn_shape_of(1, count - first);
    gn_variable *uniform = gn_state_add(state, "uniform", GN_F32, whole, NULL);
    gn_variable *normal = gn_state_add(state, "normal", GN_F32, whole, NULL);
    gn_variable *below = gn_state_add(state, "below", GN_I32, whole, NULL);
    gn_variable *uniform_rest = gn_state_add(state, "uniform.rest", GN_F32, rest, NULL);
    gn_variable *normal_rest = gn_state_add(state, "normal.rest", GN_F32, rest, NULL);
    gn_variable *below_rest = gn_state_add(state, "below.rest", GN_I32, rest, NULL);

    gn_graph *graph = gn_graph_new(state);
    gn_node *step = gn_read(graph, counter);
    gn_assign(graph, uniform, gn_random_uniform("u", step, whole, 0));
    gn_assign(graph, normal, gn_random_normal("z", step, whole, 0));
    gn_assign(graph, below, gn_random_below("labels", step, whole, 0, BOUND));
    gn_assign(graph, uniform_rest, gn_random_uniform("u", step, rest, first));
    gn_assign(graph, normal_rest, gn_random_normal("z", step, rest, first));
    gn_assign(graph, below_rest, gn_random_below("labels", step, rest, first, BOUND));
    gn_assign(graph, counter, gn_add(step, gn_constant_int(graph, 1)));
    gn_program *program = gn_program_new(device, graph);
    ck_assert_msg(program != NULL, "%s", gn_error());

    float *x = allocate((size_t)count, sizeof *x), *got = allocate((size_t)count, sizeof *got);
    int32_t *k = allocate((size_t)count, sizeof *k), *got_k = allocate((size_t)count, sizeof *got_k);
    const size_t all = (size_t)count * sizeof *x, part = (size_t)(count - first) * sizeof *x;
    for (uint32_t t = 41; t < 44; t++) {
        ck_assert_msg(gn_program_run(program), "%s", gn_error());
        gn_draw_uniform(seed, "u", t, x, (size_t)count);
        ck_assert(gn_state_get(device, uniform, got));
        ck_assert_mem_eq(got, x, all);
        ck_assert(gn_state_get(device, uniform_rest, got));
        ck_assert_mem_eq(got, x + first, part);
        gn_draw_normal(seed, "z", t, x, (size_t)count);
        ck_assert(gn_state_get(device, normal, got));
        ck_assert_mem_eq(got, x, all);
        ck_assert(gn_state_get(device, normal_rest, got));
        ck_assert_mem_eq(got, x + first, part);
        gn_draw_below(seed, "labels", t, k, (size_t)count, BOUND);
        ck_assert(gn_state_get(device, below, got_k));
        ck_assert_mem_eq(got_k, k, all);
        ck_assert(gn_state_get(device, below_rest, got_k));
        ck_assert_mem_eq(got_k, k + first, part);
    }
    free(x);
    free(got);
    free(k);
    free(got_k);
    gn_program_free(program);
    gn_graph_free(graph);
    gn_state_free(state);
    gn_device_free(device);
}

START_TEST(devices_have_the_hosts_bits) {
    static const int sizes[][2] = {{1, 0},  {5, 1},      {6, 2},       {63, 31},     {64, 32},
                                   {65, 3}, {1000, 500}, {6400, 3200}, {10007, 5003}};
    device_list list;
    ck_assert_msg(device_list_find(&list), "%s", gn_error());
    ck_assert_msg(list.count > 0, "no OpenCL device here");
    for (int i = 0; i < list.count; i++) {
        printf("device: %s\n", list.devices[i].name);
        same_bits_on(list.devices[i].selector, sizes[_i][0], sizes[_i][1]);
    }
    device_list_free(&list);
}
END_TEST

// A kernel writes its n elements and nothing behind them, though its last work-items stand there.
static void stays_inside(const gn_device *device, cl_kernel kernel, bool bounded, cl_uint first, cl_uint n) {
    enum { SIZE = 512, SENTINEL = 0x7fc0a5a5 }; // no draw: a NaN
    const size_t local = 64, global = 2 * local;
    const cl_uint zero = 0, bound = 10;
    cl_uint values[SIZE];
    for (int i = 0; i < SIZE; i++)
        values[i] = SENTINEL;
    cl_mem out = clCreateBuffer(device->context, CL_MEM_COPY_HOST_PTR, sizeof values, values, NULL);
    cl_mem step = clCreateBuffer(device->context, CL_MEM_COPY_HOST_PTR, sizeof zero, (void *)&zero, NULL);
    const cl_uint numbers[] = {SEED, 0, random_stream("z"), first, n, bound};
    ck_assert_int_eq(clSetKernelArg(kernel, 0, sizeof out, &out), CL_SUCCESS);
    ck_assert_int_eq(clSetKernelArg(kernel, 1, sizeof step, &step), CL_SUCCESS);
    for (cl_uint i = 0; i < (bounded ? 6 : 5); i++)
        ck_assert_int_eq(clSetKernelArg(kernel, 2 + i, sizeof *numbers, &numbers[i]), CL_SUCCESS);
    ck_assert_int_eq(clEnqueueNDRangeKernel(device->queue, kernel, 1, NULL, &global, &local, 0, NULL, NULL),
                     CL_SUCCESS);
    ck_assert_int_eq(
        clEnqueueReadBuffer(device->queue, out, CL_TRUE, 0, sizeof values, values, 0, NULL, NULL),
        CL_SUCCESS);
    for (cl_uint i = 0; i < SIZE; i++)
        REQUIRE((values[i] == SENTINEL) == (i >= n), "first %u, n %u: element %u", first, n, i);
    clReleaseMemObject(out);
    clReleaseMemObject(step);
}

START_TEST(kernels_stay_inside) {
    static const char *const names[] = {"random_uniform", "random_normal", "random_below"};
    gn_device *device = gn_device_open(NULL, NULL);
    ck_assert_msg(device != NULL, "%s", gn_error());
    char *source = kernels_source(device, "random.cl");
    ck_assert_msg(source != NULL, "%s", gn_error());
    cl_program program = kernels_build(device, "random.cl", source, NULL);
    ck_assert_msg(program != NULL, "%s", gn_error());
    cl_int code;
    cl_kernel kernel = clCreateKernel(program, names[_i], &code);
    ck_assert_int_eq(code, CL_SUCCESS);
    for (cl_uint first = 0; first < 6; first++)
        for (cl_uint n = 1; n < 12; n++)
            stays_inside(device, kernel, _i == 2, first, n);
    stays_inside(device, kernel, _i == 2, 3, 509);
    clReleaseKernel(kernel);
    clReleaseProgram(program);
    free(source);
    gn_device_free(device);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("random");
    TCase *host = tcase_create("host");
    tcase_add_loop_test(host, philox_known_answers, 0, 3);
    tcase_add_test(host, stream_hash_known_answers);
    tcase_add_test(host, layout);
    tcase_add_test(host, a_draw_is_a_prefix);
    tcase_add_test(host, uniform_distribution);
    tcase_add_test(host, normal_distribution);
    tcase_add_loop_test(host, below_distribution, 0, 5);
    tcase_add_test(host, draws_are_independent);
    tcase_add_test(host, normals_are_accurate);
    tcase_add_loop_test(host, a_permutation_holds_each_number_once, 0, 9);
    tcase_add_test(host, permutations_are_equally_likely);
    suite_add_tcase(suite, host);
    TCase *device = tcase_create("device");
    tcase_set_timeout(device, 120);
    tcase_add_loop_test(device, devices_have_the_hosts_bits, 0, 9);
    tcase_add_loop_test(device, kernels_stay_inside, 0, 3);
    suite_add_tcase(suite, device);
    return suite;
}
