// Matrix products: C = op(A) op(B), f32, row-major and dense.
//
//     C[i,j] = sum over l of op(A)[i,l] * op(B)[l,j]      op(A) (m, k), op(B) (k, n), C (m, n)
//
// op(X) is X or its transpose, by the letters of the kernel's name, A's first:
//
//     gemm_n*: A is stored (m, k), op(A)[i,l] = a[i * k + l]     gemm_*n: B is stored (k, n), b[l * n + j]
//     gemm_t*: A is stored (k, m), op(A)[i,l] = a[l * m + i]     gemm_*t: B is stored (n, k), b[j * k + l]
//
// Each element of C belongs to one work-item, which adds DEPTH products in the order of l, and such sums to
// each other: a single float that takes up all of a long sum would lose more digits to rounding (Higham 1993,
// The accuracy of floating point summation). Whatever the tile, the bits are the same, but for gemm_dot.
//
// gemm_sliced_*, for a C of few elements and long sums: a third dimension of the NDRange, each index of which
// sums up `length` steps of l into partial[slice][i][j]; gemm_fold adds these up in order and finishes. On a GPU
// that makes groups enough; on a CPU it keeps all threads busy, and each reads whole rows of a transposed A in
// order, where a part of its columns would come from memory in small pieces.
//
// The host puts this text into a program once for each kernel and epilogue that it needs, every time with other
// values of
//     COPY          a number, which the names of the kernel and its functions end with
//     ONLY_gemm_nn  and so on: the kernel, since compilers take their time for each
//     DEPTH, and VW, MR, NV, DM, DN, SPAN or SIDE, WPT, TK: sizes, see below
//     FINISH, PARAMETERS, ARGUMENTS and FETCH, where it has an epilogue
//
// Buffers need no padding; a, b and c have m k, k n and m n elements, each less than 2^31 - 2^16. The host
// chooses the kernel, the tile and the ranges (host/cl/gemm_native.c).
//
// GANC_CPU: one work-item computes tiles of C in registers; work-group (1, 1), NDRange (rows, columns), which
//   walks down the rows first, so that all tiles of a column find it in the cache.
//
//   The tile of all but gemm_dot is MR x NR, NR = NV * VW. The columns lie in vectors:
//
//                     row l of B, j .. j+NR        for each l: NV vectors of B, MR scalars of A,
//                    [ VW ][ VW ] ...              MR * NV fused multiply-adds
//       a[i,    l]   [ acc ][ acc ]
//       a[i+1,  l]   [ acc ][ acc ]
//         ...
//   gemm_nn: a work-item makes one tile, from B where it lies.
//   gemm_column_*: a work-item makes a block of tiles. For each DEPTH steps of l it copies that many rows of
//     B's columns j .. j+NR into a panel, one behind the other, uses that for its tiles one below the other,
//     and goes on to the next NR columns: what it reads of A stays in the cache meanwhile, and is fetched from
//     memory once for all of its columns (Goto and van de Geijn 2008, Anatomy of high-performance matrix
//     multiplication). B stored (n, k) is transposed on the way, by squares of VW x VW in registers. With
//     few rows of A the copying would mostly wait for memory, so the tiles prefetch what it needs next, and then
//     what they need themselves.
//     gemm_sliced_* do the same.
//   gemm_across_nt, for few rows: the transpose of C, with the operands' parts exchanged. The vectors lie along
//     A's rows, of which the panel is a copy, and B gives the scalars, where it lies: what is copied and
//     transposed is small, and one panel serves many columns. A work-item makes up to SPAN columns of C, keeps
//     their sums in local memory, and transposes those by squares at the end.
//   gemm_dot, for B stored (n, k) with few columns: DM x DN. Both operands are contiguous along l, so each
//     element of the tile is a dot product with a vector of VW partial sums, added up by halves at the end.
//
// GANC_GPU: a work-group of SIDE x SIDE computes a tile of TILE x TILE, TILE = SIDE * WPT; NDRange (columns,
//   rows) of whole tiles, in work-items. It walks along l in steps of TK: all work-items copy the two panels
//   to local memory, zeros where the matrices end, then each adds to its WPT x WPT elements, which lie SIDE
//   apart, so that neighbours read neighbouring words and store neighbouring columns. Meanwhile the next two
//   panels are on their way to registers.
//   A slice's length is a multiple of TK. gemm_fold: a work-item an element.
//
// Every element of C is stored by FINISH(i, j, value), once, when its sum is complete; value is a vector of
// the columns j .. j+VW where GANC_CPU finds as many. An epilogue (host/cl/codegen.c) gives it another meaning:
// the element is used, and C is left to unfinished sums. Then n is a multiple of VW, and gemm_dot is not
// called.

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)

#ifndef COPY
#define COPY 0
#endif

