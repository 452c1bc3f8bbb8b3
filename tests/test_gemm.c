// Matrix products against sums in double: every transposition, sizes around every tile, all three engines;
// and what is kept of their verification between two starts.
#include "base/error.h"
#include "cl/device.h"
#include "cl/gemm.h"
#include "cl/kernels.h"
#include "ganc.h"
#include "scratch.h"
#include "test.h"

#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

enum { SEED = 20240131, GUARD = 64 }; // floats behind a result; before it lies one alignment of the device

// ---- One product -------------------------------------------------------------------------------------

static void fill(float *out, size_t count, uint32_t *seed) { // -1 .. 1
    for (size_t i = 0; i < count; i++) {
        *seed = *seed * 1664525u + 1013904223u;
        out[i] = (float)(int32_t)*seed * 0x1p-31f;
    }
}

// The largest error of C, in units of what rounding may leave: sqrt(k) terms' worth, each sqrt(k) eps.
static double distance(gemm_shape s, const float *a, const float *b, const float *c) {
    double worst = 0;
    for (int i = 0; i < s.m; i++) {
        for (int j = 0; j < s.n; j++) {
            double sum = 0;
            for (int l = 0; l < s.k; l++) {
                sum += (double)a[s.transpose_a ? l * s.m + i : i * s.k + l] *
                       b[s.transpose_b ? j * s.k + l : l * s.n + j];
            }
            double error = fabs(c[i * s.n + j] - sum) / (4.0 * s.k * 0x1p-23);
            worst = error <= worst ? worst : isnan(error) ? INFINITY : error;
        }
    }
    return worst;
}

// Enqueues a call behind `before`, in the concurrent queue where that can be, and waits for it.
static void enqueue_behind(gn_device *device, gemm_call *call, cl_event before) {
    cl_event ended = NULL;
    launch_order order = {&before, 1, &ended};
    bool concurrent = device->concurrent && gemm_takes_order(device->gemm);
    ck_assert_msg(gemm_call_enqueue(call, concurrent ? &order : NULL), "%s", gn_error());
    if (concurrent) {
        ck_assert_int_eq(clWaitForEvents(1, &ended), CL_SUCCESS);
        clReleaseEvent(ended);
    }
}

