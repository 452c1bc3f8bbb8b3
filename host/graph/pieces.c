// The planner's second pass: convolutions of many images, a piece of the batch at a time.
//
// Between the two halves of a convolution, a product and a map between images and their patches, lie matrices
// of up to K * K times an image's size, see kernels_cl/conv.cl. Those of a large batch leave the caches
// before they are read. But each image goes its own way, so a piece of the batch can go all of it before the
// next one starts:
//
//     col2im(x w)     [col2im(x1 w); col2im(x2 w); ...]         forward, transposed; backward by the image
//     im2col(y) w     [im2col(y1) w; im2col(y2) w; ...]         forward; backward by the image, transposed
//     x^T im2col(y)   x1^T im2col(y1) + x2^T im2col(y2) + ...   backward by the weights, transposed
//
// x1 and y1 are rows of what is in memory, and results lie one behind the other: neither is work, see
// concat.c. The patches of all pieces take turns in one place of the arena. A step of dcgan with 512 images
// or more takes 0.92 of the time so on a Xeon with 2 MiB of cache a core, with pieces of 6 to 16 MiB.
//
// Patches that are needed again later, as those of a convolution that is not transposed are for its weights'
// gradient, stay whole.
#include "graph/planner.h"

enum { MOST_READERS = 4 };

// In how many pieces the columns of a batch of images are computed: in as few as make them small enough, of
// as many images each.
static int count_pieces(const planner *p, const gn_node *columns, int images) {
    size_t bytes = node_bytes(columns), most = p->options.piece_bytes;
    int pieces = 1;
    if (bytes / 2 <= most) // two pieces would hardly be worth their launches
        return 1;
    while (pieces < images && (images % pieces || bytes / (size_t)pieces > most))
        pieces++;
    return bytes / (size_t)pieces > most / 4 ? pieces : 1; // of a prime number of images there is none
}

// The nodes that read `node`. -1 where there are none, too many, or some that read a view of it.
static int find_readers(const gn_graph *graph, const gn_node *node, const gn_node *readers[MOST_READERS]) {
    int count = 0;
    for (int i = node->id + 1; i < graph->count; i++) {
        const gn_node *reader = graph->nodes[i];
        if (!planner_reads(reader, node))
            continue;
        if (count == MOST_READERS || (reader->input[0] != node && reader->input[1] != node))
            return -1;
        readers[count++] = reader;
    }
    return count ? count : -1;
}

// Is it the matrix of a product of which each row makes a row of the result?
static bool makes_rows(const gn_node *product, const gn_node *matrix) {
    return product->input[0] == matrix && !product->integer[0];
}

// Can the product be made of pieces of the matrix, since it makes a row of each row or adds up over them, and
// is its other matrix there before this one?
static bool can_cut(const gn_node *product, const gn_node *matrix) {
    const gn_node *a = product->input[0], *b = product->input[1];
    bool adds_rows = product->integer[0] && !product->integer[1];
    return product->op == OP_MATMUL && (a == matrix ? b : a)->id < matrix->id &&
           (makes_rows(product, matrix) || adds_rows);
}

// Into how many pieces a map to patches is cut, with the products that read it. 1: it stays whole.
static int cut_of_im2col(const planner *p, const gn_graph *graph, const gn_node *im2col) {
    const gn_node *readers[MOST_READERS];
    int pieces = count_pieces(p, im2col, im2col->input[0]->shape.size[0]),
        count = pieces > 1 ? find_readers(graph, im2col, readers) : -1;
    for (int k = 0; k < count; k++)
        if (!can_cut(readers[k], im2col))
            return 1;
    return count > 0 ? pieces : 1;
}

// Into how many pieces a product is cut, with the map from patches that alone reads it.
static int cut_of_product(const planner *p, const gn_graph *graph, const gn_node *product) {
    const gn_node *readers[MOST_READERS];
    bool alone = !product->integer[0] && find_readers(graph, product, readers) == 1;
    return alone && readers[0]->op == OP_COL2IM ? count_pieces(p, product, readers[0]->shape.size[0]) : 1;
}