// Names of each copy. A kernel or function that is missing here would be defined twice.
#define OWN(name)          JOIN(name##_copy_, COPY)
#define gemm_nn            OWN(gemm_nn)
#define gemm_nt            OWN(gemm_nt)
#define gemm_tn            OWN(gemm_tn)
#define gemm_tt            OWN(gemm_tt)
#define gemm_column_nn     OWN(gemm_column_nn)
#define gemm_column_nt     OWN(gemm_column_nt)
#define gemm_column_tn     OWN(gemm_column_tn)
#define gemm_column_tt     OWN(gemm_column_tt)
#define gemm_sliced_nn     OWN(gemm_sliced_nn)
#define gemm_sliced_nt     OWN(gemm_sliced_nt)
#define gemm_sliced_tn     OWN(gemm_sliced_tn)
#define gemm_sliced_tt     OWN(gemm_sliced_tt)
#define gemm_across_nt     OWN(gemm_across_nt)
#define gemm_dot           OWN(gemm_dot)
#define gemm_fold          OWN(gemm_fold)
#define find_rows          OWN(find_rows)
#define clear_tile         OWN(clear_tile)
#define add_step           OWN(add_step)
#define add_steps_of_panel OWN(add_steps_of_panel)
#define add_steps_of_b     OWN(add_steps_of_b)
#define add_last_steps     OWN(add_last_steps)
#define shuffle_cards      OWN(shuffle_cards)
#define transpose_square   OWN(transpose_square)
#define pack_rows          OWN(pack_rows)
#define pack_columns       OWN(pack_columns)
#define store_whole_tile   OWN(store_whole_tile)
#define store_part_of_tile OWN(store_part_of_tile)
#define store_tile         OWN(store_tile)
#define tile_of_b          OWN(tile_of_b)
#define fetch_for_tile     OWN(fetch_for_tile)
#define tiles_of_panel     OWN(tiles_of_panel)
#define share              OWN(share)
#define tile_across        OWN(tile_across)
#define store_square       OWN(store_square)
#define vector_sum         OWN(vector_sum)
#define tile_of_dots       OWN(tile_of_dots)
#define place_in_panel     OWN(place_in_panel)
#define fetch              OWN(fetch)
#define put                OWN(put)
#define add_panels         OWN(add_panels)
#define add_tile           OWN(add_tile)
#define add_up             OWN(add_up)
#define finish_tile        OWN(finish_tile)
#define store_partial_tile OWN(store_partial_tile)
#define add_row_of_b       OWN(add_row_of_b)
#define add_row_of_panel   OWN(add_row_of_panel)

#ifdef FINISH
#define EPILOGUE 1
#else
#define EPILOGUE 0
#define FINISH(i, j, value) STORE(value, 0, c + (i) * n + (j))
#define PARAMETERS // of the epilogue, behind a kernel's own, and
#define ARGUMENTS  // the same in a call; each begins with a comma
#define FETCH(i, j) // prefetches what FINISH(i, j, ...) reads of other matrices than C
#endif

// The tiles are arrays, and become registers only where their loops are unrolled in full. Not with ROLL, for the
// kernels of GPUs on a CPU, by PoCL: it keeps the arrays of work-items in memory anyway. There the PIECEs of a kernel
// are functions of their own, which are compiled once and not once for each place and copy: 0.7 s and not 1.5.
#if defined ROLL && defined POCL_DEVICE_ADDRESS_BITS
#define UNROLL _Pragma("unroll 1")
#define PIECE  NOT_INLINED
#else
#define UNROLL _Pragma("unroll")
#define PIECE  INLINED
#endif
#define UNROLL_BY_2 _Pragma("unroll 2")
#define UNROLL_BY_8 _Pragma("unroll 8")
#define ROLLED      _Pragma("unroll 1")

// PoCL makes three copies of a kernel, with all that is inlined in it: large functions say that they are not.
#define NOT_INLINED __attribute__((noinline))
#define INLINED     __attribute__((always_inline))

// What gets a local array gets it in a way that is no constant. Else, where all callers pass the same one, the
// compiler writes its address into the function, and PoCL 3.1 gives the kernel another array.
#if defined GANC_GPU && !defined ROLL
#define PASSED(array) (array)
#else
#define PASSED(array) ((array) + (m < 0))
#endif

#ifndef DEPTH // steps of l that are summed before they are added to C; a multiple of VW and TK
#define DEPTH 128
#endif

#ifdef GANC_CPU

#ifndef VW // floats in a vector: 4, 8 or 16
#define VW 16
#endif
#ifndef MR // rows of the tile
#define MR 6
#endif
#ifndef NV // vectors in its row: MR * NV accumulators, NV vectors and one scalar want registers
#define NV 4
#endif
#ifndef DM // rows and columns of the tile of gemm_dot
#define DM 4
#endif
#ifndef DN
#define DN 4
#endif
#define NR (NV * VW)

// Steps of l between two prefetches, and prefetches in DEPTH steps. A loop body of four steps was faster, but not
// where the tile takes all registers.
#define STRIDE (MR * NV > 24 ? 2 : 4)
#define PREFETCHES (DEPTH / STRIDE)
#define LINE 16 // floats in a cache line

// Asks for the cache line that p points into, if there is one: p may lie behind the end of a buffer. PoCL's own
// prefetch() does nothing.
#ifdef NO_PREFETCH
#define PREFETCH(p)
#elif defined POCL_DEVICE_ADDRESS_BITS
#define PREFETCH(p) __builtin_prefetch((const void *)(size_t)(p))
#else
#define PREFETCH(p) prefetch(p, 1)
#endif

#define VECTOR      JOIN(float, VW)
#define LOAD        JOIN(vload, VW)
#define STORE       JOIN(vstore, VW)

// op(A)[i + r, l] = a[rows[r] + l * l_step]; below the last row that row again, whose sums are not stored.
// Offsets to one moving pointer: the compiler would keep a pointer for each row and each unrolled step.
static void find_rows(int rows[MR], int i, int m, int row_step) {
    UNROLL
    for (int r = 0; r < MR; r++)
        rows[r] = min(i + r, m - 1) * row_step;
}

