// Matrix products on a device: which engine makes them, whether it is right, and what that was found to be.
//
// Wrong products would spoil a training run in silence, and CLBlast is known to be wrong on some drivers. So
// an engine is compared with the host before its first use on a device and driver; where it is wrong, that is
// said and the next one is tried. An engine may know several ways to make a product, other kernels or tiles,
// which differ in speed alone: one that the check of the engine did not touch has its own at its first use.
// What was found is kept in the user's cache folder, and a later start verifies nothing. The native kernels
// come first: on CPUs they are 1.2 to 2.2 times as fast as CLBlast at the sizes of the models, and compile in
// a fifth of the time; on an H100 the products of gan's step take a third of CLBlast's time, and of dcgan's
// an eighth, by one or two launches each, where CLBlast has up to eight pieces (gemm_clblast.c).
//
// How products are made is left to the engines: gemm_native.c and gemm_clblast.c. So is the layout of tensors
// to whoever calls, and measuring to gemm_tune.c.
#include "cl/gemm.h"
#include "base/error.h"
#include "base/switches.h"
#include "cl/gemm_engines.h"
#include "cl/kernels.h"
#include "cl/memory.h"

#include <limits.h>
#include <math.h>
#include <string.h>

// ---- Ways --------------------------------------------------------------------------------------------

gemm_ways gemm_ways_of(const gemm *products, gemm_shape shape) {
    gemm_ways out = {.count = 1};
    if (products->engine->ways) {
        products->engine->ways(products->state, shape, &out);
    } else {
        snprintf(out.names[0], GEMM_WAY, "%s", products->engine->name);
    }
    return out;
}

// Which of the ways has this name, or this tile behind its kernel's name? -1 for none.
static int find_way(const gemm_ways *ways, const char *name) {
    for (int i = 0; i < ways->count && name; i++) {
        const char *tile = strrchr(ways->names[i], ' ');
        if (!strcmp(ways->names[i], name) || (tile && !strcmp(tile + 1, name))) {
            return i;
        }
    }
    return -1;
}

int gemm_chosen_way(const gemm *products, gemm_shape shape) {
    gemm_ways ways = gemm_ways_of(products, shape);
    json_t *chosen = json_object_get(products->record.chosen, gemm_shape_words(shape).text);
    int way = gn_is_off("tune") ? 0 : find_way(&ways, getenv("GANC_TILE"));
    if (way < 0) {
        way = find_way(&ways, json_string_value(chosen));
    }
    return ways.ids[way < 0 ? 0 : way];
}

bool gemm_wants_tuning(const gemm *products, gemm_shape shape) {
    return !gn_is_off("tune") && !getenv("GANC_TILE") && gemm_ways_of(products, shape).count > 1 &&
           !json_object_get(products->record.chosen, gemm_shape_words(shape).text);
}

// ---- Calls -------------------------------------------------------------------------------------------

enum { MARGIN = 1 << 16 }; // kernels count elements in 32 bits, and a tile beyond the end

shape_words gemm_shape_words(gemm_shape shape) {
    shape_words out;
    snprintf(out.text, sizeof out.text, "%c%c %dx%dx%d", shape.transpose_a ? 'T' : 'N',
             shape.transpose_b ? 'T' : 'N', shape.m, shape.n, shape.k);
    return out;
}

static bool large_enough(cl_mem buffer, int rows, int columns) {
    size_t bytes = 0;
    return clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof bytes, &bytes, NULL) == CL_SUCCESS &&
           bytes >= sizeof(cl_float) * (size_t)rows * (size_t)columns;
}

gemm_limits gemm_epilogue_limits(const gemm *products) {
    return products->engine->limits ? products->engine->limits(products->state) : (gemm_limits){0};
}

// The size of the matrices, for an error; false where a kernel could not count the elements.
static bool is_countable(gemm_shape shape) {
    int64_t m = shape.m, n = shape.n, k = shape.k, limit = INT_MAX - MARGIN;
    GN_ASSERT(m > 0 && n > 0 && k > 0, "matrix product of %s", gemm_shape_words(shape).text);
    return (m * n <= limit && m * k <= limit && k * n <= limit) ||
           gn_fail("matrix product %s: a matrix has more than %lld elements; a smaller batch helps",
                   gemm_shape_words(shape).text, (long long)limit);
}

