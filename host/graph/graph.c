// Building a graph: one function for each operation a user writes. What an operation is (its shape rule, its
// gradient) stands in ops.c; here are only the broadcasts and small simplifications that keep a graph short.
#include "graph/graph.h"

#include <math.h>
#include <string.h>

gn_graph *gn_graph_new(gn_state *state) {
    gn_graph *graph = gn_calloc(1, sizeof *graph);
    graph->state = state;
    return graph;
}

void gn_graph_free(gn_graph *graph) {
    if (!graph)
        return;
    for (int i = 0; i < graph->count; i++) {
        free(graph->nodes[i]->stream);
        free(graph->nodes[i]);
    }
    free(graph->nodes);
    free(graph);
}

gn_shape gn_node_shape(const gn_node *node) {
    return node->shape;
}

gn_graph *gn_node_graph(const gn_node *node) {
    return node->graph;
}

gn_state *gn_graph_state(const gn_graph *graph) {
    return graph->state;
}

size_t node_bytes(const gn_node *node) {
    return gn_shape_count(node->shape) * gn_type_size(node->type);
}

gn_node *node_new(gn_graph *graph, gn_node fields) {
    const op_description *op = &op_table[fields.op];
    for (int i = 0; i < op->inputs; i++)
        GN_ASSERT(fields.input[i] && fields.input[i]->graph == graph, "%s: input %d is of another graph",
                  op->name, i);
    gn_node *node = gn_calloc(1, sizeof *node);
    *node = fields;
    node->stream = fields.stream ? gn_strdup(fields.stream) : NULL;
    node->graph = graph;
    node->id = graph->count;
    op->infer(node);
    if (graph->count == graph->capacity) {
        graph->capacity = graph->capacity ? 2 * graph->capacity : 64;
        graph->nodes = gn_realloc(graph->nodes, (size_t)graph->capacity * sizeof *graph->nodes);
    }
    graph->nodes[graph->count++] = node;
    return node;
}

bool node_is_constant(const gn_node *node, double *value) {
    while (node->op == OP_BROADCAST || node->op == OP_RESHAPE)
        node = node->input[0];
    if (node->op != OP_CONSTANT)
        return false;
    *value = node->number[0];
    return true;
}

static bool is_number(const gn_node *node, double value) {
    double constant;
    return node_is_constant(node, &constant) && constant == value;
}

// ---- State -------------------------------------------------------------------------------------------

gn_node *gn_read(gn_graph *graph, gn_variable *variable) {
    GN_ASSERT(variable->state == graph->state, "variable '%s' is of another state", variable->name);
    for (int i = graph->count - 1; i >= 0; i--) // the newest version
        if (graph->nodes[i]->variable == variable)
            return graph->nodes[i];
    return node_new(graph, (gn_node){.op = OP_VARIABLE, .variable = variable});
}

gn_node *gn_assign(gn_graph *graph, gn_variable *variable, gn_node *value) {
    gn_node *previous = gn_read(graph, variable);
    if (!gn_shape_equal(value->shape, variable->shape))
        value = gn_broadcast(value, variable->shape);
    return node_new(graph,
                    (gn_node){.op = OP_ASSIGN, .input = {value}, .variable = variable, .previous = previous});
}

gn_node *gn_record(gn_graph *graph, gn_variable *log, gn_node *step, int column, gn_node *value) {
    gn_node *previous = gn_read(graph, log);
    return node_new(graph, (gn_node){.op = OP_RECORD,
                                     .input = {step, value},
                                     .integer = {column},
                                     .variable = log,
                                     .previous = previous});
}

// ---- Arithmetic --------------------------------------------------------------------------------------

gn_node *gn_constant(gn_graph *graph, double value) {
    return node_new(graph, (gn_node){.op = OP_CONSTANT, .type = GN_F32, .number = {value}});
}

gn_node *gn_constant_int(gn_graph *graph, int value) {
    return node_new(graph, (gn_node){.op = OP_CONSTANT, .type = GN_I32, .number = {value}});
}

// The shape that two shapes broadcast to: aligned at the right, 1 stretches.
static gn_shape common_shape(gn_shape a, gn_shape b) {
    gn_shape wide = a.dims >= b.dims ? a : b, narrow = a.dims >= b.dims ? b : a;
    char wide_text[SHAPE_TEXT], narrow_text[SHAPE_TEXT];
    for (int i = 1; i <= narrow.dims; i++) {
        int *w = &wide.size[wide.dims - i], n = narrow.size[narrow.dims - i];
        GN_ASSERT(*w == n || *w == 1 || n == 1, "shapes %s and %s do not broadcast",
                  shape_text(wide, wide_text), shape_text(narrow, narrow_text));
        *w = *w == 1 ? n : *w;
    }
    return wide;
}

