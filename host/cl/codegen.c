// Fused steps become OpenCL C: for each a function that loads, computes and stores the elements at one index,
// wrapped in the loops of kernels_cl/pointwise.cl, reduce.cl, columns.cl or gemm.cl. Patches are the text of
// conv.cl with its sizes.
//
// An element of every node of a step has the same index i. What a step reads from outside has either as many
// elements, or is the input of a broadcast, slice or pad, whose index is computed from i. All sizes are
// written into the text: divisions by constants are cheap, and equal layers share a kernel. A product's
// kernel knows its column as well, which is a bias's index whatever the sizes; so does one of columns, where
// a node that has an element a column has this index.
#include "cl/codegen.h"
#include "cl/gemm.h"

#include <math.h>
#include <string.h>

// ---- Index arithmetic of broadcasts ------------------------------------------------------------------

// How many columns there are, where the text knows the one of element i; else 0.
static int columns_of(const plan_step *step) {
    return step->form == FORM_MATMUL    ? step->nodes[0]->shape.size[1]
           : step->form == FORM_COLUMNS ? plan_step_loops(step).inner
                                        : 0;
}

// Where element i of the broadcast lies in its input, as an expression: (i / below) % size for each axis that
// does not stretch, times what lies below it in the input.
static void print_broadcast_index(FILE *out, const plan_step *step, const gn_node *broadcast) {
    broadcast_axes axes = broadcast_node_axes(broadcast);
    if (axes.count == 2 && axes.size[0] == columns_of(step) && !axes.stretched[0]) {
        fputs("column", out);
        return;
    }
    int below = 1, stride = 1;
    const char *plus = "";
    for (int i = 0; i < axes.count; below *= axes.size[i++]) {
        if (axes.stretched[i])
            continue;
        fprintf(out, "%si", plus);
        if (below > 1)
            fprintf(out, " / %du", below);
        if (i < axes.count - 1)
            fprintf(out, " %% %du", axes.size[i]);
        if (stride > 1)
            fprintf(out, " * %du", stride);
        stride *= axes.size[i];
        plus = " + ";
    }
    if (stride == 1)
        fputs("0", out);
}

// Where element i of a slice lies in its input: i / width * (the input's width) + i % width + first.
static void print_slice_index(FILE *out, const gn_node *slice) {
    int last = slice->shape.dims - 1;
    fprintf(out, "i / %du * %du + i %% %du + %du", slice->shape.size[last], slice->input[0]->shape.size[last],
            slice->shape.size[last], slice->integer[0]);
}

// The column of a padded input that element i shows, huge before the first one.
static void print_pad_column(FILE *out, const gn_node *pad) {
    fprintf(out, "i %% %du - %du", pad->shape.size[pad->shape.dims - 1], pad->integer[0]);
}

static void print_pad_index(FILE *out, const gn_node *pad) {
    int last = pad->shape.dims - 1;
    fprintf(out, "i / %du * %du + ", pad->shape.size[last], pad->input[0]->shape.size[last]);
    print_pad_column(out, pad);
}

static void print_index(FILE *out, const plan_step *step, const gn_node *node) {
    fputs("(", out);
    if (node->op == OP_BROADCAST)
        print_broadcast_index(out, step, node);
    else if (node->op == OP_SLICE)
        print_slice_index(out, node);
    else if (node->op == OP_PAD)
        print_pad_index(out, node);
    else
        fputs("i", out);
    fputs(")", out);
}

static bool reads_elsewhere(const gn_node *node) {
    return op_table[node->op].form == FORM_BROADCAST;
}

// ---- What a step reads and writes --------------------------------------------------------------------

static bool is_literal(gn_node *node) {
    return plan_base(node)->op == OP_CONSTANT;
}

static void add_once(gn_node **list, int *count, gn_node *node) {
    for (int i = 0; i < *count; i++)
        if (list[i] == node)
            return;
    GN_ASSERT(*count < MAX_STEP_BUFFERS, "a fused step uses more than %d buffers", MAX_STEP_BUFFERS);
    list[(*count)++] = node;
}