// Computes a product twice, in a sub-buffer between sentinels that held NaN before. Returns its distance.
// With an order first, while whatever lies between its launches holds nothing that is right.
static double product_distance(gn_device *device, gemm_shape s, uint32_t *seed) {
    size_t na = (size_t)s.m * (size_t)s.k, nb = (size_t)s.k * (size_t)s.n, nc = (size_t)s.m * (size_t)s.n;
    size_t before = device->alignment / sizeof(float), all = before + nc + GUARD;
    float *a = gn_calloc(na, sizeof *a), *b = gn_calloc(nb, sizeof *b);
    float *initial = gn_calloc(all, sizeof *initial), *first = gn_calloc(all, sizeof *first),
          *second = gn_calloc(all, sizeof *second);
    fill(a, na, seed);
    fill(b, nb, seed);
    for (size_t e = 0; e < all; e++) {
        initial[e] = e >= before && e < before + nc ? NAN : (float)e;
    }

    cl_int status[4];
    cl_mem_flags copy = CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR;
    cl_mem buffer_a = clCreateBuffer(device->context, copy, na * sizeof *a, a, &status[0]);
    cl_mem buffer_b = clCreateBuffer(device->context, copy, nb * sizeof *b, b, &status[1]);
    cl_mem whole = clCreateBuffer(device->context, copy, all * sizeof *initial, initial, &status[2]);
    cl_buffer_region region = {before * sizeof(float), nc * sizeof(float)};
    cl_mem c = clCreateSubBuffer(whole, CL_MEM_READ_WRITE, CL_BUFFER_CREATE_TYPE_REGION, &region, &status[3]);
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(status[i], CL_SUCCESS);
    }

    gemm_call *call = gemm_call_new(device->gemm, s, buffer_a, buffer_b, c, NULL);
    ck_assert_msg(call != NULL, "%s", gn_error());
    float *results[] = {first, second};
    for (int run = 0; run < 2; run++) {
        cl_event written;
        ck_assert_int_eq(clEnqueueWriteBuffer(device->queue, whole, CL_TRUE, 0, all * sizeof *initial,
                                              initial, 0, NULL, &written),
                         CL_SUCCESS);
        if (run == 0) {
            enqueue_behind(device, call, written);
        } else {
            ck_assert_msg(gemm_call_enqueue(call, NULL), "%s", gn_error());
        }
        clReleaseEvent(written);
        ck_assert_int_eq(clEnqueueReadBuffer(device->queue, whole, CL_TRUE, 0, all * sizeof *initial,
                                             results[run], 0, NULL, NULL),
                         CL_SUCCESS);
    }
    ck_assert_msg(!memcmp(first, second, all * sizeof *first), "%d%d %dx%dx%d: not the same bits twice",
                  s.transpose_a, s.transpose_b, s.m, s.n, s.k);
    for (size_t e = 0; e < all; e++) {
        REQUIRE((e >= before && e < before + nc) || first[e] == initial[e],
                "%d%d %dx%dx%d: wrote to %ld of %zu elements", s.transpose_a, s.transpose_b, s.m, s.n, s.k,
                (long)e - (long)before, nc);
    }
    double worst = distance(s, a, b, first + before);

    gemm_call_free(call);
    clReleaseMemObject(c);
    clReleaseMemObject(whole);
    clReleaseMemObject(buffer_b);
    clReleaseMemObject(buffer_a);
    free(second);
    free(first);
    free(initial);
    free(b);
    free(a);
    return worst;
}

// ---- All products ------------------------------------------------------------------------------------

typedef struct {
    gn_device_options options;
    const char *description;
    int stride; // every which of the sizes
} configuration;

static const configuration configurations[] = {
    {{.device_class = "cpu", .gemm = "native"}, "native", 5},
    {{.device_class = "gpu", .gemm = "native"}, "native", 5},
    {{.device_class = "cpu", .gemm = "clblast"}, "clblast with ganc's CPU parameters", 11},
    {{.device_class = "gpu", .gemm = "clblast"}, "clblast", 11},
};

static gn_device *open_device(const gn_device_options *options) {
    gn_device *device = gn_device_open(NULL, options);
    ck_assert_msg(device != NULL, "%s", gn_error());
    return device;
}

static void check_product(gn_device *device, gemm_shape s, uint32_t *seed, double *worst) {
    double found = product_distance(device, s, seed);
    ck_assert_msg(found <= 1, "%s: %c%c %dx%dx%d: off by %g of what may be", gemm_description(device->gemm),
                  s.transpose_a ? 'T' : 'N', s.transpose_b ? 'T' : 'N', s.m, s.n, s.k, found);
    *worst = found > *worst ? found : *worst;
}

