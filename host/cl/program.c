// A plan becomes a list of ready launches: kernels whose arguments are set, and matrix products whose buffers
// are known. A run enqueues the list, and neither allocates, sets an argument, nor waits. Launches that only
// constants go into are carried out when the program is made, and never again.
//
// Where the device has a concurrent queue, a launch waits for those alone that the plan says it must wait
// for: the last groups of one keep some cores busy while the first of the next keep others.
//
// Every launch has a cl_kernel object of its own, since arguments belong to the object.
//
// Tensors in the arena are sub-buffers of their exact size, so that a tool like Oclgrind sees a kernel that
// writes too far. GPUs have a buffer for each place in the arena instead, which takes up to 1.3 times the
// memory: for launches on many overlapping sub-buffers NVIDIA's driver (580.159) works on the host, 20 us for
// each of dcgan's and 3 us of gan's, where their kernels take 9 us.
#include "cl/program.h"
#include "cl/codegen.h"
#include "cl/gemm.h"
#include "cl/generated_kernels.h"
#include "cl/kernels.h"
#include "cl/memory.h"
#include "cl/profile.h"
#include "graph/random.h"

#include <string.h>

// One of three: a kernel, a matrix product, or a copy into a variable.
typedef struct {
    char *name;          // of the kernel or the operation, with the shape: for messages
    launch_work work[2]; // of its kernel; of a product in slices, which has two, of each
    cl_kernel kernel;
    cl_uint dims;
    size_t global[3], local[3];
    gemm_call *product;
    cl_mem from, to;
    size_t bytes;
    int *waits; // the launches that it waits for, if it does not wait for all
    int wait_count;
    bool awaited;  // does another wait for it?
    bool constant; // it has been carried out when the program was made
} launch;

struct gn_program {
    gn_device *device;
    cl_mem *chunks; // the arena
    int chunk_count;
    cl_mem *tensors;     // by node id: the buffer, which is somebody else's; NULL where none
    cl_mem *sub_buffers; // in the order in which they were made
    int sub_buffer_count;
    launch *launches;
    int count;
    bool concurrent, warm; // warm: it has run
    cl_event *ended;       // of a concurrent run, while it is enqueued: by launch
    cl_event *waits;       // what one launch waits for
    program_cost cost;
};

// What is needed only while a program is made.
typedef struct {
    gn_program *program;
    gn_device *device;
    const plan *plan;
    bool apart; // does each tensor lie at the beginning of a chunk?
    generated_code code;
} builder;

// ---- Memory ------------------------------------------------------------------------------------------

// Variables and arenas must fit beside each other; many drivers notice that only while a step runs, or swap.
static bool fits_device(builder *b) {
    const device_info *info = &b->device->info;
    const gn_state *state = b->plan->graph->state;
    size_t variables = 0;
    for (gn_variable *v = gn_state_next(state, NULL); v; v = gn_state_next(state, v))
        variables += memory_variable_bytes(v);
    b->program->cost.arena_bytes = plan_arena_bytes(b->plan);
    b->device->arenas += b->program->cost.arena_bytes;
    double mib = 1 << 20;
    return variables + b->device->arenas <= info->memory ||
           gn_fail("%s has %.1f MiB of memory, data set and weights need %.1f, steps %.1f; " MEMORY_ADVICE,
                   info->name, (double)info->memory / mib, (double)variables / mib,
                   (double)b->device->arenas / mib);
}

static bool make_arena(builder *b) {
    gn_program *program = b->program;
    program->chunks = gn_calloc((size_t)b->plan->chunk_count, sizeof(cl_mem));
    program->chunk_count = b->plan->chunk_count;
    for (int i = 0; i < b->plan->chunk_count; i++)
        if (!(program->chunks[i] = memory_buffer(b->device, b->plan->chunks[i], "the arena of a step", NULL)))
            return false;
    return true;
}

// The buffer that holds the node's value.
static cl_mem tensor(builder *b, gn_node *node) {
    node = plan_base(node);
    cl_mem *found = &b->program->tensors[node->id];
    if (*found)
        return *found;
    if (plan_is_in_variable(b->plan, node))
        return *found = memory_of_variable(b->device, node->variable);
    placement place = b->plan->places[node->id];
    GN_ASSERT(place.chunk >= 0, "%s has no place in memory", op_table[node->op].name);
    if (b->apart)
        return *found = b->program->chunks[place.chunk];
    cl_buffer_region region = {place.offset, node_bytes(node)};
    cl_int status;
    *found = clCreateSubBuffer(b->program->chunks[place.chunk], CL_MEM_READ_WRITE,
                               CL_BUFFER_CREATE_TYPE_REGION, &region, &status);
    if (*found)
        b->program->sub_buffers[b->program->sub_buffer_count++] = *found;
    else
        gn_fail("clCreateSubBuffer of %zu bytes at %zu on %s: %s", region.size, region.origin,
                b->device->info.name, cl_error_name(status));
    return *found;
}

