// Safetensors files: named tensors and a few strings, as PyTorch's users exchange them.
//
// A file is 8 bytes, the header's length as a little-endian integer; the header, a JSON object that gives
// each tensor's dtype, shape and place; then the tensors' bytes, row-major and little-endian. Reading checks
// the whole of it, so that nobody who holds a `safetensors` has to.
#ifndef GANC_IO_SAFETENSORS_H
#define GANC_IO_SAFETENSORS_H

#include "ganc.h"

typedef enum { ST_F64, ST_F32, ST_I64, ST_I32, ST_U8 } st_dtype;

enum { ST_MAX_DIMS = 8 };

typedef struct {
    const char *path; // of the file it was read from; not used in writing
    const char *name;
    st_dtype dtype;
    int dims; // 0 for a scalar
    int64_t shape[ST_MAX_DIMS];
    const void *data; // in a file that was read perhaps unaligned: copy it out by the st_read functions
} st_tensor;

typedef struct {
    const char *key, *value;
} st_metadata;

typedef struct safetensors safetensors;

// ---- Reading -----------------------------------------------------------------------------------------

// Reads and checks a file. NULL on failure; the error names the file and, where it is one tensor's fault, the
// tensor.
safetensors *safetensors_read(const char *path);
void safetensors_free(safetensors *file); // and its tensors

// The tensors: by name, NULL where there is none; and one by one, as gn_state_next().
const st_tensor *st_find(const safetensors *file, const char *name);
const st_tensor *st_next(const safetensors *file, const st_tensor *previous);

// The tensor `name`, which must be there with this shape; a size of -1 fits any, and a single element counts
// as a scalar. NULL on failure, with an error that names the file, the tensor and both shapes.
const st_tensor *st_need(const safetensors *file, const char *name, gn_shape shape);

// The value of a string in the file's metadata; NULL where there is none. Belongs to the file.
const char *st_find_metadata(const safetensors *file, const char *key);

size_t st_dtype_size(st_dtype dtype);     // bytes
size_t st_count(const st_tensor *tensor); // elements

// Copy a tensor out, converted: `out` holds st_count() elements. A value that an integer type cannot hold
// gives false, with an error that names the tensor and the value.
void st_read_f64(const st_tensor *tensor, double *out);
void st_read_f32(const st_tensor *tensor, float *out);
bool st_read_i32(const st_tensor *tensor, int32_t *out);
bool st_read_u8(const st_tensor *tensor, uint8_t *out);

// ---- Writing -----------------------------------------------------------------------------------------

// A tensor to write: nothing is copied.
st_tensor st_tensor_of(const char *name, st_dtype dtype, gn_shape shape, const void *data);

// Writes a file, which replaces `path` whole or not at all. Names must differ and be UTF-8.
bool safetensors_write(const char *path, const st_tensor *tensors, int count, const st_metadata *metadata,
                       int metadata_count);

#endif
