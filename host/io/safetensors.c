// Safetensors files. The header stays in memory as JSON, so that names and metadata need no copies; the data
// lies in one allocation behind it. Nothing here knows what the tensors mean.
#include "io/safetensors.h"
#include "base/error.h"
#include "io/atomic_file.h"

#include <errno.h>
#include <jansson.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are little-endian, and are not swapped");

// The format's own limit; a longer header is damage.
static const uint64_t MAX_HEADER = 100 * 1000 * 1000;

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [ST_F64] = {"F64", 8}, [ST_F32] = {"F32", 4}, [ST_I64] = {"I64", 8},
    [ST_I32] = {"I32", 4}, [ST_U8] = {"U8", 1},
};
enum { DTYPES = sizeof(dtypes) / sizeof(dtypes[0]) };

struct safetensors {
    char *path;
    json_t *header; // owns names and metadata
    uint8_t *data;
    size_t data_size;
    st_tensor *tensors;
    int count;
};

size_t st_dtype_size(st_dtype dtype) {
    return dtypes[dtype].size;
}

size_t st_count(const st_tensor *tensor) {
    size_t count = 1;
    for (int i = 0; i < tensor->dims; i++)
        count *= (size_t)tensor->shape[i];
    return count;
}

static size_t tensor_bytes(const st_tensor *tensor) {
    return st_count(tensor) * st_dtype_size(tensor->dtype);
}

// ---- Reading -----------------------------------------------------------------------------------------

// Fails with the file's name and the tensor's, which may hold anything and must still print on one line.
static bool fail_tensor(const char *path, const char *name, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static bool fail_tensor(const char *path, const char *name, const char *format, ...) {
    va_list list;
    va_start(list, format);
    char reason[256];
    vsnprintf(reason, sizeof(reason), format, list);
    va_end(list);
    json_t *text = json_string(name);
    char *quoted = json_dumps(text, JSON_ENCODE_ANY | JSON_ENSURE_ASCII);
    gn_fail("%s: tensor %.200s %s", path, quoted ? quoted : "?", reason);
    free(quoted);
    json_decref(text);
    return false;
}

static bool parse_dtype(const safetensors *file, st_tensor *tensor, const json_t *entry) {
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (!name)
        return fail_tensor(file->path, tensor->name, "has no dtype");
    for (int i = 0; i < DTYPES; i++) {
        if (strcmp(name, dtypes[i].name) == 0) {
            tensor->dtype = (st_dtype)i;
            return true;
        }
    }
    return fail_tensor(file->path, tensor->name,
                       "has a dtype other than F64, F32, I64, I32 and U8, which ganc reads");
}

// A shape whose tensor is larger than the file cannot be right, and is refused before its bytes overflow.
static bool parse_shape(const safetensors *file, st_tensor *tensor, const json_t *entry) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return fail_tensor(file->path, tensor->name, "has no shape");
    if (json_array_size(shape) > ST_MAX_DIMS)
        return fail_tensor(file->path, tensor->name, "has %zu dimensions, more than %d",
                           json_array_size(shape), ST_MAX_DIMS);
    tensor->dims = (int)json_array_size(shape);
    size_t room = file->data_size / st_dtype_size(tensor->dtype); // elements
    bool empty = false;
    for (int i = 0; i < tensor->dims; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return fail_tensor(file->path, tensor->name, "has a shape of other than whole numbers");
        tensor->shape[i] = json_integer_value(size);
        empty = empty || tensor->shape[i] == 0;
    }
    for (int i = 0; i < tensor->dims && !empty; i++) {
        if ((uint64_t)tensor->shape[i] > room)
            return fail_tensor(file->path, tensor->name,
                               "has a shape larger than the file's %zu bytes of data", file->data_size);
        room /= (size_t)tensor->shape[i];
    }
    return true;
}

