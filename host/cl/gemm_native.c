// Matrix products by ganc's own kernels, kernels_cl/gemm.cl, for either class of device.
//
// A product is one launch. Its tile is one of a few, of which one goes by the width of the device's vectors
// and by the shape, as measured on some machines; gemm_tune.c finds out whether another is faster. For each,
// and each epilogue, there is a program, compiled when the first product wants it. A GPU's work-group is as
// large as the device takes.
//
// What the kernels do is left to gemm.cl, and whether they are right to gemm.c.
#include "cl/gemm_engines.h"
#include "cl/kernels.h"
#include "cl/profile.h"
#include "error.h"

#include <limits.h>
#include <string.h>

// A tile of the CPU kernels, MR x NV vectors, see gemm.cl. Its accumulators leave room among the registers:
// 24 of 32 where vectors have 16 elements, 12 of 16 elsewhere.
typedef struct {
    int rows, vectors;
} cpu_tile;

enum { TILES = 5 };
static const cpu_tile wide_tiles[TILES] = {{6, 4}, {8, 3}, {12, 2}, {24, 1}, {5, 5}};
static const cpu_tile narrow_tiles[TILES] = {{6, 2}, {4, 3}, {12, 1}, {12, 1}, {5, 2}};
enum { TILE_WIDE, TILE_TALL, TILE_FEW_COLUMNS, TILE_ONE_VECTOR };

// The kernels of the CPU class; a way's id is kernel * TILES + tile.
typedef enum { IN_PLACE, COLUMN, ACROSS, DOT } cpu_kernel;

// For GPUs the id is an index here: elements of C for each work-item along both sides.
enum { GPU_TILES = 3, GPU_TILE = 0 };
static const int gpu_tiles[GPU_TILES] = {4, 2, 8};

enum {
    DOT_ROWS = 4, // the tile of gemm_dot
    DOT_COLUMNS = 3,
    SUM_DEPTH = 128, // DEPTH
    GPU_SIDE = 16,   // of a work-group; halved until the device takes it with GPU_TILE
    GPU_DEPTH = 16
};

// Of the kernels that make columns of tiles: rows of A that stay in the cache, DEPTH columns of them, while
// panels of B are used; work-items for each thread, enough that all end together, and where A is large.
enum { COLUMN_ROWS = 256, ITEMS_PER_UNIT = 4, LARGE_ITEMS_PER_UNIT = 2 };

// Of the kernel across: the most columns of a work-item, the fewest that are worth a copy of A, and how many
// times as many columns as rows C has at least where it is taken untried.
enum { SPAN = 400, LEAST_SPAN = 64, WIDE = 4 };

// gemm_nn reads B where it lies, which is slow where the rows of B lie a multiple of 2048 bytes apart, so
// that a column falls into few sets of the cache, and where the column is larger than the cache.
enum { COLLIDING = 512, LONG_COLUMN = 4096 };

// Elements of A from which on it leaves the caches while a column of C is made, and is fetched anew for each.
enum { LARGE = 1 << 21 };

// gemm.cl with an epilogue.
typedef struct variant {
    char *epilogue;             // "" for none
    cl_program programs[TILES]; // by tile, NULL where not wanted yet
    struct variant *next;
} variant;

