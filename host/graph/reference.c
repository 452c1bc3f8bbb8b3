#include "graph/reference.h"

#include <math.h>
#include <string.h>

struct reference {
    const gn_graph *graph;
    double **values;           // of each node
    const gn_variable **names; // the variables that the graph uses,
    double **held;             // and what they hold
    int variables;
};

static int find_variable(const reference *reference, const gn_variable *variable) {
    int i = 0;
    while (i < reference->variables && reference->names[i] != variable)
        i++;
    return i;
}

static void add_variable(reference *reference, const gn_variable *variable) {
    if (find_variable(reference, variable) < reference->variables)
        return;
    GN_ASSERT(variable->values, "variable '%s' has moved to a device", variable->name);
    size_t count = gn_shape_count(variable->shape);
    double *held = gn_calloc(count, sizeof *held);
    for (size_t i = 0; i < count; i++)
        held[i] = variable->type == GN_F32   ? ((float *)variable->values)[i]
                  : variable->type == GN_I32 ? ((int32_t *)variable->values)[i]
                                             : ((uint8_t *)variable->values)[i];
    reference->names[reference->variables] = variable;
    reference->held[reference->variables++] = held;
}

reference *reference_new(const gn_graph *graph) {
    reference *reference = gn_calloc(1, sizeof *reference);
    size_t count = (size_t)graph->count;
    reference->graph = graph;
    reference->values = gn_calloc(count, sizeof(double *));
    reference->names = gn_calloc(count, sizeof(gn_variable *));
    reference->held = gn_calloc(count, sizeof(double *));
    for (int i = 0; i < graph->count; i++) {
        const gn_node *node = graph->nodes[i];
        reference->values[i] = gn_calloc(gn_shape_count(node->shape), sizeof(double));
        if (node->variable)
            add_variable(reference, node->variable);
    }
    return reference;
}

void reference_free(reference *reference) {
    if (!reference)
        return;
    for (int i = 0; i < reference->graph->count; i++)
        free(reference->values[i]);
    for (int i = 0; i < reference->variables; i++)
        free(reference->held[i]);
    free(reference->values);
    free(reference->names);
    free(reference->held);
    free(reference);
}

const double *reference_node(const reference *reference, const gn_node *node) {
    return reference->values[node->id];
}

double *reference_variable(reference *reference, const gn_variable *variable) {
    return reference->held[find_variable(reference, variable)];
}

static double pointwise(const gn_node *node, double a, double b) {
    switch (node->op) {
    case OP_ADD:
        return a + b;
    case OP_SUB:
        return a - b;
    case OP_MUL:
        return a * b;
    case OP_DIV:
        return a / b;
    case OP_NEG:
        return -a;
    case OP_EXP:
        return exp(a);
    case OP_EXPM1:
        return expm1(a);
    case OP_LOG:
        return log(a);
    case OP_SQRT:
        return sqrt(a);
    case OP_TANH:
        return tanh(a);
    case OP_SIGMOID:
        return 1 / (1 + exp(-a));
    case OP_LEAKY_SLOPE:
        return a > 0 ? 1 : node->number[0];
    case OP_CLAMP:
        return fmin(fmax(a, node->number[0]), node->number[1]);
    case OP_WITHIN:
        return a >= node->number[0] && a <= node->number[1];
    case OP_BCE: {
        double t = node->number[0];
        return -(t * fmax(log(a), -100) + (1 - t) * fmax(log1p(-a), -100));
    }
    case OP_TO_F32:
    case OP_COPY:
    case OP_ASSIGN:
        return a;
    default:
        GN_ASSERT(false, "the reference has no %s", op_table[node->op].name);
    }
}

// Where element `index` of `shape` lies in a tensor `from` that is broadcast to it.
static size_t broadcast_index(gn_shape shape, gn_shape from, size_t index) {
    size_t at = 0, stride = 1;
    for (int i = shape.dims - 1; i >= 0; i--) {
        size_t coordinate = index % (size_t)shape.size[i];
        index /= (size_t)shape.size[i];
        if (from.size[i] != 1)
            at += coordinate * stride;
        stride *= (size_t)from.size[i];
    }
    return at;
}