static void clear_tile(VECTOR acc[MR][NV]) {
    UNROLL
    for (int r = 0; r < MR; r++) {
        UNROLL
        for (int v = 0; v < NV; v++)
            acc[r][v] = 0;
    }
}

// One step of l: a[rows[r]] is op(A)[i + r, l], `row` holds B[l, j .. j+NR). The compiler makes fused
// multiply-adds of it; asked for by fma(), Mesa's rusticl 22.3 computes something else.
static void add_step(VECTOR acc[MR][NV], global const float *a, const int rows[MR], const VECTOR row[NV]) {
    UNROLL
    for (int r = 0; r < MR; r++) {
        UNROLL
        for (int v = 0; v < NV; v++)
            acc[r][v] += (VECTOR)(a[rows[r]]) * row[v];
    }
}

// The same with the row in B or in a panel.
#define ADD_ROW(name, space)                                                                                 \
    static void name(VECTOR acc[MR][NV], global const float *a, const int rows[MR], space const float *b) {  \
        VECTOR row[NV];                                                                                      \
        UNROLL                                                                                               \
        for (int v = 0; v < NV; v++)                                                                         \
            row[v] = LOAD(v, b);                                                                             \
        add_step(acc, a, rows, row);                                                                         \
    }

ADD_ROW(add_row_of_b, global)
ADD_ROW(add_row_of_panel, local)

// `depth` steps of l from a panel, of which the first `whole` may go by rows[r] and the others go by last_rows[r],
// and a prefetch of *next, next[next_step], ... every STRIDE steps.
static void add_steps_of_panel(VECTOR acc[MR][NV], global const float *a, const int rows[MR],
                               const int last_rows[MR], int l_step, local const float *panel, int whole,
                               int depth, global const float *next, int next_step) {
    int l = 0;
    ROLLED
    for (; l + STRIDE <= whole; l += STRIDE) {
        PREFETCH(next);
        next += next_step;
        UNROLL
        for (int s = 0; s < STRIDE; s++, a += l_step, panel += NR)
            add_row_of_panel(acc, a, rows, panel);
    }
    ROLLED
    for (; l < depth; l++, a += l_step, panel += NR)
        add_row_of_panel(acc, a, last_rows, panel);
}

// `depth` steps of l from B where it lies, A's not transposed.
static void add_steps_of_b(VECTOR acc[MR][NV], global const float *a, const int rows[MR],
                           global const float *b, int n, int depth) {
    UNROLL_BY_2
    for (int l = 0; l < depth; l++, a++, b += n)
        add_row_of_b(acc, a, rows, b);
}

// The same with the elements of B one by one, zeros right of the last column.
static void add_last_steps(VECTOR acc[MR][NV], global const float *a, const int rows[MR],
                           global const float *b, int n, int columns, int first, int depth) {
    for (int l = first; l < depth; l++) {
        float elements[NR];
        for (int q = 0; q < NR; q++)
            elements[q] = q < columns ? b[l * n + q] : 0.0f;
        VECTOR row[NV];
        UNROLL
        for (int v = 0; v < NV; v++)
            row[v] = LOAD(v, elements);
        add_step(acc, a + l, rows, row);
    }
}

// A step of the transposition of VW vectors: their halves, shuffled into each other like cards. After
// log2(VW) steps element q of vector p is element p of vector q. By a function of Clang's, which CPUs' compilers of
// OpenCL all are: to.even = from.lo and so on take PoCL half as long again to compile.
#if VW == 16
#define LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif VW == 8
#define LOWER 0, 8, 1, 9, 2, 10, 3, 11
#define UPPER 4, 12, 5, 13, 6, 14, 7, 15
#else
#define LOWER 0, 4, 1, 5
#define UPPER 2, 6, 3, 7
#endif
static void shuffle_cards(VECTOR to[VW], const VECTOR from[VW]) {
    UNROLL
    for (int q = 0; q < VW / 2; q++) {
        to[2 * q] = __builtin_shufflevector(from[q], from[q + VW / 2], LOWER);
        to[2 * q + 1] = __builtin_shufflevector(from[q], from[q + VW / 2], UPPER);
    }
}

static void transpose_square(VECTOR x[VW]) {
    VECTOR y[VW];
    shuffle_cards(y, x);
    shuffle_cards(x, y);
#if VW >= 8
    shuffle_cards(y, x);
#if VW == 16
    shuffle_cards(x, y);
#else
    UNROLL
    for (int q = 0; q < VW; q++)
        x[q] = y[q];
#endif
#endif
}

// panel[l][q] = B[from + l, j + q], zero right of the last column; B stored (k, n)
NOT_INLINED static void pack_rows(local float *panel, global const float *b, int n, int from, int depth, int j) {
    int columns = n - j;
    global const float *row = b + from * n + j;
    for (int l = 0; l < depth; l++, row += n, panel += NR) {
        if (columns >= NR) {
            UNROLL
            for (int v = 0; v < NV; v++)
                STORE(LOAD(v, row), v, panel);
        } else {
            for (int q = 0; q < NR; q++)
                panel[q] = q < columns ? row[q] : 0.0f;
        }
    }
}