static bool parse_place(const safetensors *file, st_tensor *tensor, const json_t *entry) {
    const json_t *place = json_object_get(entry, "data_offsets");
    const json_t *first = json_array_get(place, 0), *last = json_array_get(place, 1);
    if (json_array_size(place) != 2 || !json_is_integer(first) || !json_is_integer(last))
        return fail_tensor(file->path, tensor->name, "has no data_offsets of two whole numbers");
    json_int_t begin = json_integer_value(first), end = json_integer_value(last);
    if (begin < 0 || begin > end || (uint64_t)end > file->data_size)
        return fail_tensor(
            file->path, tensor->name,
            "would lie at bytes %lld to %lld of the %zu after the header: the file is cut short or damaged",
            (long long)begin, (long long)end, file->data_size);
    if ((uint64_t)(end - begin) != tensor_bytes(tensor))
        return fail_tensor(file->path, tensor->name, "takes %zu bytes by its shape, %lld by its data_offsets",
                           tensor_bytes(tensor), (long long)(end - begin));
    tensor->data = file->data + begin;
    return true;
}

static bool parse_metadata(const safetensors *file, const json_t *metadata) {
    if (!json_is_object(metadata))
        return gn_fail("%s: its __metadata__ is no JSON object", file->path);
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)metadata, key, value) {
        if (!json_is_string(value))
            return gn_fail("%s: its __metadata__ holds something other than strings", file->path);
    }
    return true;
}

static bool parse_header(safetensors *file) {
    file->tensors = gn_calloc(json_object_size(file->header), sizeof(st_tensor));
    size_t used = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(file->header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) {
            if (!parse_metadata(file, entry))
                return false;
            continue;
        }
        st_tensor *tensor = &file->tensors[file->count];
        *tensor = (st_tensor){.path = file->path, .name = name};
        if (!parse_dtype(file, tensor, entry) || !parse_shape(file, tensor, entry) ||
            !parse_place(file, tensor, entry))
            return false;
        used += tensor_bytes(tensor);
        file->count++;
    }
    if (used != file->data_size)
        return gn_fail("%s: its tensors take %zu bytes, and it holds %zu for them: the file is damaged",
                       file->path, used, file->data_size);
    return true;
}

static bool fill(const safetensors *file, FILE *stream, void *bytes, size_t size) {
    if (fread(bytes, 1, size, stream) == size)
        return true;
    return gn_fail("cannot read %s: %s", file->path, ferror(stream) ? strerror(errno) : "it ends early");
}

