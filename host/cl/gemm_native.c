// Matrix products by ganc's own kernels, kernels_cl/gemm.cl, for either class of device.
//
// A product is one launch. On a CPU device its tile is one of a few, which were measured, and go by the width
// of the device's vectors and by the shape; for each there is a program, compiled when the first product
// wants it. A GPU's work-group is as large as the device takes.
//
// What the kernels do is left to gemm.cl, and whether they are right to gemm.c.
#include "cl/gemm_engines.h"
#include "cl/kernels.h"
#include "cl/profile.h"
#include "error.h"

// A tile of the CPU kernels, MR x NV vectors, see gemm.cl. Its accumulators leave room among the registers:
// 24 of 32 where vectors have 16 elements, 12 of 16 elsewhere.
typedef struct {
    int rows, vectors;
} cpu_tile;

enum { TILES = 4 };
static const cpu_tile wide_tiles[TILES] = {{6, 4}, {8, 3}, {12, 2}, {24, 1}};
static const cpu_tile narrow_tiles[TILES] = {{6, 2}, {4, 3}, {12, 1}, {12, 1}};
enum { TILE_WIDE, TILE_TALL, TILE_FEW_COLUMNS, TILE_ONE_VECTOR };

enum {
    DOT_ROWS = 4, // the tile of gemm_dot
    DOT_COLUMNS = 3,
    GPU_SIDE = 16, // of a work-group; halved until the device takes it
    GPU_WPT = 4,
    GPU_DEPTH = 16
};

// Of the kernels that make a column of tiles: enough work-items for the threads to end together, rows of A
// that stay in the cache while a panel of B is used.
enum { ITEMS_PER_UNIT = 4, COLUMN_ROWS = 256 };

// gemm_nn reads B where it lies, which is slow where the rows of B lie a multiple of 4096 bytes apart, so
// that a column falls into few sets of the cache, and where the column is larger than the cache.
enum { COLLIDING = 1024, LONG_COLUMN = 4096 };

typedef struct {
    gn_device *device;
    char *source;               // gemm.cl
    cl_program programs[TILES]; // by tile, NULL where not wanted yet; CLASS_GPU has one
    // CLASS_CPU:
    const cpu_tile *tiles;
    int vector;    // elements
    cl_uint units; // compute units
    // CLASS_GPU:
    int side;
} native;

// What a call keeps between its enqueues.
typedef struct {
    cl_kernel kernel;
    size_t global[2], local[2];
} launch;

static bool check(cl_int status, const char *call) {
    return status == CL_SUCCESS || gn_fail("%s: %s", call, cl_error_name(status));
}

// ---- Programs ----------------------------------------------------------------------------------------

static bool build(native *state, int tile, char *options) { // takes the options
    state->programs[tile] = kernels_build(state->device, "gemm.cl", state->source, options);
    free(options);
    return state->programs[tile] != NULL;
}

static cl_program tile_program(native *state, int tile) {
    const cpu_tile *t = &state->tiles[tile];
    if (!state->programs[tile]) {
        build(state, tile,
              gn_format("-DVW=%d -DMR=%d -DNV=%d -DDM=%d -DDN=%d", state->vector, t->rows, t->vectors,
                        DOT_ROWS, DOT_COLUMNS));
    }
    return state->programs[tile];
}

static bool prepare_cpu(native *state) {
    cl_uint width = 0;
    clGetDeviceInfo(state->device->info.id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL);
    clGetDeviceInfo(state->device->info.id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof state->units, &state->units,
                    NULL);
    state->vector = width >= 16 ? 16 : width >= 8 ? 8 : 4;
    state->tiles = state->vector == 16 ? wide_tiles : narrow_tiles;
    return tile_program(state, TILE_WIDE) != NULL;
}

static const char *const group_kernels[2][2] = {{"gemm_nn", "gemm_nt"}, {"gemm_tn", "gemm_tt"}};