// The same for B stored (n, k), but right of the last column that column again.
NOT_INLINED static void pack_columns(local float *panel, global const float *b, int n, int k, int from,
                                     int depth, int j) {
    for (int v = 0; v < NV; v++, j += VW, panel += VW) {
        int l = 0;
        for (; l + VW <= depth; l += VW) {
            VECTOR x[VW];
            UNROLL
            for (int q = 0; q < VW; q++)
                x[q] = LOAD(0, b + min(j + q, n - 1) * k + from + l);
            transpose_square(x);
            UNROLL
            for (int q = 0; q < VW; q++)
                STORE(x[q], 0, panel + (l + q) * NR);
        }
        for (; l < depth; l++) {
            for (int q = 0; q < VW; q++)
                panel[l * NR + q] = b[min(j + q, n - 1) * k + from + l];
        }
    }
}

// The sums become C's elements, or, with `add`, are added to them. With `last` that finishes them.
static void store_whole_tile(VECTOR acc[MR][NV], int i, int j, int n, int add, int last,
                             global float *c PARAMETERS) {
    global float *corner = c + i * n + j;
    if (add) {
        UNROLL
        for (int r = 0; r < MR; r++) {
            UNROLL
            for (int v = 0; v < NV; v++)
                acc[r][v] = LOAD(v, corner + r * n) + acc[r][v];
        }
    }
    if (last && EPILOGUE) {
        UNROLL
        for (int r = 0; r < MR; r++) {
            UNROLL
            for (int v = 0; v < NV; v++)
                FINISH(i + r, j + v * VW, acc[r][v]);
        }
    } else {
        UNROLL
        for (int r = 0; r < MR; r++) {
            UNROLL
            for (int v = 0; v < NV; v++)
                STORE(acc[r][v], v, corner + r * n);
        }
    }
}

// The same for a tile that the last row or column cuts. It is seldom: rather short than fast, in a loop that
// goes by a copy in memory.
static void store_part_of_tile(VECTOR acc[MR][NV], int i, int j, int m, int n, int add, int last,
                               global float *c PARAMETERS) {
    VECTOR sums[MR][NV];
    UNROLL
    for (int r = 0; r < MR; r++) {
        UNROLL
        for (int v = 0; v < NV; v++)
            sums[r][v] = acc[r][v];
    }
    int rows = min(MR, m - i), vectors = min(NV, (n - j + VW - 1) / VW);
    ROLLED
    for (int e = 0; e < rows * vectors; e++) {
        int r = e / vectors, v = e % vectors, columns = n - j - v * VW;
        global float *at = c + (i + r) * n + j + v * VW;
        if (columns >= VW) {
            VECTOR sum = add ? LOAD(0, at) + sums[r][v] : sums[r][v];
            if (last)
                FINISH(i + r, j + v * VW, sum);
            else
                STORE(sum, 0, at);
        } else {
            float elements[VW];
            STORE(sums[r][v], 0, elements);
            ROLLED
            for (int q = 0; q < columns; q++)
                at[q] = add ? at[q] + elements[q] : elements[q];
        }
    }
}

static void store_tile(VECTOR acc[MR][NV], int i, int j, int m, int n, int add, int last,
                       global float *c PARAMETERS) {
    if (i + MR <= m && j + NR <= n)
        store_whole_tile(acc, i, j, n, add, last, c ARGUMENTS);
    else
        store_part_of_tile(acc, i, j, m, n, add, last, c ARGUMENTS);
}

// DEPTH steps, or less, of a tile, from B where it lies. Right of the last column a vector reads on into the
// next row of B, which does no harm: those sums are not stored. Only where B ends it must not.
NOT_INLINED static void tile_of_b(int i, int j, int m, int n, int k, int from, int depth,
                                  global const float *a, global const float *b, global float *c PARAMETERS) {
    int rows[MR];
    VECTOR acc[MR][NV];
    find_rows(rows, i, m, k);
    clear_tile(acc);
    int room = (k - from) * n - j - NR, whole = room < 0 ? 0 : min(room / n + 1, depth);
    a += from;
    b += from * n + j;
    add_steps_of_b(acc, a, rows, b, n, whole);
    add_last_steps(acc, a, rows, b, n, n - j, whole, depth);
    store_tile(acc, i, j, m, n, from > 0, from + depth == k, c ARGUMENTS);
}

// What finishing the tile at (i, j) will read: few lines of each of its rows, which hardware does not foresee. A step
// of dcgan takes 0.96 .. 0.98 of the time on a Zen 3.
static void fetch_for_tile(int i, int j, int n, global float *c PARAMETERS) {
    UNROLL
    for (int r = 0; r < MR; r++) {
        UNROLL
        for (int q = 0; q < NR; q += LINE) {
            FETCH(i + r, j + q)
        }
    }
}