step_buffers codegen_buffers(const plan *plan, const plan_step *step) {
    step_buffers buffers = {.reads = 0};
    for (int i = step->form == FORM_MATMUL; i < step->count; i++) {
        gn_node *node = step->nodes[i];
        for (int j = 0; j < op_table[node->op].inputs; j++) {
            gn_node *base = plan_base(node->input[j]);
            if (!is_literal(base) && !plan_step_has(step, base))
                add_once(buffers.read, &buffers.reads, base);
        }
        if (plan_is_stored(plan, node))
            add_once(buffers.written, &buffers.writes, node);
    }
    return buffers;
}

int codegen_vector(const gn_device *device, const plan_step *step) {
    if (step->form == FORM_MATMUL)
        return gemm_epilogue_limits(device->gemm).columns;
    const gn_node *last = step->nodes[step->count - 1];
    bool sum = step->form == FORM_SUM || step->form == FORM_COLUMNS;
    int vector = device->class == CLASS_CPU ? 16 : sum ? 1 : 4;
    int fits; // the vector must divide this
    if (sum) {
        sum_loops loops = plan_step_loops(step);
        fits = loops.inner > 1 || step->form == FORM_COLUMNS ? loops.inner : loops.run;
    } else if (step->form == FORM_PATCHES)
        fits = patch_node_loops(last).channels;
    else
        fits = (int)gn_shape_count(last->shape);
    while (fits % vector)
        vector /= 2;
    for (int i = 0; i < step->count; i++)
        if (reads_elsewhere(step->nodes[i]))
            while (broadcast_node_run(step->nodes[i]) % vector)
                vector /= 2;
    return vector;
}

// Whole rows, which come from memory fastest, up to a length and where that leaves work-items enough for the
// cores of a large processor.
int codegen_side(const gn_device *device, const plan_step *step) {
    enum { MOST = 8, WORK_ITEMS = 64 };
    sum_loops loops = plan_step_loops(step);
    int side = MOST, vectors = loops.inner / codegen_vector(device, step);
    if (device->class != CLASS_CPU || loops.inner == 1)
        return 1;
    while (side > 1 && (vectors % side || loops.outer * (vectors / side) < WORK_ITEMS))
        side /= 2;
    return side;
}

// ---- Text --------------------------------------------------------------------------------------------

static const char *type_name(gn_type type) {
    return type == GN_F32 ? "float" : type == GN_I32 ? "int" : "uchar";
}

static const char *vector_suffix(int vector) {
    return vector == 1 ? "" : vector == 2 ? "2" : vector == 4 ? "4" : vector == 8 ? "8" : "16";
}

static int find(gn_node *const *list, int count, const gn_node *node) {
    int i = 0;
    while (i < count && list[i] != node)
        i++;
    return i;
}

static void print_number(FILE *out, double value) {
    if (isinf(value))
        fputs(value > 0 ? "INFINITY" : "-INFINITY", out);
    else
        fprintf(out, "%af", (float)value);
}

// The value of a node's input at the present elements: a literal, a variable of the function, or a load.
static void print_operand(FILE *out, const plan_step *step, const step_buffers *buffers, const gn_node *node,
                          int which, int vector) {
    gn_node *base = plan_base(node->input[which]);
    const char *type = type_name(base->type), *suffix = vector_suffix(vector);
    if (is_literal(base)) {
        fprintf(out, "(%s%s)(", type, suffix);
        if (base->type == GN_F32)
            print_number(out, base->number[0]);
        else
            fprintf(out, "%d", (int)base->number[0]);
        fputs(")", out);
        return;
    }
    if (plan_step_has(step, base)) {
        fprintf(out, "v%d", find(step->nodes, step->count, base));
        return;
    }
    int from = find(buffers->read, buffers->reads, base);
    bool splat = node->op == OP_BROADCAST && broadcast_node_axes(node).stretched[0];
    if (node->op == OP_PAD) {
        fputs("(", out);
        print_pad_column(out, node);
        fprintf(out, " < %du) ? ", node->input[0]->shape.size[node->shape.dims - 1]);
    }
    if (vector > 1 && !splat)
        fprintf(out, "vload%s(0, in%d + ", suffix, from);
    else
        fprintf(out, "(%s%s)(in%d[", type, suffix, from);
    print_index(out, step, node);
    fputs(vector > 1 && !splat ? ")" : "])", out);
    if (node->op == OP_PAD)
        fprintf(out, " : (%s%s)(0.0f)", type, suffix);
}