static void matmul(const gn_node *node, const double *a, const double *b, double *out) {
    bool ta = node->integer[0], tb = node->integer[1];
    int m = node->shape.size[0], n = node->shape.size[1], k = node->input[0]->shape.size[!ta];
    for (int row = 0; row < m; row++)
        for (int column = 0; column < n; column++) {
            double sum = 0;
            for (int i = 0; i < k; i++)
                sum += a[ta ? i * m + row : row * k + i] * b[tb ? column * k + i : i * n + column];
            out[row * n + column] = sum;
        }
}

// Adds up, over all pairs of a column's element and the pixel that it holds, from one to the other.
static void move_patches(const gn_node *node, const double *in, double *out) {
    patch_loops p = patch_node_loops(node);
    bool to_columns = node->op == OP_IM2COL;
    size_t column = 0;
    memset(out, 0, gn_shape_count(node->shape) * sizeof *out);
    for (int n = 0; n < p.count; n++)
        for (int oy = 0; oy < p.out_height; oy++)
            for (int ox = 0; ox < p.out_width; ox++)
                for (int ky = 0; ky < p.kernel; ky++)
                    for (int kx = 0; kx < p.kernel; kx++)
                        for (int c = 0; c < p.channels; c++, column++) {
                            int y = oy * p.stride + ky - p.padding, x = ox * p.stride + kx - p.padding;
                            if (y < 0 || y >= p.height || x < 0 || x >= p.width)
                                continue;
                            int pixel = ((n * p.height + y) * p.width + x) * p.channels + c;
                            if (to_columns)
                                out[column] = in[pixel];
                            else
                                out[pixel] += in[column];
                        }
}

// A line of 28 bytes to one of 32, each line's elements a step apart: a triangle's weights around the place
// of each pixel, as many as lie on the line, then rounding to a byte.
static void resize_line(const double *in, size_t in_step, double *out, size_t out_step) {
    const double scale = 28.0 / 32;
    for (int x = 0; x < 32; x++) {
        double centre = (x + 0.5) * scale, sum = 0, weights = 0;
        for (int i = 0; i < 28; i++) {
            double weight = fmax(0, 1 - fabs(i + 0.5 - centre));
            sum += weight * in[(size_t)i * in_step];
            weights += weight;
        }
        out[(size_t)x * out_step] = floor(sum / weights + 0.5);
    }
}

static void resize(const double *in, double *out, int images) {
    double wide[28 * 32];
    for (int n = 0; n < images; n++, in += 28 * 28, out += 32 * 32) {
        for (size_t y = 0; y < 28; y++)
            resize_line(in + y * 28, 1, wide + y * 32, 1);
        for (size_t x = 0; x < 32; x++)
            resize_line(wide + x, 32, out + x, 32);
    }
}

static void draw(const gn_node *node, const double *step, double *out) {
    size_t first = (size_t)node->integer[0], count = gn_shape_count(node->shape);
    const uint64_t seed = gn_state_seed(node->graph->state);
    float *reals = gn_calloc(first + count, sizeof *reals);
    int32_t *integers = gn_calloc(first + count, sizeof *integers);
    if (node->op == OP_RANDOM_UNIFORM)
        gn_draw_uniform(seed, node->stream, (uint32_t)*step, reals, first + count);
    else if (node->op == OP_RANDOM_NORMAL)
        gn_draw_normal(seed, node->stream, (uint32_t)*step, reals, first + count);
    else
        gn_draw_below(seed, node->stream, (uint32_t)*step, integers, first + count, node->integer[1]);
    for (size_t i = 0; i < count; i++)
        out[i] = node->op == OP_RANDOM_BELOW ? integers[first + i] : (double)reals[first + i];
    free(reals);
    free(integers);
}

