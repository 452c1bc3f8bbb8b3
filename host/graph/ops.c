// The operation table: for each operation its form, its shape rule, its gradient, its cost.
//
// The set is closed under differentiation: what a gradient rule builds has a rule itself, or a stated zero.
// Batch norm, most losses and optimisers are compositions (layers.c, optimize.c) and need nothing here. g is
// always the gradient of the loss by the node's result, in the node's shape.
#include "graph/graph.h"

#include <math.h>

// ---- Shape rules -------------------------------------------------------------------------------------

static void fail_shapes(const gn_node *node, const char *why) {
    char a[SHAPE_TEXT] = "", b[SHAPE_TEXT] = "", result[SHAPE_TEXT];
    if (node->input[0])
        shape_text(node->input[0]->shape, a);
    if (node->input[1])
        shape_text(node->input[1]->shape, b);
    GN_ASSERT(false, "%s: %s; inputs %s %s, result %s", op_table[node->op].name, why, a, b,
              shape_text(node->shape, result));
}

static void expect(const gn_node *node, bool condition, const char *why) {
    if (!condition)
        fail_shapes(node, why);
}

static void infer_constant(gn_node *node) {}

static void infer_variable(gn_node *node) {
    node->type = node->variable->type;
    node->shape = node->variable->shape;
}

static void infer_same(gn_node *node) {
    node->type = node->input[0]->type;
    node->shape = node->input[0]->shape;
    for (int i = 0; i < op_table[node->op].inputs; i++) {
        expect(node, gn_shape_equal(node->input[i]->shape, node->shape), "the shapes differ");
        expect(node, node->input[i]->type == node->type, "the types differ");
    }
    expect(node,
           node->type == GN_F32 || (node->type == GN_I32 && (node->op == OP_ADD || node->op == OP_COPY)),
           "needs f32");
}

static void infer_to_f32(gn_node *node) {
    node->type = GN_F32;
    node->shape = node->input[0]->shape;
}

static void infer_assign(gn_node *node) {
    infer_variable(node);
    expect(node, gn_shape_equal(node->input[0]->shape, node->shape), "the variable has another shape");
    expect(node, node->input[0]->type == node->type, "the variable has another type");
    expect(node, node->type != GN_U8, "bytes are never assigned");
}

static void infer_reshape(gn_node *node) {
    node->type = node->input[0]->type;
    expect(node, gn_shape_count(node->shape) == gn_shape_count(node->input[0]->shape), "the sizes differ");
}

static void infer_broadcast(gn_node *node) {
    node->type = node->input[0]->type;
    gn_shape from = node->input[0]->shape;
    expect(node, from.dims == node->shape.dims, "the numbers of axes differ");
    for (int i = 0; i < from.dims; i++)
        expect(node, from.size[i] == 1 || from.size[i] == node->shape.size[i], "only an axis of 1 stretches");
}

static void infer_slice(gn_node *node) {
    node->type = node->input[0]->type;
    int last = node->shape.dims - 1, first = node->integer[0];
    expect(node, node->type == GN_F32, "needs f32");
    expect(node, first >= 0 && first + node->shape.size[last] <= node->input[0]->shape.size[last], "outside");
}

static void infer_pad(gn_node *node) {
    gn_shape from = node->input[0]->shape;
    expect(node, node->input[0]->type == GN_F32, "needs f32");
    node->shape =
        shape_with(from, from.dims - 1, from.size[from.dims - 1] + node->integer[0] + node->integer[1]);
}

static void infer_sum(gn_node *node) {
    sum_loops loops = sum_node_loops(node);
    size_t result = (size_t)loops.outer * (size_t)loops.inner;
    expect(node, node->input[0]->type == GN_F32, "needs f32");
    expect(node, result == gn_shape_count(node->shape), "needs one run of neighbouring axes");
}

