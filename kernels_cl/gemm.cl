// Matrix products: C = op(A) op(B), f32, row-major and dense.
//
//     C[i,j] = sum over l of op(A)[i,l] * op(B)[l,j]      op(A) (m, k), op(B) (k, n), C (m, n)
//
// op(X) is X or its transpose, by the letters of the kernel's name, A's first:
//
//     gemm_n*: A is stored (m, k), op(A)[i,l] = a[i * k + l]     gemm_*n: B is stored (k, n), b[l * n + j]
//     gemm_t*: A is stored (k, m), op(A)[i,l] = a[l * m + i]     gemm_*t: B is stored (n, k), b[j * k + l]
//
// Every kernel sums over first <= l < last only; with first > 0 it adds to what C holds, so that several
// launches one after another make a long sum. Each element of C belongs to one work-item, which adds in the
// order of l: the same bits on every run. Buffers need no padding; a, b and c have m k, k n and m n elements,
// each less than 2^31 - 2^16. The host chooses the kernel, the tile and the ranges (host/cl/gemm_native.c).
//
// GANC_CPU: one work-item computes a tile of C in registers; work-group (1, 1), NDRange (row tiles, column
//   tiles), which walks down the rows first, so that all tiles of a column panel find it in the cache.
//
//   gemm_nn, gemm_tn: MR x NR, NR = NV * VW. The columns lie in vectors, as B's rows do in memory:
//
//                     b[l, j .. j+NR)        for each l: NV vectors of B, MR scalars of A,
//                    [ VW ][ VW ] ...        MR * NV fused multiply-adds
//       a[i,    l]   [ acc ][ acc ]
//       a[i+1,  l]   [ acc ][ acc ]
//         ...
//   gemm_nt: DM x DN. Both operands are contiguous along l, so each element of the tile is a dot product with
//     a vector of VW partial sums, added up by halves at the end. For many rows it is cheaper to transpose B
//     first (gemm_transpose) and use gemm_nn. There is no gemm_tt: it is gemm_transpose and gemm_tn.
//
// GANC_GPU: a work-group of SIDE x SIDE computes a tile of TILE x TILE, TILE = SIDE * WPT; NDRange (columns,
//   rows) of whole tiles, in work-items. It walks along l in steps of TK: all work-items copy the two panels
//   to local memory, zeros where the matrices end, then each adds to its WPT x WPT elements, which lie SIDE
//   apart, so that neighbours read neighbouring words and store neighbouring columns.

// The tiles are arrays, and become registers only where their loops are unrolled in full.
#define UNROLL _Pragma("unroll")

#ifdef GANC_CPU

#ifndef VW // floats in a vector: 4, 8 or 16
#define VW 16
#endif
#ifndef MR // rows of the tile of gemm_nn and gemm_tn
#define MR 6
#endif
#ifndef NV // vectors in its row: MR * NV accumulators, NV vectors and one scalar want registers
#define NV 4
#endif
#ifndef DM // rows and columns of the tile of gemm_nt
#define DM 4
#endif
#ifndef DN
#define DN 4
#endif
#define NR (NV * VW)

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#define VECTOR      JOIN(float, VW)
#define LOAD        JOIN(vload, VW)
#define STORE       JOIN(vstore, VW)

// One step of l: `row` holds B[l, j .. j+NR), a[r] points to op(A)[i + r, 0].
static void add_step(VECTOR acc[MR][NV], global const float *const a[MR], int offset, const VECTOR row[NV]) {
    UNROLL
    for (int r = 0; r < MR; r++) {
        UNROLL
        for (int v = 0; v < NV; v++)
            acc[r][v] = fma((VECTOR)(a[r][offset]), row[v], acc[r][v]);
    }
}

// One tile of op(A) B; op(A)[i,l] = a[i * row_step + l * l_step].
static void register_tile(int m, int n, int k, int first, int last, global const float *a, int row_step,
                          int l_step, global const float *b, global float *c) {
    int i = (int)get_global_id(0) * MR;
    int j = (int)get_global_id(1) * NR;

    global const float *rows[MR];
    VECTOR acc[MR][NV];
    UNROLL
    for (int r = 0; r < MR; r++) {
        rows[r] = a + min(i + r, m - 1) * row_step; // below the last row: that row again, not stored
        UNROLL
        for (int v = 0; v < NV; v++)
            acc[r][v] = 0;
    }

    // Right of the last column a vector reads on into the next row of B, which does no harm: those sums are
    // not stored. Only where B ends it must not: the steps from `whole` on take their row element by element.
    int room = n * k - j - NR;
    int whole = room < 0 ? first : clamp(room / n + 1, first, last);

    global const float *b_row = b + first * n + j;
#pragma unroll 4
    for (int l = first; l < whole; l++) {
        VECTOR row[NV];
        UNROLL
        for (int v = 0; v < NV; v++)
            row[v] = LOAD(v, b_row);
        b_row += n;
        add_step(acc, rows, l * l_step, row);
    }
    for (int l = whole; l < last; l++) {
        float elements[NR];
        for (int q = 0; q < NR; q++)
            elements[q] = j + q < n ? b[l * n + j + q] : 0.0f;
        VECTOR row[NV];
        UNROLL
        for (int v = 0; v < NV; v++)
            row[v] = LOAD(v, elements);
        add_step(acc, rows, l * l_step, row);
    }

    UNROLL
    for (int r = 0; r < MR; r++) {
        if (i + r >= m)
            continue;
        global float *c_row = c + (i + r) * n + j;
        if (j + NR <= n) {
            UNROLL
            for (int v = 0; v < NV; v++)
                STORE(first > 0 ? LOAD(v, c_row) + acc[r][v] : acc[r][v], v, c_row);
        } else {
            float elements[NR];
            UNROLL
            for (int v = 0; v < NV; v++)
                STORE(acc[r][v], v, elements);
            for (int q = 0; q < n - j; q++)
                c_row[q] = first > 0 ? c_row[q] + elements[q] : elements[q];
        }
    }
}

kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gemm_nn(int m, int n, int k, int first, int last,
                                                                   global const float *restrict a,
                                                                   global const float *restrict b,
                                                                   global float *restrict c) {
    register_tile(m, n, k, first, last, a, k, 1, b, c);
}

kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gemm_tn(int m, int n, int k, int first, int last,
                                                                   global const float *restrict a,
                                                                   global const float *restrict b,
                                                                   global float *restrict c) {
    register_tile(m, n, k, first, last, a, 1, m, b, c);
}

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

kernel __attribute__((reqd_work_group_size(1, 1, 1))) void gemm_nt(int m, int n, int k, int first, int last,
                                                                   global const float *restrict a,
                                                                   global const float *restrict b,
                                                                   global float *restrict c) {
    int i = (int)get_global_id(0) * DM;
    int j = (int)get_global_id(1) * DN;

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

    int l = first;
#pragma unroll 4
    for (; l + VW <= last; l += VW) {
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
            for (int rest = l; rest < last; rest++)
                sum = fma(a_rows[r][rest], b_rows[q][rest], sum);
            if (i + r < m && j + q < n) {
                int at = (i + r) * n + j + q;
                c[at] = first > 0 ? c[at] + sum : sum;
            }
        }
    }
}

// to[l,j] = b[j,l] for B stored (n, k): NDRange (k, ceil(n / VW)), work-group (1, 1).
kernel __attribute__((reqd_work_group_size(1, 1, 1))) void
gemm_transpose(int n, int k, global const float *restrict b, global float *restrict to) {
    int l = (int)get_global_id(0);
    int j = (int)get_global_id(1) * VW;
    for (int q = j; q < min(j + VW, n); q++)
        to[l * n + q] = b[q * k + l];
}

#else // GANC_GPU

#ifndef SIDE // of the square work-group
#define SIDE 16
#endif
#ifndef WPT // elements of C per work-item, along each side
#define WPT 4
#endif
#ifndef TK // depth of the panels in local memory
#define TK 16
#endif
#define TILE  (SIDE * WPT)
#define PITCH (TILE + 1) // an odd pitch: a column of a panel spreads over the banks of local memory

// Copies a panel: panel[l - l0][r - r0] of the operand's rows r (A's i, B's j). `along_l` says which index is
// contiguous in memory, and so which one neighbouring work-items share out.
static void load_panel(local float *panel, global const float *x, int along_l, int rows, int k, int last,
                       int r0, int l0) {
    for (int e = (int)(get_local_id(1) * SIDE + get_local_id(0)); e < TILE * TK; e += SIDE * SIDE) {
        int dl = along_l ? e % TK : e / TILE;
        int dr = along_l ? e / TK : e % TILE;
        int l = l0 + dl, r = r0 + dr;
        float value = 0.0f;
        if (l < last && r < rows)
            value = x[along_l ? r * k + l : l * rows + r];
        panel[dl * PITCH + dr] = value;
    }
}

static void group_tile(int m, int n, int k, int first, int last, global const float *a, int transpose_a,
                       global const float *b, int transpose_b, global float *c, local float *panel_a,
                       local float *panel_b) {
    int x = (int)get_local_id(0), y = (int)get_local_id(1);
    int i0 = (int)get_group_id(1) * TILE, j0 = (int)get_group_id(0) * TILE;

    float acc[WPT][WPT];
    UNROLL
    for (int r = 0; r < WPT; r++) {
        UNROLL
        for (int q = 0; q < WPT; q++)
            acc[r][q] = 0.0f;
    }

    for (int l0 = first; l0 < last; l0 += TK) {
        load_panel(panel_a, a, !transpose_a, m, k, last, i0, l0);
        load_panel(panel_b, b, transpose_b, n, k, last, j0, l0);
        barrier(CLK_LOCAL_MEM_FENCE);
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
        barrier(CLK_LOCAL_MEM_FENCE);
    }

    UNROLL
    for (int r = 0; r < WPT; r++) {
        UNROLL
        for (int q = 0; q < WPT; q++) {
            int i = i0 + y + r * SIDE, j = j0 + x + q * SIDE;
            if (i < m && j < n)
                c[i * n + j] = first > 0 ? c[i * n + j] + acc[r][q] : acc[r][q];
        }
    }
}

#define GROUP_KERNEL(name, transpose_a, transpose_b)                                                         \
    kernel __attribute__((reqd_work_group_size(SIDE, SIDE, 1))) void name(                                   \
        int m, int n, int k, int first, int last, global const float *restrict a,                            \
        global const float *restrict b, global float *restrict c) {                                          \
        local float panel_a[TK * PITCH], panel_b[TK * PITCH];                                                \
        group_tile(m, n, k, first, last, a, transpose_a, b, transpose_b, c, panel_a, panel_b);               \
    }

GROUP_KERNEL(gemm_nn, 0, 0)
GROUP_KERNEL(gemm_nt, 0, 1)
GROUP_KERNEL(gemm_tn, 1, 0)
GROUP_KERNEL(gemm_tt, 1, 1)

#endif
