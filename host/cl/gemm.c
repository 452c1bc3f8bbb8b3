// Matrix products on a device, by one of three engines: the native kernels of kernels_cl/gemm.cl, CLBlast
// with its own parameters, and CLBlast with parameters of ours for CPU devices, whose makers its tuning
// database does not know.
//
// Wrong products would spoil a training run in silence, and CLBlast is known to be wrong on some drivers. So
// an engine is compared with the host before its first use on a device and driver; where it is wrong, that is
// said and the next one is tried. What was found is kept in the user's cache folder, and a later start
// verifies nothing. On CPU devices the native kernels come first: they are 1.2 to 2.2 times as fast as
// CLBlast there at the sizes of the models, and compile in a fifth of the time.
//
// The tile of the native kernels by measurement, and the layout of tensors, are left to others.
#include "cl/gemm.h"
#include "cl/kernels.h"
#include "error.h"

#include <clblast_c.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef enum { NATIVE, CLBLAST_TUNED, CLBLAST_PLAIN, ENGINES } engine;

static const char *const engine_names[ENGINES] = {"native", "clblast with ganc's CPU parameters", "clblast"};

// The tile of the native CPU kernels, see kernels_cl/gemm.cl.
typedef struct {
    int vector;                // VW
    int rows, vectors;         // MR, NV: 24 (12) accumulators leave room among 32 (16) registers
    int dot_rows, dot_columns; // DM, DN
} cpu_tile;

static const cpu_tile cpu_tiles[] = {{16, 6, 4, 4, 4}, {8, 6, 2, 4, 3}, {4, 6, 2, 4, 3}};

enum {
    GPU_SIDE = 16, // of a work-group; halved until the device takes it
    GPU_WPT = 4,
    GPU_DEPTH = 16,
    MANY_ROWS = 512, // from here on transposing B costs less than it gains
    MARGIN = 1 << 16 // kernels count elements in 32 bits, and a tile beyond the end
};

// A long sum is made in steps whose rows of B stay in the cache from one row tile to the next: for gemm_tn,
// which strides over A's rows as well (4 times as fast at 1152x128x16384), and where the rows of B lie a
// multiple of 4096 bytes apart, so that a column panel falls into few sets of the cache (1.8 times at
// 64x1024x512).
enum { SUM_STEP = 256, LONG_SUM = 512, COLLIDING = 1024 };

struct gemm {
    gn_device *device;
    engine engine;
    cl_program program; // native
    const cpu_tile *tile;
    int side;
    cl_mem temp; // CLBlast's, for all calls: the queue runs them one by one
    size_t temp_bytes;
};

typedef struct {
    cl_kernel kernel;
    size_t global[2], local[2];
} launch;

struct gemm_call {
    gemm *products;
    gemm_shape shape;
    cl_mem a, b, c;
    cl_mem transposed; // of B, for the native kernels; mostly NULL
    launch *launches;  // native
    int count;
};

// ---- Errors ------------------------------------------------------------------------------------------

typedef struct {
    char text[64];
} shape_text;

static shape_text describe(gemm_shape shape) {
    shape_text out;
    snprintf(out.text, sizeof out.text, "%c%c %dx%dx%d", shape.transpose_a ? 'T' : 'N',
             shape.transpose_b ? 'T' : 'N', shape.m, shape.n, shape.k);
    return out;
}

static const char *status_name(int status) {
    switch (status) { // those of CLBlast's own that a product can give
    case CLBlastInvalidMatrixA:
        return "CLBlastInvalidMatrixA";
    case CLBlastInvalidMatrixB:
        return "CLBlastInvalidMatrixB";
    case CLBlastInvalidMatrixC:
        return "CLBlastInvalidMatrixC";
    case CLBlastInsufficientMemoryA:
        return "CLBlastInsufficientMemoryA";
    case CLBlastInsufficientMemoryB:
        return "CLBlastInsufficientMemoryB";
    case CLBlastInsufficientMemoryC:
        return "CLBlastInsufficientMemoryC";
    case CLBlastInsufficientMemoryTemp:
        return "CLBlastInsufficientMemoryTemp";
    case CLBlastInvalidOverrideKernel:
        return "CLBlastInvalidOverrideKernel";
    case CLBlastMissingOverrideParameter:
        return "CLBlastMissingOverrideParameter";
    case CLBlastInvalidLocalMemUsage:
        return "CLBlastInvalidLocalMemUsage";
    case CLBlastDatabaseError:
        return "CLBlastDatabaseError";
    case CLBlastUnknownError:
        return "CLBlastUnknownError";
    case CLBlastUnexpectedError:
        return "CLBlastUnexpectedError";
    default:
        return cl_error_name(status);
    }
}

