// ganc.h: the public face. A model file, or another program that links ganc's library, includes this alone.
//
// A training step is a graph: it is built once from the functions below, compiled into a program for one
// OpenCL device, and replayed. What outlives a step (parameters, the optimiser's moments, counters, the data
// set) is state: named variables. A program does nothing but read and update state:
//
//     gn_state *state = gn_state_new(42);                      // the seed of everything random
//     gn_variable *w = gn_state_add(state, "w", GN_F32, gn_shape_of(2, 8, 1), initial);
//     gn_graph *graph = gn_graph_new(state);
//     gn_node *loss = gn_mean(gn_square(gn_sub(gn_matmul(x, gn_read(graph, w)), y)));
//     gn_sgd(graph, &w, 1, loss, 0.1);                         // adds the gradient and the update
//     gn_device *device = gn_device_open(NULL, NULL);
//     gn_program *step = gn_program_new(device, graph);
//     for (int i = 0; i < 100; i++) gn_program_run(step);
//     gn_state_get(device, w, initial);                        // waits, and copies w to the host
//
// Shapes have up to four dimensions, images are (N, H, W, C), dense weights (in, out). A shape that does not
// fit is the programmer's mistake and aborts with both shapes. What can fail for other reasons returns
// false or NULL, and gn_error() says why.
#ifndef GANC_H
#define GANC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum { GN_F32, GN_I32, GN_U8 } gn_type;

enum { GN_MAX_DIMS = 4 };

typedef struct {
    int dims; // 0 for a scalar
    int size[GN_MAX_DIMS];
} gn_shape;

typedef struct gn_state gn_state;       // the variables of a run
typedef struct gn_variable gn_variable; // one named tensor that outlives a step
typedef struct gn_graph gn_graph;       // operations on the variables of one state
typedef struct gn_node gn_node;         // one operation's result; belongs to its graph
typedef struct gn_device gn_device;     // an OpenCL device, opened
typedef struct gn_program gn_program;   // a graph, planned and compiled for a device

// Why the last call on this thread failed: one line, without a newline at its end.
const char *gn_error(void);

// ---- Shapes ------------------------------------------------------------------------------------------

gn_shape gn_shape_of(int dims, ...); // as many ints as dims
size_t gn_shape_count(gn_shape shape);
bool gn_shape_equal(gn_shape a, gn_shape b);
size_t gn_type_size(gn_type type);

// ---- State -------------------------------------------------------------------------------------------

gn_state *gn_state_new(uint64_t seed);
void gn_state_free(gn_state *state);

// Adds a variable. `initial` holds gn_shape_count(shape) values in row-major order, copied; NULL for zeros.
// The name must be new in this state.
gn_variable *gn_state_add(gn_state *state, const char *name, gn_type type, gn_shape shape,
                          const void *initial);
gn_variable *gn_state_find(const gn_state *state, const char *name); // NULL where there is none
uint64_t gn_state_seed(const gn_state *state);

// The variables one by one, in the order they were added: NULL gives the first, the last gives NULL.
gn_variable *gn_state_next(const gn_state *state, const gn_variable *previous);
const char *gn_variable_name(const gn_variable *variable);
gn_type gn_variable_type(const gn_variable *variable);
gn_shape gn_variable_shape(const gn_variable *variable);

// How a variable lies in PyTorch's files, where that differs: its shape there; a view of that shape with its
// axes split or merged; and which axis of the view each axis here is, from the outermost. A dense weight is
// {.file = (out, in), .view = (out, in), .order = {1, 0}}.
typedef struct {
    gn_shape file, view;
    int order[GN_MAX_DIMS];
} gn_layout;

void gn_variable_set_layout(gn_variable *variable, gn_layout layout);
gn_shape gn_variable_file_shape(const gn_variable *variable);
// Between the orders of elements, gn_shape_count(shape) of them; f32 variables only, in and out differ.
void gn_variable_to_file(const gn_variable *variable, const float *values, float *file);
void gn_variable_from_file(const gn_variable *variable, const float *file, float *values);

// Copies a variable's value from or to the device; waits for what runs. Before any program used the
// variable its value lies on the host, and that is what is read and written.
bool gn_state_get(gn_device *device, gn_variable *variable, void *values);
bool gn_state_set(gn_device *device, gn_variable *variable, const void *values);