// ---- Launches ----------------------------------------------------------------------------------------

static char *describe(const char *what, const gn_node *node) {
    char shape[SHAPE_TEXT];
    return gn_format("%s for %s %s", what, op_table[node->op].name, shape_text(node->shape, shape));
}

// The program of the kernels that are the same for all plans, compiled when a step first asks for one of
// them; NULL on failure. One for all: PoCL reads 20,000 lines of its own with each, 0.05 s even for a program
// that it has compiled before. random.cl comes last, for it says how all that follows is rounded.
static cl_program fixed_program(gn_device *device) {
    if (device->fixed)
        return device->fixed;
    char *moves = kernels_source(device, "moves.cl"), *image = kernels_source(device, "image.cl"),
         *random = kernels_source(device, "random.cl");
    if (moves && image && random) {
        char *text = gn_format("%s%s%s", moves, image, random);
        device->fixed = kernels_build(device, "moves.cl, image.cl and random.cl", text, NULL);
        free(text);
    }
    free(moves);
    free(image);
    free(random);
    return device->fixed;
}

// Appends a launch of a kernel of the program; NULL on failure.
static launch *add_kernel(builder *b, cl_program code, const char *kernel, const gn_node *node) {
    if (!code)
        return NULL;
    launch *l = &b->program->launches[b->program->count++];
    cl_int status;
    l->name = describe(kernel, node);
    l->kernel = clCreateKernel(code, kernel, &status);
    if (!l->kernel) {
        gn_fail("clCreateKernel of %s on %s: %s", l->name, b->device->info.name, cl_error_name(status));
        return NULL;
    }
    return l;
}

static bool set_argument(launch *l, cl_uint *index, size_t size, const void *value) {
    cl_int status = clSetKernelArg(l->kernel, (*index)++, size, value);
    return status == CL_SUCCESS ||
           gn_fail("clSetKernelArg %u of %s: %s", *index - 1, l->name, cl_error_name(status));
}

static bool set_tensor(builder *b, launch *l, cl_uint *index, gn_node *node) {
    cl_mem buffer = tensor(b, node);
    return buffer && set_argument(l, index, sizeof buffer, &buffer);
}

static bool set_number(launch *l, cl_uint *index, cl_uint number) {
    return set_argument(l, index, sizeof number, &number);
}

static size_t round_up(size_t count, size_t multiple) {
    return (count + multiple - 1) / multiple * multiple;
}

// Lowers *group to what the device takes of the kernel, which may be less than what it takes in general.
static bool limit_group(builder *b, launch *l, size_t *group) {
    size_t allowed;
    cl_int status = clGetKernelWorkGroupInfo(l->kernel, b->device->info.id, CL_KERNEL_WORK_GROUP_SIZE,
                                             sizeof allowed, &allowed, NULL);
    if (status != CL_SUCCESS)
        return gn_fail("clGetKernelWorkGroupInfo of %s: %s", l->name, cl_error_name(status));
    allowed = allowed < b->device->max_group ? allowed : b->device->max_group;
    *group = *group < allowed ? *group : allowed;
    return *group > 0 ||
           gn_fail("%s: %s takes no work-group of it, says its driver", l->name, b->device->info.name);
}

// A 1-D range of at least `items` work-items in groups of up to `group`.
static bool set_range(builder *b, launch *l, size_t items, size_t group) {
    if (!limit_group(b, l, &group))
        return false;
    l->dims = 1;
    l->local[0] = group;
    l->global[0] = round_up(items, group);
    return true;
}

enum { SUM_COLUMNS = 32 }; // work-items side by side in a group that sums

// The range of a sum on GPU devices, see reduce.cl; and of a step of columns, whose lanes are always few.
static bool set_sum_range(builder *b, launch *l, op_form form, sum_loops loops) {
    size_t group = GPU_GROUP, columns = loops.inner > 1 || form == FORM_COLUMNS ? SUM_COLUMNS : 1,
           lanes = GPU_GROUP / columns;
    if (!limit_group(b, l, &group))
        return false;
    while (lanes > 1 && columns * lanes > group)
        lanes /= 2;
    columns = columns < group ? columns : group;
    l->dims = 3;
    l->local[0] = columns;
    l->local[1] = lanes;
    l->local[2] = 1;
    l->global[0] = round_up((size_t)loops.inner, columns);
    l->global[1] = lanes;
    l->global[2] = (size_t)loops.outer;
    return true;
}

