// Matrix products by ganc's own kernels, kernels_cl/gemm.cl, for either class of device.
//
// A product is one launch, or two where its sums are long and its elements few: then it is made in slices.
// Its tile is one of a few, of which one goes by the width of the device's vectors and by the shape, as
// measured on some machines; gemm_tune.c finds out whether another is faster. A GPU's work-group is as large
// as the device takes.
//
// What the kernels do is left to gemm.cl, their compilation to gemm_copies.c, and whether they are right to
// gemm.c.
#include "base/error.h"
#include "base/switches.h"
#include "cl/gemm_copies.h"
#include "cl/gemm_engines.h"
#include "cl/kernels.h"
#include "cl/memory.h"
#include "cl/profile.h"

#include <limits.h>
#include <string.h>

// A tile of the CPU kernels, MR x NV vectors, see gemm.cl. Its accumulators leave room among the registers:
// 24 of 32 where vectors have 16 elements, 12 of 16 elsewhere. Tall ones run out of those for the rows'
// addresses: 12 rows of 8 take 1.2 to 1.8 times as long as 6 of 16, where C has as many columns.
typedef struct {
    int rows, vectors;
} cpu_tile;

enum { TILES = 5 };
static const cpu_tile wide_tiles[TILES] = {{6, 4}, {8, 3}, {12, 2}, {24, 1}, {5, 5}};
static const cpu_tile narrow_tiles[TILES] = {{6, 2}, {4, 3}, {6, 2}, {12, 1}, {5, 2}};
enum { TILE_WIDE, TILE_TALL, TILE_FEW_COLUMNS, TILE_ONE_VECTOR };

// The kernels of the CPU class; a way's id is kernel * TILES + tile. BLOCKS is that of COLUMN with work-items
// of several columns of tiles: it takes a block of DEPTH steps of the sums for all of them, then the next.
typedef enum { IN_PLACE, COLUMN, BLOCKS, ACROSS, DOT, SLICES } cpu_kernel;

// A tile of the GPU kernels, WPT and TK of gemm.cl.
typedef struct {
    int side, depth;
} gpu_tile;

// For GPUs an id is an index here, and GPU_TILES more where the sums are sliced. With the first one a device
// must get along.
enum { GPU_TILES = 4, GPU_TILE = 0, GPU_SMALL_TILE = 1, GPU_LEAST_TILE = 3 };
static const gpu_tile gpu_tiles[GPU_TILES] = {{4, 16}, {2, 32}, {8, 16}, {1, 32}};

enum {
    DOT_ROWS = 4, // the tile of gemm_dot
    DOT_COLUMNS = 3,
    SUM_DEPTH = 128, // DEPTH
    GPU_SIDE = 16,   // of a work-group; halved until the device takes it with GPU_TILE
    FOLD_GROUP = 256
};

// Of products in slices: the groups for each compute unit that are wanted; the fewest terms of a slice, and
// of a sum that is worth the second launch; what a slice's terms are a multiple of, as of each tile's TK.
enum { GROUPS_PER_UNIT = 4, LEAST_SLICE = 128, LEAST_SLICED = 1024, SLICE_STEP = 32 };

// The same for CPUs, where a slice also reads whole rows of transposed operands in order: the elements of C
// above which tiles are enough for that; the fewest terms of a slice and of a sum; the most slices.
enum { CPU_SLICED = 1 << 15, CPU_LEAST_SLICE = 512, CPU_LEAST_SLICED = 2048, CPU_SLICES = 64 };

// Of the kernels that make columns of tiles: rows of A that stay in the cache, DEPTH columns of them, while
// panels of B are used; work-items for each thread, enough that all end together, and by blocks.
enum { COLUMN_ROWS = 256, ITEMS_PER_UNIT = 4, BLOCK_ITEMS_PER_UNIT = 2 };

// Of the kernel across: the most columns of a work-item, the fewest that are worth a copy of A, and how many
// times as many columns as rows C has at least where it is taken untried.
enum { SPAN = 400, LEAST_SPAN = 64, WIDE = 4 };

// Tiles below each other from which on a copy of B's columns for all of them is quicker than B where it lies.
enum { WORTH_A_COPY = 4 };