// Reads `size` bytes into new memory, which the caller frees. NULL on failure.
static void *read_bytes(const safetensors *file, FILE *stream, size_t size) {
    void *bytes = malloc(size ? size : 1);
    if (!bytes) {
        gn_fail("%s: no memory for its %zu bytes", file->path, size);
        return NULL;
    }
    if (!fill(file, stream, bytes, size)) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

static bool read_file(safetensors *file, FILE *stream) {
    struct stat status;
    if (fstat(fileno(stream), &status) != 0)
        return gn_fail("cannot read %s: %s", file->path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return gn_fail("cannot read %s: it is no regular file", file->path);
    uint64_t size = (uint64_t)status.st_size, header_size;
    if (size < sizeof(header_size))
        return gn_fail("%s: is no safetensors file: it has only %llu bytes", file->path,
                       (unsigned long long)size);
    if (!fill(file, stream, &header_size, sizeof(header_size)))
        return false;
    if (header_size > MAX_HEADER || header_size > size - sizeof(header_size))
        return gn_fail("%s: its header would have %llu bytes, and the file has %llu: it is cut short, or no "
                       "safetensors file",
                       file->path, (unsigned long long)header_size, (unsigned long long)size);

    char *text = read_bytes(file, stream, header_size);
    if (!text)
        return false;
    json_error_t error;
    file->header = json_loadb(text, header_size, JSON_REJECT_DUPLICATES, &error);
    free(text);
    if (!file->header)
        return gn_fail("%s: its header is no good JSON: %s", file->path, error.text);
    if (!json_is_object(file->header))
        return gn_fail("%s: its header is no JSON object", file->path);

    file->data_size = size - sizeof(header_size) - header_size;
    file->data = read_bytes(file, stream, file->data_size);
    return file->data && parse_header(file);
}

safetensors *safetensors_read(const char *path) {
    FILE *stream = fopen(path, "rb");
    if (!stream) {
        gn_fail("cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    safetensors *file = gn_calloc(1, sizeof(*file));
    file->path = gn_strdup(path);
    bool good = read_file(file, stream);
    fclose(stream);
    if (!good) {
        safetensors_free(file);
        return NULL;
    }
    return file;
}

void safetensors_free(safetensors *file) {
    if (!file)
        return;
    json_decref(file->header);
    free(file->tensors);
    free(file->data);
    free(file->path);
    free(file);
}

const st_tensor *st_next(const safetensors *file, const st_tensor *previous) {
    const st_tensor *next = previous ? previous + 1 : file->tensors;
    return next < file->tensors + file->count ? next : NULL;
}

const st_tensor *st_find(const safetensors *file, const char *name) {
    for (int i = 0; i < file->count; i++) {
        if (strcmp(file->tensors[i].name, name) == 0)
            return &file->tensors[i];
    }
    return NULL;
}

// "(100, 1, 28, 28)", with ? for -1.
static char *shape_text(int dims, const int64_t *shape) {
    char *text = gn_strdup("(");
    for (int i = 0; i < dims; i++) {
        char *longer = shape[i] < 0 ? gn_format("%s%s?", text, i ? ", " : "")
                                    : gn_format("%s%s%lld", text, i ? ", " : "", (long long)shape[i]);
        free(text);
        text = longer;
    }
    char *closed = gn_format("%s)", text);
    free(text);
    return closed;
}

static bool shape_fits(const st_tensor *tensor, const st_tensor *need) {
    bool single = need->dims == 0 || (need->dims == 1 && need->shape[0] == 1);
    if (single && tensor->dims <= 1 && st_count(tensor) == 1)
        return true;
    bool fits = tensor->dims == need->dims;
    for (int i = 0; i < need->dims && fits; i++)
        fits = need->shape[i] < 0 || need->shape[i] == tensor->shape[i];
    return fits;
}

const st_tensor *st_need(const safetensors *file, const char *name, gn_shape shape) {
    const st_tensor *tensor = st_find(file, name);
    st_tensor need = st_tensor_of(name, ST_F32, shape, NULL);
    if (tensor && shape_fits(tensor, &need))
        return tensor;
    char *needed = shape_text(need.dims, need.shape);
    if (tensor) {
        char *found = shape_text(tensor->dims, tensor->shape);
        fail_tensor(file->path, name, "has the shape %s; %s is needed", found, needed);
        free(found);
    } else {
        fail_tensor(file->path, name, "is missing; one of shape %s is needed", needed);
    }
    free(needed);
    return NULL;
}

const char *st_find_metadata(const safetensors *file, const char *key) {
    return json_string_value(json_object_get(json_object_get(file->header, "__metadata__"), key));
}

// Any value as a double, which rounds integers beyond 2^53.
static double element(const st_tensor *tensor, size_t index) {
    const uint8_t *at = (const uint8_t *)tensor->data + index * st_dtype_size(tensor->dtype);
    union {
        double f64;
        float f32;
        int64_t i64;
        int32_t i32;
        uint8_t u8;
    } value;
    memcpy(&value, at, st_dtype_size(tensor->dtype));
    switch (tensor->dtype) {
    case ST_F64:
        return value.f64;
    case ST_F32:
        return value.f32;
    case ST_I64:
        return (double)value.i64;
    case ST_I32:
        return value.i32;
    case ST_U8:
        break;
    }
    return value.u8;
}

void st_read_f64(const st_tensor *tensor, double *out) {
    size_t count = st_count(tensor);
    for (size_t i = 0; i < count; i++)
        out[i] = element(tensor, i);
}

void st_read_f32(const st_tensor *tensor, float *out) {
    size_t count = st_count(tensor);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)element(tensor, i);
}

static bool is_whole(const st_tensor *tensor, double value, double low, double high) {
    if (value >= low && value <= high && value == (double)(int64_t)value)
        return true;
    return fail_tensor(tensor->path, tensor->name, "holds %g; whole numbers from %.0f to %.0f are needed",
                       value, low, high);
}

bool st_read_i32(const st_tensor *tensor, int32_t *out) {
    size_t count = st_count(tensor);
    for (size_t i = 0; i < count; i++) {
        double value = element(tensor, i);
        if (!is_whole(tensor, value, INT32_MIN, INT32_MAX))
            return false;
        out[i] = (int32_t)value;
    }
    return true;
}

bool st_read_u8(const st_tensor *tensor, uint8_t *out) {
    size_t count = st_count(tensor);
    for (size_t i = 0; i < count; i++) {
        double value = element(tensor, i);
        if (!is_whole(tensor, value, 0, UINT8_MAX))
            return false;
        out[i] = (uint8_t)value;
    }
    return true;
}

// ---- Writing -----------------------------------------------------------------------------------------

st_tensor st_tensor_of(const char *name, st_dtype dtype, gn_shape shape, const void *data) {
    st_tensor tensor = {.name = name, .dtype = dtype, .dims = shape.dims, .data = data};
    for (int i = 0; i < shape.dims; i++)
        tensor.shape[i] = shape.size[i];
    return tensor;
}

// The header's text, padded by spaces to a multiple of 8 bytes; the caller frees. `order` lists the tensors
// as their data will lie.
static char *header_text(const st_tensor *const *order, int count, const st_metadata *metadata,
                         int metadata_count) {
    json_t *header = json_object();
    json_t *strings = json_object();
    for (int i = 0; i < metadata_count; i++)
        json_object_set_new(strings, metadata[i].key, json_string(metadata[i].value));
    json_object_set_new(header, "__metadata__", strings);

    size_t offset = 0;
    for (int i = 0; i < count; i++) {
        json_t *shape = json_array();
        for (int j = 0; j < order[i]->dims; j++)
            json_array_append_new(shape, json_integer(order[i]->shape[j]));
        size_t end = offset + tensor_bytes(order[i]);
        json_object_set_new(header, order[i]->name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtypes[order[i]->dtype].name, "shape",
                                      shape, "data_offsets", (json_int_t)offset, (json_int_t)end));
        offset = end;
    }
    GN_ASSERT(json_object_size(header) == (size_t)count + 1 &&
                  json_object_size(strings) == (size_t)metadata_count,
              "safetensors_write: two tensors or strings share a name, or one is no UTF-8");
    char *json = json_dumps(header, JSON_COMPACT);
    GN_ASSERT(json, "safetensors_write: the header cannot be written as JSON");
    int padded = (int)((strlen(json) + 7) / 8 * 8);
    char *text = gn_format("%-*s", padded, json);
    free(json);
    json_decref(header);
    return text;
}

bool safetensors_write(const char *path, const st_tensor *tensors, int count, const st_metadata *metadata,
                       int metadata_count) {
    // The largest elements first, behind a header of whole 8 bytes: so each tensor lies aligned in the file.
    const st_tensor **order = gn_calloc((size_t)count, sizeof(*order));
    int placed = 0;
    for (size_t size = 8; size > 0; size /= 2) {
        for (int i = 0; i < count; i++) {
            if (st_dtype_size(tensors[i].dtype) == size)
                order[placed++] = &tensors[i];
        }
    }
    char *header = header_text(order, count, metadata, metadata_count);
    uint64_t header_size = strlen(header);

    atomic_file file;
    bool good = atomic_file_open(&file, path);
    if (good) {
        atomic_file_write(&file, &header_size, sizeof(header_size));
        atomic_file_write(&file, header, header_size);
        for (int i = 0; i < count; i++)
            atomic_file_write(&file, order[i]->data, tensor_bytes(order[i]));
        good = atomic_file_commit(&file);
    }
    free(header);
    free(order);
    return good;
}