// Enough elements in a group to be worth a trip to a thread, few enough to give every core some.
static size_t group_size(const builder *b) {
    return b->device->class == CLASS_CPU ? 64 : GPU_GROUP;
}

static bool is_fused(const plan_step *step) {
    return step->form == FORM_POINTWISE || step->form == FORM_SUM || step->form == FORM_COLUMNS;
}

static bool add_fused(builder *b, int s) {
    const plan_step *step = &b->plan->steps[s];
    gn_node *last = step->nodes[step->count - 1];
    const generated_kernel *kernel = generated_kernels_get(b->device, b->code.kernels[s]);
    launch *l = add_kernel(b, kernel->program, kernel->name, last);
    if (!l)
        return false;
    step_buffers buffers = codegen_buffers(b->plan, step);
    cl_uint index = 0;
    for (int i = 0; i < buffers.reads; i++)
        if (!set_tensor(b, l, &index, buffers.read[i]))
            return false;
    for (int i = 0; i < buffers.writes; i++)
        if (!set_tensor(b, l, &index, buffers.written[i]))
            return false;
    size_t vector = (size_t)codegen_vector(b->device, step);
    if (step->form == FORM_POINTWISE) {
        size_t n = gn_shape_count(last->shape);
        size_t vectors = n / vector, group = group_size(b);
        return set_number(l, &index, (cl_uint)n) &&
               (b->device->class == CLASS_CPU ? set_range(b, l, round_up(vectors, group) / group, 1)
                                              : set_range(b, l, vectors, group));
    }
    sum_loops loops = plan_step_loops(step);
    if (b->device->class == CLASS_GPU)
        return set_sum_range(b, l, step->form, loops);
    size_t outer = (size_t)loops.outer, inner = (size_t)loops.inner;
    if (step->form == FORM_SUM)
        vector *= (size_t)codegen_side(b->device, step);
    return set_range(b, l, inner > 1 ? outer * inner / vector : outer, 1);
}

static int last_size(const gn_node *node) {
    return node->shape.size[node->shape.dims - 1];
}

// in, out, n
static bool add_patches(builder *b, int s) {
    const plan_step *step = &b->plan->steps[s];
    gn_node *node = step->nodes[0];
    const generated_kernel *kernel = generated_kernels_get(b->device, b->code.kernels[s]);
    launch *l = add_kernel(b, kernel->program, kernel->name, node);
    bool cpu = b->device->class == CLASS_CPU;
    patch_loops loops = patch_node_loops(node);
    size_t rows = (size_t)loops.count * (size_t)(node->op == OP_IM2COL ? loops.out_height : loops.height),
           items = cpu ? rows : gn_shape_count(node->shape) / (size_t)codegen_vector(b->device, step);
    cl_uint i = 0;
    return l && set_tensor(b, l, &i, node->input[0]) && set_tensor(b, l, &i, node) &&
           set_number(l, &i, (cl_uint)items) && set_range(b, l, items, cpu ? 4 : group_size(b));
}

static gemm_shape shape_of_product(const gn_node *node) {
    bool ta = node->integer[0], tb = node->integer[1];
    return (gemm_shape){ta, tb, node->shape.size[0], node->shape.size[1], node->input[0]->shape.size[!ta]};
}

static bool add_product(builder *b, int s) {
    const plan_step *step = &b->plan->steps[s];
    gn_node *node = step->nodes[0];
    gemm_shape shape = shape_of_product(node);
    cl_mem a = tensor(b, node->input[0]), bb = tensor(b, node->input[1]), c = tensor(b, step->sums);
    if (!a || !bb || !c)
        return false;
    step_buffers nodes = codegen_buffers(b->plan, step);
    cl_mem buffers[2 * MAX_STEP_BUFFERS];
    gemm_epilogue epilogue = {b->code.epilogues[s], buffers, nodes.reads + nodes.writes};
    for (int i = 0; i < epilogue.count && epilogue.source; i++)
        if (!(buffers[i] = tensor(b, i < nodes.reads ? nodes.read[i] : nodes.written[i - nodes.reads])))
            return false;
    launch *l = &b->program->launches[b->program->count++];
    l->name = describe("product", node);
    l->product = gemm_call_new(b->device->gemm, shape, a, bb, c, epilogue.source ? &epilogue : NULL);
    return l->product != NULL;
}

