// Of the planner's first pass: a matrix product that others know already.
//
// A product is linear in the rows of its left matrix: with one factor a row,
//
//     (a X + b Y) W = a (X W) + b (Y W)
//
// Where X W and Y W are computed anyway, so are all products of what lies between the rows of X and Y with W.
// WGAN-GP's critic judges real and generated images and, with the same weights, points between them: its
// largest layer has only two products to make instead of three.
#include "graph/planner.h"

// X in `factor X`, with one factor for each row; NULL where the node is nothing of the kind.
static gn_node *scaled_rows(const gn_node *node, gn_node **factor) {
    for (int i = 0; i < 2 && node->op == OP_MUL; i++) {
        gn_node *stretched = node->input[i], *x = plan_base(node->input[1 - i]);
        if (stretched->op != OP_BROADCAST ||
            (int)gn_shape_count(stretched->input[0]->shape) != node->shape.size[0])
            continue;
        broadcast_axes axes = broadcast_node_axes(stretched);
        if (axes.count == 2 && axes.stretched[0]) {
            *factor = stretched->input[0];
            return x;
        }
    }
    return NULL;
}

// Does the left matrix consist of the rows of two others? Then `first` becomes those on top.
static bool is_of_rows(const gn_node *matrix, gn_node **first, gn_node **second) {
    const gn_node *sum = plan_base((gn_node *)matrix);
    if (sum->op != OP_ADD || sum->input[0]->op != OP_PAD || sum->input[1]->op != OP_PAD)
        return false;
    const gn_node *top = sum->input[0], *bottom = sum->input[1];
    size_t above = gn_shape_count(top->input[0]->shape), below = gn_shape_count(bottom->input[0]->shape);
    if (top->integer[0] != 0 || bottom->integer[1] != 0 || above + below != gn_shape_count(matrix->shape))
        return false;
    *first = plan_base(top->input[0]);
    *second = plan_base(bottom->input[0]);
    return true;
}

static bool is_same_but_left(const gn_node *product, const gn_node *other) {
    return other->op == OP_MATMUL && other->input[1] == product->input[1] && !other->integer[0] &&
           other->integer[1] == product->integer[1];
}

// x times the right matrix of the product, by a product that was copied before; NULL where there is none.
static gn_node *known_product(const gn_node *product, const gn_node *x) {
    const gn_graph *graph = product->input[0]->graph;
    int rows = product->shape.size[0];
    for (int i = 0; i < graph->count; i++) {
        gn_node *other = graph->nodes[i], *first, *second;
        if (!is_same_but_left(product, other))
            continue;
        if (plan_base(other->input[0]) == x)
            return other;
        if (is_of_rows(other->input[0], &first, &second) && (first == x || second == x))
            return gn_rows(other, first == x ? 0 : other->shape.size[0] - rows, rows);
    }
    return NULL;
}

gn_node *planner_combine_products(const gn_node *product) {
    const gn_node *sum = plan_base(product->input[0]);
    if (product->integer[0] || sum->op != OP_ADD || !gn_shape_equal(sum->shape, product->input[0]->shape))
        return NULL;
    gn_node *terms[2], *factor;
    for (int i = 0; i < 2; i++) {
        const gn_node *x = scaled_rows(plan_base(sum->input[i]), &factor);
        gn_node *known = x ? known_product(product, x) : NULL;
        if (!known)
            return NULL;
        terms[i] = gn_mul(gn_broadcast(factor, product->shape), known);
    }
    return gn_add(terms[0], terms[1]);
}