static void infer_matmul(gn_node *node) {
    gn_shape a = node->input[0]->shape, b = node->input[1]->shape;
    expect(node, a.dims == 2 && b.dims == 2, "needs two matrices");
    int ta = node->integer[0], tb = node->integer[1];
    expect(node, node->input[0]->type == GN_F32 && node->input[1]->type == GN_F32, "needs f32");
    expect(node, a.size[!ta] == b.size[tb], "the inner sizes differ");
    node->shape = gn_shape_of(2, a.size[ta], b.size[!tb]);
}

patch_loops patch_node_loops(const gn_node *node) {
    const gn_shape image = node->op == OP_COL2IM ? node->shape : node->input[0]->shape;
    int kernel = node->integer[0], stride = node->integer[1], padding = node->integer[2];
    expect(node, image.dims == 4, "needs an image (N, H, W, C)");
    expect(node, kernel >= 1 && stride >= 1 && padding >= 0, "no such window");
    int height = image.size[1] + 2 * padding - kernel, width = image.size[2] + 2 * padding - kernel;
    expect(node, height >= 0 && width >= 0, "the window is larger than the image");
    return (patch_loops){image.size[0], image.size[1], image.size[2],       image.size[3],     kernel,
                         stride,        padding,       height / stride + 1, width / stride + 1};
}

static gn_shape columns_shape(const gn_node *node) {
    patch_loops p = patch_node_loops(node);
    return gn_shape_of(2, p.count * p.out_height * p.out_width, p.kernel * p.kernel * p.channels);
}

static void infer_im2col(gn_node *node) {
    expect(node, node->input[0]->type == GN_F32, "needs f32");
    node->shape = columns_shape(node);
}

static void infer_col2im(gn_node *node) {
    expect(node, node->input[0]->type == GN_F32, "needs f32");
    expect(node, gn_shape_equal(node->input[0]->shape, columns_shape(node)),
           "these are no columns of the image");
}

static void infer_resize(gn_node *node) {
    gn_shape from = node->input[0]->shape;
    expect(node, node->input[0]->type == GN_U8, "needs bytes");
    expect(node, from.dims == 3 && from.size[1] == 28 && from.size[2] == 28, "needs images (N, 28, 28)");
    node->type = GN_U8;
    node->shape = gn_shape_of(3, from.size[0], 32, 32);
}

static void infer_gather(gn_node *node) {
    gn_shape table = node->input[0]->shape, rows = node->input[1]->shape;
    expect(node, node->input[0]->op == OP_VARIABLE, "the table must be a variable that no step changes");
    expect(node, table.dims > 0 && rows.dims == 1 && node->input[1]->type == GN_I32, "needs rows as i32 (N)");
    node->type = node->input[0]->type;
    node->shape = shape_with(table, 0, rows.size[0]);
}

static void infer_one_hot(gn_node *node) {
    expect(node, node->input[0]->shape.dims == 1 && node->input[0]->type == GN_I32,
           "needs labels as i32 (N)");
}

static void infer_batch_rows(gn_node *node) {
    node->type = GN_I32;
    expect(node, node->input[0]->type == GN_I32 && node->input[1]->type == GN_I32, "needs i32");
    expect(node, node->input[0]->shape.dims == 1 && gn_shape_count(node->input[1]->shape) == 1,
           "needs an order (M) and a scalar step");
    expect(node, node->shape.size[0] <= node->input[0]->shape.size[0], "the batch exceeds the order");
}

static void infer_record(gn_node *node) {
    infer_variable(node);
    expect(node, node->shape.dims == 2 && node->integer[0] >= 0 && node->integer[0] < node->shape.size[1],
           "no such column");
    expect(node, gn_shape_count(node->input[1]->shape) == 1 && node->input[1]->type == GN_F32,
           "needs a scalar");
}

static void infer_random(gn_node *node) {
    node->type = node->op == OP_RANDOM_BELOW ? GN_I32 : GN_F32;
    expect(node, node->input[0]->type == GN_I32 && gn_shape_count(node->input[0]->shape) == 1,
           "needs a scalar step, i32");
    expect(node, node->integer[0] >= 0, "needs a first index");
}