// When a product goes by blocks untried. Elements of A from which on it leaves the caches while a column of C
// is made, and is fetched anew for each. A transposed A and B are both read along their rows by blocks alone,
// which is worth it (0.78 .. 0.96 of the time on a Zen 3) where C stays in the caches from one block to the
// next: its most elements, and the fewest blocks.
enum { LARGE = 1 << 21, CACHED = 1 << 19, LEAST_BLOCKS = 2 };

// One kernel of gemm.cl that a product takes.
typedef struct {
    const char *kernel;
    int tile;
    const char *epilogue; // "" for none
} part;

enum { MOST_PARTS = 2 };

typedef struct {
    gn_device *device;
    gemm_copies copies;
    // CLASS_CPU:
    const cpu_tile *tiles;
    int vector; // elements
    // CLASS_GPU:
    int side;
    cl_mem partial; // slices, of all calls: the queue runs them one by one
    // Both:
    cl_uint units; // compute units
} native;

typedef struct {
    cl_kernel kernel;
    size_t global[3], local[3];
} launch;

// What a call keeps between its enqueues: one kernel, or for slices two.
typedef struct {
    launch launches[2];
    int count;
    cl_mem partial; // NULL, or the slices
} prepared_call;

static bool check(cl_int status, const char *call) {
    return status == CL_SUCCESS || gn_fail("%s: %s", call, cl_error_name(status));
}

static size_t tiles(int count, int tile) {
    return ((size_t)count + (size_t)tile - 1) / (size_t)tile;
}

static size_t least(size_t a, size_t b) {
    return a < b ? a : b;
}

static size_t most(size_t a, size_t b) {
    return a > b ? a : b;
}

// ---- Copies of gemm.cl --------------------------------------------------------------------------------

// Columns of a tile: NR.
static int width(const native *state, int tile) {
    return state->tiles[tile].vectors * state->vector;
}

// SPAN of a tile; 0 where local memory has no room for the kernel across.
static int span(const native *state, int tile) {
    size_t row = sizeof(cl_float) * (size_t)width(state, tile), rows = (size_t)state->tiles[tile].rows;
    return row * (SUM_DEPTH + SPAN + rows) <= state->device->local_memory ? SPAN : 0;
}

static char *sizes(const native *state, part p) {
    if (state->device->class == CLASS_CPU) {
        return gn_format("#define VW %d\n#define MR %d\n#define NV %d\n#define DM %d\n#define DN %d\n"
                         "#define SPAN %d\n",
                         state->vector, state->tiles[p.tile].rows, state->tiles[p.tile].vectors, DOT_ROWS,
                         DOT_COLUMNS, span(state, p.tile));
    }
    return gn_format("#define SIDE %d\n#define WPT %d\n#define TK %d\n", state->side, gpu_tiles[p.tile].side,
                     gpu_tiles[p.tile].depth);
}

// The caller frees the head.
static copy_text text_of(const native *state, part p) {
    char *own = sizes(state, p);
    copy_text text = {
        p.kernel, gn_format("#define ONLY_%s\n#define DEPTH %d\n%s%s", p.kernel, SUM_DEPTH, own, p.epilogue)};
    free(own);
    return text;
}

static const gemm_copy *copy_of(native *state, part p) {
    copy_text text = text_of(state, p);
    const gemm_copy *copy = gemm_copies_get(&state->copies, text);
    free(text.head);
    return copy;
}

// Compiles the parts in one program, a plan's or another.
static bool compile_parts(native *state, const part *parts, int count, bool of_plan) {
    copy_text *texts = gn_calloc((size_t)count + 1, sizeof *texts);
    for (int i = 0; i < count; i++) {
        texts[i] = text_of(state, parts[i]);
    }
    bool done = gemm_copies_compile(&state->copies, texts, count, of_plan);
    for (int i = 0; i < count; i++) {
        free(texts[i].head);
    }
    free(texts);
    return done;
}