// out, table, rows, pieces, n
static bool add_gather(builder *b, gn_node *node) {
    size_t row = node_bytes(node) / (size_t)node->shape.size[0];
    size_t piece = row % 16 == 0 ? 16 : row % 4 == 0 ? 4 : 1;
    const char *kernel = piece == 16 ? "gather_16" : piece == 4 ? "gather_4" : "gather_1";
    launch *l = add_kernel(b, fixed_program(b->device), kernel, node);
    size_t n = node_bytes(node) / piece;
    cl_uint i = 0;
    return l && set_tensor(b, l, &i, node) && set_tensor(b, l, &i, node->input[0]) &&
           set_tensor(b, l, &i, node->input[1]) && set_number(l, &i, (cl_uint)(row / piece)) &&
           set_number(l, &i, (cl_uint)n) && set_range(b, l, n, group_size(b));
}

// out, labels, classes, n
static bool add_one_hot(builder *b, gn_node *node) {
    launch *l = add_kernel(b, fixed_program(b->device), "one_hot", node);
    size_t n = gn_shape_count(node->shape);
    cl_uint i = 0;
    return l && set_tensor(b, l, &i, node) && set_tensor(b, l, &i, node->input[0]) &&
           set_number(l, &i, (cl_uint)last_size(node)) && set_number(l, &i, (cl_uint)n) &&
           set_range(b, l, n, group_size(b));
}

// out, order, step, batches, n
static bool add_batch_rows(builder *b, gn_node *node) {
    launch *l = add_kernel(b, fixed_program(b->device), "batch_rows", node);
    size_t n = gn_shape_count(node->shape), rows = gn_shape_count(node->input[0]->shape);
    cl_uint i = 0;
    return l && set_tensor(b, l, &i, node) && set_tensor(b, l, &i, node->input[0]) &&
           set_tensor(b, l, &i, node->input[1]) && set_number(l, &i, (cl_uint)(rows / n)) &&
           set_number(l, &i, (cl_uint)n) && set_range(b, l, n, group_size(b));
}

// out, in, n
static bool add_resize(builder *b, gn_node *node) {
    launch *l = add_kernel(b, fixed_program(b->device), "resize", node);
    size_t n = gn_shape_count(node->shape) / (size_t)last_size(node);
    cl_uint i = 0;
    return l && set_tensor(b, l, &i, node) && set_tensor(b, l, &i, node->input[0]) &&
           set_number(l, &i, (cl_uint)n) && set_range(b, l, n, group_size(b));
}

// log, step, value, column, rows, columns
static bool add_record(builder *b, gn_node *node) {
    launch *l = add_kernel(b, fixed_program(b->device), "record", node);
    cl_uint i = 0;
    return l && set_tensor(b, l, &i, node) && set_tensor(b, l, &i, node->input[0]) &&
           set_tensor(b, l, &i, node->input[1]) && set_number(l, &i, (cl_uint)node->integer[0]) &&
           set_number(l, &i, (cl_uint)node->shape.size[0]) &&
           set_number(l, &i, (cl_uint)node->shape.size[1]) && set_range(b, l, 1, 1);
}

enum { LEAST_EXACT_GROUP = 8 }; // work-items of a group that fill a vector

// The largest divisor of a number that is at most `most`.
static size_t divisor(size_t number, size_t most) {
    while (number % most != 0)
        most--;
    return most;
}

// A 1-D range of exactly `items` work-items.
static bool set_exact_range(builder *b, launch *l, size_t items, size_t group) {
    if (!limit_group(b, l, &group))
        return false;
    l->dims = 1;
    l->local[0] = divisor(items, group);
    l->global[0] = items;
    return true;
}