START_TEST(products_match_double) {
    static const int sizes[] = {1, 15, 16, 17, 31, 33, 64, 65, 100};
    // Layers of the models; the ways that the native kernels have for long sums and for many rows.
    static const gemm_shape layers[] = {
        {false, false, 64, 512, 784},  {false, true, 64, 784, 512}, {true, false, 784, 512, 64},
        {false, false, 64, 1, 256},    {true, false, 256, 1, 64},   {true, false, 70, 33, 1300},
        {true, true, 35, 66, 700},     {false, true, 600, 40, 20},  {false, true, 600, 3, 20},
        {false, false, 20, 1024, 300}, {false, false, 7, 40, 4100}, {false, true, 40, 1930, 150},
        {true, true, 5, 33, 2050},     {false, true, 1, 31, 1100},  {true, false, 64, 16, 3000},
        {false, true, 30, 45, 2300},   {true, false, 50, 1, 2100},
    };
    const configuration *tested = &configurations[_i];
    gn_device *device = open_device(&tested->options);
    ck_assert_str_eq(gemm_description(device->gemm), tested->description);

    enum { SIZES = sizeof sizes / sizeof *sizes };
    uint32_t seed = SEED;
    double worst = 0;
    int stride = getenv("GANC_TEST_BRIEF") ? 7 * tested->stride : tested->stride;
    for (int i = 0; i < 4 * SIZES * SIZES * SIZES; i += stride) {
        gemm_shape s = {i & 1, i >> 1 & 1, sizes[i / 4 % SIZES], sizes[i / 4 / SIZES % SIZES],
                        sizes[i / 4 / SIZES / SIZES]};
        check_product(device, s, &seed, &worst);
    }
    for (size_t i = 0; i < sizeof layers / sizeof *layers; i++) {
        check_product(device, layers[i], &seed, &worst);
    }
    printf("test_gemm: %s, class %s, seed %d: largest error %.3f of what rounding may leave\n",
           tested->description, tested->options.device_class, SEED, worst);
    gn_device_free(device);
}
END_TEST

// Of the native engine, in both classes: a long sum for few elements is made in slices unless that is off.
START_TEST(slices_have_a_switch) {
    gn_device *device = open_device(&configurations[_i].options);
    gemm_shape s = {true, false, 16, 20, 4096};
    uint32_t seed = SEED;
    for (int off = 0; off < 2; off++) {
        if (off) {
            setenv("GANC_OFF", "split", 1);
        }
        ck_assert_double_le(product_distance(device, s, &seed), 1);
        cl_int status;
        cl_mem buffer = clCreateBuffer(device->context, CL_MEM_READ_WRITE,
                                       (size_t)s.n * (size_t)s.k * sizeof(float), NULL, &status);
        gemm_call *call = gemm_call_new(device->gemm, s, buffer, buffer, buffer, NULL);
        ck_assert_msg(call != NULL, "%s", gn_error());
        ck_assert(off ? gemm_call_slices(call) == 1 : gemm_call_slices(call) > 1);
        gemm_call_free(call);
        clReleaseMemObject(buffer);
    }
    unsetenv("GANC_OFF");
    gn_device_free(device);
}
END_TEST

// Positive terms, so that the sum outgrows each of them: a single float that took up all 4096 would be off by
// up to 2.5e-6 of the sum, blocks of 128 by 3e-7, of 512, which CLBlast gets, by 4.4e-7.
START_TEST(a_long_sum_keeps_its_digits) {
    gn_device *device = open_device(&configurations[_i].options);
    enum { M = 64, N = 40, K = 4096 };
    uint32_t seed = SEED;
    float *a = gn_calloc(M * K, sizeof *a), *b = gn_calloc(K * N, sizeof *b),
          *c = gn_calloc(M * N, sizeof *c);
    fill(a, M * K, &seed);
    fill(b, K * N, &seed);
    for (int e = 0; e < M * K; e++) {
        a[e] = fabsf(a[e]);
        if (e < K * N) {
            b[e] = fabsf(b[e]);
        }
    }
    cl_int status[3];
    cl_mem_flags copy = CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR;
    cl_mem buffer_a = clCreateBuffer(device->context, copy, M * K * sizeof *a, a, &status[0]);
    cl_mem buffer_b = clCreateBuffer(device->context, copy, K * N * sizeof *b, b, &status[1]);
    cl_mem buffer_c = clCreateBuffer(device->context, copy, M * N * sizeof *c, c, &status[2]);
    double worst = 0;
    for (int t = 0; t < 4; t++) {
        gemm_shape s = {t / 2, t % 2, M, N, K};
        gemm_call *call = gemm_call_new(device->gemm, s, buffer_a, buffer_b, buffer_c, NULL);
        ck_assert_msg(call && gemm_call_enqueue(call, NULL), "%s", gn_error());
        ck_assert_int_eq(
            clEnqueueReadBuffer(device->queue, buffer_c, CL_TRUE, 0, M * N * sizeof *c, c, 0, NULL, NULL),
            CL_SUCCESS);
        gemm_call_free(call);
        for (int e = 0; e < M * N; e++) {
            double sum = 0;
            for (int l = 0; l < K; l++) {
                sum += (double)a[s.transpose_a ? l * M + e / N : e / N * K + l] *
                       b[s.transpose_b ? e % N * K + l : l * N + e % N];
            }
            worst = fmax(worst, fabs(c[e] / sum - 1));
        }
    }
    printf("test_gemm: %s, class %s: a sum of %d terms is off by %.2g of its size\n",
           configurations[_i].description, configurations[_i].options.device_class, K, worst);
    ck_assert_double_lt(worst, 6e-7);
    cl_mem buffers[] = {buffer_a, buffer_b, buffer_c};
    for (int i = 0; i < 3; i++) {
        clReleaseMemObject(buffers[i]);
    }
    free(c);
    free(b);
    free(a);
    gn_device_free(device);
}
END_TEST