// DEPTH steps, or less, of the tiles in rows top .. bottom. One call for all of them: one for each took 3% longer.
// Each tile prefetches a cache line of PREFETCHES rows that lie a step apart: of what the next panel is copied from,
// next_rows rows of next_row floats, and when all of that is on its way, of A behind the tile. Two thirds of what the
// next tiles read come early so; where A is in an outer cache, the product takes 0.7 (few columns) .. 0.95 of the time
// on a Zen 3. Which line is whose turn is counted: divisions take a tile of 16 steps a tenth of its time.
NOT_INLINED static void tiles_of_panel(int top, int bottom, int j, int m, int n, int from, int depth, int add,
                                       int last, global const float *a, int row_step, int l_step,
                                       local const float *panel, global const float *next, int next_rows,
                                       int next_row, int next_step, global float *c PARAMETERS) {
    int parts = (next_rows + PREFETCHES - 1) / PREFETCHES, lines = (next_row + LINE - 1) / LINE, part = 0, line = 0;
    int a_step = row_step == 1 ? l_step : row_step, jump = row_step == 1 ? PREFETCHES * l_step : LINE;
    int begin = row_step == 1 ? MR + LINE / 2 : MR * row_step, end = begin + depth * l_step, ahead = begin;
    for (int i = top; i < bottom; i += MR) {
        // The rows of a transposed A are neighbours: their offsets, being constants, need no registers. Where m
        // cuts the tile these go on into what follows in A, and the last steps, where nothing does, by others.
        int rows[MR], last_rows[MR], whole = depth;
        VECTOR acc[MR][NV];
        find_rows(last_rows, 0, m - i, row_step);
        UNROLL
        for (int r = 0; r < MR; r++)
            rows[r] = row_step == 1 ? r : last_rows[r];
        if (row_step == 1 && i + MR > m)
            whole = max(depth - (MR + m - 2) / m, 0);
        clear_tile(acc);
        global const float *corner = a + i * row_step + from * l_step, *fetched = corner + ahead;
        int step = a_step;
        if (line < lines) {
            fetched = next + part * PREFETCHES * next_step + line * LINE;
            step = next_step;
            part = part + 1 < parts ? part + 1 : 0;
            line += part == 0;
        } else {
            ahead = ahead + jump < end ? ahead + jump : begin;
        }
        if (last)
            fetch_for_tile(i + MR, j, n, c ARGUMENTS);
        add_steps_of_panel(acc, corner, rows, last_rows, l_step, panel, whole, depth, fetched, step);
        store_tile(acc, i, j, m, n, add, last, c ARGUMENTS);
    }
}

// Of `count` things that the work-items along a dimension share: the first one of item `item`, which is behind
// the last one of the item before.
static int share(int dimension, int item, int count) {
    return (int)((long)count * item / (long)get_global_size(dimension));
}

// The copying of B stored (k, n) or (n, k) to a panel, and where the next one comes from, for tiles_of_panel.
#define COPY_ROWS    pack_rows(PASSED(panel), b, n, from, depth, j)
#define NEXT_ROWS    b + next_from * n + next_j, next_depth, NR, n
#define COPY_COLUMNS pack_columns(PASSED(panel), b, n, k, from, depth, j)
#define NEXT_COLUMNS b + next_j * k + next_from, NR, next_depth, k

// What a work-item of a kernel that makes columns of tiles does, with the terms first .. end of the sums. After
// its last panel comes the first one of the next work-item, which the same thread is likely to make.
#define MAKE_COLUMNS(first, end, row_step, l_step, parts, last)                                              \
    int y = (int)get_global_id(0), x = (int)get_global_id(1);                                                \
    int columns = (n + NR - 1) / NR, rows = (m + MR - 1) / MR;                                               \
    int left = share(1, x, columns) * NR, right = min(share(1, x + 1, columns) * NR, n);                     \
    int top = share(0, y, rows) * MR, bottom = min(share(0, y + 1, rows) * MR, m);                           \
    int neighbour = y + 1 < (int)get_global_size(0) ? left : right;                                          \
    for (int from = first; from < end; from += DEPTH) {                                                      \
        int depth = min(DEPTH, end - from), is_last = from + depth == end;                                   \
        for (int j = left; j < right; j += NR) {                                                             \
            int next_j = j + NR < right ? j + NR : is_last ? neighbour : left;                               \
            int next_from = j + NR < right ? from : is_last ? first : from + DEPTH;                          \
            int next_depth = min(DEPTH, end - next_from);                                                    \
            COPY_##parts;                                                                                    \
            tiles_of_panel(top, bottom, j, m, n, from, depth, from > first, last, a, row_step, l_step,       \
                           PASSED(panel), NEXT_##parts, c ARGUMENTS);                                        \
        }                                                                                                    \
    }

#define COLUMN_KERNEL(letters, row_step, l_step, parts)                                                      \
    kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gemm_column_##letters(                        \
        int m, int n, int k, global const float *restrict a, global const float *restrict b,                 \
        global float *c PARAMETERS) {                                                                        \
        local float panel[DEPTH * NR] __attribute__((aligned(sizeof(VECTOR))));                              \
        MAKE_COLUMNS(0, k, row_step, l_step, parts, is_last)                                                 \
    }

#ifdef ONLY_gemm_column_nn
COLUMN_KERNEL(nn, k, 1, ROWS)
#endif
#ifdef ONLY_gemm_column_tn
COLUMN_KERNEL(tn, 1, m, ROWS)
#endif
#ifdef ONLY_gemm_column_nt
COLUMN_KERNEL(nt, k, 1, COLUMNS)
#endif
#ifdef ONLY_gemm_column_tt
COLUMN_KERNEL(tt, 1, m, COLUMNS)
#endif

#define SLICED_KERNEL(letters, row_step, l_step, parts)                                                      \
    kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gemm_sliced_##letters(                        \
        int m, int n, int k, global const float *restrict a, global const float *restrict b,                 \
        global float *partial, int length) {                                                                 \
        local float panel[DEPTH * NR] __attribute__((aligned(sizeof(VECTOR))));                              \
        int slice = (int)get_global_id(2), first = slice * length, end = min(first + length, k);             \
        global float *c = partial + slice * m * n;                                                           \
        MAKE_COLUMNS(first, end, row_step, l_step, parts, 0)                                                 \
    }