// out, step, seed_low, seed_high, stream, first, n, and the bound
static bool add_random(builder *b, gn_node *node) {
    size_t n = gn_shape_count(node->shape), first = (size_t)node->integer[0], group = group_size(b);
    bool whole = b->device->class == CLASS_CPU && first % 4 == 0 && n % 4 == 0 &&
                 divisor(n / 4, group) >= LEAST_EXACT_GROUP;
    char *name = gn_format("%s%s", op_table[node->op].name, whole ? "_whole" : "");
    launch *l = add_kernel(b, fixed_program(b->device), name, node);
    free(name);
    uint64_t seed = gn_state_seed(node->graph->state);
    cl_uint i = 0;
    return l && set_tensor(b, l, &i, node) && set_tensor(b, l, &i, node->input[0]) &&
           set_number(l, &i, (cl_uint)seed) && set_number(l, &i, (cl_uint)(seed >> 32)) &&
           set_number(l, &i, random_stream(node->stream)) && set_number(l, &i, (cl_uint)first) &&
           set_number(l, &i, (cl_uint)n) &&
           (node->op != OP_RANDOM_BELOW || set_number(l, &i, (cl_uint)node->integer[1])) &&
           (whole ? set_exact_range(b, l, n / 4, group) : set_range(b, l, (first % 4 + n + 3) / 4, group));
}

static bool add_launch(builder *b, int s) {
    gn_node *node = b->plan->steps[s].nodes[0];
    if (is_fused(&b->plan->steps[s]))
        return add_fused(b, s);
    switch (node->op) {
    case OP_IM2COL:
    case OP_COL2IM:
        return add_patches(b, s);
    case OP_MATMUL:
        return add_product(b, s);
    case OP_GATHER:
        return add_gather(b, node);
    case OP_ONE_HOT:
        return add_one_hot(b, node);
    case OP_BATCH_ROWS:
        return add_batch_rows(b, node);
    case OP_RECORD:
        return add_record(b, node);
    case OP_RANDOM_UNIFORM:
    case OP_RANDOM_NORMAL:
    case OP_RANDOM_BELOW:
        return add_random(b, node);
    case OP_RESIZE:
        return add_resize(b, node);
    default:
        GN_ASSERT(false, "no kernel for %s", op_table[node->op].name);
    }
}

// ---- What a launch needs -------------------------------------------------------------------------------

// "2 mul, add, tanh": the elementwise operations of a step, and a sum, each with how often it occurs, in the
// order of their first.
static char *list_operations(const plan_step *step) {
    char *list = gn_strdup("");
    int counts[OP_COUNT] = {0};
    for (int i = 0; i < step->count; i++)
        counts[step->nodes[i]->op]++;
    for (int i = 0; i < step->count; i++) {
        op_kind op = step->nodes[i]->op;
        bool reading = op_table[op].form == FORM_BROADCAST && step->count > 1;
        if (!counts[op] || reading || op == OP_MATMUL)
            continue;
        char times[16] = "";
        if (counts[op] > 1)
            snprintf(times, sizeof times, "%d ", counts[op]);
        char *longer = gn_format("%s%s%s%s", list, list[0] ? ", " : "", times, op_table[op].name);
        free(list);
        list = longer;
        counts[op] = 0;
    }
    return list;
}

// With the operations of its epilogue: "NN 64x512x784, add, tanh".
static char *shape_of_product_step(const plan_step *step) {
    char *epilogue = list_operations(step);
    char *text = gn_format("%s%s%s", gemm_shape_words(shape_of_product(step->nodes[0])).text,
                           epilogue[0] ? ", " : "", epilogue);
    free(epilogue);
    return text;
}

static char *shape_of_step(const plan_step *step) {
    const gn_node *last = step->nodes[step->count - 1];
    char from[SHAPE_TEXT] = "", to[SHAPE_TEXT];
    shape_text(last->shape, to);
    if (step->form == FORM_MATMUL)
        return shape_of_product_step(step);
    if (is_fused(step)) {
        char *operations = list_operations(step);
        char *text =
            step->form == FORM_SUM
                ? gn_format("%s %s to %s", operations, shape_text(last->input[0]->shape, from), to)
            : step->form == FORM_COLUMNS
                ? gn_format("%s (%d, %d)", operations, plan_step_loops(step).run, plan_step_loops(step).inner)
                : gn_format("%s %s", operations, to);
        free(operations);
        return text;
    }
    return op_table[last->op].inputs ? gn_format("%s to %s", shape_text(last->input[0]->shape, from), to)
                                     : gn_format("%s", to);
}