static gn_node *unary(op_kind op, gn_node *x, double first, double second) {
    return node_new(x->graph, (gn_node){.op = op, .input = {x}, .number = {first, second}});
}

static gn_node *binary(op_kind op, gn_node *a, gn_node *b) {
    gn_shape shape = common_shape(a->shape, b->shape);
    return node_new(a->graph, (gn_node){.op = op, .input = {gn_broadcast(a, shape), gn_broadcast(b, shape)}});
}

// The other operand of a neutral one, in the shape of the result.
static gn_node *in_common_shape(gn_node *kept, gn_node *neutral) {
    GN_ASSERT(kept->type == neutral->type, "the types of two operands differ");
    return gn_broadcast(kept, common_shape(kept->shape, neutral->shape));
}

gn_node *gn_add(gn_node *a, gn_node *b) {
    if (is_number(a, 0))
        return in_common_shape(b, a);
    if (is_number(b, 0))
        return in_common_shape(a, b);
    return binary(OP_ADD, a, b);
}

gn_node *gn_sub(gn_node *a, gn_node *b) {
    return is_number(b, 0) ? in_common_shape(a, b) : binary(OP_SUB, a, b);
}

gn_node *gn_mul(gn_node *a, gn_node *b) {
    double x, y;
    if (is_number(a, 1))
        return in_common_shape(b, a);
    if (is_number(b, 1))
        return in_common_shape(a, b);
    if (node_is_constant(a, &x) && node_is_constant(b, &y))
        return in_common_shape(gn_broadcast(gn_constant(a->graph, x * y), a->shape), b);
    return binary(OP_MUL, a, b);
}

gn_node *gn_div(gn_node *a, gn_node *b) {
    return is_number(b, 1) ? in_common_shape(a, b) : binary(OP_DIV, a, b);
}

gn_node *gn_scale(gn_node *x, double factor) {
    return gn_mul(x, gn_constant(x->graph, factor));
}

gn_node *gn_offset(gn_node *x, double summand) {
    return gn_add(x, gn_constant(x->graph, summand));
}

gn_node *gn_neg(gn_node *x) {
    double value;
    if (node_is_constant(x, &value))
        return gn_broadcast(gn_constant(x->graph, -value), x->shape);
    return unary(OP_NEG, x, 0, 0);
}

gn_node *gn_square(gn_node *x) {
    return gn_mul(x, x);
}

gn_node *gn_sqrt(gn_node *x) {
    return unary(OP_SQRT, x, 0, 0);
}

gn_node *gn_exp(gn_node *x) {
    return unary(OP_EXP, x, 0, 0);
}

gn_node *gn_expm1(gn_node *x) {
    return unary(OP_EXPM1, x, 0, 0);
}

gn_node *gn_log(gn_node *x) {
    return unary(OP_LOG, x, 0, 0);
}

gn_node *gn_tanh(gn_node *x) {
    return unary(OP_TANH, x, 0, 0);
}

gn_node *gn_sigmoid(gn_node *x) {
    return unary(OP_SIGMOID, x, 0, 0);
}

gn_node *gn_leaky_relu(gn_node *x, double slope) {
    return gn_mul(x, unary(OP_LEAKY_SLOPE, x, slope, 0));
}

gn_node *gn_clamp(gn_node *x, double low, double high) {
    GN_ASSERT(low <= high, "clamp to %g .. %g", low, high);
    return unary(OP_CLAMP, x, low, high);
}

gn_node *graph_within(gn_node *x, double low, double high) {
    return unary(OP_WITHIN, x, low, high);
}

gn_node *gn_to_f32(gn_node *x) {
    return unary(OP_TO_F32, x, 0, 0);
}

gn_node *graph_copy(gn_node *x) {
    return unary(OP_COPY, x, 0, 0);
}

gn_node *gn_bce(gn_node *p, double target) {
    return gn_mean(unary(OP_BCE, p, target, 0));
}

// ---- Shapes ------------------------------------------------------------------------------------------

gn_node *gn_reshape(gn_node *x, gn_shape shape) {
    if (gn_shape_equal(x->shape, shape))
        return x;
    return node_new(x->graph, (gn_node){.op = OP_RESHAPE, .input = {x}, .shape = shape});
}