#ifdef ONLY_gemm_sliced_nn
SLICED_KERNEL(nn, k, 1, ROWS)
#endif
#ifdef ONLY_gemm_sliced_tn
SLICED_KERNEL(tn, 1, m, ROWS)
#endif
#ifdef ONLY_gemm_sliced_nt
SLICED_KERNEL(nt, k, 1, COLUMNS)
#endif
#ifdef ONLY_gemm_sliced_tt
SLICED_KERNEL(tt, 1, m, COLUMNS)
#endif

#ifdef ONLY_gemm_nn

kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_nn(int m, int n, int k, global const float *restrict a, global const float *restrict b,
        global float *c PARAMETERS) {
    int i = (int)get_global_id(0) * MR, j = (int)get_global_id(1) * NR;
    for (int from = 0; from < k; from += DEPTH)
        tile_of_b(i, j, m, n, k, from, min(DEPTH, k - from), a, b, c ARGUMENTS);
}

#endif
#ifdef ONLY_gemm_fold

// A work-item a row of C.
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_fold(int m, int n, int slices, global const float *restrict partial, global float *c PARAMETERS) {
    int i = (int)get_global_id(0), j = 0;
    partial += i * n;
    for (; j + VW <= n; j += VW) {
        VECTOR sum = 0;
        for (int s = 0; s < slices; s++)
            sum += LOAD(0, partial + s * m * n + j);
        FINISH(i, j, sum);
    }
    for (; j < n; j++) {
        float sum = 0.0f;
        for (int s = 0; s < slices; s++)
            sum += partial[s * m * n + j];
        c[i * n + j] = sum;
    }
}

#endif
#ifdef ONLY_gemm_across_nt // with SPAN, the columns of a work-item

// DEPTH steps, or less, of MR columns of C from j on: sums[q * NR + r] is C[i + r, j + q].
NOT_INLINED static void tile_across(int j, int n, int k, int from, int depth, global const float *b,
                                    local const float *panel, local float *sums) {
    int columns[MR];
    VECTOR acc[MR][NV];
    find_rows(columns, j, n, k);
    clear_tile(acc);
    // B is read in short pieces: each tile prefetches a cache line of the PREFETCHES columns after its own.
    int line = j / MR % (DEPTH / LINE) * LINE;
    add_steps_of_panel(acc, b + from, columns, columns, 1, panel, depth, depth,
                       b + (j + MR) * k + from + line, k);
    UNROLL
    for (int q = 0; q < MR; q++) {
        UNROLL
        for (int v = 0; v < NV; v++)
            STORE(from > 0 ? LOAD(v, sums + q * NR) + acc[q][v] : acc[q][v], v, sums + q * NR);
    }
}