// Sizes that cut every tile, one block of a sum and some; a way is right if it gives the first one's bits.
// GPUs slice one sum for a C of one small tile and of two. The last ones are for the CPU class: a large A, of
// few rows and of many.
START_TEST(all_ways_give_the_same_bits) {
    static const gemm_shape shapes[] = {
        {false, false, 31, 177, 300}, {false, true, 29, 175, 300},   {true, false, 30, 176, 300},
        {true, true, 65, 97, 130},    {false, false, 13, 17, 9},     {true, false, 50, 1, 70},
        {false, true, 130, 900, 140}, {true, false, 9, 40, 5000},    {false, true, 40, 17, 1030},
        {true, false, 400, 97, 5400}, {false, true, 1100, 97, 1910},
    };
    gn_device *device = open_device(&configurations[_i].options);
    size_t count = sizeof shapes / sizeof *shapes - (_i == 0 ? 0 : 2);
    uint32_t seed = SEED;
    for (size_t i = 0; i < count; i++) {
        gemm_tuning found;
        // Of many rounds those that are far behind are measured in some alone.
        int rounds = _i == 0 && i == 0 ? 7 : 1;
        ck_assert_msg(gemm_tune(device->gemm, shapes[i], rounds, &found), "%s", gn_error());
        ck_assert_int_ge(found.count, _i == 0 ? 4 : 2);
        ck_assert_double_le(product_distance(device, shapes[i], &seed), 1);
        for (int way = 0; way < found.count; way++) {
            const gemm_candidate *c = &found.candidates[way], *chosen = &found.candidates[found.chosen];
            ck_assert_msg(c->right, "%s is wrong for product %zu", c->name, i);
            ck_assert_msg(c->gflops > 0 && c->gain > -1, "%s was not measured", c->name);
            ck_assert_msg(found.chosen == 0 || chosen->gain >= c->gain, "%s is faster", c->name);
        }
    }
    gn_device_free(device);
}
END_TEST

START_TEST(too_large_is_an_error) {
    gn_device *device = open_device(&configurations[0].options);
    gemm_shape shape = {false, false, 50000, 50000, 1};
    ck_assert_ptr_null(gemm_call_new(device->gemm, shape, NULL, NULL, NULL, NULL));
    assert_error("50000x50000x1", "elements");
    gn_device_free(device);
}
END_TEST

START_TEST(unknown_choice_is_an_error) {
    ck_assert_ptr_null(gn_device_open(NULL, &(gn_device_options){.gemm = "cublas"}));
    assert_error("cublas", "clblast");
}
END_TEST

// ---- Verification ------------------------------------------------------------------------------------