// A shape with ones put in front until it has `dims` axes.
static gn_shape with_leading_ones(gn_shape shape, int dims) {
    gn_shape longer = {.dims = dims};
    for (int i = 0; i < dims; i++) {
        int from = i - (dims - shape.dims);
        longer.size[i] = from < 0 ? 1 : shape.size[from];
    }
    return longer;
}

gn_node *gn_broadcast(gn_node *x, gn_shape shape) {
    if (gn_shape_equal(x->shape, shape))
        return x;
    GN_ASSERT(x->shape.dims <= shape.dims, "broadcast to fewer axes");
    x = gn_reshape(x, with_leading_ones(x->shape, shape.dims));
    if (gn_shape_equal(x->shape, shape))
        return x;
    return node_new(x->graph, (gn_node){.op = OP_BROADCAST, .input = {x}, .shape = shape});
}

broadcast_axes broadcast_node_axes(const gn_node *broadcast) {
    broadcast_axes axes = {.count = 0};
    for (int i = broadcast->shape.dims - 1; i >= 0; i--) {
        int size = broadcast->shape.size[i];
        bool stretched = broadcast->input[0]->shape.size[i] != size;
        if (size == 1)
            continue;
        if (axes.count && axes.stretched[axes.count - 1] == stretched)
            axes.size[axes.count - 1] *= size;
        else {
            axes.size[axes.count] = size;
            axes.stretched[axes.count++] = stretched;
        }
    }
    return axes;
}

static int common_divisor(int a, int b) {
    return b ? common_divisor(b, a % b) : a;
}

int broadcast_node_run(const gn_node *node) {
    if (node->op == OP_BROADCAST)
        return broadcast_node_axes(node).size[0];
    int last = node->shape.dims - 1, width = node->shape.size[last];
    return node->op == OP_SLICE
               ? width
               : common_divisor(common_divisor(width, node->input[0]->shape.size[last]), node->integer[0]);
}

gn_node *gn_slice(gn_node *x, int first, int count) {
    GN_ASSERT(x->shape.dims > 0, "slice of a scalar");
    if (first == 0 && count == x->shape.size[x->shape.dims - 1])
        return x;
    return node_new(x->graph, (gn_node){.op = OP_SLICE,
                                        .input = {x},
                                        .integer = {first},
                                        .shape = shape_with(x->shape, x->shape.dims - 1, count)});
}

gn_node *gn_pad(gn_node *x, int before, int after) {
    GN_ASSERT(x->shape.dims > 0 && before >= 0 && after >= 0, "pad by %d and %d", before, after);
    if (before == 0 && after == 0)
        return x;
    return node_new(x->graph, (gn_node){.op = OP_PAD, .input = {x}, .integer = {before, after}});
}

gn_node *gn_concat(gn_node *a, gn_node *b) {
    int na = a->shape.size[a->shape.dims - 1], nb = b->shape.size[b->shape.dims - 1];
    return gn_add(gn_pad(a, 0, nb), gn_pad(b, na, 0));
}

gn_node *gn_concat_rows(gn_node *a, gn_node *b) {
    int na = (int)gn_shape_count(a->shape), nb = (int)gn_shape_count(b->shape);
    gn_shape rows = shape_with(a->shape, 0, a->shape.size[0] + b->shape.size[0]);
    return gn_reshape(gn_concat(gn_reshape(a, gn_shape_of(1, na)), gn_reshape(b, gn_shape_of(1, nb))), rows);
}

gn_node *gn_rows(gn_node *x, int first, int count) {
    GN_ASSERT(x->shape.dims > 0, "rows of a scalar");
    int all = (int)gn_shape_count(x->shape), row = all / x->shape.size[0];
    gn_node *part = gn_slice(gn_reshape(x, gn_shape_of(1, all)), first * row, count * row);
    return gn_reshape(part, shape_with(x->shape, 0, count));
}

// ---- Reductions --------------------------------------------------------------------------------------

gn_node *gn_sum_to(gn_node *x, gn_shape shape) {
    GN_ASSERT(shape.dims <= x->shape.dims, "sum to more axes");
    gn_shape target = with_leading_ones(shape, x->shape.dims);
    // One OP_SUM takes one run of neighbouring axes; further runs take further sums, from the right.
    for (int axis = x->shape.dims - 1; axis >= 0; axis--) {
        gn_shape part = x->shape;
        for (; axis >= 0 && target.size[axis] == 1; axis--)
            part.size[axis] = 1;
        if (!gn_shape_equal(part, x->shape))
            x = node_new(x->graph, (gn_node){.op = OP_SUM, .input = {x}, .shape = part});
    }
    return gn_reshape(x, shape);
}