sum_loops sum_node_loops(const gn_node *sum) {
    gn_shape from = sum->input[0]->shape, to = sum->shape;
    GN_ASSERT(from.dims == to.dims, "sum: the numbers of axes differ");
    int first = 0, last = from.dims;
    while (first < from.dims && from.size[first] == to.size[first])
        first++;
    while (last > first && from.size[last - 1] == to.size[last - 1])
        last--;
    sum_loops loops = {1, 1, 1};
    for (int i = 0; i < from.dims; i++)
        *(i < first ? &loops.outer : i < last ? &loops.run : &loops.inner) *= from.size[i];
    return loops;
}

// ---- Gradient rules ----------------------------------------------------------------------------------

static void gradient_add(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = g;
    gradients[1] = g;
}

static void gradient_sub(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = g;
    gradients[1] = gn_neg(g);
}

static void gradient_mul(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_mul(g, node->input[1]);
    gradients[1] = gn_mul(g, node->input[0]);
}

// y = a / b:  dy/da = 1 / b,  dy/db = -y / b
static void gradient_div(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_div(g, node->input[1]);
    gradients[1] = gn_neg(gn_div(gn_mul(g, node), node->input[1]));
}

static void gradient_neg(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_neg(g);
}

static void gradient_exp(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_mul(g, node);
}

static void gradient_expm1(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_mul(g, gn_exp(node->input[0]));
}

static void gradient_log(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_div(g, node->input[0]);
}

static void gradient_sqrt(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_div(gn_scale(g, 0.5), node);
}

static void gradient_tanh(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_mul(g, gn_sub(gn_constant(g->graph, 1), gn_square(node)));
}

static void gradient_sigmoid(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_mul(g, gn_mul(node, gn_sub(gn_constant(g->graph, 1), node)));
}

static void gradient_clamp(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_mul(g, graph_within(node->input[0], node->number[0], node->number[1]));
}

// As torch's binary_cross_entropy: (p - t) / max(p (1 - p), 1e-12), which bounds the slope at p = 0 and 1.
static void gradient_bce(gn_node *node, gn_node *g, gn_node **gradients) {
    gn_node *p = node->input[0];
    gn_node *variance = gn_clamp(gn_mul(p, gn_sub(gn_constant(g->graph, 1), p)), 1e-12, INFINITY);
    gradients[0] = gn_mul(g, gn_div(gn_offset(p, -node->number[0]), variance));
}

static void gradient_copy(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = g;
}

static void gradient_reshape(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_reshape(g, node->input[0]->shape);
}

static void gradient_broadcast(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_sum_to(g, node->input[0]->shape);
}

static void gradient_sum(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = gn_broadcast(g, node->input[0]->shape);
}

static void gradient_slice(gn_node *node, gn_node *g, gn_node **gradients) {
    int last = node->shape.dims - 1, first = node->integer[0];
    gradients[0] = gn_pad(g, first, node->input[0]->shape.size[last] - first - node->shape.size[last]);
}

static void gradient_pad(gn_node *node, gn_node *g, gn_node **gradients) {
    int last = node->shape.dims - 1;
    gradients[0] = gn_slice(g, node->integer[0], node->input[0]->shape.size[last]);
}

// C = op(A) op(B):  d op(A) = G op(B)',  d op(B) = op(A)' G, transposed once more where A or B was. Steps run
// in the order in which they are built: that of the weights first, which may be the last to read A.
static void gradient_matmul(gn_node *node, gn_node *g, gn_node **gradients) {
    gn_node *a = node->input[0], *b = node->input[1];
    bool ta = node->integer[0], tb = node->integer[1];
    gradients[1] = tb ? graph_matmul(g, true, a, ta) : graph_matmul(a, !ta, g, false);
    gradients[0] = ta ? graph_matmul(b, tb, g, true) : graph_matmul(g, false, b, !tb);
}