gemm_call *gemm_call_by(gemm *products, gemm_shape shape, int way, cl_mem a, cl_mem b, cl_mem c,
                        const gemm_epilogue *epilogue) {
    GN_ASSERT(large_enough(a, shape.m, shape.k) && large_enough(b, shape.k, shape.n) &&
                  large_enough(c, shape.m, shape.n),
              "matrix product %s: a buffer is too small", gemm_shape_words(shape).text);
    gemm_call *call = gn_calloc(1, sizeof *call);
    *call = (gemm_call){.products = products,
                        .shape = shape,
                        .way = way,
                        .a = a,
                        .b = b,
                        .c = c,
                        .epilogue = epilogue,
                        .slices = 1};
    if (!products->engine->prepare(call)) {
        gn_fail_within("matrix product %s", gemm_shape_words(shape).text);
        gemm_call_free(call);
        return NULL;
    }
    call->epilogue = NULL;
    return call;
}

void gemm_compile(gemm *products, const gemm_product *wanted, int count) {
    for (int i = 0; i < count; i++) {
        if (!is_countable(wanted[i].shape)) {
            return;
        }
    }
    int *ways = gn_calloc((size_t)count + 1, sizeof *ways);
    for (int i = 0; i < count; i++) {
        ways[i] = gemm_chosen_way(products, wanted[i].shape);
    }
    if (products->engine->compile) {
        products->engine->compile(products->state, wanted, ways, count, true);
    }
    free(ways);
}

void gemm_forget_plans(gemm *products) {
    if (products->engine->forget_plans) {
        products->engine->forget_plans(products->state);
    }
}

static void remember_shape(gemm *products, gemm_shape s) {
    for (int i = 0; i < products->shape_count; i++) {
        gemm_shape t = products->shapes[i];
        if (t.transpose_a == s.transpose_a && t.transpose_b == s.transpose_b && t.m == s.m && t.n == s.n &&
            t.k == s.k) {
            return;
        }
    }
    size_t count = (size_t)products->shape_count + 1;
    products->shapes = gn_realloc(products->shapes, count * sizeof *products->shapes);
    products->shapes[products->shape_count++] = s;
}

const gemm_shape *gemm_shapes(const gemm *products, int *count) {
    *count = products->shape_count;
    return products->shapes;
}

gemm_call *gemm_call_new(gemm *products, gemm_shape shape, cl_mem a, cl_mem b, cl_mem c,
                         const gemm_epilogue *epilogue) {
    if (!is_countable(shape)) {
        return NULL;
    }
    remember_shape(products, shape);
    int way = gemm_chosen_way(products, shape);
    return gemm_is_right(products, shape, way) ? gemm_call_by(products, shape, way, a, b, c, epilogue) : NULL;
}

void gemm_call_free(gemm_call *call) {
    if (call) {
        call->products->engine->release(call->prepared);
        free(call);
    }
}

int gemm_call_slices(const gemm_call *call) {
    return call->slices;
}

bool gemm_takes_order(const gemm *products) {
    return products->engine->takes_order;
}

bool gemm_call_enqueue(gemm_call *call, const launch_order *order) {
    return call->products->engine->enqueue(call, order) ||
           gn_fail_within("matrix product %s", gemm_shape_words(call->shape).text);
}

// ---- Verification ------------------------------------------------------------------------------------

enum { GUARD = 64 }; // elements behind C, to see that nothing is written there

float *gemm_random_values(size_t count, uint32_t seed) {
    float *out = gn_calloc(count, sizeof *out);
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(int32_t)seed * 0x1p-31f;
    }
    return out;
}

// Compares what the device computed with sums in double. Their terms are of size 1, so a sum is of size
// sqrt(k), and rounding it k times at random leaves sqrt(k) eps of that; four times as much is allowed.
static bool compare(gemm_shape s, const float *a, const float *b, const float *c) {
    double *sums = gn_calloc((size_t)s.n, sizeof *sums), worst = 0;
    double allowed = 4 * sqrt(s.k) * 0x1p-23;
    for (int i = 0; i < s.m; i++) {
        memset(sums, 0, (size_t)s.n * sizeof *sums);
        for (int l = 0; l < s.k && !s.transpose_b; l++) { // either way along B's rows
            double factor = s.transpose_a ? a[l * s.m + i] : a[i * s.k + l];
            for (int j = 0; j < s.n; j++) {
                sums[j] += factor * b[l * s.n + j];
            }
        }
        for (int j = 0; j < s.n && s.transpose_b; j++) {
            for (int l = 0; l < s.k; l++) {
                sums[j] += (double)(s.transpose_a ? a[l * s.m + i] : a[i * s.k + l]) * b[j * s.k + l];
            }
        }
        for (int j = 0; j < s.n; j++) {
            double error = fabs(c[i * s.n + j] - sums[j]) / sqrt(s.k);
            worst = error <= worst ? worst : isnan(error) ? INFINITY : error;
        }
    }
    free(sums);
    return worst <= allowed || gn_fail("matrix product %s: off by %.2g where %.2g may be (inf: not computed)",
                                       gemm_shape_words(s).text, worst, allowed);
}