static launch_work work_of_step(const builder *b, const plan_step *step) {
    const gn_node *node = step->nodes[0];
    launch_work work = {.shape = shape_of_step(step)};
    for (int i = 0; i < step->count; i++)
        work.flops += op_table[step->nodes[i]->op].flops(step->nodes[i]);
    bool product = step->form == FORM_MATMUL;
    if (product || is_fused(step)) {
        work.template = product                      ? NULL
                        : step->form == FORM_SUM     ? "reduce"
                        : step->form == FORM_COLUMNS ? "columns"
                                                     : "pointwise";
        step_buffers buffers = codegen_buffers(b->plan, step);
        for (int i = 0; i < buffers.reads; i++)
            work.bytes += (double)node_bytes(buffers.read[i]);
        for (int i = 0; i < buffers.writes; i++)
            work.bytes += (double)node_bytes(buffers.written[i]);
    }
    if (product) {
        work.bytes += (double)node_bytes(node->input[0]) + (double)node_bytes(node->input[1]);
        work.bytes += plan_is_stored(b->plan, node) ? (double)node_bytes(node) : 0;
    } else if (!work.template)
        work.bytes = op_table[node->op].bytes(node);
    if (step->form == FORM_PATCHES)
        work.template = op_table[node->op].name;
    return work;
}

// Divides the work of a product in work[0]: its slices stay there, what adds them up and finishes goes to
// work[1].
static void divide_work(const plan_step *step, int slices, launch_work work[2]) {
    const gn_node *node = step->nodes[0];
    double operands = (double)node_bytes(node->input[0]) + (double)node_bytes(node->input[1]),
           partial = slices * (double)node_bytes(node), product = op_table[OP_MATMUL].flops(node);
    work[1] = (launch_work){.shape = work[0].shape,
                            .flops = work[0].flops - product + partial / sizeof(float),
                            .bytes = work[0].bytes - operands + partial};
    work[0] = (launch_work){
        .shape = gn_format("%s in %d slices", gemm_shape_words(shape_of_product(node)).text, slices),
        .flops = product,
        .bytes = operands + partial};
}

// A step is one launch, and has its number.
static bool add_step(builder *b, int s) {
    const plan_step *step = &b->plan->steps[s];
    launch *launches = b->program->launches, *l = &launches[s];
    if (!add_launch(b, s))
        return false;
    l->work[0] = work_of_step(b, step);
    if (l->product && gemm_call_slices(l->product) > 1)
        divide_work(step, gemm_call_slices(l->product), l->work);
    l->constant = step->constant;
    l->waits = gn_calloc((size_t)step->wait_count + 1, sizeof *l->waits);
    for (int i = 0; i < step->wait_count; i++)
        if (!launches[step->waits[i]].constant) {
            launches[step->waits[i]].awaited = true;
            l->waits[l->wait_count++] = step->waits[i];
        }
    return true;
}

static bool add_commit(builder *b, gn_node *assignment) {
    cl_mem from = tensor(b, assignment), to = memory_of_variable(b->device, assignment->variable);
    if (!from || !to)
        return false;
    b->program->launches[b->program->count++] =
        (launch){.name = describe("copy", assignment),
                 .work = {{.shape = gn_format("%zu bytes", node_bytes(assignment)),
                           .bytes = 2 * (double)node_bytes(assignment)}},
                 .from = from,
                 .to = to,
                 .bytes = node_bytes(assignment)};
    return true;
}

// ---- Programs ----------------------------------------------------------------------------------------

static bool generate(builder *b) {
    code_templates texts = {
        kernels_source(b->device, "operations.cl"), kernels_source(b->device, "pointwise.cl"),
        kernels_source(b->device, "reduce.cl"),     kernels_source(b->device, "columns.cl"),
        kernels_source(b->device, "conv.cl"),
    };
    bool done = texts.operations && texts.pointwise && texts.reduce && texts.columns && texts.conv;
    if (done)
        b->code = codegen(b->device, b->plan, &texts);
    free(texts.operations);
    free(texts.pointwise);
    free(texts.reduce);
    free(texts.columns);
    free(texts.conv);
    return done;
}

static void compile_products(builder *b) {
    const plan *plan = b->plan;
    gemm_product *products = gn_calloc((size_t)plan->count + 1, sizeof *products);
    int count = 0;
    for (int s = 0; s < plan->count; s++)
        if (plan->steps[s].form == FORM_MATMUL)
            products[count++] =
                (gemm_product){shape_of_product(plan->steps[s].nodes[0]), b->code.epilogues[s]};
    gemm_compile(b->device->gemm, products, count);
    free(products);
}