// The two are linear and each other's adjoint.
static void gradient_im2col(gn_node *node, gn_node *g, gn_node **gradients) {
    const int *window = node->integer;
    gradients[0] = graph_col2im(g, node->input[0]->shape, window[0], window[1], window[2]);
}

static void gradient_col2im(gn_node *node, gn_node *g, gn_node **gradients) {
    gradients[0] = graph_im2col(g, node->integer[0], node->integer[1], node->integer[2]);
}

// ---- Costs -------------------------------------------------------------------------------------------

static double elements(const gn_node *node) {
    return (double)gn_shape_count(node->shape);
}

static double flops_none(const gn_node *node) {
    return 0;
}

static double flops_one(const gn_node *node) { // one an element
    return elements(node);
}

static double flops_bce(const gn_node *node) { // two logarithms, 1 - p, and a weighted sum of three
    return 6 * elements(node);
}

static double flops_sum(const gn_node *node) { // an addition for each element of the input
    return elements(node->input[0]);
}

static double flops_matmul(const gn_node *node) { // a multiplication and an addition for each product
    return 2 * elements(node) * node->input[0]->shape.size[!node->integer[0]];
}

static double flops_normal(const gn_node *node) { // half a logarithm, root, sine and cosine, by polynomials
    return 20 * elements(node);
}

static double bytes_none(const gn_node *node) {
    return 0;
}

static double size_in_bytes(const gn_node *node) {
    return (double)node_bytes(node);
}

static double bytes_all(const gn_node *node) { // each input once, the result once
    double bytes = size_in_bytes(node);
    for (int i = 0; i < op_table[node->op].inputs; i++)
        bytes += size_in_bytes(node->input[i]);
    return bytes;
}

static double bytes_result_twice(const gn_node *node) { // reads of its inputs just what it writes
    return 2 * size_in_bytes(node);
}

static double bytes_gather(const gn_node *node) {
    return 2 * size_in_bytes(node) + size_in_bytes(node->input[1]);
}

static double bytes_record(const gn_node *node) {
    return 12; // step, value, and the value again
}

// ---- The table ---------------------------------------------------------------------------------------

#define PIECEWISE "piecewise constant"
#define DATA      "integers and data are not differentiated"
#define RANDOM    "a draw depends on nothing but its counter"

#define POINTWISE(inputs, numbers) FORM_POINTWISE, inputs, numbers, infer_same
#define ZERO(why)                  NULL, why
#define RULE(rule)                 rule, NULL