// Compares a product made this way with the host's. False where they differ.
static bool verify_product(gemm *products, gemm_shape s, int way) {
    const gn_device *device = products->device;
    size_t na = (size_t)s.m * (size_t)s.k, nb = (size_t)s.k * (size_t)s.n, nc = (size_t)s.m * (size_t)s.n;
    size_t bytes_c = (nc + GUARD) * sizeof(float);
    float *a = gemm_random_values(na, 1), *b = gemm_random_values(nb, 2),
          *c = gn_calloc(nc + GUARD, sizeof *c);
    for (size_t e = 0; e < nc + GUARD; e++) {
        c[e] = e < nc ? NAN : (float)e;
    }

    static const char what[] = "verifying matrix products";
    cl_mem buffer_a = memory_buffer(device, na * sizeof *a, what, a);
    cl_mem buffer_b = buffer_a ? memory_buffer(device, nb * sizeof *b, what, b) : NULL;
    cl_mem buffer_c = buffer_b ? memory_buffer(device, bytes_c, what, c) : NULL;
    gemm_call *call = buffer_c ? gemm_call_by(products, s, way, buffer_a, buffer_b, buffer_c, NULL) : NULL;
    bool right = call && gemm_call_enqueue(call, NULL);
    if (right) {
        cl_int status = clEnqueueReadBuffer(device->queue, buffer_c, CL_TRUE, 0, bytes_c, c, 0, NULL, NULL);
        right = status == CL_SUCCESS || gn_fail("matrix product %s: clEnqueueReadBuffer: %s",
                                                gemm_shape_words(s).text, cl_error_name(status));
    }
    right = right && compare(s, a, b, c);
    for (size_t e = nc; right && e < nc + GUARD; e++) {
        right = c[e] == (float)e ||
                gn_fail("matrix product %s: wrote behind its result", gemm_shape_words(s).text);
    }

    gemm_call_free(call);
    const cl_mem buffers[] = {buffer_a, buffer_b, buffer_c};
    for (int i = 0; i < 3 && buffers[i]; i++) {
        clReleaseMemObject(buffers[i]);
    }
    free(a);
    free(b);
    free(c);
    return right;
}

static int least(int a, int b) {
    return a < b ? a : b;
}

// What is verified for products of this shape. The kernel of a way is that of the shape's letters, on
// whatever sizes: those of a few tiles and one that is cut, of more than one block and, where sums may be
// sliced, slice of a sum, take a simulator of devices seconds. An engine without ways may take another kernel
// for other sizes.
static gemm_shape sample(const gemm *products, gemm_shape s) {
    enum { ROWS = 70, COLUMNS = 90, LONG = 1000, BLOCKS = 200, SLICES = 2200 };
    gemm_shape few = {s.transpose_a, s.transpose_b, least(s.m, ROWS), least(s.n, COLUMNS),
                      least(s.k, s.k < LONG ? BLOCKS : SLICES)};
    return products->engine->ways ? few : s;
}

// A layer of the models forward, backward to its input and to its weights; the same with sizes that fit no
// tile; one output; many rows. Few, since each kernel that they touch is compiled for it.
static bool verify(gemm *products) {
    static const gemm_shape shapes[] = {
        {false, false, 64, 512, 784}, {false, true, 64, 784, 512}, {true, false, 784, 512, 64},
        {false, false, 7, 33, 110},   {false, true, 7, 110, 33},   {true, false, 110, 33, 7},
        {false, false, 64, 1, 256},   {false, true, 600, 40, 20},  {true, false, 33, 40, 600},
    };
    enum { COUNT = sizeof shapes / sizeof *shapes };
    gemm_product verified[COUNT];
    gemm_ways ways[COUNT];
    int ids[COUNT];
    for (int i = 0; i < COUNT; i++) {
        verified[i] = (gemm_product){sample(products, shapes[i]), NULL};
        ways[i] = gemm_ways_of(products, shapes[i]);
        ids[i] = ways[i].ids[0];
    }
    if (products->engine->compile) {
        products->engine->compile(products->state, verified, ids, COUNT, false);
    }
    for (int i = 0; i < COUNT; i++) {
        if (!verify_product(products, verified[i].shape, ids[i])) {
            return false;
        }
        gemm_way_is_right(products, ways[i].names[0]);
    }
    return true;
}

