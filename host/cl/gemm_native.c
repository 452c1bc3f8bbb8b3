// Matrix products by ganc's own kernels, kernels_cl/gemm.cl, for either class of device.
//
// A product is a list of launches, made once: on a GPU a single one; on a CPU device perhaps a transposition
// of B first, and several parts of a long sum. The tiles of the CPU kernels were measured, and go by the
// width of the device's vectors; a GPU's work-group is as large as the device takes.
//
// What the kernels do is left to gemm.cl, and whether they are right to gemm.c.
#include "cl/gemm_engines.h"
#include "cl/kernels.h"
#include "cl/memory.h"
#include "error.h"

// The tile of the CPU kernels, see gemm.cl.
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
    MANY_ROWS = 512 // from here on transposing B costs less than it gains
};

// A long sum is made in steps whose rows of B stay in the cache from one row tile to the next: for gemm_tn,
// which strides over A's rows as well (4 times as fast at 1152x128x16384), and where the rows of B lie a
// multiple of 4096 bytes apart, so that a column panel falls into few sets of the cache (1.8 times at
// 64x1024x512).
enum { SUM_STEP = 256, LONG_SUM = 512, COLLIDING = 1024 };

typedef struct {
    gn_device *device;
    cl_program program;
    const cpu_tile *tile; // of CLASS_CPU
    int side;             // of CLASS_GPU
} native;

typedef struct {
    cl_kernel kernel;
    size_t global[2], local[2];
} launch;

// What a call keeps between its enqueues.
typedef struct {
    launch *launches;
    int count;
    cl_mem transposed; // B; mostly NULL
} launch_list;

static bool check(cl_int status, const char *call) {
    return status == CL_SUCCESS || gn_fail("%s: %s", call, cl_error_name(status));
}

// ---- Programs ----------------------------------------------------------------------------------------

static const char *kernel_name(gemm_shape shape) {
    static const char *const names[2][2] = {{"gemm_nn", "gemm_nt"}, {"gemm_tn", "gemm_tt"}};
    return names[shape.transpose_a][shape.transpose_b];
}

static bool build(native *state, const char *source, char *options) { // takes the options
    state->program = kernels_build(state->device, "gemm.cl", source, options);
    free(options);
    return state->program != NULL;
}

static bool build_for_cpu(native *state, const char *source) {
    cl_uint width = 0;
    clGetDeviceInfo(state->device->info.id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL);
    const cpu_tile *tile = &cpu_tiles[width >= 16 ? 0 : width >= 8 ? 1 : 2];
    state->tile = tile;
    return build(state, source,
                 gn_format("-DVW=%d -DMR=%d -DNV=%d -DDM=%d -DDN=%d", tile->vector, tile->rows, tile->vectors,
                           tile->dot_rows, tile->dot_columns));
}

// The most work-items that a group of any kernel of the program may have; false where that cannot be asked.
static bool group_limit(const native *state, size_t *limit) {
    *limit = SIZE_MAX;
    for (int t = 0; t < 4; t++) {
        const char *name = kernel_name((gemm_shape){.transpose_a = t / 2, .transpose_b = t % 2});
        size_t own = 0;
        cl_int status;
        cl_kernel kernel = clCreateKernel(state->program, name, &status);
        if (status == CL_SUCCESS) {
            status = clGetKernelWorkGroupInfo(kernel, state->device->info.id, CL_KERNEL_WORK_GROUP_SIZE,
                                              sizeof own, &own, NULL);
            clReleaseKernel(kernel);
        }
        if (status != CL_SUCCESS) {
            return gn_fail("gemm.cl: clGetKernelWorkGroupInfo of %s: %s", name, cl_error_name(status));
        }
        *limit = own < *limit ? own : *limit;
    }
    return true;
}

// What a kernel needs of registers shows only when it is built: smaller groups are tried until one fits.
static bool build_for_gpu(native *state, const char *source) {
    const gn_device *device = state->device;
    for (int side = GPU_SIDE; side >= 1; side /= 2) {
        size_t group = (size_t)side * (size_t)side, limit;
        size_t local = 2 * sizeof(cl_float) * GPU_DEPTH * (size_t)(side * GPU_WPT + 1);
        if (group > device->max_group || local > device->local_memory) {
            continue;
        }
        state->side = side;
        if (!build(state, source, gn_format("-DSIDE=%d -DWPT=%d -DTK=%d", side, GPU_WPT, GPU_DEPTH)) ||
            !group_limit(state, &limit)) {
            return false;
        }
        if (group <= limit) {
            return true;
        }
        clReleaseProgram(state->program);
        state->program = NULL;
    }
    return gn_fail("gemm.cl: no work-group fits %s (at most %zu work-items, %zu bytes of local memory)",
                   device->info.name, device->max_group, device->local_memory);
}

static void stop(void *state) {
    native *stopped = state;
    if (stopped->program) {
        clReleaseProgram(stopped->program);
    }
    free(stopped);
}