const op_description op_table[OP_COUNT] = {
    [OP_CONSTANT] = {"constant", FORM_SOURCE, 0, 1, infer_constant, ZERO("a constant"), flops_none,
                     bytes_none},
    [OP_VARIABLE] = {"variable", FORM_SOURCE, 0, 0, infer_variable, ZERO("no inputs"), flops_none,
                     bytes_none},

    [OP_ADD] = {"add", POINTWISE(2, 0), RULE(gradient_add), flops_one, bytes_all},
    [OP_SUB] = {"sub", POINTWISE(2, 0), RULE(gradient_sub), flops_one, bytes_all},
    [OP_MUL] = {"mul", POINTWISE(2, 0), RULE(gradient_mul), flops_one, bytes_all},
    [OP_DIV] = {"div", POINTWISE(2, 0), RULE(gradient_div), flops_one, bytes_all},
    [OP_NEG] = {"neg", POINTWISE(1, 0), RULE(gradient_neg), flops_one, bytes_all},
    [OP_EXP] = {"exp", POINTWISE(1, 0), RULE(gradient_exp), flops_one, bytes_all},
    [OP_EXPM1] = {"expm1", POINTWISE(1, 0), RULE(gradient_expm1), flops_one, bytes_all},
    [OP_LOG] = {"log", POINTWISE(1, 0), RULE(gradient_log), flops_one, bytes_all},
    [OP_SQRT] = {"sqrt", POINTWISE(1, 0), RULE(gradient_sqrt), flops_one, bytes_all},
    [OP_TANH] = {"tanh", POINTWISE(1, 0), RULE(gradient_tanh), flops_one, bytes_all},
    [OP_SIGMOID] = {"sigmoid", POINTWISE(1, 0), RULE(gradient_sigmoid), flops_one, bytes_all},
    [OP_LEAKY_SLOPE] = {"leaky_slope", POINTWISE(1, 1), ZERO(PIECEWISE), flops_one, bytes_all},
    [OP_CLAMP] = {"clamp", POINTWISE(1, 2), RULE(gradient_clamp), flops_one, bytes_all},
    [OP_WITHIN] = {"within", POINTWISE(1, 2), ZERO(PIECEWISE), flops_one, bytes_all},
    [OP_BCE] = {"bce", POINTWISE(1, 1), RULE(gradient_bce), flops_bce, bytes_all},
    [OP_TO_F32] = {"to_f32", FORM_POINTWISE, 1, 0, infer_to_f32, ZERO(DATA), flops_none, bytes_all},
    [OP_COPY] = {"copy", POINTWISE(1, 0), RULE(gradient_copy), flops_none, bytes_all},
    [OP_ASSIGN] = {"assign", FORM_POINTWISE, 1, 0, infer_assign,
                   ZERO("a step is a constant to what follows it"), flops_none, bytes_all},

    [OP_RESHAPE] = {"reshape", FORM_VIEW, 1, 0, infer_reshape, RULE(gradient_reshape), flops_none,
                    bytes_none},
    [OP_BROADCAST] = {"broadcast", FORM_BROADCAST, 1, 0, infer_broadcast, RULE(gradient_broadcast),
                      flops_none, bytes_all},
    [OP_SLICE] = {"slice", FORM_BROADCAST, 1, 0, infer_slice, RULE(gradient_slice), flops_none,
                  bytes_result_twice},
    [OP_PAD] = {"pad", FORM_BROADCAST, 1, 0, infer_pad, RULE(gradient_pad), flops_none, bytes_all},

    [OP_SUM] = {"sum", FORM_SUM, 1, 0, infer_sum, RULE(gradient_sum), flops_sum, bytes_all},
    [OP_MATMUL] = {"matmul", FORM_MATMUL, 2, 0, infer_matmul, RULE(gradient_matmul), flops_matmul, bytes_all},

    [OP_IM2COL] = {"im2col", FORM_PATCHES, 1, 0, infer_im2col, RULE(gradient_im2col), flops_none, bytes_all},
    [OP_COL2IM] = {"col2im", FORM_PATCHES, 1, 0, infer_col2im, RULE(gradient_col2im), flops_sum, bytes_all},

    [OP_GATHER] = {"gather", FORM_KERNEL, 2, 0, infer_gather, ZERO(DATA), flops_none, bytes_gather},
    [OP_ONE_HOT] = {"one_hot", FORM_KERNEL, 1, 0, infer_one_hot, ZERO(DATA), flops_none, bytes_all},
    [OP_BATCH_ROWS] = {"batch_rows", FORM_KERNEL, 2, 0, infer_batch_rows, ZERO(DATA), flops_none,
                       bytes_result_twice},
    [OP_RESIZE] = {"resize", FORM_KERNEL, 1, 0, infer_resize, ZERO(DATA), flops_none, bytes_all},
    [OP_RECORD] = {"record", FORM_KERNEL, 2, 0, infer_record, ZERO("a log is not differentiated"), flops_none,
                   bytes_record},

    [OP_RANDOM_UNIFORM] = {"random_uniform", FORM_KERNEL, 1, 0, infer_random, ZERO(RANDOM), flops_one,
                           bytes_all},
    [OP_RANDOM_NORMAL] = {"random_normal", FORM_KERNEL, 1, 0, infer_random, ZERO(RANDOM), flops_normal,
                          bytes_all},
    [OP_RANDOM_BELOW] = {"random_below", FORM_KERNEL, 1, 0, infer_random, ZERO(RANDOM), flops_one, bytes_all},
};