// ---- Graphs ------------------------------------------------------------------------------------------

gn_graph *gn_graph_new(gn_state *state);
void gn_graph_free(gn_graph *graph); // and its nodes
gn_shape gn_node_shape(const gn_node *node);
gn_graph *gn_node_graph(const gn_node *node);
gn_state *gn_graph_state(const gn_graph *graph);

// Floating-point operations that a run needs: those that an assignment depends on, each once.
double gn_graph_flops(const gn_graph *graph);

// The value of a variable here: what the last gn_assign() before this call gave it, else what it holds when
// the program starts.
gn_node *gn_read(gn_graph *graph, gn_variable *variable);

// Gives a variable a new value and returns it; what is built from a gn_read() before keeps the old value.
// Gradients do not pass through an assignment, as they do not through torch's optimisers.
gn_node *gn_assign(gn_graph *graph, gn_variable *variable, gn_node *value);

gn_node *gn_constant(gn_graph *graph, double value);  // f32 scalar
gn_node *gn_constant_int(gn_graph *graph, int value); // i32 scalar

// Arithmetic, element by element. Two shapes broadcast as in NumPy: aligned at the right, 1 stretches.
gn_node *gn_add(gn_node *a, gn_node *b); // f32 or i32, both the same
gn_node *gn_sub(gn_node *a, gn_node *b);
gn_node *gn_mul(gn_node *a, gn_node *b);
gn_node *gn_div(gn_node *a, gn_node *b);
gn_node *gn_scale(gn_node *x, double factor);
gn_node *gn_offset(gn_node *x, double summand);
gn_node *gn_neg(gn_node *x);
gn_node *gn_square(gn_node *x);
gn_node *gn_sqrt(gn_node *x);
gn_node *gn_exp(gn_node *x);
gn_node *gn_expm1(gn_node *x);
gn_node *gn_log(gn_node *x);
gn_node *gn_tanh(gn_node *x);
gn_node *gn_sigmoid(gn_node *x);
gn_node *gn_leaky_relu(gn_node *x, double slope); // x > 0 ? x : slope * x
gn_node *gn_clamp(gn_node *x, double low, double high);
gn_node *gn_to_f32(gn_node *x); // from i32 or u8

// Shapes.
gn_node *gn_reshape(gn_node *x, gn_shape shape);
gn_node *gn_broadcast(gn_node *x, gn_shape shape);
gn_node *gn_slice(gn_node *x, int first, int count); // of the last axis
gn_node *gn_pad(gn_node *x, int before, int after);  // zeros around the last axis
gn_node *gn_concat(gn_node *a, gn_node *b);          // along the last axis
gn_node *gn_concat_rows(gn_node *a, gn_node *b);     // along the first axis
gn_node *gn_rows(gn_node *x, int first, int count);  // of the first axis

// Reductions. gn_sum_to adds up what a broadcast from `shape` would have stretched; gn_sum_axis keeps the
// axis with size 1; gn_mean is over everything and gives a scalar.
gn_node *gn_sum_to(gn_node *x, gn_shape shape);
gn_node *gn_sum_axis(gn_node *x, int axis);
gn_node *gn_mean(gn_node *x);

gn_node *gn_matmul(gn_node *a, gn_node *b); // (M, K) x (K, N) -> (M, N)

// Convolutions as torch.nn.functional's conv2d and conv_transpose2d with a square kernel, without bias, on
// images with the channels last. The weights' rows and columns are torch's axes in another order.
// x (N, H, W, C), w (kernel * kernel * C, O) -> (N, OH, OW, O), OH = (H + 2 padding - kernel) / stride + 1,
// rounded down; w's rows are ordered (ky, kx, c).
gn_node *gn_conv2d(gn_node *x, gn_node *w, int kernel, int stride, int padding);
// x (N, H, W, C), w (C, kernel * kernel * O) -> (N, OH, OW, O), OH = (H - 1) stride - 2 padding + kernel;
// w's columns are ordered (ky, kx, o). It is the gradient of gn_conv2d() by its image.
gn_node *gn_conv_transpose2d(gn_node *x, gn_node *w, int kernel, int stride, int padding);