gn_node *gn_sum_axis(gn_node *x, int axis) {
    return gn_sum_to(x, shape_with(x->shape, axis, 1));
}

gn_node *gn_mean(gn_node *x) {
    double count = (double)gn_shape_count(x->shape);
    return gn_scale(gn_sum_to(x, (gn_shape){0}), 1 / count);
}

// ---- Products, convolutions, data, random numbers ----------------------------------------------------

gn_node *graph_matmul(gn_node *a, bool transpose_a, gn_node *b, bool transpose_b) {
    return node_new(a->graph,
                    (gn_node){.op = OP_MATMUL, .input = {a, b}, .integer = {transpose_a, transpose_b}});
}

gn_node *gn_matmul(gn_node *a, gn_node *b) {
    return graph_matmul(a, false, b, false);
}

gn_node *graph_im2col(gn_node *x, int kernel, int stride, int padding) {
    return node_new(x->graph, (gn_node){.op = OP_IM2COL, .input = {x}, .integer = {kernel, stride, padding}});
}

gn_node *graph_col2im(gn_node *columns, gn_shape image, int kernel, int stride, int padding) {
    return node_new(
        columns->graph,
        (gn_node){.op = OP_COL2IM, .input = {columns}, .shape = image, .integer = {kernel, stride, padding}});
}

// A convolution is linear in the image and linear in the weights: a fixed linear map, im2col or its adjoint,
// and a product. So its gradients by the image and by the weights, and theirs, are these operations again,
// and need no rules of their own. The head of kernels_cl/conv.cl has the formulas.
gn_node *gn_conv2d(gn_node *x, gn_node *w, int kernel, int stride, int padding) {
    gn_node *columns = graph_im2col(x, kernel, stride, padding);
    patch_loops p = patch_node_loops(columns);
    return gn_reshape(gn_matmul(columns, w),
                      gn_shape_of(4, p.count, p.out_height, p.out_width, w->shape.size[1]));
}

gn_node *gn_conv_transpose2d(gn_node *x, gn_node *w, int kernel, int stride, int padding) {
    gn_shape from = x->shape;
    GN_ASSERT(from.dims == 4 && w->shape.dims == 2, "conv_transpose2d needs an image and a matrix");
    gn_node *pixels = gn_reshape(x, gn_shape_of(2, from.size[0] * from.size[1] * from.size[2], from.size[3]));
    int more = kernel - 2 * padding, outputs = w->shape.size[1] / (kernel * kernel);
    gn_shape image = gn_shape_of(4, from.size[0], (from.size[1] - 1) * stride + more,
                                 (from.size[2] - 1) * stride + more, outputs);
    return graph_col2im(gn_matmul(pixels, w), image, kernel, stride, padding);
}

gn_node *gn_resize(gn_node *images) {
    return node_new(images->graph, (gn_node){.op = OP_RESIZE, .input = {images}});
}

gn_node *gn_gather(gn_node *table, gn_node *rows) {
    return node_new(table->graph, (gn_node){.op = OP_GATHER, .input = {table, rows}});
}

gn_node *gn_one_hot(gn_node *labels, int classes) {
    return node_new(labels->graph, (gn_node){.op = OP_ONE_HOT,
                                             .input = {labels},
                                             .shape = gn_shape_of(2, labels->shape.size[0], classes)});
}

gn_node *gn_batch_rows(gn_node *order, gn_node *step, int batch) {
    return node_new(order->graph,
                    (gn_node){.op = OP_BATCH_ROWS, .input = {order, step}, .shape = gn_shape_of(1, batch)});
}

static gn_node *draw(op_kind op, const char *stream, gn_node *step, gn_shape shape, int first, int bound) {
    return node_new(
        step->graph,
        (gn_node){
            .op = op, .input = {step}, .shape = shape, .integer = {first, bound}, .stream = (char *)stream});
}

gn_node *gn_random_uniform(const char *stream, gn_node *step, gn_shape shape, int first) {
    return draw(OP_RANDOM_UNIFORM, stream, step, shape, first, 0);
}

gn_node *gn_random_normal(const char *stream, gn_node *step, gn_shape shape, int first) {
    return draw(OP_RANDOM_NORMAL, stream, step, shape, first, 0);
}

gn_node *gn_random_below(const char *stream, gn_node *step, gn_shape shape, int first, int bound) {
    return draw(OP_RANDOM_BELOW, stream, step, shape, first, bound);
}
