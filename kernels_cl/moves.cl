// moves.cl: kernels that move data and hardly compute: rows of tables, one-hot rows, the log.
//
// All are 1-D with one work-item for each element (or piece) written and any local size; work-items beyond do
// nothing. Matrices are row-major.

// out[r] = table[rows[r]], a row being `pieces` pieces of 16, 4 or 1 bytes; n = number of rows * pieces
kernel void gather_16(global uint4 *out, global const uint4 *table, global const int *rows, const uint pieces,
                      const uint n) {
    const uint i = get_global_id(0);
    if (i < n)
        out[i] = table[rows[i / pieces] * pieces + i % pieces];
}

kernel void gather_4(global uint *out, global const uint *table, global const int *rows, const uint pieces,
                     const uint n) {
    const uint i = get_global_id(0);
    if (i < n)
        out[i] = table[rows[i / pieces] * pieces + i % pieces];
}

kernel void gather_1(global uchar *out, global const uchar *table, global const int *rows, const uint pieces,
                     const uint n) {
    const uint i = get_global_id(0);
    if (i < n)
        out[i] = table[rows[i / pieces] * pieces + i % pieces];
}

// out (N, classes): 1 at each label, else 0; n = N * classes
kernel void one_hot(global float *out, global const int *labels, const uint classes, const uint n) {
    const uint i = get_global_id(0);
    if (i < n)
        out[i] = labels[i / classes] == (int)(i % classes) ? 1.0f : 0.0f;
}

// out[i] = order[(step mod batches) * n + i]
kernel void batch_rows(global int *out, global const int *order, global const int *step, const uint batches,
                       const uint n) {
    const uint i = get_global_id(0);
    if (i < n)
        out[i] = order[(uint)step[0] % batches * n + i];
}

// log (rows, columns): row step mod rows of the column takes the value; one work-item
kernel void record(global float *log, global const int *step, global const float *value, const uint column,
                   const uint rows, const uint columns) {
    if (get_global_id(0) == 0)
        log[(uint)step[0] % rows * columns + column] = value[0];
}
