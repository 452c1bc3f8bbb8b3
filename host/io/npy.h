// NumPy's .npy files: one array, as numpy.load() reads it.
#ifndef GANC_IO_NPY_H
#define GANC_IO_NPY_H

#include "ganc.h"

// Writes f32 values in row-major order; the file replaces `path` whole or not at all.
bool npy_write(const char *path, gn_shape shape, const float *values);

#endif
