// Reading IDX files, the format of MNIST and its kin: see idx.c.
#ifndef GANC_IDX_H
#define GANC_IDX_H

#include <stdbool.h>
#include <stdint.h>

enum { IDX_MAX_DIMS = 3 };

typedef struct {
    int size[IDX_MAX_DIMS]; // of each dimension, the slowest first
    uint8_t *values;        // row-major; the caller frees
} idx_bytes;

// Reads a file of bytes in `dims` dimensions, plain or gzip whatever it is called. Whatever is wrong with the
// file fails with its path and leaves nothing to free: it cannot be read, is empty, cut off or corrupt, not
// IDX, of another type or number of dimensions, or its length is not what its header promises. No size is 0,
// and their product is below 2^31, as kernels index with 32 bits.
bool idx_read(idx_bytes *out, const char *path, int dims);

#endif