// On a CPU, where a test runs them, PoCL compiles the unrolled kernels of GPUs four times as long and runs
// them a third as fast.
static const char *compiler_options(const gn_device *device) {
    return device->class == CLASS_CPU     ? gn_is_off("prefetch") ? "-DNO_PREFETCH" : NULL
           : device_is_cpu(&device->info) ? "-DROLL"
                                          : NULL;
}

static void prepare_cpu(native *state) {
    cl_uint width = 0;
    clGetDeviceInfo(state->device->info.id, CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, sizeof width, &width, NULL);
    state->vector = width >= 16 ? 16 : width >= 8 ? 8 : 4;
    state->tiles = state->vector == 16 ? wide_tiles : narrow_tiles;
}

// Kernels of either class, by transpose_a and transpose_b.
static const char *const sliced_names[2][2] = {{"gemm_sliced_nn", "gemm_sliced_nt"},
                                               {"gemm_sliced_tn", "gemm_sliced_tt"}};

static const char *gpu_kernel_name(int way, bool transpose_a, bool transpose_b) {
    static const char *const names[2][2] = {{"gemm_nn", "gemm_nt"}, {"gemm_tn", "gemm_tt"}};
    return (way < GPU_TILES ? names : sliced_names)[transpose_a][transpose_b];
}

// The most work-items that a group of the kernel may have; false where that cannot be asked.
static bool group_limit(const native *state, const gemm_copy *copy, size_t *limit) {
    *limit = 0;
    cl_int status;
    cl_kernel kernel = clCreateKernel(copy->program, copy->name, &status);
    if (status == CL_SUCCESS) {
        status = clGetKernelWorkGroupInfo(kernel, state->device->info.id, CL_KERNEL_WORK_GROUP_SIZE,
                                          sizeof *limit, limit, NULL);
        clReleaseKernel(kernel);
    }
    return status == CL_SUCCESS ||
           gn_fail("gemm.cl: clGetKernelWorkGroupInfo of %s: %s", copy->name, cl_error_name(status));
}

// Rows and columns of a way's tile.
static int gpu_side(const native *state, int way) {
    return state->side * gpu_tiles[way % GPU_TILES].side;
}

static size_t local_bytes(const native *state, int tile) {
    return 2 * sizeof(cl_float) * (size_t)gpu_tiles[tile].depth * (size_t)(gpu_side(state, tile) + 1);
}

// The least limit of the four kernels of the first tile, as they are.
static bool limit_of_all(native *state, size_t *limit) {
    *limit = SIZE_MAX;
    part parts[4];
    for (int t = 0; t < 4; t++) {
        parts[t] = (part){gpu_kernel_name(GPU_TILE, t / 2, t % 2), GPU_TILE, ""};
    }
    if (!compile_parts(state, parts, 4, false)) {
        return false;
    }
    for (int t = 0; t < 4; t++) {
        size_t own;
        if (!group_limit(state, copy_of(state, parts[t]), &own)) {
            return false;
        }
        *limit = least(*limit, own);
    }
    return true;
}

// What a kernel needs of registers shows only when it is built: smaller groups are tried until one fits.
static bool find_side(native *state) {
    const gn_device *device = state->device;
    for (int side = GPU_SIDE; side >= 1; side /= 2) {
        size_t group = (size_t)side * (size_t)side, limit;
        state->side = side;
        if (group > device->max_group || local_bytes(state, GPU_TILE) > device->local_memory) {
            continue;
        }
        if (!limit_of_all(state, &limit)) {
            return false;
        }
        if (group <= limit) {
            return true;
        }
        gemm_copies_free(&state->copies);
    }
    return gn_fail("gemm.cl: no work-group fits %s (at most %zu work-items, %zu bytes of local memory)",
                   device->info.name, device->max_group, device->local_memory);
}

// Room for what GROUPS_PER_UNIT groups a unit leave, see gpu_slice_length().
static bool prepare_gpu(native *state) {
    if (!find_side(state)) {
        return false;
    }
    size_t side = (size_t)gpu_side(state, GPU_SMALL_TILE);
    state->partial =
        memory_buffer(state->device, sizeof(cl_float) * GROUPS_PER_UNIT * state->units * side * side,
                      "the slices of matrix products", NULL);
    return state->partial != NULL;
}