// A folder with a gemm.cl in which `text`, where it is first, is `wrong`.
static const char *wrong_kernels(const char *text, const char *wrong) {
    gn_device *device = open_device(&configurations[0].options);
    char *source = kernels_source(device, "gemm.cl"), *at = strstr(source, text);
    gn_device_free(device);
    const char *folder = in_scratch("kernels");
    ck_assert(is_there(folder) || !mkdir(folder, 0700));
    FILE *out = fopen(in_scratch("kernels/gemm.cl"), "w");
    ck_assert(out && at);
    fprintf(out, "%.*s%s%s", (int)(at - source), source, wrong, at + strlen(text));
    ck_assert_int_eq(fclose(out), 0);
    free(source);
    return folder;
}

START_TEST(wrong_products_are_found) {
    const char *folder = wrong_kernels("= fma(", "= -fma("); // the wrong sign
    gn_device_options options = {.device_class = "cpu", .gemm = "native", .kernels = folder};
    ck_assert_ptr_null(gn_device_open(NULL, &options));
    assert_error("no matrix product works", "off by");

    options.gemm = "auto";
    gn_device *device = open_device(&options);
    ck_assert_str_eq(gemm_description(device->gemm), "clblast with ganc's CPU parameters");
    gn_device_free(device);
}
END_TEST

// A kernel that no start verifies, which walks along A's columns as if they were rows.
START_TEST(a_wrong_kernel_is_found_at_its_first_use) {
    gn_device_options options = {.device_class = "cpu", .gemm = "native"};
    options.kernels = wrong_kernels("COLUMN_KERNEL(tt, 1, m,", "COLUMN_KERNEL(tt, 1, 1,");
    gn_device *device = open_device(&options);
    uint32_t seed = SEED;
    ck_assert_double_le(product_distance(device, (gemm_shape){true, false, 40, 50, 60}, &seed), 1);
    ck_assert_ptr_null(
        gemm_call_new(device->gemm, (gemm_shape){true, true, 40, 50, 60}, NULL, NULL, NULL, NULL));
    assert_error("gemm_column_tt", "off by");
    gn_device_free(device);
}
END_TEST

// One of several slices, which write over each other.
START_TEST(wrong_slices_are_found) {
    gn_device_options options = {.device_class = "cpu", .gemm = "native"};
    options.kernels = wrong_kernels("= partial + slice * m * n", "= partial + 0 * m * n");
    gn_device *device = open_device(&options);
    ck_assert_ptr_null(
        gemm_call_new(device->gemm, (gemm_shape){true, false, 16, 20, 4096}, NULL, NULL, NULL, NULL));
    assert_error("gemm_sliced_tn", "off by");
    gn_device_free(device);
}
END_TEST

// ---- The cache ---------------------------------------------------------------------------------------

static const gn_device_options by_itself = {.device_class = "cpu"};

// Opens a device with a cache in the folder, and says which products it got.
static const char *open_with_cache(const char *folder) {
    setenv("XDG_CACHE_HOME", folder, 1);
    gn_device *device = open_device(&by_itself);
    const char *description = gemm_description(device->gemm);
    gn_device_free(device);
    return description;
}

// The one file in FOLDER/ganc.
static const char *cache_file(const char *folder) {
    static char path[1024];
    snprintf(path, sizeof path, "%s/ganc", folder);
    DIR *directory = opendir(path);
    ck_assert_msg(directory != NULL, "no folder %s", path);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (entry->d_name[0] != '.') {
            snprintf(path, sizeof path, "%s/ganc/%s", folder, entry->d_name);
            count++;
        }
    }
    closedir(directory);
    ck_assert_int_eq(count, 1);
    return path;
}

static void change(const char *path, const char *key, const char *value) {
    json_t *root = json_load_file(path, 0, NULL);
    ck_assert_msg(root && json_object_get(root, key), "%s has no %s", path, key);
    json_object_set_new(root, key, json_string(value));
    ck_assert_int_eq(json_dump_file(root, path, 0), 0);
    json_decref(root);
}