static bool check(int status, const char *call, gemm_shape shape) {
    return status == 0 ||
           gn_fail("matrix product %s: %s: %s", describe(shape).text, call, status_name(status));
}

// ---- CLBlast -----------------------------------------------------------------------------------------

typedef struct {
    const char *name;
    size_t value;
} parameter;

enum { PARAMETERS = 16 };

typedef struct {
    const char *kernel;
    parameter parameters[PARAMETERS]; // fewer end with a NULL name
} parameter_set;

enum { SETS = 3 };

// For CPUs: the tile in registers, no local memory ("SA", "SB"), no direct kernel, which is slow there.
static const parameter_set tuned_sets[SETS] = {
    {"GemmRoutine", {{"XGEMM_MIN_INDIRECT_SIZE", 0}}},
    {"Transpose", {{"TRA_DIM", 16}, {"TRA_PAD", 0}, {"TRA_SHUFFLE", 0}, {"TRA_WPT", 4}}},
    {"Xgemm",
     {{"GEMMK", 0},
      {"KREG", 1},
      {"KWG", 16},
      {"KWI", 2},
      {"MDIMA", 4},
      {"MDIMC", 4},
      {"MWG", 128},
      {"NDIMB", 4},
      {"NDIMC", 4},
      {"NWG", 32},
      {"SA", 0},
      {"SB", 0},
      {"STRM", 0},
      {"STRN", 0},
      {"VWM", 16},
      {"VWN", 8}}},
};

// What CLBlast takes for a device that it does not know. There is no call that undoes an override.
static const parameter_set plain_sets[SETS] = {
    {"GemmRoutine", {{"XGEMM_MIN_INDIRECT_SIZE", 896}}},
    {"Transpose", {{"TRA_DIM", 4}, {"TRA_PAD", 0}, {"TRA_SHUFFLE", 1}, {"TRA_WPT", 4}}},
    {"Xgemm",
     {{"GEMMK", 0},
      {"KREG", 1},
      {"KWG", 32},
      {"KWI", 2},
      {"MDIMA", 8},
      {"MDIMC", 8},
      {"MWG", 32},
      {"NDIMB", 8},
      {"NDIMC", 8},
      {"NWG", 32},
      {"SA", 1},
      {"SB", 1},
      {"STRM", 0},
      {"STRN", 0},
      {"VWM", 4},
      {"VWN", 4}}},
};

static const char options_name[] = "CLBLAST_BUILD_OPTIONS";
static const char tuned_options[] = "-DUSE_VECTOR_MAD=1 "; // CLBlast appends its own without a space

// The device that has the tuned parameters in this process.
static cl_device_id tuned_device;

static bool override_parameters(const gn_device *device, const parameter_set *sets) {
    for (int s = 0; s < SETS; s++) {
        const char *names[PARAMETERS];
        size_t values[PARAMETERS], count = 0;
        for (; count < PARAMETERS && sets[s].parameters[count].name; count++) {
            names[count] = sets[s].parameters[count].name;
            values[count] = sets[s].parameters[count].value;
        }
        int status = CLBlastOverrideParameters(device->info.id, sets[s].kernel, CLBlastPrecisionSingle, count,
                                               names, values);
        if (status) {
            return gn_fail("CLBlastOverrideParameters of %s: %s", sets[s].kernel, status_name(status));
        }
    }
    return true;
}

static bool start_clblast(const gn_device *device, bool tuned) {
    if (tuned) {
        tuned_device = device->info.id;
        setenv(options_name, tuned_options, 0); // a value of the user's own stays
        return override_parameters(device, tuned_sets);
    }
    if (tuned_device != device->info.id) {
        return true;
    }
    tuned_device = NULL;
    const char *options = getenv(options_name);
    if (options && !strcmp(options, tuned_options)) {
        unsetenv(options_name);
    }
    return override_parameters(device, plain_sets);
}

