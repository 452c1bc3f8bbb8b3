// Cases for `ganc bench` of kernels that no model's training step runs, or that only some engine of matrix
// products runs. tests/test_bench.sh finds a kernel that neither a model nor a case covers.
#include "error.h"
#include "graph/graph.h"
#include "train/bench.h"

enum { TABLE_ROWS = 10000 };

static gn_node *zeros(gn_graph *graph, const char *name, gn_type type, gn_shape shape) {
    return gn_read(graph, gn_state_add(graph->state, name, type, shape, NULL));
}

static gn_node *matrix(gn_graph *graph, const char *name, int rows, int columns) {
    return zeros(graph, name, GN_F32, gn_shape_of(2, rows, columns));
}

static gn_node *case_product_of_transposed(gn_graph *graph) {
    return graph_matmul(matrix(graph, "tt.a", 512, 64), true, matrix(graph, "tt.b", 784, 512), true);
}

// Columns that fall into few sets of a cache.
static gn_node *case_colliding_columns(gn_graph *graph) {
    return graph_matmul(matrix(graph, "columns.a", 64, 512), false, matrix(graph, "columns.b", 512, 1024),
                        false);
}

static gn_node *case_one_output(gn_graph *graph) {
    return graph_matmul(matrix(graph, "one.a", 64, 256), false, matrix(graph, "one.b", 256, 1), false);
}

static gn_node *case_dense(gn_graph *graph) {
    return graph_matmul(matrix(graph, "nn.a", 64, 512), false, matrix(graph, "nn.b", 512, 784), false);
}

static gn_node *case_backward_to_input(gn_graph *graph) {
    return graph_matmul(matrix(graph, "back.a", 64, 784), false, matrix(graph, "back.b", 512, 784), true);
}

static gn_node *case_backward_to_weights(gn_graph *graph) {
    return graph_matmul(matrix(graph, "weights.a", 64, 512), true, matrix(graph, "weights.b", 64, 784),
                        false);
}

static gn_node *case_gather_odd_bytes(gn_graph *graph) {
    gn_node *table = zeros(graph, "odd.table", GN_U8, gn_shape_of(2, TABLE_ROWS, 783));
    return gn_to_f32(gn_gather(table, zeros(graph, "odd.rows", GN_I32, gn_shape_of(1, 64))));
}

static gn_node *case_gather_words(gn_graph *graph) {
    gn_node *table = matrix(graph, "words.table", TABLE_ROWS, 785);
    return gn_gather(table, zeros(graph, "words.rows", GN_I32, gn_shape_of(1, 64)));
}

static gn_node *(*const cases[])(gn_graph *graph) = {
    case_dense,
    case_backward_to_input,
    case_backward_to_weights,
    case_product_of_transposed,
    case_colliding_columns,
    case_one_output,
    case_gather_odd_bytes,
    case_gather_words,
};

void bench_add_cases(gn_graph *graph) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        gn_node *value = cases[i](graph);
        char *name = gn_format("result %zu", i);
        gn_assign(graph, gn_state_add(graph->state, name, GN_F32, value->shape, NULL), value);
        free(name);
    }
}