// "const float16 v3 = op_mul(v1, vload16(0, in0 + i));"
static void print_computation(FILE *out, const plan_step *step, const step_buffers *buffers, int index,
                              int vector) {
    const gn_node *node = step->nodes[index];
    const op_description *op = &op_table[node->op];
    fprintf(out, "    const %s%s v%d = op_%s(", type_name(node->type), vector_suffix(vector), index,
            op->name);
    for (int i = 0; i < op->inputs; i++) {
        fputs(i ? ", " : "", out);
        print_operand(out, step, buffers, node, i, vector);
    }
    for (int i = 0; i < op->numbers; i++) {
        fputs(", ", out);
        print_number(out, node->number[i]);
    }
    fputs(");\n", out);
}

static void print_parameters(FILE *out, const step_buffers *buffers, int writes) {
    const char *comma = "";
    for (int i = 0; i < buffers->reads; i++, comma = ", ")
        fprintf(out, "%sglobal const %s *in%d", comma, type_name(buffers->read[i]->type), i);
    for (int i = 0; i < writes; i++, comma = ", ")
        fprintf(out, "%sglobal %s *out%d", comma, type_name(buffers->written[i]->type), i);
}

static void print_arguments(FILE *out, int reads, int writes) {
    for (int i = 0; i < reads; i++)
        fprintf(out, ", in%d", i);
    for (int i = 0; i < writes; i++)
        fprintf(out, ", out%d", i);
}

// PARAMETERS and ARGUMENTS of a kernel and what it calls. The arguments begin with a comma, for they stand
// last; so do the parameters where `others` come before them.
static void print_signature(FILE *out, const step_buffers *buffers, bool others) {
    fprintf(out, "#define PARAMETERS %s", others ? ", " : "");
    print_parameters(out, buffers, buffers->writes);
    fputs("\n#define ARGUMENTS ", out);
    print_arguments(out, buffers->reads, buffers->writes);
    fputs("\n", out);
}

static void print_types(FILE *out, int vector) {
    const char *suffix = vector_suffix(vector);
    fprintf(out, "#define VECTOR %d\n#define T float%s\n#define CONVERT convert_float%s\n", vector, suffix,
            suffix);
}

// What the node and all that it is a part of take.
static size_t whole_bytes(const plan *plan, const gn_node *node) {
    while (plan->parts[node->id].whole)
        node = plan->parts[node->id].whole;
    return node_bytes(node);
}

// Does the step write in order, and nothing that the caches hold? See device.c.
static bool is_streamed(const gn_device *device, const plan *plan, const plan_step *step) {
    step_buffers buffers = codegen_buffers(plan, step);
    bool streamed = step->form == FORM_POINTWISE || step->form == FORM_PATCHES;
    for (int i = 0; i < buffers.writes; i++)
        streamed = streamed && buffers.written[i]->type == GN_F32 &&
                   whole_bytes(plan, buffers.written[i]) > device->cached;
    return streamed;
}

// How the step's text loads and stores its vectors.
static void print_memory(FILE *out, int vector, bool streamed) {
    if (vector == 1)
        fputs("#define LOAD(p) *(p)\n#define STORE(v, p) *(p) = (v)\n", out);
    else
        fprintf(out, "#define LOAD(p) vload%d(0, p)\n#define STORE(v, p) %s(%d, v, p)\n", vector,
                streamed ? "STREAM" : "KEEP", vector);
}