static void assert_kept(const char *path, const char *description) {
    json_t *root = json_load_file(path, 0, NULL);
    ck_assert_msg(root != NULL, "%s is not JSON", path);
    ck_assert_str_eq(json_string_value(json_object_get(root, "products")), description);
    json_decref(root);
}

START_TEST(second_start_believes_the_first) {
    const char *folder = in_scratch("kept");
    const char *found = open_with_cache(folder);
    const char *path = cache_file(folder);
    assert_kept(path, found);
    // Were it verified again, the second start would find what the first one found.
    change(path, "products", "clblast");
    ck_assert_str_eq(open_with_cache(folder), "clblast");
}
END_TEST

START_TEST(bad_cache_is_no_error) {
    const char *folder = in_scratch("bad");
    const char *found = open_with_cache(folder);
    const char *path = cache_file(folder);

    put_file(path, "{\"products\": ", 13);
    ck_assert_str_eq(open_with_cache(folder), found);
    assert_kept(path, found);

    change(path, "products", "abacus");
    ck_assert_str_eq(open_with_cache(folder), found);
    assert_kept(path, found);

    change(path, "products", "clblast");
    change(path, "driver", "another");
    ck_assert_str_eq(open_with_cache(folder), found);
}
END_TEST

START_TEST(no_cache_is_no_error) {
    put_file(in_scratch("a file"), "", 0);
    const char *found = open_with_cache(in_scratch("a file")); // no folder can be made in a file
    ck_assert(is_there(in_scratch("a file")));

    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    gn_device *device = open_device(&by_itself);
    ck_assert_str_eq(gemm_description(device->gemm), found);
    gn_device_free(device);

    setenv("HOME", in_scratch("home"), 1);
    mkdir(in_scratch("home"), 0700);
    ck_assert_str_eq(open_with_cache("relative/path"), found); // as the XDG specification says: not used
    ck_assert(!is_there("relative"));
    cache_file(in_scratch("home/.cache"));
}
END_TEST

// The tests move the user's cache folder. PoCL keeps compiled kernels in it and without one has no device.
static void keep_pocl_cache(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *path = cache  ? gn_format("%s/pocl/kcache", cache)
                 : home ? gn_format("%s/.cache/pocl/kcache", home)
                        : gn_strdup(in_scratch("pocl"));
    setenv("POCL_CACHE_DIR", path, 0);
    free(path);
}

static void start_suite(void) {
    scratch_make();
    keep_pocl_cache();
    setenv("XDG_CACHE_HOME", in_scratch("cache"), 1); // not the user's
}

Suite *test_suite(void) {
    Suite *suite = suite_create("gemm");
    TCase *products = tcase_create("products");
    tcase_add_unchecked_fixture(products, start_suite, scratch_remove);
    tcase_set_timeout(products, 600); // CLBlast compiles for many seconds
    tcase_add_loop_test(products, products_match_double, 0, sizeof configurations / sizeof *configurations);
    tcase_add_loop_test(products, a_long_sum_keeps_its_digits, 0,
                        sizeof configurations / sizeof *configurations);
    tcase_add_loop_test(products, all_ways_give_the_same_bits, 0, 2); // the native configurations
    tcase_add_loop_test(products, slices_have_a_switch, 0, 2);
    tcase_add_test(products, too_large_is_an_error);
    tcase_add_test(products, unknown_choice_is_an_error);
    tcase_add_test(products, wrong_products_are_found);
    tcase_add_test(products, a_wrong_kernel_is_found_at_its_first_use);
    tcase_add_test(products, wrong_slices_are_found);
    tcase_add_test(products, second_start_believes_the_first);
    tcase_add_test(products, bad_cache_is_no_error);
    tcase_add_test(products, no_cache_is_no_error);
    suite_add_tcase(suite, products);
    return suite;
}