typedef struct {
    gn_device *device;
    char *source; // gemm.cl
    variant *variants;
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

static variant *find_variant(native *state, const char *epilogue) {
    variant *found = state->variants;
    while (found && strcmp(found->epilogue, epilogue) != 0) {
        found = found->next;
    }
    if (!found) {
        found = gn_calloc(1, sizeof *found);
        *found = (variant){.epilogue = gn_strdup(epilogue), .next = state->variants};
        state->variants = found;
    }
    return found;
}

// Columns of a tile: NR.
static int width(const native *state, int tile) {
    return state->tiles[tile].vectors * state->vector;
}

// SPAN of a tile's program; 0 where local memory has no room for the kernel across.
static int span(const native *state, int tile) {
    size_t row = sizeof(cl_float) * (size_t)width(state, tile), rows = (size_t)state->tiles[tile].rows;
    return row * (SUM_DEPTH + SPAN + rows) <= state->device->local_memory ? SPAN : 0;
}

// The program of an epilogue ("" for none) and a tile; NULL on failure.
static cl_program build(native *state, const char *epilogue, int tile) {
    cl_program *program = &find_variant(state, epilogue)->programs[tile];
    if (*program) {
        return *program;
    }
    char *options = state->device->class == CLASS_CPU
                        ? gn_format("-DVW=%d -DMR=%d -DNV=%d -DDM=%d -DDN=%d -DDEPTH=%d -DSPAN=%d",
                                    state->vector, state->tiles[tile].rows, state->tiles[tile].vectors,
                                    DOT_ROWS, DOT_COLUMNS, SUM_DEPTH, span(state, tile))
                        : gn_format("-DSIDE=%d -DWPT=%d -DTK=%d", state->side, gpu_tiles[tile], GPU_DEPTH);
    char *source = gn_format("%s%s", epilogue, state->source);
    *program =
        kernels_build(state->device, *epilogue ? "gemm.cl with an epilogue" : "gemm.cl", source, options);
    free(source);
    free(options);
    return *program;
}

static bool prepare_cpu(native *state) {
    cl_uint width = 0;
    clGetDeviceInfo(state->device->info.id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL);
    clGetDeviceInfo(state->device->info.id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof state->units, &state->units,
                    NULL);
    state->vector = width >= 16 ? 16 : width >= 8 ? 8 : 4;
    state->tiles = state->vector == 16 ? wide_tiles : narrow_tiles;
    return build(state, "", TILE_WIDE) != NULL;
}

static const char *const group_kernels[2][2] = {{"gemm_nn", "gemm_nt"}, {"gemm_tn", "gemm_tt"}};

// The most work-items that a group of any kernel of the program may have; false where that cannot be asked.
static bool group_limit(const native *state, cl_program program, size_t *limit) {
    *limit = SIZE_MAX;
    for (int t = 0; t < 4; t++) {
        const char *name = group_kernels[t / 2][t % 2];
        size_t own = 0;
        cl_int status;
        cl_kernel kernel = clCreateKernel(program, name, &status);
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

static void free_variants(native *state) {
    while (state->variants) {
        variant *first = state->variants;
        state->variants = first->next;
        for (int t = 0; t < TILES; t++) {
            if (first->programs[t]) {
                clReleaseProgram(first->programs[t]);
            }
        }
        free(first->epilogue);
        free(first);
    }
}

static size_t local_bytes(int side, int tile) {
    return 2 * sizeof(cl_float) * GPU_DEPTH * (size_t)(side * gpu_tiles[tile] + 1);
}

// What a kernel needs of registers shows only when it is built: smaller groups are tried until one fits.
static bool prepare_gpu(native *state) {
    const gn_device *device = state->device;
    for (int side = GPU_SIDE; side >= 1; side /= 2) {
        size_t group = (size_t)side * (size_t)side, limit;
        if (group > device->max_group || local_bytes(side, GPU_TILE) > device->local_memory) {
            continue;
        }
        state->side = side;
        cl_program program = build(state, "", GPU_TILE);
        if (!program || !group_limit(state, program, &limit)) {
            return false;
        }
        if (group <= limit) {
            return true;
        }
        free_variants(state);
    }
    return gn_fail("gemm.cl: no work-group fits %s (at most %zu work-items, %zu bytes of local memory)",
                   device->info.name, device->max_group, device->local_memory);
}

static void stop(void *state) {
    native *stopped = state;
    free_variants(stopped);
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

// A kernel on a CPU walks down columns of tiles: an update's many tensors would be loaded and stored in
// pieces too short for the hardware to fetch ahead (527 us where product and update alone take 205 and 196).
static gemm_limits limits(const void *state) {
    const native *started = state;
    return started->device->class == CLASS_CPU
               ? (gemm_limits){.columns = started->vector, .depth = SUM_DEPTH, .updates = false}
               : (gemm_limits){.columns = 1, .depth = INT_MAX, .updates = true};
}

// ---- Ways --------------------------------------------------------------------------------------------

// The shape and the order of the operands for which a kernel is taken. A vector is its own transpose in
// memory: take the kernel whose vectors run along the long side.
static gemm_shape for_cpu(gemm_shape s, bool *swapped) {
    *swapped = s.n == 1 && s.transpose_a; // c' = b' op(A)'
    if (*swapped) {
        s = (gemm_shape){.m = 1, .n = s.m, .k = s.k};
    } else if (s.n == 1) {
        s.transpose_b = true;
    }
    s.transpose_a = s.transpose_a && s.m > 1 && s.k > 1;
    s.transpose_b = s.transpose_b && s.k > 1;
    return s;
}

static bool is_large(gemm_shape s) {
    return (int64_t)s.m * s.k >= LARGE;
}

static const char *cpu_kernel_name(cpu_kernel kernel, gemm_shape s) {
    static const char *const columns[2][2] = {{"gemm_column_nn", "gemm_column_nt"},
                                              {"gemm_column_tn", "gemm_column_tt"}};
    return kernel == IN_PLACE ? "gemm_nn"
           : kernel == DOT    ? "gemm_dot"
           : kernel == ACROSS ? "gemm_across_nt"
                              : columns[s.transpose_a][s.transpose_b];
}

// Adds a way, unless it is there under this or another id.
static void add_way(gemm_ways *ways, int id, const char *kernel, int rows, int columns) {
    int i = ways->count;
    snprintf(ways->names[i], GEMM_WAY, "%s %dx%d", kernel, rows, columns);
    ways->ids[i] = id;
    for (int j = 0; j < i; j++) {
        if (!strcmp(ways->names[j], ways->names[i])) {
            return;
        }
    }
    ways->count++;
}

static void add_cpu_way(const native *state, gemm_ways *ways, cpu_kernel kernel, int tile, gemm_shape s) {
    int narrow = state->tiles[tile].rows, wide = width(state, tile);
    add_way(ways, kernel * TILES + tile, cpu_kernel_name(kernel, s), kernel == ACROSS ? wide : narrow,
            kernel == ACROSS ? narrow : wide);
}

// Which shapes gemm_dot makes must not be measured, since its bits are its own.
static void list_cpu_ways(const native *state, gemm_shape s, gemm_ways *ways) {
    bool swapped;
    s = for_cpu(s, &swapped);
    if (s.transpose_b && !s.transpose_a && s.n < state->vector) {
        add_way(ways, DOT * TILES, "gemm_dot", DOT_ROWS, DOT_COLUMNS);
        return;
    }
    int tile = s.n <= state->vector       ? TILE_ONE_VECTOR
               : s.n <= 2 * state->vector ? TILE_FEW_COLUMNS
               : s.transpose_b            ? TILE_TALL
                                          : TILE_WIDE;
    bool may_be_in_place = !s.transpose_a && !s.transpose_b;
    bool may_be_across = !s.transpose_a && s.transpose_b && s.m >= state->vector;
    if (may_be_across && s.m <= width(state, TILE_WIDE) && s.n >= WIDE * s.m && span(state, TILE_WIDE)) {
        add_cpu_way(state, ways, ACROSS, TILE_WIDE, s);
    }
    bool in_place = may_be_in_place && s.n % COLLIDING != 0 && s.k <= LONG_COLUMN && !is_large(s);
    add_cpu_way(state, ways, in_place ? IN_PLACE : COLUMN, tile, s);
    for (int t = 0; t < TILES; t++) {
        int but_last = width(state, t) - state->vector; // a vector behind the last element is useless
        if (may_be_across && but_last < s.m && span(state, t)) {
            add_cpu_way(state, ways, ACROSS, t, s);
        }
        if (but_last >= s.n) {
            continue;
        }
        add_cpu_way(state, ways, COLUMN, t, s);
        if (may_be_in_place) {
            add_cpu_way(state, ways, IN_PLACE, t, s);
        }
    }
}

static void list_ways(const void *state, gemm_shape s, gemm_ways *ways) {
    const native *started = state;
    ways->count = 0;
    if (started->device->class == CLASS_CPU) {
        list_cpu_ways(started, s, ways);
        return;
    }
    for (int t = 0; t < GPU_TILES; t++) {
        int side = started->side * gpu_tiles[t];
        if (t == GPU_TILE || local_bytes(started->side, t) <= started->device->local_memory) {
            add_way(ways, t, group_kernels[s.transpose_a][s.transpose_b], side, side);
        }
    }
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
static bool set_launch(gemm_call *call, int tile, const char *name, gemm_shape s, cl_mem a, cl_mem b) {
    launch *l = call->prepared;
    const gemm_epilogue *epilogue = call->epilogue;
    cl_program program = build(call->products->state, epilogue ? epilogue->source : "", tile);
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
    for (cl_uint i = 0; epilogue && i < (cl_uint)epilogue->count && status == CL_SUCCESS; i++) {
        status = clSetKernelArg(l->kernel, 6 + i, sizeof epilogue->buffers[i], &epilogue->buffers[i]);
    }
    return check(status, "clSetKernelArg");
}

// A large tile and an epilogue need registers too.
static bool fits(native *state, const gemm_epilogue *epilogue, int tile) {
    cl_program program = build(state, epilogue ? epilogue->source : "", tile);
    size_t group = (size_t)state->side * (size_t)state->side, limit;
    return program && group_limit(state, program, &limit) &&
           (group <= limit || gn_fail("with its epilogue it runs in work-groups of %zu, not of %zu; "
                                      "GANC_OFF=epilogue does without",
                                      limit, group));
}

// Where another tile has no room for an epilogue, the first one, whose bits are the same, is taken.
static bool prepare_for_gpu(gemm_call *call) {
    native *state = call->products->state;
    launch *l = call->prepared;
    gemm_shape s = call->shape;
    size_t side = (size_t)state->side;
    int tile = call->way;
    if (call->epilogue && tile != GPU_TILE && !fits(state, call->epilogue, tile)) {
        tile = GPU_TILE;
    }
    if ((call->epilogue || tile != GPU_TILE) && !fits(state, call->epilogue, tile)) {
        return false;
    }
    l->local[0] = l->local[1] = side;
    l->global[0] = tiles(s.n, state->side * gpu_tiles[tile]) * side;
    l->global[1] = tiles(s.m, state->side * gpu_tiles[tile]) * side;
    return set_launch(call, tile, group_kernels[s.transpose_a][s.transpose_b], s, call->a, call->b);
}

// Work-items, down and across, of a kernel that makes columns of tiles. Most make one column. Where A is
// large, an item makes several, for which A is fetched once; then there are few items, as many for each
// thread.
static void share_out(int units, gemm_shape s, size_t rows, size_t columns, size_t global[2]) {
    size_t down = tiles(s.m, COLUMN_ROWS), items = LARGE_ITEMS_PER_UNIT * (size_t)units;
    if (!is_large(s)) {
        down = most(down, tiles(ITEMS_PER_UNIT * units, (int)columns));
    } else if (down >= items) {
        down = tiles((int)down, units) * (size_t)units;
        columns = 1;
    } else {
        while (items % down != 0) {
            down++;
        }
        columns = least(columns, items / down);
    }
    global[0] = least(down, rows);
    global[1] = columns;
}

static bool prepare_for_cpu(gemm_call *call) {
    const native *state = call->products->state;
    launch *l = call->prepared;
    bool swapped;
    gemm_shape s = for_cpu(call->shape, &swapped);
    cpu_kernel kernel = (cpu_kernel)(call->way / TILES);
    int tile = call->way % TILES;
    size_t rows = tiles(s.m, kernel == DOT ? DOT_ROWS : state->tiles[tile].rows),
           columns = tiles(s.n, kernel == DOT ? DOT_COLUMNS : width(state, tile));
    l->local[0] = l->local[1] = 1;
    l->global[0] = rows;
    l->global[1] = columns;
    if (kernel == COLUMN) {
        share_out((int)state->units, s, rows, columns, l->global);
    } else if (kernel == ACROSS) {
        l->global[0] = most(least(state->units, tiles(s.n, LEAST_SPAN)), tiles(s.n, SPAN));
        l->global[1] = tiles(s.m, width(state, tile));
    }
    return set_launch(call, tile, cpu_kernel_name(kernel, s), s, swapped ? call->b : call->a,
                      swapped ? call->a : call->b);
}

static bool prepare(gemm_call *call) {
    const native *state = call->products->state;
    call->prepared = gn_calloc(1, sizeof(launch));
    return state->device->class == CLASS_CPU ? prepare_for_cpu(call) : prepare_for_gpu(call);
}

static bool enqueue(const gemm_call *call, const launch_order *order) {
    const native *state = call->products->state;
    const launch *l = call->prepared;
    return check(profile_kernel(state->device, l->kernel, 2, l->global, l->local, order),
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
    .limits = limits,
    .takes_order = true,
    .ways = list_ways,
};