static void *start(gn_device *device, const char *source) {
    native *state = gn_calloc(1, sizeof *state);
    state->device = device;
    if (!(device->class == CLASS_CPU ? build_for_cpu(state, source) : build_for_gpu(state, source))) {
        stop(state);
        return NULL;
    }
    return state;
}

// ---- Launches ----------------------------------------------------------------------------------------

static size_t tiles(int count, int tile) {
    return ((size_t)count + (size_t)tile - 1) / (size_t)tile;
}

// Adds a kernel with its arguments, `ints` first; the caller sets its sizes. NULL on failure.
static launch *add_launch(gemm_call *call, const char *name, const int *ints, cl_uint int_count,
                          const cl_mem *buffers, cl_uint buffer_count) {
    const native *state = call->products->state;
    launch_list *list = call->prepared;
    cl_int status;
    cl_kernel kernel = clCreateKernel(state->program, name, &status);
    if (status != CL_SUCCESS) {
        gn_fail("clCreateKernel of %s: %s", name, cl_error_name(status));
        return NULL;
    }
    list->launches = gn_realloc(list->launches, (size_t)(list->count + 1) * sizeof *list->launches);
    launch *added = &list->launches[list->count++];
    *added = (launch){.kernel = kernel, .local = {1, 1}};
    for (cl_uint i = 0; i < int_count && status == CL_SUCCESS; i++) {
        status = clSetKernelArg(kernel, i, sizeof ints[i], &ints[i]);
    }
    for (cl_uint i = 0; i < buffer_count && status == CL_SUCCESS; i++) {
        status = clSetKernelArg(kernel, int_count + i, sizeof buffers[i], &buffers[i]);
    }
    return check(status, "clSetKernelArg") ? added : NULL;
}

// op(A) op(B) for first <= l < last of the sum.
static bool add_product(gemm_call *call, gemm_shape shape, cl_mem a, cl_mem b, int first, int last) {
    const native *state = call->products->state;
    launch *added = add_launch(call, kernel_name(shape), (int[]){shape.m, shape.n, shape.k, first, last}, 5,
                               (cl_mem[]){a, b, call->c}, 3);
    if (!added) {
        return false;
    }
    if (state->device->class == CLASS_GPU) {
        size_t side = (size_t)state->side;
        added->local[0] = added->local[1] = side;
        added->global[0] = tiles(shape.n, state->side * GPU_WPT) * side;
        added->global[1] = tiles(shape.m, state->side * GPU_WPT) * side;
        return true;
    }
    const cpu_tile *tile = state->tile;
    added->global[0] = tiles(shape.m, shape.transpose_b ? tile->dot_rows : tile->rows);
    added->global[1] = tiles(shape.n, shape.transpose_b ? tile->dot_columns : tile->vectors * tile->vector);
    return true;
}

// Makes `transposed` of B, stored (n, k), as the first launch.
static bool add_transpose(gemm_call *call, gemm_shape shape, cl_mem b) {
    const native *state = call->products->state;
    launch_list *list = call->prepared;
    size_t bytes = sizeof(cl_float) * (size_t)shape.n * (size_t)shape.k;
    list->transposed = memory_buffer(state->device, bytes, "B transposed", NULL);
    if (!list->transposed) {
        return false;
    }
    launch *added =
        add_launch(call, "gemm_transpose", (int[]){shape.n, shape.k}, 2, (cl_mem[]){b, list->transposed}, 2);
    if (!added) {
        return false;
    }
    added->global[0] = (size_t)shape.k;
    added->global[1] = tiles(shape.n, state->tile->vector);
    return true;
}

static bool prepare(gemm_call *call) {
    const native *state = call->products->state;
    gemm_shape s = call->shape;
    cl_mem a = call->a, b = call->b;
    launch_list *list = call->prepared = gn_calloc(1, sizeof *list);
    if (state->device->class == CLASS_GPU) {
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

    if (s.transpose_b && (s.transpose_a || (s.m >= MANY_ROWS && s.n >= state->tile->vector))) {
        if (!add_transpose(call, s, b)) {
            return false;
        }
        s.transpose_b = false;
        b = list->transposed;
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

static bool enqueue(const gemm_call *call) {
    const native *state = call->products->state;
    const launch_list *list = call->prepared;
    for (int i = 0; i < list->count; i++) {
        const launch *next = &list->launches[i];
        cl_int status = clEnqueueNDRangeKernel(state->device->queue, next->kernel, 2, NULL, next->global,
                                               next->local, 0, NULL, NULL);
        if (!check(status, "clEnqueueNDRangeKernel of gemm.cl")) {
            return false;
        }
    }
    return true;
}

static void release(void *prepared) {
    launch_list *list = prepared;
    if (!list) {
        return;
    }
    for (int i = 0; i < list->count; i++) {
        clReleaseKernel(list->launches[i].kernel);
    }
    if (list->transposed) {
        clReleaseMemObject(list->transposed);
    }
    free(list->launches);
    free(list);
}

const gemm_engine gemm_native = {
    .name = "native",
    .start = start,
    .stop = stop,
    .prepare = prepare,
    .enqueue = enqueue,
    .release = release,
};