// Stores the elements that others need, behind all loads: they may lie where something was that the step
// reads (takes_over() in plan.c). The sums of a step are stored elsewhere.
static void print_stores(FILE *out, const plan_step *step, const step_buffers *buffers) {
    for (int i = 0; i < buffers->writes; i++)
        if (buffers->written[i]->op != OP_SUM)
            fprintf(out, "    STORE(v%d, out%d + i);\n", find(step->nodes, step->count, buffers->written[i]),
                    i);
}

// The rest of the function: the nodes from `first` on, which it computes and stores.
static void print_body(FILE *out, const plan_step *step, const step_buffers *buffers, int first, int vector) {
    for (int i = first; i < step->count; i++)
        print_computation(out, step, buffers, i, vector);
    print_stores(out, step, buffers);
    fputs("}\n", out);
}

static void print_pointwise(FILE *out, const plan *plan, const plan_step *step, int vector, bool streamed,
                            const char *template) {
    step_buffers buffers = codegen_buffers(plan, step);
    print_types(out, vector);
    print_memory(out, vector, streamed);
    fputs("static void FUNCTION(const uint i, ", out);
    print_parameters(out, &buffers, buffers.writes);
    fputs(") {\n", out);
    print_body(out, step, &buffers, 0, vector);
    print_signature(out, &buffers, false);
    fprintf(
        out,
        "#define ELEMENT(i) FUNCTION(i ARGUMENTS)\n%s#undef PARAMETERS\n#undef ARGUMENTS\n#undef ELEMENT\n"
        "#undef VECTOR\n#undef T\n#undef CONVERT\n#undef LOAD\n#undef STORE\n",
        template);
}

// The epilogue of a product, whose kernel calls FUNCTION with a value of the product, v0, at element i, and
// FETCH before, for what that reads at this element. `operations` may be there already.
static void print_epilogue(FILE *out, const plan *plan, const plan_step *step, int vector,
                           const char *operations) {
    step_buffers buffers = codegen_buffers(plan, step);
    const char *suffix = vector_suffix(vector);
    fprintf(out, "%s#define T float%s\n#define CONVERT convert_float%s\n", operations, suffix, suffix);
    print_memory(out, vector, false);
    print_signature(out, &buffers, true);
    fputs("#define FINISH(i, j, value) FUNCTION((i) * n + (j), j, value, c ARGUMENTS)\n"
          "static void FUNCTION(const uint i, const uint column, const T v0, global float *c PARAMETERS) {\n",
          out);
    if (plan_is_stored(plan, step->nodes[0]))
        fputs("    STORE(v0, c + i);\n", out);
    print_body(out, step, &buffers, 1, vector);
    fputs("#undef LOAD\n#undef STORE\n#undef T\n#undef CONVERT\n#define FETCH(i, j)", out);
    for (int i = 0; i < buffers.reads; i++)
        if (gn_shape_count(buffers.read[i]->shape) == gn_shape_count(step->nodes[0]->shape))
            fprintf(out, " PREFETCH(in%d + (i) * n + (j));", i);
    fputs("\n", out);
}

