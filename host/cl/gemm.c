// Matrix products on a device: which engine makes them, whether it is right, and what that was found to be.
//
// Wrong products would spoil a training run in silence, and CLBlast is known to be wrong on some drivers. So
// an engine is compared with the host before its first use on a device and driver; where it is wrong, that is
// said and the next one is tried. What was found is kept in the user's cache folder, and a later start
// verifies nothing. On CPU devices the native kernels come first: they are 1.2 to 2.2 times as fast as
// CLBlast there at the sizes of the models, and compile in a fifth of the time.
//
// How products are made is left to the engines: gemm_native.c and gemm_clblast.c. So is the layout of tensors
// to whoever calls.
#include "cl/gemm.h"
#include "cl/gemm_engines.h"
#include "cl/kernels.h"
#include "cl/memory.h"
#include "error.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- Calls -------------------------------------------------------------------------------------------

enum { MARGIN = 1 << 16 }; // kernels count elements in 32 bits, and a tile beyond the end

typedef struct {
    char text[64];
} shape_words;

static shape_words describe(gemm_shape shape) {
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

gemm_call *gemm_call_new(gemm *products, gemm_shape shape, cl_mem a, cl_mem b, cl_mem c,
                         const gemm_epilogue *epilogue) {
    int64_t m = shape.m, n = shape.n, k = shape.k, limit = INT_MAX - MARGIN;
    GN_ASSERT(m > 0 && n > 0 && k > 0, "matrix product of %s", describe(shape).text);
    if (m * n > limit || m * k > limit || k * n > limit) {
        gn_fail("matrix product %s: a matrix has more than %lld elements; a smaller batch helps",
                describe(shape).text, (long long)limit);
        return NULL;
    }
    GN_ASSERT(large_enough(a, shape.m, shape.k) && large_enough(b, shape.k, shape.n) &&
                  large_enough(c, shape.m, shape.n),
              "matrix product %s: a buffer is too small", describe(shape).text);

    gemm_call *call = gn_calloc(1, sizeof *call);
    *call = (gemm_call){.products = products, .shape = shape, .a = a, .b = b, .c = c, .epilogue = epilogue};
    if (!products->engine->prepare(call)) {
        gn_fail_within("matrix product %s", describe(shape).text);
        gemm_call_free(call);
        return NULL;
    }
    call->epilogue = NULL;
    return call;
}

void gemm_call_free(gemm_call *call) {
    if (call) {
        call->products->engine->release(call->prepared);
        free(call);
    }
}

bool gemm_call_enqueue(gemm_call *call) {
    return call->products->engine->enqueue(call) ||
           gn_fail_within("matrix product %s", describe(call->shape).text);
}

// ---- Verification ------------------------------------------------------------------------------------

enum { GUARD = 64 }; // elements behind C, to see that nothing is written there

static float *random_values(size_t count, uint32_t seed) { // -1 .. 1; the caller frees
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
        for (int l = 0; l < s.k; l++) {
            double factor = s.transpose_a ? a[l * s.m + i] : a[i * s.k + l];
            for (int j = 0; j < s.n; j++) {
                sums[j] += factor * (s.transpose_b ? b[j * s.k + l] : b[l * s.n + j]);
            }
        }
        for (int j = 0; j < s.n; j++) {
            double error = fabs(c[i * s.n + j] - sums[j]) / sqrt(s.k);
            worst = error <= worst ? worst : isnan(error) ? INFINITY : error;
        }
    }
    free(sums);
    return worst <= allowed || gn_fail("matrix product %s: off by %.2g where %.2g may be (inf: not computed)",
                                       describe(s).text, worst, allowed);
}

