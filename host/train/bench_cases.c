// Cases for `ganc bench` of kernels that no model's training step runs, or that only some engine of matrix
// products runs. tests/test_bench.sh finds a kernel that neither a model nor a case covers.
#include "base/error.h"
#include "graph/graph.h"
#include "train/bench.h"

enum { TABLE_ROWS = 10000 };

static gn_node *zeros(gn_graph *graph, const char *name, gn_type type, gn_shape shape) {
    return gn_read(graph, gn_state_add(graph->state, name, type, shape, NULL));
}

static gn_node *matrix(gn_graph *graph, const char *name, int rows, int columns) {
    return zeros(graph, name, GN_F32, gn_shape_of(2, rows, columns));
}

static gn_node *case_gather_odd_bytes(gn_graph *graph) {
    gn_node *table = zeros(graph, "odd.table", GN_U8, gn_shape_of(2, TABLE_ROWS, 783));
    return gn_to_f32(gn_gather(table, zeros(graph, "odd.rows", GN_I32, gn_shape_of(1, 64))));
}

static gn_node *case_gather_words(gn_graph *graph) {
    gn_node *table = matrix(graph, "words.table", TABLE_ROWS, 785);
    return gn_gather(table, zeros(graph, "words.rows", GN_I32, gn_shape_of(1, 64)));
}

// Numbers drawn from `first` on: from 0 on all work-items draw four, else the first and the last one do not.
static gn_node *case_draws(gn_graph *graph, const char *step_name, int first) {
    gn_shape shape = gn_shape_of(2, 64, 100);
    gn_node *step = zeros(graph, step_name, GN_I32, (gn_shape){0});
    gn_node *below = gn_to_f32(gn_random_below("draws.below", step, shape, first, IMAGE_CLASSES));
    gn_node *uniform = gn_random_uniform("draws.uniform", step, shape, first);
    return gn_add(gn_random_normal("draws.normal", step, shape, first), gn_add(uniform, below));
}

static const struct {
    bool transpose_a, transpose_b;
    int m, n, k;
} products[] = {
    {false, false, 64, 784, 512}, // a layer
    {false, true, 64, 512, 784},  // backward to its input
    {true, false, 512, 784, 64},  // backward to its weights
    {true, true, 64, 784, 512},   // by both transposed
    // Columns that fall into few sets of a cache.
    {false, false, 64, 1024, 512},
    {false, false, 64, 1, 256}, // one output
    // Long sums for few elements, which GPUs make in slices.
    {false, false, 16, 16, 2048},
    {false, true, 16, 16, 2048},
    {true, false, 16, 16, 2048},
    {true, true, 16, 16, 2048},
};

static void add_result(gn_graph *graph, gn_node *value) {
    char *name = gn_format("result %d", value->id);
    gn_assign(graph, gn_state_add(graph->state, name, GN_F32, value->shape, NULL), value);
    free(name);
}

void bench_add_cases(gn_graph *graph) {
    for (size_t i = 0; i < sizeof products / sizeof *products; i++) {
        bool ta = products[i].transpose_a, tb = products[i].transpose_b;
        int m = products[i].m, n = products[i].n, k = products[i].k;
        char *a = gn_format("product %zu.a", i), *b = gn_format("product %zu.b", i);
        add_result(graph, graph_matmul(matrix(graph, a, ta ? k : m, ta ? m : k), ta,
                                       matrix(graph, b, tb ? n : k, tb ? k : n), tb));
        free(a);
        free(b);
    }
    add_result(graph, case_gather_odd_bytes(graph));
    add_result(graph, case_gather_words(graph));
    add_result(graph, case_draws(graph, "draws.whole.step", 0));
    add_result(graph, case_draws(graph, "draws.parts.step", 1));
}
