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

// The nodes that read `node`. None where there are too many, or some that read a view of it.
static int find_readers(const gn_node *node, const gn_node *readers[MOST_READERS]) {
    const gn_graph *graph = node->graph;
    int count = 0;
    for (int i = node->id + 1; i < graph->count; i++) {
        const gn_node *reader = graph->nodes[i];
        if (!planner_reads(reader, node))
            continue;
        if (count == MOST_READERS || (reader->input[0] != node && reader->input[1] != node))
            return 0;
        readers[count++] = reader;
    }
    return count;
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

// Rows of a matrix, or images.
static gn_node *piece_of(gn_node *x, int i, int pieces) {
    int rows = x->shape.size[0] / pieces;
    return gn_rows(x, i * rows, rows);
}

// The copy of a product, of whose matrices `whole` is a piece.
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

// Copies the products that read a map to patches, piece by piece; the map has no copy then. False where it
// stays whole.
static bool cut_im2col(const planner *p, gn_node **copies, const gn_node *im2col) {
    const gn_node *readers[MOST_READERS];
    const int *window = im2col->integer;
    int pieces = count_pieces(p, im2col, im2col->input[0]->shape.size[0]),
        count = pieces > 1 ? find_readers(im2col, readers) : 0;
    for (int k = 0; k < count; k++)
        if (!can_cut(readers[k], im2col))
            return false;
    for (int i = 0; i < pieces && count > 0; i++) {
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
    return count > 0;
}

// Is the product cut with the map from patches that alone reads it?
static bool is_cut(const planner *p, const gn_node *product) {
    const gn_node *readers[MOST_READERS];
    return product->op == OP_MATMUL && !product->integer[0] && find_readers(product, readers) == 1 &&
           readers[0]->op == OP_COL2IM && count_pieces(p, product, readers[0]->shape.size[0]) > 1;
}

// The copy of a map from patches, made piece by piece with its product, which has none.
static gn_node *cut_col2im(const planner *p, gn_node *const *copies, const gn_node *col2im) {
    const gn_node *product = col2im->input[0];
    const int *window = col2im->integer;
    int images = col2im->shape.size[0], pieces = count_pieces(p, product, images);
    gn_shape shape = shape_with(col2im->shape, 0, images / pieces);
    gn_node *a = copies[product->input[0]->id], *b = copies[product->input[1]->id], *image = NULL;
    for (int i = 0; i < pieces; i++) {
        gn_node *columns = graph_matmul(piece_of(a, i, pieces), false, b, product->integer[1]);
        gn_node *part = graph_col2im(columns, shape, window[0], window[1], window[2]);
        image = image ? gn_concat_rows(image, part) : part;
    }
    return image;
}

void planner_cut(planner *p) {
    gn_graph *graph = p->plan->graph, *cut = gn_graph_new(graph->state);
    gn_node **copies = gn_calloc((size_t)graph->count, sizeof *copies);
    for (int i = 0; i < graph->count; i++) {
        const gn_node *node = graph->nodes[i];
        if (copies[i] || is_cut(p, node) || (node->op == OP_IM2COL && cut_im2col(p, copies, node)))
            continue;
        copies[i] = node->op == OP_COL2IM && !copies[node->input[0]->id]
                        ? cut_col2im(p, copies, node)
                        : node_new(cut, planner_copied_fields(copies, node));
    }
    free(copies);
    gn_graph_free(graph);
    p->plan->graph = cut;
}