static bool verify_shape(gemm *products, gemm_shape s) {
    const gn_device *device = products->device;
    size_t na = (size_t)s.m * (size_t)s.k, nb = (size_t)s.k * (size_t)s.n, nc = (size_t)s.m * (size_t)s.n;
    size_t bytes_c = (nc + GUARD) * sizeof(float);
    float *a = random_values(na, 1), *b = random_values(nb, 2), *c = gn_calloc(nc + GUARD, sizeof *c);
    for (size_t e = 0; e < nc + GUARD; e++) {
        c[e] = e < nc ? NAN : (float)e;
    }

    static const char what[] = "verifying matrix products";
    cl_mem buffer_a = memory_buffer(device, na * sizeof *a, what, a);
    cl_mem buffer_b = buffer_a ? memory_buffer(device, nb * sizeof *b, what, b) : NULL;
    cl_mem buffer_c = buffer_b ? memory_buffer(device, bytes_c, what, c) : NULL;
    gemm_call *call = buffer_c ? gemm_call_new(products, s, buffer_a, buffer_b, buffer_c, NULL) : NULL;
    bool right = call && gemm_call_enqueue(call);
    if (right) {
        cl_int status = clEnqueueReadBuffer(device->queue, buffer_c, CL_TRUE, 0, bytes_c, c, 0, NULL, NULL);
        right = status == CL_SUCCESS || gn_fail("matrix product %s: clEnqueueReadBuffer: %s",
                                                describe(s).text, cl_error_name(status));
    }
    right = right && compare(s, a, b, c);
    for (size_t e = nc; right && e < nc + GUARD; e++) {
        right = c[e] == (float)e || gn_fail("matrix product %s: wrote behind its result", describe(s).text);
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

// A layer of the models forward, backward to its input and to its weights; the same with sizes that fit no
// tile; one output; many rows. Few, since each kernel that they touch is compiled for it.
static bool verify(gemm *products) {
    static const gemm_shape shapes[] = {
        {false, false, 64, 512, 784}, {false, true, 64, 784, 512}, {true, false, 784, 512, 64},
        {false, false, 7, 33, 110},   {false, true, 7, 110, 33},   {true, false, 110, 33, 7},
        {false, false, 64, 1, 256},   {false, true, 600, 40, 20},  {true, false, 33, 40, 600},
    };
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        if (!verify_shape(products, shapes[i])) {
            return false;
        }
    }
    return true;
}

// ---- What was found, on disk -------------------------------------------------------------------------

// Everything that the answer depends on.
typedef struct {
    json_t *facts; // readable, and compared when read
    char *path;    // NULL: no cache
} record;

static uint64_t hash(uint64_t state, const char *text) { // FNV-1a, 64 bits
    do {
        state = (state ^ (unsigned char)*text) * 0x100000001b3u;
    } while (*text++);
    return state;
}

static char *cache_folder(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *parent = cache && cache[0] == '/' ? gn_strdup(cache)
                   : home && home[0]        ? gn_format("%s/.cache", home)
                                            : NULL;
    if (!parent) {
        return NULL;
    }
    char *folder = gn_format("%s/ganc", parent);
    mkdir(parent, 0700); // where either fails, so does writing the file, and the next start verifies again
    mkdir(folder, 0700);
    free(parent);
    return folder;
}

static record record_new(const gn_device *device, const char *choice, const char *source) {
    char platform[256] = "";
    clGetPlatformInfo(device->info.platform, CL_PLATFORM_VERSION, sizeof platform - 1, platform, NULL);
    const char *facts[][2] = {
        {"ganc", GANC_VERSION},
        {"device", device->info.name},
        {"driver", device->info.driver},
        {"platform", platform},
        {"class", device->class == CLASS_CPU ? "cpu" : "gpu"},
        {"choice", choice},
        {"clblast_build_options", gemm_clblast_options()},
    };
    record out = {.facts = json_object()};
    uint64_t state = hash(0xcbf29ce484222325u, source);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        json_object_set_new(out.facts, facts[i][0], json_string_nocheck(facts[i][1]));
        state = hash(state, facts[i][1]);
    }
    char *folder = cache_folder();
    if (folder) {
        out.path = gn_format("%s/gemm-%016llx.json", folder, (unsigned long long)state);
        free(folder);
    }
    return out;
}

static void record_free(record *kept) {
    json_decref(kept->facts);
    free(kept->path);
}

// The engine of these that an earlier start found right, NULL for none.
static const gemm_engine *record_read(const record *kept, const gemm_engine *const *engines) {
    json_t *root = kept->path ? json_load_file(kept->path, 0, NULL) : NULL;
    const char *name = json_string_value(json_object_get(root, "products"));
    while (*engines && !(name && !strcmp(name, (*engines)->name))) {
        engines++;
    }
    json_object_del(root, "products");
    const gemm_engine *found = json_equal(root, kept->facts) ? *engines : NULL;
    json_decref(root);
    return found;
}

static void record_write(const record *kept, const gemm_engine *engine) {
    if (!kept->path) {
        return;
    }
    json_t *root = json_copy(kept->facts);
    json_object_set_new(root, "products", json_string(engine->name));
    char *beside = gn_format("%s.%ld", kept->path, (long)getpid());
    if (json_dump_file(root, beside, JSON_INDENT(2)) || rename(beside, kept->path)) {
        unlink(beside);
    }
    free(beside);
    json_decref(root);
}

// ---- Choosing ----------------------------------------------------------------------------------------

// The engines to try for a choice on a class of device, best first, ended by NULL. NULL for no choice.
static const gemm_engine *const *candidates(const char *choice, device_class class) {
    static const gemm_engine *const native[] = {&gemm_native, NULL};
    static const gemm_engine *const clblast_gpu[] = {&gemm_clblast, &gemm_native, NULL};
    static const gemm_engine *const clblast_cpu[] = {&gemm_clblast_tuned, &gemm_clblast, &gemm_native, NULL};
    static const gemm_engine *const auto_cpu[] = {&gemm_native, &gemm_clblast_tuned, &gemm_clblast, NULL};
    if (!strcmp(choice, "native")) {
        return native;
    }
    if (!strcmp(choice, "clblast")) {
        return class == CLASS_CPU ? clblast_cpu : clblast_gpu;
    }
    return !strcmp(choice, "auto") ? class == CLASS_CPU ? auto_cpu : clblast_gpu : NULL;
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

// Starts the engine of the record, or the first that is right.
static bool choose(gemm *products, const gemm_engine *const *engines, const record *kept,
                   const char *source) {
    const gemm_engine *known = record_read(kept, engines);
    if (known && start(products, known, source)) {
        return true;
    }
    const device_info *info = &products->device->info;
    for (; *engines; engines++) {
        if (start(products, *engines, source) && verify(products)) {
            record_write(kept, *engines);
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
    record kept = record_new(device, choice, source);
    if (!choose(products, engines, &kept, source)) {
        gemm_free(products);
        products = NULL;
    }
    record_free(&kept);
    free(source);
    return products;
}

void gemm_free(gemm *products) {
    if (products) {
        stop(products);
        free(products);
    }
}

const char *gemm_description(const gemm *products) {
    return products->engine->name;
}