static void print_sums(FILE *out, const plan *plan, const plan_step *step, int vector, int side,
                       const char *template) {
    step_buffers buffers = codegen_buffers(plan, step);
    sum_loops loops = plan_step_loops(step);
    int sums = plan_step_sums(step), elements = step->count - sums;
    print_types(out, vector);
    fprintf(out, "#define FOLD fold%d\n", vector);
    print_memory(out, vector, false);
    fputs("static void FUNCTION(const uint i, T *term, ", out);
    print_parameters(out, &buffers, buffers.writes);
    fputs(") {\n", out);
    for (int i = 0; i < elements; i++)
        print_computation(out, step, &buffers, i, vector);
    print_stores(out, step, &buffers);
    for (int q = 0; q < sums; q++) {
        fprintf(out, "    term[%d] = ", q);
        print_operand(out, step, &buffers, step->nodes[elements + q], 0, vector);
        fputs(";\n", out);
    }
    fputs("}\n", out);
    print_signature(out, &buffers, false);
    fputs("#define ELEMENT(i, term) FUNCTION(i, term ARGUMENTS)\n#define RESULTS ", out);
    for (int q = 0; q < sums; q++)
        fprintf(out, "%sout%d", q ? ", " : "",
                find(buffers.written, buffers.writes, step->nodes[elements + q]));
    fprintf(out, "\n#define SUMS %d\n#define SIDE %d\n#define OUTER %d\n#define RUN %d\n#define INNER %d\n",
            sums, side, loops.outer, loops.run, loops.inner);
    fprintf(out, "%s#undef PARAMETERS\n#undef ARGUMENTS\n#undef ELEMENT\n#undef VECTOR\n#undef T\n",
            template);
    fputs("#undef CONVERT\n#undef FOLD\n#undef LOAD\n#undef STORE\n#undef RESULTS\n#undef SUMS\n#undef SIDE\n"
          "#undef OUTER\n#undef RUN\n#undef INNER\n",
          out);
}

// ---- Columns -----------------------------------------------------------------------------------------

// A step of columns, and by node: after how many loops over the rows its value can be known. A sum's is the
// number of its own loop.
typedef struct {
    const plan *plan;
    const plan_step *step;
    step_buffers buffers;
    int vector, *loop, loops;
    int totals; // how many there are by now
} columns_step;

static int place_in_step(const plan_step *step, const gn_node *node) {
    return find(step->nodes, step->count, node);
}

static void find_loops(columns_step *s) {
    const plan_step *step = s->step;
    s->loop = gn_calloc((size_t)step->count, sizeof *s->loop);
    for (int i = 0; i < step->count; i++) {
        for (int j = 0; j < op_table[step->nodes[i]->op].inputs; j++) {
            gn_node *base = plan_base(step->nodes[i]->input[j]);
            int k = place_in_step(step, base);
            int known = k < step->count ? s->loop[k] + (base->op == OP_SUM) : 0;
            s->loop[i] = known > s->loop[i] ? known : s->loop[i];
        }
        s->loops = s->loop[i] >= s->loops ? s->loop[i] + 1 : s->loops;
    }
}

static bool has_rows(const columns_step *s, int i) {
    const gn_node *node = s->step->nodes[i];
    return node->op != OP_SUM && (int)gn_shape_count(node->shape) != plan_step_loops(s->step).inner;
}

// Marks what the node's value for a row is computed from, for each row anew.
static void mark_rows(const columns_step *s, int i, bool *needed) {
    const gn_node *node = s->step->nodes[i];
    if (needed[i])
        return;
    needed[i] = true;
    for (int j = 0; j < op_table[node->op].inputs; j++) {
        int k = place_in_step(s->step, plan_base(node->input[j]));
        if (k < s->step->count && has_rows(s, k))
            mark_rows(s, k, needed);
    }
}

static void print_stores_of_columns(FILE *out, const columns_step *s, const char *how, int loop, bool rows) {
    for (int i = 0; i < s->buffers.writes; i++) {
        int k = place_in_step(s->step, s->buffers.written[i]);
        if (has_rows(s, k) == rows && (!rows || s->loop[k] == loop))
            fprintf(out, "    %s(at, v%d, out%d + i);\n", how, k, i);
    }
}