// The most work-items that a group of any kernel of the program may have; false where that cannot be asked.
static bool group_limit(const native *state, size_t *limit) {
    *limit = SIZE_MAX;
    for (int t = 0; t < 4; t++) {
        const char *name = group_kernels[t / 2][t % 2];
        size_t own = 0;
        cl_int status;
        cl_kernel kernel = clCreateKernel(state->programs[0], name, &status);
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
static bool prepare_gpu(native *state) {
    const gn_device *device = state->device;
    for (int side = GPU_SIDE; side >= 1; side /= 2) {
        size_t group = (size_t)side * (size_t)side, limit;
        size_t local = 2 * sizeof(cl_float) * GPU_DEPTH * (size_t)(side * GPU_WPT + 1);
        if (group > device->max_group || local > device->local_memory) {
            continue;
        }
        state->side = side;
        if (!build(state, 0, gn_format("-DSIDE=%d -DWPT=%d -DTK=%d", side, GPU_WPT, GPU_DEPTH)) ||
            !group_limit(state, &limit)) {
            return false;
        }
        if (group <= limit) {
            return true;
        }
        clReleaseProgram(state->programs[0]);
        state->programs[0] = NULL;
    }
    return gn_fail("gemm.cl: no work-group fits %s (at most %zu work-items, %zu bytes of local memory)",
                   device->info.name, device->max_group, device->local_memory);
}

static void stop(void *state) {
    native *stopped = state;
    for (int t = 0; t < TILES; t++) {
        if (stopped->programs[t]) {
            clReleaseProgram(stopped->programs[t]);
        }
    }
    free(stopped->source);
    free(stopped);
}

static void *start(gn_device *device, const char *source) {
    native *state = gn_calloc(1, sizeof *state);
    state->device = device;
    state->source = gn_strdup(source);
    if (!(device->class == CLASS_CPU ? prepare_cpu(state) : prepare_gpu(state))) {
        stop(state);
        return NULL;
    }
    return state;
}

// ---- Launches ----------------------------------------------------------------------------------------

static size_t tiles(int count, int tile) {
    return ((size_t)count + (size_t)tile - 1) / (size_t)tile;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t most(size_t a, size_t b) {
    return a > b ? a : b;
}

// One kernel for op(A) op(B) into the call's C.
static bool set_launch(gemm_call *call, cl_program program, const char *name, gemm_shape s, cl_mem a,
                       cl_mem b) {
    launch *l = call->prepared;
    if (!program) {
        return false;
    }
    cl_int status;
    l->kernel = clCreateKernel(program, name, &status);
    if (status != CL_SUCCESS) {
        return gn_fail("clCreateKernel of %s: %s", name, cl_error_name(status));
    }
    const int sizes[] = {s.m, s.n, s.k};
    const cl_mem buffers[] = {a, b, call->c};
    for (cl_uint i = 0; i < 6 && status == CL_SUCCESS; i++) {
        status = i < 3 ? clSetKernelArg(l->kernel, i, sizeof sizes[i], &sizes[i])
                       : clSetKernelArg(l->kernel, i, sizeof buffers[i - 3], &buffers[i - 3]);
    }
    return check(status, "clSetKernelArg");
}

static bool prepare_for_gpu(gemm_call *call) {
    const native *state = call->products->state;
    launch *l = call->prepared;
    gemm_shape s = call->shape;
    size_t side = (size_t)state->side;
    l->local[0] = l->local[1] = side;
    l->global[0] = tiles(s.n, state->side * GPU_WPT) * side;
    l->global[1] = tiles(s.m, state->side * GPU_WPT) * side;
    return set_launch(call, state->programs[0], group_kernels[s.transpose_a][s.transpose_b], s, call->a,
                      call->b);
}

static bool prepare_dot(gemm_call *call, gemm_shape s, cl_mem a, cl_mem b) {
    launch *l = call->prepared;
    l->global[0] = tiles(s.m, DOT_ROWS);
    l->global[1] = tiles(s.n, DOT_COLUMNS);
    return set_launch(call, tile_program(call->products->state, TILE_WIDE), "gemm_dot", s, a, b);
}

static bool prepare_in_place(gemm_call *call, gemm_shape s, cl_mem a, cl_mem b, int tile) {
    native *state = call->products->state;
    launch *l = call->prepared;
    l->global[0] = tiles(s.m, state->tiles[tile].rows);
    l->global[1] = tiles(s.n, state->tiles[tile].vectors * state->vector);
    return set_launch(call, tile_program(state, tile), "gemm_nn", s, a, b);
}

static bool prepare_column(gemm_call *call, gemm_shape s, cl_mem a, cl_mem b, int tile) {
    static const char *const names[2][2] = {{"gemm_column_nn", "gemm_column_nt"},
                                            {"gemm_column_tn", "gemm_column_tt"}};
    native *state = call->products->state;
    launch *l = call->prepared;
    size_t rows = tiles(s.m, state->tiles[tile].rows),
           columns = tiles(s.n, state->tiles[tile].vectors * state->vector);
    size_t busy = (ITEMS_PER_UNIT * state->units + columns - 1) / columns;
    l->global[0] = least(rows, most(busy, tiles(s.m, COLUMN_ROWS)));
    l->global[1] = columns;
    return set_launch(call, tile_program(state, tile), names[s.transpose_a][s.transpose_b], s, a, b);
}

static bool prepare_for_cpu(gemm_call *call) {
    const native *state = call->products->state;
    gemm_shape s = call->shape;
    cl_mem a = call->a, b = call->b;
    launch *l = call->prepared;
    l->local[0] = l->local[1] = 1;

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

    if (s.transpose_b && !s.transpose_a && s.n < state->vector) {
        return prepare_dot(call, s, a, b);
    }
    int tile = s.n <= state->vector       ? TILE_ONE_VECTOR
               : s.n <= 2 * state->vector ? TILE_FEW_COLUMNS
               : s.transpose_b            ? TILE_TALL
                                          : TILE_WIDE;
    bool in_place = !s.transpose_a && !s.transpose_b && s.n % COLLIDING != 0 && s.k <= LONG_COLUMN;
    return in_place ? prepare_in_place(call, s, a, b, tile) : prepare_column(call, s, a, b, tile);
}

static bool prepare(gemm_call *call) {
    const native *state = call->products->state;
    call->prepared = gn_calloc(1, sizeof(launch));
    return state->device->class == CLASS_CPU ? prepare_for_cpu(call) : prepare_for_gpu(call);
}

static bool enqueue(const gemm_call *call) {
    const native *state = call->products->state;
    const launch *l = call->prepared;
    return check(profile_kernel(state->device, l->kernel, 2, l->global, l->local),
                 "clEnqueueNDRangeKernel of gemm.cl");
}

static void release(void *prepared) {
    launch *l = prepared;
    if (l && l->kernel) {
        clReleaseKernel(l->kernel);
    }
    free(l);
}

const gemm_engine gemm_native = {
    .name = "native",
    .start = start,
    .stop = stop,
    .prepare = prepare,
    .enqueue = enqueue,
    .release = release,
};