// CLBlast is called column-major, where our matrices are transposes: C' = op(B)' op(A)'. For row-major ones
// it would copy more.
static bool clblast_prepare(gemm_call *call) {
    gemm *products = call->products;
    gemm_shape s = call->shape;
    size_t bytes = 0;
    int status = CLBlastSGemmTempBufferSize(
        CLBlastLayoutColMajor, s.transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo,
        s.transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo, s.n, s.m, s.k, 0, s.transpose_b ? s.k : s.n,
        0, s.transpose_a ? s.m : s.k, 0, s.n, &products->device->queue, &bytes);
    if (!check(status, "CLBlastSGemmTempBufferSize", s)) {
        return false;
    }
    if (bytes <= products->temp_bytes) {
        return true;
    }
    cl_mem larger = clCreateBuffer(products->device->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    if (!check(status, "clCreateBuffer of CLBlast's temporary memory", s)) {
        return false;
    }
    if (products->temp) {
        clReleaseMemObject(products->temp);
    }
    products->temp = larger;
    products->temp_bytes = bytes;
    return true;
}

static bool clblast_enqueue(gemm_call *call) {
    gemm *products = call->products;
    gemm_shape s = call->shape;
    int status = CLBlastSgemmWithTempBuffer(
        CLBlastLayoutColMajor, s.transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo,
        s.transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo, s.n, s.m, s.k, 1.0f, call->b, 0,
        s.transpose_b ? s.k : s.n, call->a, 0, s.transpose_a ? s.m : s.k, 0.0f, call->c, 0, s.n,
        &products->device->queue, NULL, products->temp);
    return check(status, "CLBlastSgemmWithTempBuffer", s);
}

// ---- The native kernels ------------------------------------------------------------------------------

static const char *native_name(gemm_shape shape) {
    static const char *const names[2][2] = {{"gemm_nn", "gemm_nt"}, {"gemm_tn", "gemm_tt"}};
    return names[shape.transpose_a][shape.transpose_b];
}

static bool build_cpu(gemm *products, const char *source) {
    cl_uint width = 0;
    clGetDeviceInfo(products->device->info.id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width,
                    NULL);
    products->tile = &cpu_tiles[width >= 16 ? 0 : width >= 8 ? 1 : 2];
    char *options =
        gn_format("-DVW=%d -DMR=%d -DNV=%d -DDM=%d -DDN=%d", products->tile->vector, products->tile->rows,
                  products->tile->vectors, products->tile->dot_rows, products->tile->dot_columns);
    products->program = kernels_build(products->device, "gemm.cl", source, options);
    free(options);
    return products->program != NULL;
}

// Whether the device runs all kernels of the program in groups of side x side; -1: it could not be asked.
static int takes_side(const gemm *products, int side) {
    for (int t = 0; t < 4; t++) {
        gemm_shape shape = {.transpose_a = t / 2, .transpose_b = t % 2};
        size_t limit = 0;
        cl_int status;
        cl_kernel kernel = clCreateKernel(products->program, native_name(shape), &status);
        if (status == CL_SUCCESS) {
            status = clGetKernelWorkGroupInfo(kernel, products->device->info.id, CL_KERNEL_WORK_GROUP_SIZE,
                                              sizeof limit, &limit, NULL);
            clReleaseKernel(kernel);
        }
        if (status != CL_SUCCESS) {
            gn_fail("gemm.cl: clGetKernelWorkGroupInfo of %s: %s", native_name(shape), cl_error_name(status));
            return -1;
        }
        if (limit < (size_t)side * (size_t)side) {
            return 0;
        }
    }
    return 1;
}

static bool build_gpu(gemm *products, const char *source) {
    const gn_device *device = products->device;
    for (int side = GPU_SIDE; side >= 1; side /= 2) {
        size_t local = 2 * sizeof(cl_float) * GPU_DEPTH * (size_t)(side * GPU_WPT + 1);
        if ((size_t)side * (size_t)side > device->max_group || local > device->local_memory) {
            continue;
        }
        char *options = gn_format("-DSIDE=%d -DWPT=%d -DTK=%d", side, GPU_WPT, GPU_DEPTH);
        products->program = kernels_build(device, "gemm.cl", source, options);
        free(options);
        int takes = products->program ? takes_side(products, side) : -1;
        if (takes != 0) {
            products->side = side;
            return takes > 0;
        }
        clReleaseProgram(products->program);
        products->program = NULL;
    }
    return gn_fail("gemm.cl: no work-group fits %s (at most %zu work-items, %zu bytes of local memory)",
                   device->info.name, device->max_group, device->local_memory);
}

static size_t tiles(int count, int tile) {
    return ((size_t)count + (size_t)tile - 1) / (size_t)tile;
}

// Adds a kernel to the call's launches; NULL on failure.
static launch *add_launch(gemm_call *call, const char *name) {
    cl_int status;
    cl_kernel kernel = clCreateKernel(call->products->program, name, &status);
    if (status != CL_SUCCESS) {
        gn_fail("matrix product %s: clCreateKernel of %s: %s", describe(call->shape).text, name,
                cl_error_name(status));
        return NULL;
    }
    call->launches = gn_realloc(call->launches, (size_t)(call->count + 1) * sizeof *call->launches);
    launch *added = &call->launches[call->count++];
    *added = (launch){.kernel = kernel, .local = {1, 1}};
    return added;
}

// op(A) op(B) for first <= l < last of the sum.
static bool add_product(gemm_call *call, gemm_shape shape, cl_mem a, cl_mem b, int first, int last) {
    const gemm *products = call->products;
    launch *added = add_launch(call, native_name(shape));
    if (!added) {
        return false;
    }
    if (products->device->class == CLASS_GPU) {
        size_t side = (size_t)products->side;
        added->local[0] = added->local[1] = side;
        added->global[0] = tiles(shape.n, products->side * GPU_WPT) * side;
        added->global[1] = tiles(shape.m, products->side * GPU_WPT) * side;
    } else {
        const cpu_tile *tile = products->tile;
        added->global[0] = tiles(shape.m, shape.transpose_b ? tile->dot_rows : tile->rows);
        added->global[1] =
            tiles(shape.n, shape.transpose_b ? tile->dot_columns : tile->vectors * tile->vector);
    }
    const int sizes[] = {shape.m, shape.n, shape.k, first, last};
    const cl_mem buffers[] = {a, b, call->c};
    cl_int status = CL_SUCCESS;
    for (cl_uint i = 0; i < 5; i++) {
        status = status ? status : clSetKernelArg(added->kernel, i, sizeof sizes[i], &sizes[i]);
    }
    for (cl_uint i = 0; i < 3; i++) {
        status = status ? status : clSetKernelArg(added->kernel, 5 + i, sizeof buffers[i], &buffers[i]);
    }
    return check(status, "clSetKernelArg", call->shape);
}

// Makes call->transposed of B, stored (n, k), as the first launch.
static bool add_transpose(gemm_call *call, gemm_shape shape, cl_mem b) {
    cl_int status;
    size_t bytes = sizeof(cl_float) * (size_t)shape.n * (size_t)shape.k;
    call->transposed =
        clCreateBuffer(call->products->device->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    if (!check(status, "clCreateBuffer for B transposed", call->shape)) {
        return false;
    }
    launch *added = add_launch(call, "gemm_transpose");
    if (!added) {
        return false;
    }
    added->global[0] = (size_t)shape.k;
    added->global[1] = tiles(shape.n, call->products->tile->vector);
    status = clSetKernelArg(added->kernel, 0, sizeof shape.n, &shape.n);
    status = status ? status : clSetKernelArg(added->kernel, 1, sizeof shape.k, &shape.k);
    status = status ? status : clSetKernelArg(added->kernel, 2, sizeof b, &b);
    status = status ? status : clSetKernelArg(added->kernel, 3, sizeof call->transposed, &call->transposed);
    return check(status, "clSetKernelArg", call->shape);
}

static bool native_prepare(gemm_call *call) {
    gemm_shape s = call->shape;
    cl_mem a = call->a, b = call->b;
    if (call->products->device->class == CLASS_GPU) {
        return add_product(call, s, a, b, 0, s.k);
    }

    // A vector is its own transpose in memory: take the kernel whose vectors run along the long side.
    if (s.n == 1 && s.transpose_a) { // c' = b' op(A)'
        s = (gemm_shape){.m = 1, .n = s.m, .k = s.k};
        a = call->b;
        b = call->a;
    } else if (s.n == 1) {
        s.transpose_b = true;
    }
    s.transpose_a = s.transpose_a && s.m > 1 && s.k > 1;
    s.transpose_b = s.transpose_b && s.k > 1;

    if (s.transpose_b && (s.transpose_a || (s.m >= MANY_ROWS && s.n >= call->products->tile->vector))) {
        if (!add_transpose(call, s, b)) {
            return false;
        }
        s.transpose_b = false;
        b = call->transposed;
    }
    bool strided = s.transpose_a && s.k > LONG_SUM;
    bool collide = !s.transpose_b && s.n % COLLIDING == 0;
    int parts = strided || collide ? (int)tiles(s.k, SUM_STEP) : 1;
    int step = (int)tiles(s.k, parts);
    for (int first = 0; first < s.k; first += step) {
        if (!add_product(call, s, a, b, first, s.k - first > step ? first + step : s.k)) {
            return false;
        }
    }
    return true;
}

static bool native_enqueue(gemm_call *call) {
    for (int i = 0; i < call->count; i++) {
        const launch *next = &call->launches[i];
        cl_int status = clEnqueueNDRangeKernel(call->products->device->queue, next->kernel, 2, NULL,
                                               next->global, next->local, 0, NULL, NULL);
        if (!check(status, "clEnqueueNDRangeKernel of gemm.cl", call->shape)) {
            return false;
        }
    }
    return true;
}

// ---- Calls -------------------------------------------------------------------------------------------

static bool large_enough(cl_mem buffer, int rows, int columns) {
    size_t bytes = 0;
    return clGetMemObjectInfo(buffer, CL_MEM_SIZE, sizeof bytes, &bytes, NULL) == CL_SUCCESS &&
           bytes >= sizeof(cl_float) * (size_t)rows * (size_t)columns;
}

gemm_call *gemm_call_new(gemm *products, gemm_shape shape, cl_mem a, cl_mem b, cl_mem c) {
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
    *call = (gemm_call){.products = products, .shape = shape, .a = a, .b = b, .c = c};
    if (!(products->engine == NATIVE ? native_prepare(call) : clblast_prepare(call))) {
        gemm_call_free(call);
        return NULL;
    }
    return call;
}

void gemm_call_free(gemm_call *call) {
    if (!call) {
        return;
    }
    for (int i = 0; i < call->count; i++) {
        clReleaseKernel(call->launches[i].kernel);
    }
    if (call->transposed) {
        clReleaseMemObject(call->transposed);
    }
    free(call->launches);
    free(call);
}

bool gemm_call_enqueue(gemm_call *call) {
    return call->products->engine == NATIVE ? native_enqueue(call) : clblast_enqueue(call);
}

// ---- Verification ------------------------------------------------------------------------------------

enum { GUARD = 64 }; // elements behind C, to see that nothing is written there

static void fill(float *out, size_t count, uint32_t seed) { // -1 .. 1
    for (size_t i = 0; i < count; i++) {
        seed = seed * 1664525u + 1013904223u;
        out[i] = (float)(int32_t)seed * 0x1p-31f;
    }
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
    size_t counts[3] = {(size_t)s.m * (size_t)s.k, (size_t)s.k * (size_t)s.n, (size_t)s.m * (size_t)s.n};
    float *host[3];
    cl_mem buffers[3] = {NULL, NULL, NULL};
    gemm_call *call = NULL;
    bool right = true;
    for (int i = 0; i < 3; i++) {
        size_t guard = i == 2 ? GUARD : 0;
        host[i] = gn_calloc(counts[i] + guard, sizeof(float));
        fill(host[i], counts[i], (uint32_t)i + 1);
        for (size_t e = 0; e < counts[i] + guard && i == 2; e++) {
            host[i][e] = e < counts[i] ? NAN : (float)e;
        }
        cl_int status;
        buffers[i] = clCreateBuffer(products->device->context, CL_MEM_READ_WRITE | CL_MEM_COPY_HOST_PTR,
                                    (counts[i] + guard) * sizeof(float), host[i], &status);
        right = right && check(status, "clCreateBuffer", s);
    }
    right = right && (call = gemm_call_new(products, s, buffers[0], buffers[1], buffers[2])) &&
            gemm_call_enqueue(call) &&
            check(clEnqueueReadBuffer(products->device->queue, buffers[2], CL_TRUE, 0,
                                      (counts[2] + GUARD) * sizeof(float), host[2], 0, NULL, NULL),
                  "clEnqueueReadBuffer", s) &&
            compare(s, host[0], host[1], host[2]);
    for (size_t e = counts[2]; right && e < counts[2] + GUARD; e++) {
        right =
            host[2][e] == (float)e || gn_fail("matrix product %s: wrote behind its result", describe(s).text);
    }
    gemm_call_free(call);
    for (int i = 0; i < 3; i++) {
        if (buffers[i]) {
            clReleaseMemObject(buffers[i]);
        }
        free(host[i]);
    }
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
    const char *options = getenv(options_name);
    if (!options || !strcmp(options, tuned_options)) {
        options = "";
    }
    const char *facts[][2] = {
        {"ganc", GANC_VERSION},
        {"device", device->info.name},
        {"driver", device->info.driver},
        {"platform", platform},
        {"class", device->class == CLASS_CPU ? "cpu" : "gpu"},
        {"choice", choice},
        {"clblast_build_options", options},
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

// The engine that an earlier start found right, ENGINES for none.
static engine record_read(const record *kept) {
    json_t *root = kept->path ? json_load_file(kept->path, 0, NULL) : NULL;
    const char *name = json_string_value(json_object_get(root, "products"));
    engine found = NATIVE;
    while (found < ENGINES && !(name && !strcmp(name, engine_names[found]))) {
        found++;
    }
    json_object_del(root, "products");
    found = json_equal(root, kept->facts) ? found : ENGINES;
    json_decref(root);
    return found;
}

static void record_write(const record *kept, engine which) {
    if (!kept->path) {
        return;
    }
    json_t *root = json_copy(kept->facts);
    json_object_set_new(root, "products", json_string(engine_names[which]));
    char *beside = gn_format("%s.%ld", kept->path, (long)getpid());
    if (json_dump_file(root, beside, JSON_INDENT(2)) || rename(beside, kept->path)) {
        unlink(beside);
    }
    free(beside);
    json_decref(root);
}

// ---- Choosing ----------------------------------------------------------------------------------------

static bool start(gemm *products, engine which, const char *source) {
    products->engine = which;
    if (which != NATIVE) {
        return start_clblast(products->device, which == CLBLAST_TUNED);
    }
    return products->device->class == CLASS_CPU ? build_cpu(products, source) : build_gpu(products, source);
}

static void stop(gemm *products) {
    if (products->program) {
        clReleaseProgram(products->program);
    }
    if (products->temp) {
        clReleaseMemObject(products->temp);
    }
    products->program = NULL;
    products->temp = NULL;
    products->temp_bytes = 0;
}

// The engines to try for a choice on a class of device, best first; ENGINES ends them. NULL for no choice.
static const engine *candidates(const char *choice, device_class class) {
    static const engine native[] = {NATIVE, ENGINES}, clblast_gpu[] = {CLBLAST_PLAIN, NATIVE, ENGINES},
                        clblast_cpu[] = {CLBLAST_TUNED, CLBLAST_PLAIN, NATIVE, ENGINES},
                        auto_cpu[] = {NATIVE, CLBLAST_TUNED, CLBLAST_PLAIN, ENGINES};
    if (!strcmp(choice, "native")) {
        return native;
    }
    if (!strcmp(choice, "clblast")) {
        return class == CLASS_CPU ? clblast_cpu : clblast_gpu;
    }
    return !strcmp(choice, "auto") ? class == CLASS_CPU ? auto_cpu : clblast_gpu : NULL;
}

// Starts the engine of the record, or the first that is right.
static bool choose(gemm *products, const engine *engines, const record *kept, const char *source) {
    engine known = record_read(kept);
    for (int i = 0; engines[i] != ENGINES; i++) {
        if (engines[i] == known && start(products, known, source)) {
            return true;
        }
    }
    stop(products);
    const device_info *info = &products->device->info;
    for (int i = 0; engines[i] != ENGINES; i++) {
        if (start(products, engines[i], source) && verify(products)) {
            record_write(kept, engines[i]);
            return true;
        }
        stop(products);
        if (engines[i + 1] != ENGINES) {
            fprintf(stderr, "ganc: %s fails on %s (driver %s): %s; trying %s\n", engine_names[engines[i]],
                    info->name, info->driver, gn_error(), engine_names[engines[i + 1]]);
        }
    }
    return gn_fail_within("no matrix product works on %s (driver %s)", info->name, info->driver);
}

gemm *gemm_new(gn_device *device, const char *choice) {
    choice = choice ? choice : "auto";
    const engine *engines = candidates(choice, device->class);
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
    return engine_names[products->engine];
}
