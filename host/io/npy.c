// The format, version 1.0: a magic string, the header's length in two bytes, little-endian; the header, a
// Python dictionary that ends with a newline, filled with spaces so that the data begin at a multiple of 64;
// the data.
#include "io/npy.h"
#include "base/error.h"
#include "io/atomic_file.h"

#include <string.h>

bool npy_write(const char *path, gn_shape shape, const float *values) {
    enum { START = 10, ALIGN = 64 }; // bytes before the header
    char *sizes = gn_strdup("");
    for (int i = 0; i < shape.dims; i++) {
        const char *after = i + 1 < shape.dims ? ", " : shape.dims == 1 ? "," : "";
        char *longer = gn_format("%s%d%s", sizes, shape.size[i], after);
        free(sizes);
        sizes = longer;
    }
    char *header = gn_format("{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", sizes);
    int length = (int)strlen(header) + 1, padded = (START + length + ALIGN - 1) / ALIGN * ALIGN - START;
    char *text = gn_format("%-*s\n", padded - 1, header);
    const char start[START] = "\x93NUMPY\x01";
    atomic_file file;
    bool done = atomic_file_open(&file, path);
    if (done) {
        uint8_t size[2] = {(uint8_t)(padded & 255), (uint8_t)(padded >> 8)};
        atomic_file_write(&file, start, 8);
        atomic_file_write(&file, size, sizeof size);
        atomic_file_write(&file, text, (size_t)padded);
        atomic_file_write(&file, values, gn_shape_count(shape) * sizeof *values);
        done = atomic_file_commit(&file);
    }
    free(text);
    free(header);
    free(sizes);
    return done;
}