void gemm_way_is_right(gemm *products, const char *name) {
    json_object_set_new(products->record.right, name, json_true());
}

bool gemm_is_right(gemm *products, gemm_shape shape, int way) {
    gemm_ways ways = gemm_ways_of(products, shape);
    int i = 0;
    while (ways.ids[i] != way) {
        i++;
    }
    if (products->device->compile_only || !products->engine->ways ||
        json_object_get(products->record.right, ways.names[i])) {
        return true;
    }
    if (!verify_product(products, sample(products, shape), way)) {
        return gn_fail_within("%s does not work on %s; --gemm clblast does without", ways.names[i],
                              products->device->info.name);
    }
    gemm_way_is_right(products, ways.names[i]);
    gemm_record_write(&products->record);
    return true;
}

// ---- Choosing ----------------------------------------------------------------------------------------

// The engines to try for a choice on a class of device, best first, ended by NULL. NULL for no choice.
static const gemm_engine *const *candidates(const char *choice, device_class class) {
    static const gemm_engine *const native[] = {&gemm_native, NULL};
    static const gemm_engine *const clblast_gpu[] = {&gemm_clblast, &gemm_native, NULL};
    static const gemm_engine *const clblast_cpu[] = {&gemm_clblast_tuned, &gemm_clblast, &gemm_native, NULL};
    static const gemm_engine *const auto_cpu[] = {&gemm_native, &gemm_clblast_tuned, &gemm_clblast, NULL};
    static const gemm_engine *const auto_gpu[] = {&gemm_native, &gemm_clblast, NULL};
    if (!strcmp(choice, "native")) {
        return native;
    }
    if (!strcmp(choice, "clblast")) {
        return class == CLASS_CPU ? clblast_cpu : clblast_gpu;
    }
    return !strcmp(choice, "auto") ? class == CLASS_CPU ? auto_cpu : auto_gpu : NULL;
}

static bool start(gemm *products, const gemm_engine *engine, const char *source) {
    products->engine = engine;
    products->state = engine->start(products->device, source);
    return products->state != NULL;
}

static void stop(gemm *products) {
    if (products->state) {
        products->engine->stop(products->state);
        products->state = NULL;
    }
}

// The engine of these that an earlier start found right, NULL for none.
static const gemm_engine *known_engine(const gemm *products, const gemm_engine *const *engines) {
    const char *name = products->record.engine;
    while (*engines && !(name && !strcmp(name, (*engines)->name))) {
        engines++;
    }
    return *engines;
}

// What is known of another engine's ways goes.
static void take_engine(gemm *products) {
    gemm_record *record = &products->record;
    free(record->engine);
    record->engine = gn_strdup(products->engine->name);
    json_object_clear(record->chosen);
    gemm_record_write(record);
}

// Starts the engine of the record, or the first that is right.
static bool choose(gemm *products, const gemm_engine *const *engines, const char *source) {
    const gemm_engine *known = known_engine(products, engines);
    if (known && start(products, known, source)) {
        return true;
    }
    const device_info *info = &products->device->info;
    for (; *engines; engines++) {
        json_object_clear(products->record.right);
        bool started = start(products, *engines, source);
        if (started && products->device->compile_only) {
            return true;
        }
        if (started && verify(products)) {
            take_engine(products);
            return true;
        }
        stop(products);
        if (engines[1]) {
            fprintf(stderr, "ganc: %s fails on %s (driver %s): %s; trying %s\n", engines[0]->name, info->name,
                    info->driver, gn_error(), engines[1]->name);
        }
    }
    return gn_fail_within("no matrix product works on %s (driver %s)", info->name, info->driver);
}

gemm *gemm_new(gn_device *device, const char *choice) {
    choice = choice ? choice : "auto";
    const gemm_engine *const *engines = candidates(choice, device->class);
    if (!engines) {
        gn_fail("gemm \"%s\" is none of auto, clblast and native", choice);
        return NULL;
    }
    char *source = kernels_source(device, "gemm.cl");
    if (!source) {
        return NULL;
    }
    gemm *products = gn_calloc(1, sizeof *products);
    products->device = device;
    products->record = gemm_record_read(device, choice, source);
    if (!choose(products, engines, source)) {
        gemm_free(products);
        products = NULL;
    }
    free(source);
    return products;
}

void gemm_free(gemm *products) {
    if (products) {
        stop(products);
        gemm_record_free(&products->record);
        free(products->shapes);
        free(products);
    }
}

const char *gemm_description(const gemm *products) {
    return products->engine->name;
}