// C[i .. i+VW, j .. j+VW) from sums[q * NR + r], or what there is of it.
NOT_INLINED static void store_square(int i, int j, int m, int n, local const float *sums,
                                     global float *c PARAMETERS) {
    VECTOR x[VW];
    UNROLL
    for (int q = 0; q < VW; q++)
        x[q] = LOAD(0, sums + q * NR);
    transpose_square(x);
    if (i + VW <= m && j + VW <= n) {
        UNROLL
        for (int r = 0; r < VW; r++)
            FINISH(i + r, j, x[r]);
        return;
    }
    VECTOR rows[VW];
    UNROLL
    for (int r = 0; r < VW; r++)
        rows[r] = x[r];
    ROLLED
    for (int r = 0; r < min(VW, m - i); r++) {
        if (j + VW <= n) {
            FINISH(i + r, j, rows[r]);
        } else {
            ROLLED
            for (int q = 0; q < n - j; q++)
                c[(i + r) * n + j + q] = sums[q * NR + r];
        }
    }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_across_nt(int m, int n, int k, global const float *restrict a, global const float *restrict b,
               global float *c PARAMETERS) {
    local float panel[DEPTH * NR] __attribute__((aligned(sizeof(VECTOR))));
    local float sums[(SPAN + MR) * NR] __attribute__((aligned(sizeof(VECTOR))));
    int items = (int)get_global_size(0), squares = (n + VW - 1) / VW;
    int own = (squares + items - 1) / items * VW, left = (int)get_global_id(0) * own;
    int i = (int)get_global_id(1) * NR, right = min(left + own, n);
    for (int from = 0; from < k; from += DEPTH) {
        int depth = min(DEPTH, k - from);
        pack_columns(PASSED(panel), a, m, k, from, depth, i);
        for (int j = left; j < right; j += MR)
            tile_across(j, n, k, from, depth, b, PASSED(panel), PASSED(sums) + (j - left) * NR);
    }
    for (int j = left; j < right; j += VW) {
        for (int v = 0; v < NV && i + v * VW < m; v++)
            store_square(i + v * VW, j, m, n, PASSED(sums) + (j - left) * NR + v * VW, c ARGUMENTS);
    }
}

#endif
#ifdef ONLY_gemm_dot

static float vector_sum(VECTOR x) {
#if VW == 16
    float8 x8 = x.lo + x.hi;
#elif VW == 8
    float8 x8 = x;
#endif
#if VW == 4
    float4 x4 = x;
#else
    float4 x4 = x8.lo + x8.hi;
#endif
    return (x4.x + x4.z) + (x4.y + x4.w);
}

NOT_INLINED static void tile_of_dots(int i, int j, int m, int n, int k, global const float *restrict a,
                                     global const float *restrict b, global float *restrict c) {
    global const float *a_rows[DM], *b_rows[DN];
    VECTOR acc[DM][DN];
    UNROLL
    for (int r = 0; r < DM; r++)
        a_rows[r] = a + min(i + r, m - 1) * k;
    UNROLL
    for (int q = 0; q < DN; q++)
        b_rows[q] = b + min(j + q, n - 1) * k;
    UNROLL
    for (int r = 0; r < DM; r++) {
        UNROLL
        for (int q = 0; q < DN; q++)
            acc[r][q] = 0;
    }

    int l = 0;
#pragma unroll 4
    for (; l + VW <= k; l += VW) {
        VECTOR x[DN];
        UNROLL
        for (int q = 0; q < DN; q++)
            x[q] = LOAD(0, b_rows[q] + l);
        UNROLL
        for (int r = 0; r < DM; r++) {
            VECTOR y = LOAD(0, a_rows[r] + l);
            UNROLL
            for (int q = 0; q < DN; q++)
                acc[r][q] = fma(y, x[q], acc[r][q]);
        }
    }

    UNROLL
    for (int r = 0; r < DM; r++) {
        UNROLL
        for (int q = 0; q < DN; q++) {
            float sum = vector_sum(acc[r][q]);
            for (int rest = l; rest < k; rest++)
                sum = fma(a_rows[r][rest], b_rows[q][rest], sum);
            if (i + r < m && j + q < n)
                c[(i + r) * n + j + q] = sum;
        }
    }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_dot(int m, int n, int k, global const float *restrict a, global const float *restrict b,
         global float *restrict c) {
    tile_of_dots((int)get_global_id(0) * DM, (int)get_global_id(1) * DN, m, n, k, a, b, c);
}

#endif

#else // GANC_GPU

#ifndef SIDE // of the square work-group
#define SIDE 16
#endif
#ifndef WPT // elements of C per work-item, along each side
#define WPT 4
#endif
#ifndef TK // depth of the panels in local memory; a multiple of SIDE
#define TK 16
#endif
#define TILE  (SIDE * WPT)
#define SHARE (TILE * TK / (SIDE * SIDE)) // elements of a panel that a work-item copies
#define STORE(value, at, to) *(to) = (value)
#define PITCH (TILE + 1) // an odd pitch: a column of a panel spreads over the banks of local memory

// Where element number p of the panel's part lies that a work-item copies: dl along l, dr along the operand's rows
// (A's i, B's j). `along_l` says which of the two is contiguous in memory, and so which one neighbouring work-items
// share out.
static int2 place_in_panel(int p, int item, int along_l) {
    int e = p * SIDE * SIDE + item;
    return along_l ? (int2)(e % TK, e / TK) : (int2)(e / TILE, e % TILE);
}

// Loads the work-item's share of a panel whose first element is (l0, r0), zeros where the matrix ends.
PIECE static void fetch(float share[SHARE], int item, global const float *x, int along_l, int rows, int k, int r0,
                        int l0) {
    UNROLL
    for (int p = 0; p < SHARE; p++) {
        int2 d = place_in_panel(p, item, along_l);
        int l = l0 + d.x, r = r0 + d.y;
        share[p] = l < k && r < rows ? x[along_l ? r * k + l : l * rows + r] : 0.0f;
    }
}

PIECE static void put(local float *panel, int item, const float share[SHARE], int along_l) {
    UNROLL
    for (int p = 0; p < SHARE; p++) {
        int2 d = place_in_panel(p, item, along_l);
        panel[d.x * PITCH + d.y] = share[p];
    }
}

PIECE static void clear_tile(float acc[WPT][WPT]) {
    UNROLL
    for (int r = 0; r < WPT; r++) {
        UNROLL
        for (int q = 0; q < WPT; q++)
            acc[r][q] = 0.0f;
    }
}

// For the work-item at (x, y).
PIECE static void add_panels(float acc[WPT][WPT], int x, int y, local const float *panel_a,
                             local const float *panel_b) {
    UNROLL
    for (int l = 0; l < TK; l++) {
        float row[WPT];
        UNROLL
        for (int q = 0; q < WPT; q++)
            row[q] = panel_b[l * PITCH + x + q * SIDE];
        UNROLL
        for (int r = 0; r < WPT; r++) {
            float value = panel_a[l * PITCH + y + r * SIDE];
            UNROLL
            for (int q = 0; q < WPT; q++)
                acc[r][q] = fma(value, row[q], acc[r][q]);
        }
    }
}

PIECE static void add_tile(float sum[WPT][WPT], float acc[WPT][WPT]) {
    UNROLL
    for (int r = 0; r < WPT; r++) {
        UNROLL
        for (int q = 0; q < WPT; q++)
            sum[r][q] += acc[r][q];
    }
}

// The group's tile summed up over l from `from` to `to`. While one pair of panels is used, the next is loaded.
INLINED static void add_up(float sum[WPT][WPT], int m, int n, int k, int from, int to, global const float *a,
                           int transpose_a, global const float *b, int transpose_b, local float *panel_a,
                           local float *panel_b) {
    int x = (int)get_local_id(0), y = (int)get_local_id(1), item = y * SIDE + x;
    int i0 = (int)get_group_id(1) * TILE, j0 = (int)get_group_id(0) * TILE;
    float acc[WPT][WPT], next_a[SHARE], next_b[SHARE];
    fetch(next_a, item, a, !transpose_a, m, k, i0, from);
    fetch(next_b, item, b, transpose_b, n, k, j0, from);
    clear_tile(sum);
    for (int block = from; block < to; block += DEPTH) {
        clear_tile(acc);
        for (int l0 = block; l0 < min(block + DEPTH, to); l0 += TK) {
            put(PASSED(panel_a), item, next_a, !transpose_a);
            put(PASSED(panel_b), item, next_b, transpose_b);
            barrier(CLK_LOCAL_MEM_FENCE);
            if (l0 + TK < to) {
                fetch(next_a, item, a, !transpose_a, m, k, i0, l0 + TK);
                fetch(next_b, item, b, transpose_b, n, k, j0, l0 + TK);
            }
            add_panels(acc, x, y, PASSED(panel_a), PASSED(panel_b));
            barrier(CLK_LOCAL_MEM_FENCE);
        }
        add_tile(sum, acc);
    }
}

// The first of the work-item's elements of C; the others lie SIDE apart.
#define FIRST_I (int)get_group_id(1) * TILE + (int)get_local_id(1)
#define FIRST_J (int)get_group_id(0) * TILE + (int)get_local_id(0)

// FOR_TILE(statement): for each element (i, j) of the work-item's that lies inside C, whose sum is sum[r][q].
#define FOR_TILE(statement)                                                                                  \
    UNROLL                                                                                                   \
    for (int r = 0; r < WPT; r++) {                                                                          \
        UNROLL                                                                                               \
        for (int q = 0; q < WPT; q++) {                                                                      \
            int i = first_i + r * SIDE, j = first_j + q * SIDE;                                              \
            if (i < m && j < n)                                                                              \
                statement;                                                                                   \
        }                                                                                                    \
    }

PIECE static void finish_tile(float sum[WPT][WPT], int first_i, int first_j, int m, int n,
                              global float *c PARAMETERS) {
    FOR_TILE(FINISH(i, j, sum[r][q]))
}

PIECE static void store_partial_tile(float sum[WPT][WPT], int first_i, int first_j, int m, int n, int slice,
                                     global float *partial) {
    FOR_TILE(partial[(slice * m + i) * n + j] = sum[r][q])
}

#define PRODUCT(letters, transpose_a, transpose_b)                                                           \
    kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void gemm_##letters(                         \
        int m, int n, int k, global const float *restrict a, global const float *restrict b,                 \
        global float *c PARAMETERS) {                                                                        \
        local float panel_a[TK * PITCH], panel_b[TK * PITCH];                                                \
        float sum[WPT][WPT];                                                                                 \
        add_up(sum, m, n, k, 0, k, a, transpose_a, b, transpose_b, panel_a, panel_b);                        \
        finish_tile(sum, FIRST_I, FIRST_J, m, n, c ARGUMENTS);                                               \
    }

#ifdef ONLY_gemm_nn
PRODUCT(nn, 0, 0)
#endif
#ifdef ONLY_gemm_nt
PRODUCT(nt, 0, 1)
#endif
#ifdef ONLY_gemm_tn
PRODUCT(tn, 1, 0)
#endif
#ifdef ONLY_gemm_tt
PRODUCT(tt, 1, 1)
#endif

#define SLICED_PRODUCT(letters, transpose_a, transpose_b)                                                    \
    kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void gemm_sliced_##letters(                  \
        int m, int n, int k, global const float *restrict a, global const float *restrict b,                 \
        global float *restrict partial, int length) {                                                        \
        local float panel_a[TK * PITCH], panel_b[TK * PITCH];                                                \
        float sum[WPT][WPT];                                                                                 \
        int slice = (int)get_group_id(2), from = slice * length;                                             \
        add_up(sum, m, n, k, from, min(from + length, k), a, transpose_a, b, transpose_b, panel_a, panel_b); \
        store_partial_tile(sum, FIRST_I, FIRST_J, m, n, slice, partial);                                     \
    }