static bool build(builder *b) {
    const plan *plan = b->plan;
    gn_program *program = b->program;
    program->tensors = gn_calloc((size_t)plan->graph->count, sizeof(cl_mem));
    program->sub_buffers = gn_calloc((size_t)plan->graph->count, sizeof(cl_mem));
    program->launches = gn_calloc((size_t)plan->count + (size_t)plan->commit_count, sizeof(launch));
    if (!fits_device(b) || !make_arena(b) || !generate(b) ||
        !generated_kernels_compile(b->device, plan, &b->code))
        return false;
    compile_products(b);
    for (int s = 0; s < plan->count; s++)
        if (!add_step(b, s))
            return false;
    for (int i = 0; i < plan->commit_count; i++)
        if (!add_commit(b, plan->commits[i]))
            return false;
    program->ended = gn_calloc((size_t)program->count + 1, sizeof(cl_event));
    program->waits = gn_calloc((size_t)program->count + 1, sizeof(cl_event));
    program->cost.live_bytes = plan->live_bytes;
    return true;
}

static bool enqueue(gn_program *program, int i, const launch_order *order) {
    const launch *l = &program->launches[i];
    gn_device *device = program->device;
    if (l->product)
        return gemm_call_enqueue(l->product, order) || gn_fail_within("%s", l->name);
    cl_int status = l->kernel ? profile_kernel(device, l->kernel, l->dims, l->global, l->local, order)
                              : profile_copy(device, l->from, l->to, l->bytes);
    return status == CL_SUCCESS || gn_fail("%s on %s: %s", l->name, device->info.name, cl_error_name(status));
}

static bool check(const gn_program *program, cl_int status, const char *call) {
    return status == CL_SUCCESS ||
           gn_fail("%s on %s: %s", call, program->device->info.name, cl_error_name(status));
}

static bool run_constants(gn_program *program) {
    program->cost.launches = program->count;
    for (int i = 0; i < program->count; i++) {
        program->cost.launches -= program->launches[i].constant;
        if (program->launches[i].constant && !enqueue(program, i, NULL))
            return false;
    }
    return true;
}

// A convolution's pieces grow with the cores where these are more than eight. A MiB of patches is about half
// a millisecond of products for a core, beside which what a launch costs is little; not measured on so many.
static size_t piece_for(const gn_device *device, size_t bytes) {
    size_t shares = device->info.units / 8;
    return shares > 1 && bytes < SIZE_MAX / shares ? bytes * shares : bytes;
}

static plan_options options_for(const gn_device *device, plan_options options) {
    options.apart = device->class == CLASS_GPU;
    options.alignment = options.apart                           ? 1
                        : device->alignment > options.alignment ? device->alignment
                                                                : options.alignment;
    options.max_allocation = device->max_allocation;
    options.piece_bytes = piece_for(device, options.piece_bytes);
    gemm_limits limits = gemm_epilogue_limits(device->gemm);
    options.product_columns = limits.columns;
    options.product_depth = limits.depth;
    options.product_updates = limits.updates;
    return options;
}

gn_program *program_new(gn_device *device, gn_graph *graph, plan_options options) {
    options = options_for(device, options);
    plan *plan = plan_new(graph, options);
    gn_program *program = gn_calloc(1, sizeof *program);
    program->device = device;
    program->concurrent = options.concurrent && device->concurrent && plan->commit_count == 0;
    builder b = {.program = program, .device = device, .plan = plan, .apart = options.apart};
    if (!build(&b) || !run_constants(program)) {
        gn_program_free(program);
        program = NULL;
    }
    generated_code_free(&b.code);
    plan_free(plan);
    return program;
}

bool program_compile_products(gn_device *device, gn_graph *graph) {
    plan *plan = plan_new(graph, options_for(device, plan_options_default()));
    builder b = {.device = device, .plan = plan};
    bool done = generate(&b);
    if (done)
        compile_products(&b);
    generated_code_free(&b.code);
    plan_free(plan);
    return done;
}

gn_program *gn_program_new(gn_device *device, gn_graph *graph) {
    return program_new(device, graph, plan_options_default());
}

// The last sub-buffer first. NVIDIA's driver (580.159, on an H100) crashes in clReleaseMemObject() where
// overlapping ones go in another order: of small programs that made 100 of them, used and released them, 44
// of 72 did, and none of 36 that released the last one first.
static void release_memory(gn_program *program) {
    for (int i = program->sub_buffer_count - 1; i >= 0; i--)
        clReleaseMemObject(program->sub_buffers[i]);
    for (int i = 0; i < program->chunk_count; i++)
        if (program->chunks[i])
            clReleaseMemObject(program->chunks[i]);
    free(program->sub_buffers);
    free(program->tensors);
    free(program->chunks);
}