void reference_evaluate(const gn_node *node, const double *const in[MAX_INPUTS], const double *previous,
                        double *out) {
    int inputs = op_table[node->op].inputs;
    gn_shape shape = node->shape, from = inputs ? node->input[0]->shape : shape;
    size_t count = gn_shape_count(shape), from_count = gn_shape_count(from);
    size_t width = shape.dims ? (size_t)shape.size[shape.dims - 1] : 1;
    size_t from_width = from.dims ? (size_t)from.size[from.dims - 1] : 1;

    switch (node->op) {
    case OP_CONSTANT:
        out[0] = node->number[0];
        break;
    case OP_VARIABLE:
        memcpy(out, previous, count * sizeof *out);
        break;
    case OP_RESHAPE:
        memcpy(out, in[0], count * sizeof *out);
        break;
    case OP_BROADCAST:
        for (size_t i = 0; i < count; i++)
            out[i] = in[0][broadcast_index(shape, from, i)];
        break;
    case OP_SUM:
        memset(out, 0, count * sizeof *out);
        for (size_t i = 0; i < from_count; i++)
            out[broadcast_index(from, shape, i)] += in[0][i];
        break;
    case OP_SLICE:
        for (size_t i = 0; i < count; i++)
            out[i] = in[0][i / width * from_width + i % width + (size_t)node->integer[0]];
        break;
    case OP_PAD:
        memset(out, 0, count * sizeof *out);
        for (size_t i = 0; i < from_count; i++)
            out[i / from_width * width + i % from_width + (size_t)node->integer[0]] = in[0][i];
        break;
    case OP_MATMUL:
        matmul(node, in[0], in[1], out);
        break;
    case OP_IM2COL:
    case OP_COL2IM:
        move_patches(node, in[0], out);
        break;
    case OP_RESIZE:
        resize(in[0], out, shape.size[0]);
        break;
    case OP_GATHER: {
        size_t row = count / (size_t)shape.size[0];
        for (size_t i = 0; i < count; i++)
            out[i] = in[0][(size_t)in[1][i / row] * row + i % row];
        break;
    }
    case OP_ONE_HOT:
        for (size_t i = 0; i < count; i++)
            out[i] = in[0][i / width] == (double)(i % width);
        break;
    case OP_BATCH_ROWS: {
        size_t batches = from_count / count, batch = (size_t)in[1][0] % batches;
        memcpy(out, in[0] + batch * count, count * sizeof *out);
        break;
    }
    case OP_RECORD: {
        size_t row = (size_t)in[0][0] % (size_t)shape.size[0];
        memcpy(out, previous, count * sizeof *out);
        out[row * width + (size_t)node->integer[0]] = in[1][0];
        break;
    }
    case OP_RANDOM_UNIFORM:
    case OP_RANDOM_NORMAL:
    case OP_RANDOM_BELOW:
        draw(node, in[0], out);
        break;
    default:
        for (size_t i = 0; i < count; i++)
            out[i] = pointwise(node, in[0][i], inputs > 1 ? in[1][i] : 0);
    }
}

void reference_run(reference *reference) {
    const gn_graph *graph = reference->graph;
    for (int i = 0; i < graph->count; i++) {
        const gn_node *node = graph->nodes[i];
        const double nothing = 0, *in[MAX_INPUTS] = {&nothing, &nothing}, *previous = &nothing;
        for (int j = 0; j < op_table[node->op].inputs; j++)
            in[j] = reference->values[node->input[j]->id];
        if (node->op == OP_VARIABLE)
            previous = reference_variable(reference, node->variable);
        else if (node->previous)
            previous = reference->values[node->previous->id];
        reference_evaluate(node, in, previous, reference->values[i]);
    }
    for (int i = 0; i < graph->count; i++) {
        const gn_node *node = graph->nodes[i];
        if (node->op == OP_ASSIGN || node->op == OP_RECORD)
            memcpy(reference_variable(reference, node->variable), reference->values[i],
                   gn_shape_count(node->shape) * sizeof(double));
    }
}