// The loop over the rows that makes the sums numbered so, and stores the rows that can be known by then.
static void print_loop(FILE *out, columns_step *s, int loop) {
    const plan_step *step = s->step;
    bool *needed = gn_calloc((size_t)step->count, sizeof *needed), any = false;
    for (int i = 0; i < step->count; i++) {
        const gn_node *node = step->nodes[i];
        bool summed = node->op == OP_SUM, stored = has_rows(s, i) && plan_is_stored(s->plan, node);
        if (s->loop[i] != loop || !(summed || stored))
            continue;
        mark_rows(s, i, needed);
        any = true;
        if (summed)
            fprintf(out, "    T v%d = (T)(0.0f), lost%d = (T)(0.0f);\n", i, i);
    }
    if (any) {
        fputs("    EACH_ROW(r) {\n    const uint i = r * INNER + column;\n", out);
        for (int i = 0; i < step->count; i++) {
            if (needed[i] && step->nodes[i]->op != OP_SUM)
                print_computation(out, step, &s->buffers, i, s->vector);
            else if (needed[i]) {
                fprintf(out, "    ADD(T, v%d, lost%d, ", i, i);
                print_operand(out, step, &s->buffers, step->nodes[i], 0, s->vector);
                fputs(")\n", out);
            }
        }
        print_stores_of_columns(out, s, "STORE_ROW", loop, true);
        fputs("    }\n", out);
        for (int i = 0; i < step->count; i++)
            if (needed[i] && step->nodes[i]->op == OP_SUM)
                fprintf(out, "    v%d = TOTAL(at, %d, v%d);\n", i, s->totals++ % 2, i);
    }
    free(needed);
}

static void print_columns(FILE *out, const plan *plan, const plan_step *step, int vector,
                          const char *template) {
    columns_step s = {.plan = plan, .step = step, .buffers = codegen_buffers(plan, step), .vector = vector};
    sum_loops loops = plan_step_loops(step);
    find_loops(&s);
    print_types(out, vector);
    print_memory(out, vector, false);
    fprintf(out, "#define RUN %d\n#define INNER %d\n", loops.run, loops.inner);
    fputs("static APART void FUNCTION(const place at, ", out);
    print_parameters(out, &s.buffers, s.buffers.writes);
    fputs(") {\n    const uint column = at.column, i = column;\n", out);
    for (int loop = 0; loop < s.loops; loop++) {
        for (int i = 0; i < step->count; i++)
            if (s.loop[i] == loop && step->nodes[i]->op != OP_SUM && !has_rows(&s, i))
                print_computation(out, step, &s.buffers, i, vector);
        print_loop(out, &s, loop);
    }
    fputs("    WAIT_FOR_READERS;\n", out);
    print_stores_of_columns(out, &s, "STORE_COLUMN", 0, false);
    fputs("}\n", out);
    print_signature(out, &s.buffers, false);
    fprintf(out,
            "#define BODY(at) FUNCTION(at ARGUMENTS)\n%s#undef PARAMETERS\n#undef ARGUMENTS\n#undef BODY\n",
            template);
    fputs("#undef VECTOR\n#undef T\n#undef CONVERT\n#undef LOAD\n#undef STORE\n#undef RUN\n#undef INNER\n",
          out);
    free(s.loop);
}

// ---- Patches -----------------------------------------------------------------------------------------

static void print_patches(FILE *out, const plan_step *step, int vector, bool streamed, const char *template) {
    static const char *const names[] = {"HEIGHT", "WIDTH",   "CHANNELS",   "K",
                                        "STRIDE", "PADDING", "OUT_HEIGHT", "OUT_WIDTH"};
    const gn_node *node = step->nodes[0];
    patch_loops p = patch_node_loops(node);
    const int sizes[] = {p.height, p.width,   p.channels,   p.kernel,
                         p.stride, p.padding, p.out_height, p.out_width};
    const char *map = node->op == OP_IM2COL ? "IM2COL" : "COL2IM";
    print_types(out, vector);
    print_memory(out, vector, streamed);
    fprintf(out, "#define %s\n", map);
    for (int i = 0; i < 8; i++)
        fprintf(out, "#define %s %d\n", names[i], sizes[i]);
    fprintf(out, "%s#undef %s\n#undef VECTOR\n#undef T\n#undef CONVERT\n#undef LOAD\n#undef STORE\n",
            template, map);
    for (int i = 0; i < 8; i++)
        fprintf(out, "#undef %s\n", names[i]);
}