void gn_program_free(gn_program *program) {
    if (!program)
        return;
    clFinish(program->device->queue);
    program->device->arenas -= program->cost.arena_bytes;
    for (int i = 0; i < program->count; i++) {
        launch *l = &program->launches[i];
        if (l->kernel)
            clReleaseKernel(l->kernel);
        gemm_call_free(l->product);
        free(l->name);
        free(l->work[0].shape);
        free(l->work[1].shape);
        free(l->waits);
    }
    release_memory(program);
    free(program->launches);
    free(program->ended);
    free(program->waits);
    free(program);
}

// ---- Runs --------------------------------------------------------------------------------------------

static bool run_in_order(gn_program *program) {
    for (int i = 0; i < program->count; i++) {
        if (program->launches[i].constant)
            continue;
        profile_begin(program->device, i);
        if (!enqueue(program, i, NULL))
            return false;
        profile_end(program->device);
    }
    return check(program, clFlush(program->device->queue), "clFlush");
}

// Those that wait for no launch wait for what was enqueued before the run.
static bool enqueue_all(gn_program *program, cl_event before) {
    for (int i = 0; i < program->count; i++) {
        const launch *l = &program->launches[i];
        if (l->constant)
            continue;
        launch_order order = {program->waits, (cl_uint)l->wait_count, &program->ended[i]};
        for (int w = 0; w < l->wait_count; w++)
            program->waits[w] = program->ended[l->waits[w]];
        if (order.count == 0)
            program->waits[order.count++] = before;
        if (!enqueue(program, i, &order))
            return false;
    }
    return check(program, clFlush(program->device->concurrent), "clFlush");
}

// Makes what is enqueued from now on wait for the launches that no other waits for.
static bool enqueue_end(gn_program *program) {
    cl_uint count = 0;
    for (int i = 0; i < program->count; i++)
        if (!program->launches[i].awaited && !program->launches[i].constant)
            program->waits[count++] = program->ended[i];
    return count == 0 ||
           check(program, clEnqueueBarrierWithWaitList(program->device->queue, count, program->waits, NULL),
                 "clEnqueueBarrierWithWaitList");
}

// What is enqueued where another queue waits for it must be flushed before that.
static bool run_concurrently(gn_program *program) {
    gn_device *device = program->device;
    cl_event before = NULL;
    bool done = check(program, clEnqueueMarkerWithWaitList(device->queue, 0, NULL, &before),
                      "clEnqueueMarkerWithWaitList") &&
                check(program, clFlush(device->queue), "clFlush") && enqueue_all(program, before) &&
                enqueue_end(program) && check(program, clFlush(device->queue), "clFlush");
    if (!done)
        clFinish(device->concurrent); // no barrier says when it has ended
    for (int i = 0; i < program->count; i++) {
        if (program->ended[i])
            clReleaseEvent(program->ended[i]);
        program->ended[i] = NULL;
    }
    if (before)
        clReleaseEvent(before);
    return done;
}

// The first run is in order. PoCL 3.1 compiles a kernel at its first launch with a larger range than those
// before, and while several launches of it are under way then, counts who uses which code wrongly and aborts
// ("pocl_release_dlhandle_cache: Assertion `found->ref_count > 0'").
bool gn_program_run(gn_program *program) {
    bool in_order = !program->concurrent || !program->warm || program->device->profile;
    program->warm = true;
    return in_order ? run_in_order(program) : run_concurrently(program);
}

// Zeros, since some kernels read numbers of rows.
static bool clear_arena(gn_program *program) {
    const cl_uint zero = 0;
    bool done = true;
    for (int i = 0; i < program->chunk_count && done; i++) {
        size_t bytes = 0;
        clGetMemObjectInfo(program->chunks[i], CL_MEM_SIZE, sizeof bytes, &bytes, NULL);
        done = check(program,
                     clEnqueueFillBuffer(program->device->queue, program->chunks[i], &zero, sizeof zero, 0,
                                         bytes / sizeof zero * sizeof zero, 0, NULL, NULL),
                     "clEnqueueFillBuffer");
    }
    return done;
}

bool program_compile_kernels(gn_program *program, bool (*go_on)(void *context), void *context) {
    bool done = clear_arena(program);
    for (int i = program->count - 1; i >= 0 && done; i--)
        done = go_on(context) && enqueue(program, i, NULL) && gn_device_wait(program->device);
    return done;
}

program_cost program_get_cost(const gn_program *program) {
    return program->cost;
}

launch_work program_work(const gn_program *program, int launch, int part) {
    return program->launches[launch].work[part];
}