// Data. Rows of a table that is a variable: `rows` is i32 (N), the result (N, ...) has the table's type.
gn_node *gn_gather(gn_node *table, gn_node *rows);
gn_node *gn_one_hot(gn_node *labels, int classes); // i32 (N) -> f32 (N, classes)

// u8 images (N, 28, 28) -> u8 (N, 32, 32), as Pillow's Image.resize with BILINEAR, to the byte.
gn_node *gn_resize(gn_node *images);

// Which rows make the batch of a step: order[(step mod (M / batch)) * batch + i] for an order of M rows.
gn_node *gn_batch_rows(gn_node *order, gn_node *step, int batch); // i32 (M), i32 scalar -> i32 (batch)

// Random numbers, counter-based (see kernels_cl/random.cl): a draw depends on the state's seed, the name of
// its stream, the step and the element's index + `first`, and on nothing else.
gn_node *gn_random_uniform(const char *stream, gn_node *step, gn_shape shape, int first); // [0, 1)
gn_node *gn_random_normal(const char *stream, gn_node *step, gn_shape shape, int first);
gn_node *gn_random_below(const char *stream, gn_node *step, gn_shape shape, int first, int bound); // i32

// The same on the host, bit for bit: for initial values. Fills `count` values of the stream at `step`.
void gn_draw_uniform(uint64_t seed, const char *stream, uint32_t step, float *out, size_t count);
void gn_draw_normal(uint64_t seed, const char *stream, uint32_t step, float *out, size_t count);
void gn_draw_below(uint64_t seed, const char *stream, uint32_t step, int32_t *out, size_t count, int bound);
// A permutation of 0 .. count-1.
void gn_draw_permutation(uint64_t seed, const char *stream, uint32_t step, int32_t *out, size_t count);

// Writes a scalar into row step mod M of a log, f32 (M, columns), and gives the log.
gn_node *gn_record(gn_graph *graph, gn_variable *log, gn_node *step, int column, gn_node *value);

// ---- Gradients, losses, optimisers -------------------------------------------------------------------

// The gradient of `loss` (a scalar) by each of `wrt`; adds nodes, so that it can be applied to its own
// result. A node that the loss does not depend on gets zeros.
void gn_grad(gn_node *loss, gn_node *const *wrt, int count, gn_node **gradients);

// -mean(t log p + (1 - t) log(1 - p)), each logarithm at least -100, as torch's BCELoss; p in [0, 1]
gn_node *gn_bce(gn_node *p, double target);

// Each adds the loss's gradient by the variables and their update to the graph.
void gn_sgd(gn_graph *graph, gn_variable *const *variables, int count, gn_node *loss, double lr);
// Kingma and Ba 2015, as torch.optim.Adam: eps 1e-8. `name` names its state: NAME.step, NAME.VARIABLE.m, .v.
void gn_adam(gn_graph *graph, const char *name, gn_variable *const *variables, int count, gn_node *loss,
             double lr, double beta1, double beta2);
// Hinton's RMSprop, as torch.optim.RMSprop: decay 0.99, eps 1e-8.
void gn_rmsprop(gn_graph *graph, const char *name, gn_variable *const *variables, int count, gn_node *loss,
                double lr);

// ---- Devices and programs ----------------------------------------------------------------------------

typedef struct {
    const char *device_class; // "cpu" or "gpu": which kernels; NULL: by the device's type
    const char *gemm;         // "clblast" or "native"; NULL or "auto": what serves this device best
    const char *kernels;      // read the kernels from this folder; NULL: those in the binary
    bool compile_only;        // who computes nothing needs no products verified; nothing is remembered
} gn_device_options;

// Opens a device: `selector` as --device takes it, NULL for the default; `options` may be NULL.
gn_device *gn_device_open(const char *selector, const gn_device_options *options);
void gn_device_free(gn_device *device);
const char *gn_device_name(const gn_device *device);

// Plans and compiles a graph: everything that its assignments need, and nothing else. The graph may be freed
// afterwards, the state must stay. What was compiled is the device's, for other programs that need the same,
// and goes with it.
gn_program *gn_program_new(gn_device *device, gn_graph *graph);
void gn_program_free(gn_program *program);

// Starts one run of the program, after all runs started before; does not wait.
bool gn_program_run(gn_program *program);
// Waits until everything started on the device has ended.
bool gn_device_wait(gn_device *device);

#endif
