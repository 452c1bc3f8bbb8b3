// The graph from inside: nodes, variables, and the table that describes each operation.
//
// A graph is a list of nodes in the order in which they were built, so inputs come before what uses them. A
// node is a value: it never changes. State changes by OP_ASSIGN and OP_RECORD, whose nodes are the variable's
// next version, `previous` being the version that they replace. Nothing here knows of OpenCL.
#ifndef GANC_GRAPH_H
#define GANC_GRAPH_H

#include "base/error.h"
#include "ganc.h"

typedef enum {
    // sources
    OP_CONSTANT, // number[0] everywhere; a scalar
    OP_VARIABLE, // what a variable holds when the program starts
    // element by element; kernels_cl/operations.cl has op_NAME for each
    OP_ADD,
    OP_SUB,
    OP_MUL,
    OP_DIV,
    OP_NEG,
    OP_EXP,
    OP_EXPM1,
    OP_LOG,
    OP_SQRT,
    OP_TANH,
    OP_SIGMOID,
    OP_LEAKY_SLOPE, // x > 0 ? 1 : number[0]
    OP_CLAMP,       // to number[0] .. number[1]
    OP_WITHIN,      // 1 where number[0] <= x <= number[1], else 0
    OP_BCE,         // binary cross-entropy of a probability; number[0] is the target
    OP_TO_F32,
    OP_COPY,
    OP_ASSIGN,
    // shapes
    OP_RESHAPE, // the same memory under another shape
    OP_BROADCAST,
    OP_SLICE, // integer[0] = first, of the last axis
    OP_PAD,   // integer[0] = zeros before, integer[1] = after
    // many to one
    OP_SUM,
    OP_MATMUL, // integer[0], integer[1]: transpose a, b
    // between images and their patches: integer[0] = kernel, integer[1] = stride, integer[2] = padding
    OP_IM2COL,
    OP_COL2IM,
    // data
    OP_GATHER,
    OP_ONE_HOT,
    OP_BATCH_ROWS,
    OP_RESIZE,
    OP_RECORD, // integer[0] = column
    // random: integer[0] = first index, integer[1] = bound of OP_RANDOM_BELOW
    OP_RANDOM_UNIFORM,
    OP_RANDOM_NORMAL,
    OP_RANDOM_BELOW,
    OP_COUNT
} op_kind;

// How an operation is carried out, which is what fusing and planning need to know.
typedef enum {
    FORM_SOURCE,    // nothing to compute
    FORM_POINTWISE, // an expression of elements at the same index
    FORM_BROADCAST, // pointwise, but reads at another index, or nowhere
    FORM_VIEW,      // no work: the input's memory
    FORM_SUM,
    FORM_COLUMNS, // of a plan's step alone, see plan.h
    FORM_MATMUL,
    FORM_PATCHES, // a kernel of its own, written for its sizes
    FORM_KERNEL,  // a kernel of its own, which takes its sizes
} op_form;

enum { MAX_INPUTS = 2 };

struct gn_node {
    gn_graph *graph;
    int id; // place in the graph's list
    op_kind op;
    gn_type type;
    gn_shape shape;
    gn_node *input[MAX_INPUTS];
    double number[2];
    int integer[3];
    char *stream;          // random operations: the stream's name; the node owns it
    gn_variable *variable; // OP_VARIABLE, OP_ASSIGN, OP_RECORD
    gn_node *previous;     // OP_ASSIGN, OP_RECORD: the version that this one replaces
};

struct gn_graph {
    gn_state *state;
    gn_node **nodes;
    int count, capacity;
};

struct gn_variable {
    gn_state *state;
    char *name;
    gn_type type;
    gn_shape shape;
    gn_layout layout;              // in files
    void *values;                  // on the host, until a device takes them; then NULL
    void *buffer;                  // on the device: a cl_mem, which this room never looks into
    void (*release)(void *buffer); // frees it
    gn_variable *next;
};

// One row for each operation.
typedef struct {
    const char *name;
    op_form form;
    int inputs;
    int numbers; // how many of number[] it uses
    // Checks the inputs, and sets the node's type and shape where the constructor did not.
    void (*infer)(gn_node *node);
    // Given the gradient g of node, stores the gradient of each input, or leaves NULL for zero. Where there
    // is no rule the gradient is zero, and `zero` says why.
    void (*gradient)(gn_node *node, gn_node *g, gn_node **gradients);
    const char *zero;
    // What computing the node needs: floating-point operations, and bytes from and to memory if it is alone.
    double (*flops)(const gn_node *node);
    double (*bytes)(const gn_node *node);
} op_description;

extern const op_description op_table[OP_COUNT];

gn_shape shape_with(gn_shape shape, int axis, int size); // the shape with one axis changed

// Appends a node; fields not given are zero; a stream's name is copied. Infers shape and type by the table.
gn_node *node_new(gn_graph *graph, gn_node fields);

// What its value takes in memory.
size_t node_bytes(const gn_node *node);

// Is it a constant, perhaps broadcast? Then *value is set.
bool node_is_constant(const gn_node *node, double *value);

// OP_MATMUL with transposed operands: op(a) op(b).
gn_node *graph_matmul(gn_node *a, bool transpose_a, gn_node *b, bool transpose_b);
gn_node *graph_within(gn_node *x, double low, double high);

// x (N, H, W, C) -> columns (N * OH * OW, kernel * kernel * C): a row for each place of the window, which
// holds the pixels under it, zero outside the image; OH = (H + 2 padding - kernel) / stride + 1.
gn_node *graph_im2col(gn_node *x, int kernel, int stride, int padding);

// Its adjoint: columns -> image (N, H, W, C), each pixel the sum of what the columns hold of it.
gn_node *graph_col2im(gn_node *columns, gn_shape image, int kernel, int stride, int padding);

// What the two have in common: an image and the window that moves over it, out_height by out_width places.
typedef struct {
    int count, height, width, channels; // of the image
    int kernel, stride, padding;
    int out_height, out_width;
} patch_loops;
patch_loops patch_node_loops(const gn_node *node);

gn_node *graph_copy(gn_node *x);

// A broadcast's axes from the innermost; axes of size 1 are left out, and neighbours merged where both
// stretch or both do not.
typedef struct {
    int size[GN_MAX_DIMS];
    bool stretched[GN_MAX_DIMS];
    int count;
} broadcast_axes;
broadcast_axes broadcast_node_axes(const gn_node *broadcast);

// Of a node of FORM_BROADCAST: in runs of how many elements it reads neighbours, or all the same. A vector
// that divides it is loaded at once.
int broadcast_node_run(const gn_node *node);

// A sum over one run of neighbouring axes, and a broadcast along one, are loops over (outer, run, inner):
// element (o, r, i) of the larger shape goes with element (o, i) of the smaller.
typedef struct {
    int outer, run, inner;
} sum_loops;
sum_loops sum_node_loops(const gn_node *sum);

// "(64, 784)" into text, which is returned.
enum { SHAPE_TEXT = 64 };
const char *shape_text(gn_shape shape, char text[SHAPE_TEXT]);

#endif