#ifdef ONLY_gemm_sliced_nn
SLICED_PRODUCT(nn, 0, 0)
#endif
#ifdef ONLY_gemm_sliced_nt
SLICED_PRODUCT(nt, 0, 1)
#endif
#ifdef ONLY_gemm_sliced_tn
SLICED_PRODUCT(tn, 1, 0)
#endif
#ifdef ONLY_gemm_sliced_tt
SLICED_PRODUCT(tt, 1, 1)
#endif

#ifdef ONLY_gemm_fold

kernel void gemm_fold(int m, int n, int slices, global const float *restrict partial,
                      global float *c PARAMETERS) {
    int e = (int)get_global_id(0), elements = m * n;
    if (e >= elements)
        return;
    float sum = 0.0f;
    UNROLL_BY_8
    for (int s = 0; s < slices; s++)
        sum += partial[s * elements + e];
    FINISH(e / n, e % n, sum);
}

#endif

#endif // GANC_GPU

// The next copy has others.
#undef COPY
#undef DEPTH
#undef VW
#undef MR
#undef NV
#undef DM
#undef DN
#undef SPAN
#undef SIDE
#undef WPT
#undef TK
#undef VECTOR
#undef LOAD
#undef STORE
#undef FINISH
#undef EPILOGUE
#undef LOWER
#undef UPPER
#undef PARAMETERS
#undef ARGUMENTS
#undef FETCH