static void stop(void *state) {
    native *stopped = state;
    gemm_copies_free(&stopped->copies);
    if (stopped->partial) {
        clReleaseMemObject(stopped->partial);
    }
    free(stopped->copies.source);
    free(stopped);
}

static void *start(gn_device *device, const char *source) {
    native *state = gn_calloc(1, sizeof *state);
    state->device = device;
    state->copies = (gemm_copies){device, gn_strdup(source), compiler_options(device), NULL};
    clGetDeviceInfo(device->info.id, CL_DEVICE_MAX_COMPUTE_UNITS, sizeof state->units, &state->units, NULL);
    if (device->class == CLASS_CPU) {
        prepare_cpu(state);
    } else if (!prepare_gpu(state)) {
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

static bool both_along_rows(gemm_shape s) {
    return s.transpose_a && !s.transpose_b && s.k >= LEAST_BLOCKS * SUM_DEPTH;
}

// COLUMN or BLOCKS, untried.
static cpu_kernel column_kernel(gemm_shape s) {
    return is_large(s) || (both_along_rows(s) && (int64_t)s.m * s.n <= CACHED) ? BLOCKS : COLUMN;
}

// Does the order of blocks and columns make a difference that only measuring can tell? Blocks of many rows
// took 0.75 .. 0.93 of the time in dcgan on a Xeon, whose last cache is slow.
static bool may_be_either(gemm_shape s) {
    return !is_large(s) && (both_along_rows(s) || s.m > COLUMN_ROWS);
}

static const char *cpu_kernel_name(cpu_kernel kernel, gemm_shape s) {
    static const char *const columns[2][2] = {{"gemm_column_nn", "gemm_column_nt"},
                                              {"gemm_column_tn", "gemm_column_tt"}};
    return kernel == IN_PLACE ? "gemm_nn"
           : kernel == DOT    ? "gemm_dot"
           : kernel == ACROSS ? "gemm_across_nt"
           : kernel == SLICES ? sliced_names[s.transpose_a][s.transpose_b]
                              : columns[s.transpose_a][s.transpose_b];
}

// Adds a way, unless it is there under this or another id.
static void add_way(gemm_ways *ways, int id, const char *kernel, const char *how, int rows, int columns) {
    int i = ways->count;
    snprintf(ways->names[i], GEMM_WAY, "%s%s %dx%d", kernel, how, rows, columns);
    ways->ids[i] = id;
    for (int j = 0; j < i; j++) {
        if (!strcmp(ways->names[j], ways->names[i])) {
            return;
        }
    }
    ways->count++;
}

// Terms of each slice but the last, which has what is left; k where the sums are not sliced. The bits depend
// on it, so it goes by the shape alone: they are the same on any number of threads.
static int cpu_slice_length(gemm_shape s) {
    if (s.k < CPU_LEAST_SLICED || (int64_t)s.m * s.n > CPU_SLICED || gn_is_off("split")) {
        return s.k;
    }
    int slices = (int)least((size_t)(s.k / CPU_LEAST_SLICE), CPU_SLICES);
    return (int)tiles((int)tiles(s.k, slices), SUM_DEPTH) * SUM_DEPTH;
}

static void add_cpu_way(const native *state, gemm_ways *ways, cpu_kernel kernel, int tile, gemm_shape s) {
    int narrow = state->tiles[tile].rows, wide = width(state, tile);
    add_way(ways, kernel * TILES + tile, cpu_kernel_name(kernel, s), kernel == BLOCKS ? " by blocks" : "",
            kernel == ACROSS ? wide : narrow, kernel == ACROSS ? narrow : wide);
}

// Which shapes gemm_dot makes must not be measured, since its bits are its own.
static void list_cpu_ways(const native *state, gemm_shape s, gemm_ways *ways) {
    bool swapped;
    s = for_cpu(s, &swapped);
    if (s.transpose_b && !s.transpose_a && s.n < state->vector) {
        add_way(ways, DOT * TILES, "gemm_dot", "", DOT_ROWS, DOT_COLUMNS);
        return;
    }
    int tile = s.n <= state->vector       ? TILE_ONE_VECTOR
               : s.n <= 2 * state->vector ? TILE_FEW_COLUMNS
               : s.transpose_b            ? TILE_TALL
                                          : TILE_WIDE;
    bool sliced = cpu_slice_length(s) < s.k;
    cpu_kernel column = sliced ? SLICES : column_kernel(s);
    bool may_be_in_place = !sliced && !s.transpose_a && !s.transpose_b;
    bool may_be_across = !sliced && !s.transpose_a && s.transpose_b && s.m >= state->vector;
    if (may_be_across && s.m <= width(state, TILE_WIDE) && s.n >= WIDE * s.m && span(state, TILE_WIDE)) {
        add_cpu_way(state, ways, ACROSS, TILE_WIDE, s);
    }
    bool in_place = may_be_in_place && tiles(s.m, state->tiles[tile].rows) < WORTH_A_COPY;
    add_cpu_way(state, ways, in_place ? IN_PLACE : column, tile, s);
    for (int t = 0; t < TILES; t++) {
        int but_last = width(state, t) - state->vector; // a vector behind the last element is useless
        if (may_be_across && but_last < s.m && span(state, t)) {
            add_cpu_way(state, ways, ACROSS, t, s);
        }
        if (but_last >= s.n) {
            continue;
        }
        add_cpu_way(state, ways, column, t, s);
        if (!sliced && may_be_either(s)) {
            add_cpu_way(state, ways, column == BLOCKS ? COLUMN : BLOCKS, t, s);
        }
        if (may_be_in_place) {
            add_cpu_way(state, ways, IN_PLACE, t, s);
        }
    }
}

// As cpu_slice_length(), by the shape and the device alone, and not by the tile.
static int gpu_slice_length(const native *state, gemm_shape s) {
    int side = gpu_side(state, GPU_SMALL_TILE);
    size_t groups = tiles(s.m, side) * tiles(s.n, side),
           slices = least(GROUPS_PER_UNIT * state->units / groups, (size_t)(s.k / LEAST_SLICE));
    if (s.k < LEAST_SLICED || slices < 2 || gn_is_off("split")) {
        return s.k;
    }
    return (int)tiles((int)tiles(s.k, (int)slices), SLICE_STEP) * SLICE_STEP;
}

static void add_gpu_way(const native *state, gemm_ways *ways, int tile, gemm_shape s) {
    int way = gpu_slice_length(state, s) < s.k ? tile + GPU_TILES : tile, side = gpu_side(state, tile);
    if (tile == GPU_TILE || local_bytes(state, tile) <= state->device->local_memory) {
        add_way(ways, way, gpu_kernel_name(way, s.transpose_a, s.transpose_b), "", side, side);
    }
}

// The largest tile of three that gives most units a group, as the best were on an H100: in larger ones a
// product reads less, in more of them it waits less.
static int built_in_tile(const native *state, gemm_shape s) {
    static const int tried[] = {GPU_TILE, GPU_SMALL_TILE};
    size_t slices = tiles(s.k, gpu_slice_length(state, s));
    for (int i = 0; i < 2; i++) {
        int side = gpu_side(state, tried[i]);
        bool fills = s.m > side / 2 && s.n > side / 2;
        if (fills && 4 * tiles(s.m, side) * tiles(s.n, side) * slices >= 3 * (size_t)state->units) {
            return tried[i];
        }
    }
    return GPU_LEAST_TILE;
}

static void list_gpu_ways(const native *state, gemm_shape s, gemm_ways *ways) {
    add_gpu_way(state, ways, built_in_tile(state, s), s);
    for (int t = 0; t < GPU_TILES; t++) {
        add_gpu_way(state, ways, t, s);
    }
}

static void list_ways(const void *state, gemm_shape s, gemm_ways *ways) {
    const native *started = state;
    ways->count = 0;
    if (started->device->class == CLASS_CPU) {
        list_cpu_ways(started, s, ways);
    } else {
        list_gpu_ways(started, s, ways);
    }
}

// ---- Parts -------------------------------------------------------------------------------------------

// The one or two kernels of a product by this way, in the order of their launches. Returns how many.
static int list_parts(const native *state, gemm_shape s, int way, const char *epilogue,
                      part parts[MOST_PARTS]) {
    bool cpu = state->device->class == CLASS_CPU, swapped, sliced;
    const char *kernel;
    if (cpu) {
        s = for_cpu(s, &swapped);
        sliced = way / TILES == SLICES;
        kernel = cpu_kernel_name((cpu_kernel)(way / TILES), s);
    } else {
        sliced = way >= GPU_TILES;
        kernel = gpu_kernel_name(way, s.transpose_a, s.transpose_b);
    }
    parts[0] = (part){kernel, way % (cpu ? TILES : GPU_TILES), sliced ? "" : epilogue};
    parts[1] = (part){"gemm_fold", cpu ? TILE_WIDE : GPU_TILE, epilogue};
    return sliced ? 2 : 1;
}

static void compile(void *started, const gemm_product *products, const int *ways, int count, bool of_plan) {
    native *state = started;
    if (gn_is_off("one-program")) {
        return;
    }
    part *parts = gn_calloc((size_t)count * MOST_PARTS + 1, sizeof *parts);
    int listed = 0;
    for (int i = 0; i < count; i++) {
        const char *epilogue = products[i].epilogue ? products[i].epilogue : "";
        listed += list_parts(state, products[i].shape, ways[i], epilogue, parts + listed);
    }
    compile_parts(state, parts, listed, of_plan);
    free(parts);
}

static void forget_plans(void *started) {
    native *state = started;
    gemm_copies_forget_plans(&state->copies);
}

// ---- Launches ----------------------------------------------------------------------------------------

typedef struct {
    size_t size;
    const void *value;
} argument;

#define ARGUMENT(variable)                                                                                   \
    (argument) {                                                                                             \
        sizeof(variable), &(variable)                                                                        \
    }

enum { MOST_ARGUMENTS = 7 }; // before an epilogue's; fewer end with size 0

// Appends a launch of a copy's kernel, with the epilogue's buffers behind its arguments where that is given;
// NULL on failure, as where there is no copy.
static launch *add_launch(gemm_call *call, const gemm_copy *copy, const argument arguments[MOST_ARGUMENTS],
                          const gemm_epilogue *epilogue) {
    prepared_call *prepared = call->prepared;
    launch *l = &prepared->launches[prepared->count];
    cl_int status;
    if (!copy) {
        return NULL;
    }
    l->kernel = clCreateKernel(copy->program, copy->name, &status);
    if (status != CL_SUCCESS) {
        gn_fail("clCreateKernel of %s: %s", copy->name, cl_error_name(status));
        return NULL;
    }
    prepared->count++;
    cl_uint count = 0;
    while (count < MOST_ARGUMENTS && arguments[count].size && status == CL_SUCCESS) {
        status = clSetKernelArg(l->kernel, count, arguments[count].size, arguments[count].value);
        count++;
    }
    for (int i = 0; epilogue && i < epilogue->count && status == CL_SUCCESS; i++) {
        status = clSetKernelArg(l->kernel, count++, sizeof epilogue->buffers[i], &epilogue->buffers[i]);
    }
    return check(status, "clSetKernelArg") ? l : NULL;
}

// The copy of a part; NULL where it cannot run: a GPU's large tile and an epilogue need registers too.
static const gemm_copy *fitting_copy(native *state, part p) {
    const gemm_copy *copy = copy_of(state, p);
    size_t group = (size_t)state->side * (size_t)state->side, limit;
    if (!copy || !group_limit(state, copy, &limit)) {
        return NULL;
    }
    if (group > limit) {
        gn_fail("it runs in work-groups of %zu, not of %zu%s", limit, group,
                *p.epilogue ? ", with its epilogue; GANC_OFF=epilogue does without" : "");
        return NULL;
    }
    return copy;
}

static void set_tiles(const native *state, launch *l, int way, gemm_shape s, int slices) {
    size_t side = (size_t)state->side;
    l->local[0] = l->local[1] = side;
    l->local[2] = 1;
    l->global[0] = tiles(s.n, gpu_side(state, way)) * side;
    l->global[1] = tiles(s.m, gpu_side(state, way)) * side;
    l->global[2] = (size_t)slices;
}

// The second launch of a product in slices; its range is left to the caller.
static launch *add_fold(gemm_call *call, part p, gemm_shape s) {
    const prepared_call *prepared = call->prepared;
    return add_launch(call, copy_of(call->products->state, p),
                      (argument[MOST_ARGUMENTS]){ARGUMENT(s.m), ARGUMENT(s.n), ARGUMENT(call->slices),
                                                 ARGUMENT(prepared->partial), ARGUMENT(call->c)},
                      call->epilogue);
}

static bool add_gpu_fold(gemm_call *call, part p) {
    native *state = call->products->state;
    gemm_shape s = call->shape;
    launch *l = add_fold(call, p, s);
    size_t allowed = 1;
    if (!l || !check(clGetKernelWorkGroupInfo(l->kernel, state->device->info.id, CL_KERNEL_WORK_GROUP_SIZE,
                                              sizeof allowed, &allowed, NULL),
                     "clGetKernelWorkGroupInfo of gemm_fold")) {
        return false;
    }
    size_t group = least(least(FOLD_GROUP, allowed), state->device->max_group);
    *l = (launch){
        .kernel = l->kernel, .global = {tiles(s.m * s.n, (int)group) * group, 1, 1}, .local = {group, 1, 1}};
    return true;
}

static bool prepare_for_gpu(gemm_call *call, const part parts[MOST_PARTS]) {
    native *state = call->products->state;
    gemm_shape s = call->shape;
    bool sliced = call->way >= GPU_TILES;
    int length = gpu_slice_length(state, s);
    part p = parts[0];
    call->slices = sliced ? (int)tiles(s.k, length) : 1;
    if (sliced) {
        prepared_call *prepared = call->prepared;
        prepared->partial = state->partial;
        clRetainMemObject(state->partial);
    }
    // Where the tile has no room for the epilogue, the first one, whose bits are the same, is taken.
    const gemm_copy *copy = fitting_copy(state, p);
    if (!copy && p.tile != GPU_TILE) {
        p.tile = GPU_TILE;
        copy = fitting_copy(state, p);
    }
    launch *l = add_launch(call, copy,
                           (argument[MOST_ARGUMENTS]){ARGUMENT(s.m), ARGUMENT(s.n), ARGUMENT(s.k),
                                                      ARGUMENT(call->a), ARGUMENT(call->b),
                                                      sliced ? ARGUMENT(state->partial) : ARGUMENT(call->c),
                                                      sliced ? ARGUMENT(length) : (argument){0}},
                           sliced ? NULL : call->epilogue);
    if (!l) {
        return false;
    }
    set_tiles(state, l, p.tile, s, call->slices);
    return !sliced || add_gpu_fold(call, parts[1]);
}

// Work-items, down and across, of a kernel that makes columns of tiles. Most make one column. By blocks an
// item makes several, for which A is fetched once; then there are few items, as many for each thread.
static void share_out(int units, gemm_shape s, bool by_blocks, size_t rows, size_t columns,
                      size_t global[2]) {
    size_t down = tiles(s.m, COLUMN_ROWS), items = BLOCK_ITEMS_PER_UNIT * (size_t)units;
    if (!by_blocks) {
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

static bool prepare_slices(gemm_call *call, const part parts[MOST_PARTS], gemm_shape s, cl_mem a, cl_mem b) {
    native *state = call->products->state;
    prepared_call *prepared = call->prepared;
    int length = cpu_slice_length(s);
    call->slices = (int)tiles(s.k, length);
    prepared->partial =
        memory_buffer(state->device, sizeof(cl_float) * (size_t)call->slices * (size_t)s.m * (size_t)s.n,
                      "the slices of a matrix product", NULL);
    launch *l = NULL;
    if (prepared->partial) {
        l = add_launch(call, copy_of(state, parts[0]),
                       (argument[MOST_ARGUMENTS]){ARGUMENT(s.m), ARGUMENT(s.n), ARGUMENT(s.k), ARGUMENT(a),
                                                  ARGUMENT(b), ARGUMENT(prepared->partial), ARGUMENT(length)},
                       NULL);
    }
    if (!l) {
        return false;
    }
    *l = (launch){.kernel = l->kernel, .global = {1, 1, (size_t)call->slices}, .local = {1, 1, 1}};
    l = add_fold(call, parts[1], s);
    if (!l) {
        return false;
    }
    *l = (launch){.kernel = l->kernel, .global = {(size_t)s.m, 1, 1}, .local = {1, 1, 1}};
    return true;
}

static bool prepare_for_cpu(gemm_call *call, const part parts[MOST_PARTS]) {
    native *state = call->products->state;
    bool swapped;
    gemm_shape s = for_cpu(call->shape, &swapped);
    cpu_kernel kernel = (cpu_kernel)(call->way / TILES);
    int tile = call->way % TILES;
    size_t rows = tiles(s.m, kernel == DOT ? DOT_ROWS : state->tiles[tile].rows),
           columns = tiles(s.n, kernel == DOT ? DOT_COLUMNS : width(state, tile));
    cl_mem a = swapped ? call->b : call->a, b = swapped ? call->a : call->b;
    if (kernel == SLICES) {
        return prepare_slices(call, parts, s, a, b);
    }
    launch *l = add_launch(call, copy_of(state, parts[0]),
                           (argument[MOST_ARGUMENTS]){ARGUMENT(s.m), ARGUMENT(s.n), ARGUMENT(s.k),
                                                      ARGUMENT(a), ARGUMENT(b), ARGUMENT(call->c)},
                           call->epilogue);
    if (!l) {
        return false;
    }
    *l = (launch){.kernel = l->kernel, .global = {rows, columns, 1}, .local = {1, 1, 1}};
    if (kernel == COLUMN || kernel == BLOCKS) {
        share_out((int)state->units, s, kernel == BLOCKS, rows, columns, l->global);
    } else if (kernel == ACROSS) {
        l->global[0] = most(least(state->units, tiles(s.n, LEAST_SPAN)), tiles(s.n, SPAN));
        l->global[1] = tiles(s.m, width(state, tile));
    }
    return true;
}

static bool prepare(gemm_call *call) {
    const native *state = call->products->state;
    part parts[MOST_PARTS];
    list_parts(state, call->shape, call->way, call->epilogue ? call->epilogue->source : "", parts);
    call->prepared = gn_calloc(1, sizeof(prepared_call));
    return state->device->class == CLASS_CPU ? prepare_for_cpu(call, parts) : prepare_for_gpu(call, parts);
}

static bool enqueue_launch(const native *state, const launch *l, const launch_order *order) {
    return check(profile_kernel(state->device, l->kernel, 3, l->global, l->local, order),
                 "clEnqueueNDRangeKernel of gemm.cl");
}

// With an order the second launch of two waits for the first.
static bool enqueue(const gemm_call *call, const launch_order *order) {
    const native *state = call->products->state;
    const prepared_call *prepared = call->prepared;
    const launch *first = &prepared->launches[0], *second = &prepared->launches[1];
    if (prepared->count == 1) {
        return enqueue_launch(state, first, order);
    }
    if (!order) {
        return enqueue_launch(state, first, NULL) && enqueue_launch(state, second, NULL);
    }
    cl_event between = NULL;
    launch_order begin = {order->waits, order->count, &between}, end = {&between, 1, order->ended};
    bool done = enqueue_launch(state, first, &begin) && enqueue_launch(state, second, &end);
    if (between) {
        clReleaseEvent(between);
    }
    return done;
}

static void release(void *prepared) {
    prepared_call *released = prepared;
    for (int i = 0; released && i < released->count; i++) {
        clReleaseKernel(released->launches[i].kernel);
    }
    if (released && released->partial) {
        clReleaseMemObject(released->partial);
    }
    free(released);
}

const gemm_engine gemm_native = {
    .name = "native",
    .start = start,
    .stop = stop,
    .compile = compile,
    .forget_plans = forget_plans,
    .prepare = prepare,
    .enqueue = enqueue,
    .release = release,
    .limits = limits,
    .takes_order = true,
    .ways = list_ways,
};
