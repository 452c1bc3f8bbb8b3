// Of the planner's first pass: matrix products and sums that others know already.
//
// A product is linear in the rows of its left matrix: with one factor a row,
//
//     (a X + b Y) W = a (X W) + b (Y W)
//
// Where X W and Y W are computed anyway, so are all products of what lies between the rows of X and Y with W.
// WGAN-GP's critic judges real and generated images and, with the same weights, points between them: its
// largest layer has only two products to make instead of three.
//
// And a sum of products is one product, of rows below each other:
//
//     A^T B + C^T D = [A; C]^T [B; D]
//
// So it is where a network judges twice in a step, or is differentiated twice: the gradient of a weight is
// such a sum, which the longer product adds up where it makes it. [A; C] and [B; D] must be no work, see
// concat.c.
//
// A sum over rows is linear in them as well; what all rows have alike, r, s and t, need not be added up:
//
//     sum(r X + s Y + t) = r sum(X) + s sum(Y) + rows t
//
// A batch norm's gradient sums up such rows twice, where the sums of X and Y are made before. And where two
// such rows are added to others, as a layer's bias and a batch norm's mean, they are added to each other
// first:
//
//     (X + r) - s = X - (s - r)
//
// so that all readers can compute it of X, even when the bias has been updated.
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
        if (planner_is_concatenation(other->input[0], &first, &second) && (first == x || second == x))
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
        const gn_node *term = plan_base(sum->input[i]);
        const gn_node *x = gn_shape_equal(term->shape, sum->shape) ? scaled_rows(term, &factor) : NULL;
        gn_node *known = x ? known_product(product, x) : NULL;
        if (!known)
            return NULL;
        terms[i] = gn_mul(gn_broadcast(factor, product->shape), known);
    }
    return gn_add(terms[0], terms[1]);
}

// Is the product one of two in a sum, and needed by nothing else?
static bool is_term(const gn_graph *graph, const bool *needed, const gn_node *product, const gn_node *sum) {
    if (product->op != OP_MATMUL || !product->integer[0] || product->integer[1])
        return false;
    for (int i = 0; i < graph->count; i++)
        if (needed[i] && graph->nodes[i] != sum)
            for (int j = 0; j < op_table[graph->nodes[i]->op].inputs; j++)
                if (plan_base(graph->nodes[i]->input[j]) == product)
                    return false;
    return true;
}

// Has a concatenation with the matrix on top its two parts where tensors may lie?
static bool is_aligned(const gn_node *matrix, size_t alignment) {
    return node_bytes(matrix) % alignment == 0;
}

bool planner_is_sum_of_products(const gn_graph *graph, const bool *needed, const gn_node *sum,
                                size_t alignment) {
    const gn_node *a = sum->input[0], *b = sum->input[1];
    return sum->op == OP_ADD && a != b && is_term(graph, needed, a, sum) && is_term(graph, needed, b, sum) &&
           gn_shape_equal(a->shape, b->shape) && is_aligned(a->input[0], alignment) &&
           is_aligned(a->input[1], alignment);
}

gn_node *planner_join_products(const gn_node *first, const gn_node *second) {
    gn_node fields = *first;
    for (int i = 0; i < 2; i++)
        fields.input[i] = gn_concat_rows(first->input[i], second->input[i]);
    return node_new(fields.input[0]->graph, fields);
}

// ---- Sums over rows ------------------------------------------------------------------------------------

// What all rows have alike, as one row, copied; NULL where the node is nothing of the kind.
static gn_node *common_row(gn_node *const *copies, const gn_node *node, sum_loops loops) {
    gn_shape row = gn_shape_of(2, 1, loops.inner);
    const gn_node *stretched = plan_base((gn_node *)node);
    gn_node *copy = stretched->op == OP_BROADCAST ? copies[stretched->input[0]->id] : NULL;
    if (!copy)
        return NULL;
    if (gn_shape_count(copy->shape) == 1)
        return gn_broadcast(gn_reshape(copy, gn_shape_of(2, 1, 1)), row);
    bool alike = (int)gn_shape_count(copy->shape) == loops.inner && planner_repeats_row(stretched, loops);
    return alike ? gn_reshape(copy, row) : NULL;
}

// The sum over rows (run, inner) of the copied graph's node, one row made of known sums; NULL where it cannot
// be.
static gn_node *known_sum(const planner *p, gn_node *const *copies, const gn_node *node, sum_loops loops) {
    const gn_node *terms = plan_base((gn_node *)node);
    for (int i = 0; i < p->sum_count; i++)
        if (p->sums[i].terms == terms && p->sums[i].columns == loops.inner)
            return gn_reshape(p->sums[i].sum, gn_shape_of(2, 1, loops.inner));
    gn_node *row = common_row(copies, terms, loops), *first, *second;
    if (row)
        return gn_scale(row, loops.run);
    switch (terms->op) {
    case OP_NEG:
        first = known_sum(p, copies, terms->input[0], loops);
        return first ? gn_neg(first) : NULL;
    case OP_ADD:
    case OP_SUB:
        first = known_sum(p, copies, terms->input[0], loops);
        second = first ? known_sum(p, copies, terms->input[1], loops) : NULL;
        return !second ? NULL : terms->op == OP_ADD ? gn_add(first, second) : gn_sub(first, second);
    case OP_MUL:
        for (int i = 0; i < 2; i++) {
            row = common_row(copies, terms->input[i], loops);
            first = row ? known_sum(p, copies, terms->input[1 - i], loops) : NULL;
            if (first)
                return gn_mul(first, row);
        }
        return NULL;
    default:
        return NULL;
    }
}

gn_node *planner_combine_sums(const planner *p, gn_node *const *copies, const gn_node *sum) {
    sum_loops loops = sum_node_loops(sum);
    gn_node *combination = loops.outer == 1 ? known_sum(p, copies, sum->input[0], loops) : NULL;
    return combination ? gn_reshape(combination, sum->shape) : NULL;
}

void planner_know_sum(planner *p, const gn_node *sum, gn_node *copy) {
    sum_loops loops = sum_node_loops(sum);
    if (loops.outer != 1)
        return;
    p->sums = gn_realloc(p->sums, ((size_t)p->sum_count + 1) * sizeof *p->sums);
    p->sums[p->sum_count++] = (sum_of_rows){plan_base(sum->input[0]), loops.inner, copy};
}

// ---- Rows added to rows ----------------------------------------------------------------------------------

// Of a sum or a difference: the row behind the broadcast that is its second operand; NULL where it is none.
static gn_node *added_row(const gn_node *node) {
    gn_node *row = node->input[1]->op == OP_BROADCAST ? node->input[1]->input[0] : NULL;
    return row && gn_shape_count(row->shape) < gn_shape_count(node->shape) ? row : NULL;
}

gn_node *planner_add_rows_first(const gn_node *sum) {
    if (sum->op != OP_ADD && sum->op != OP_SUB)
        return NULL;
    const gn_node *inner = plan_base(sum->input[0]);
    if (inner->op != OP_ADD || !gn_shape_equal(inner->shape, sum->shape))
        return NULL;
    gn_node *r = added_row(inner), *s = added_row(sum);
    if (!r || !s || !gn_shape_equal(r->shape, s->shape))
        return NULL;
    return sum->op == OP_ADD ? gn_add(inner->input[0], gn_broadcast(gn_add(r, s), sum->shape))
                             : gn_sub(inner->input[0], gn_broadcast(gn_sub(s, r), sum->shape));
}