// A template without the comment at its head, which would be repeated with every kernel.
static const char *skip_head(const char *text) {
    while (text[0] == '/' && text[1] == '/' && strchr(text, '\n'))
        text = strchr(text, '\n') + 1;
    return text;
}

static char *step_text(const gn_device *device, const plan *plan, const plan_step *step,
                       const code_templates *templates) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    GN_ASSERT(out, "out of memory on the host");
    int vector = codegen_vector(device, step);
    bool streamed = is_streamed(device, plan, step);
    if (step->form == FORM_COLUMNS)
        print_columns(out, plan, step, vector, skip_head(templates->columns));
    else if (step->form == FORM_SUM)
        print_sums(out, plan, step, vector, codegen_side(device, step), skip_head(templates->reduce));
    else if (step->form == FORM_PATCHES)
        print_patches(out, step, vector, streamed, skip_head(templates->conv));
    else if (step->form == FORM_MATMUL)
        print_epilogue(out, plan, step, vector, skip_head(templates->operations));
    else
        print_pointwise(out, plan, step, vector, streamed, skip_head(templates->pointwise));
    fclose(out);
    return text;
}

// What the functions of columns are written in, each file with a kernel of its own, which nobody calls.
static void print_column_macros(FILE *out, const code_templates *templates) {
    fprintf(
        out,
        "%s#undef T\n#undef NAME\n#undef WORK\n#undef PARAMETERS\n#undef ARGUMENTS\n#undef ELEMENT\n"
        "#undef VECTOR\n#undef SIDE\n#undef SUMS\n#undef RESULTS\n#undef OUTER\n#undef RUN\n#undef INNER\n"
        "#undef FOLD\n#undef STORE\n",
        skip_head(templates->reduce));
    fprintf(out,
            "%s#undef NAME\n#undef PARAMETERS\n#undef BODY\n#undef RUN\n#undef INNER\n#undef VECTOR\n"
            "#undef STORE\n",
            skip_head(templates->columns));
}

static bool has_columns(const plan *plan) {
    for (int s = 0; s < plan->count; s++)
        if (plan->steps[s].form == FORM_COLUMNS)
            return true;
    return false;
}

static bool is_generated(op_form form) {
    return form == FORM_POINTWISE || form == FORM_SUM || form == FORM_COLUMNS || form == FORM_PATCHES;
}

const char *codegen_name(const plan_step *step, int number, char name[KERNEL_NAME]) {
    const char *what = step->form == FORM_PATCHES ? op_table[step->nodes[0]->op].name : "fused";
    snprintf(name, KERNEL_NAME, "%s_%d", what, number);
    return name;
}

static char *head_text(const plan *plan, const code_templates *templates) {
    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    GN_ASSERT(out, "out of memory on the host");
    fputs(skip_head(templates->operations), out);
    if (has_columns(plan))
        print_column_macros(out, templates);
    fclose(out);
    return text;
}

generated_code codegen(const gn_device *device, const plan *plan, const code_templates *templates) {
    generated_code code = {.head = head_text(plan, templates),
                           .kernels = gn_calloc((size_t)plan->count, sizeof(char *)),
                           .epilogues = gn_calloc((size_t)plan->count, sizeof(char *)),
                           .steps = plan->count};
    for (int s = 0; s < plan->count; s++) {
        const plan_step *step = &plan->steps[s];
        if (step->form == FORM_MATMUL && step->count > 1)
            code.epilogues[s] = step_text(device, plan, step, templates);
        else if (is_generated(step->form))
            code.kernels[s] = step_text(device, plan, step, templates);
    }
    return code;
}

void generated_code_free(generated_code *code) {
    for (int s = 0; s < code->steps; s++) {
        free(code->kernels[s]);
        free(code->epilogues[s]);
    }
    free(code->kernels);
    free(code->epilogues);
    free(code->head);
    *code = (generated_code){0};
}