// Rows of a matrix, or images.
static gn_node *piece_of(gn_node *x, int i, int pieces) {
    int rows = x->shape.size[0] / pieces;
    return gn_rows(x, i * rows, rows);
}

// The map of the product, both by their copied inputs.
static gn_node *copy_col2im(const gn_node *col2im, gn_node *a, gn_node *b, bool transpose_b, int pieces) {
    gn_shape shape = shape_with(col2im->shape, 0, col2im->shape.size[0] / pieces);
    const int *window = col2im->integer;
    gn_node *image = NULL;
    for (int i = 0; i < pieces; i++) {
        gn_node *columns = graph_matmul(piece_of(a, i, pieces), false, b, transpose_b);
        gn_node *part = graph_col2im(columns, shape, window[0], window[1], window[2]);
        image = image ? gn_concat_rows(image, part) : part;
    }
    return image;
}

// A product of which one matrix is a piece, by its copied inputs.
static gn_node *product_of_piece(gn_node *const *copies, const gn_node *product, const gn_node *whole,
                                 gn_node *piece, int i, int pieces) {
    gn_node *operands[2];
    for (int j = 0; j < 2; j++) {
        gn_node *other = copies[product->input[j]->id];
        operands[j] = product->input[j] == whole   ? piece
                      : makes_rows(product, whole) ? other
                                                   : piece_of(other, i, pieces);
    }
    return graph_matmul(operands[0], product->integer[0], operands[1], product->integer[1]);
}

// All the products that read a map to patches, piece by piece.
static void copy_products(gn_node **copies, const gn_graph *graph, const gn_node *im2col, int pieces) {
    const gn_node *readers[MOST_READERS];
    const int *window = im2col->integer;
    int count = find_readers(graph, im2col, readers);
    for (int i = 0; i < pieces; i++) {
        gn_node *images = piece_of(copies[im2col->input[0]->id], i, pieces);
        gn_node *patches = graph_im2col(images, window[0], window[1], window[2]);
        for (int k = 0; k < count; k++) {
            gn_node *part = product_of_piece(copies, readers[k], im2col, patches, i, pieces),
                    **all = &copies[readers[k]->id];
            *all = i == 0                           ? part
                   : makes_rows(readers[k], im2col) ? gn_concat_rows(*all, part)
                                                    : gn_add(*all, part);
        }
    }
}

static gn_node *copy_of(gn_graph *cut, gn_node *const *copies, const gn_node *node) {
    gn_node fields = *node;
    for (int j = 0; j < input_count(node); j++)
        fields.input[j] = copies[node->input[j]->id];
    if (node->previous)
        fields.previous = copies[node->previous->id];
    return node_new(cut, fields);
}

void planner_cut(planner *p) {
    gn_graph *graph = p->plan->graph, *cut = gn_graph_new(graph->state);
    gn_node **copies = gn_calloc((size_t)graph->count, sizeof *copies);
    int *pieces = gn_calloc((size_t)graph->count, sizeof *pieces);
    for (int i = 0; i < graph->count; i++) {
        const gn_node *node = graph->nodes[i], *product = node->input[0];
        pieces[i] = node->op == OP_IM2COL                 ? cut_of_im2col(p, graph, node)
                    : node->op == OP_MATMUL && !copies[i] ? cut_of_product(p, graph, node)
                                                          : 1;
        if (node->op == OP_IM2COL && pieces[i] > 1)
            copy_products(copies, graph, node, pieces[i]);
        else if (node->op == OP_COL2IM && pieces[product->id] > 1)
            copies[i] = copy_col2im(node, copies[product->input[0]->id], copies[product->input[1]->id],
                                    product->integer[1], pieces[product->id]);
        else if (!copies[i] && pieces[i] == 1)
            copies[i] = copy_of(cut, copies, node);
    }
    free(copies);
    free(pieces);
    gn_graph_free(graph);
    p->plan->graph = cut;
}
