// Reading IDX files: http://yann.lecun.com/exdb/mnist described them first.
//
//     byte 0, 1   zero
//     byte 2      type of the values: 0x08 is a byte
//     byte 3      number of dimensions
//     then        the size of each dimension, 32 bits, big-endian
//     then        the values, row-major
//
// Nothing in the file is believed: a header is checked against the file's length before memory is taken
// for it, and the file is read to its very end, where gzip keeps its checksum. What the values mean is left
// to dataset.c.
#include "data/idx.h"

#include "base/error.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

enum {
    IDX_TYPE_BYTE = 0x08,
    IDX_HEADER_MAX = 4 + 4 * IDX_MAX_DIMS,
    DEFLATE_MAX_RATIO = 1032, // no deflate stream unpacks to more
};

// Opens a file and gives its length in bytes.
static gzFile open_file(const char *path, int64_t *length) {
    struct stat info;
    if (stat(path, &info) != 0) {
        gn_fail("%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    if (!S_ISREG(info.st_mode)) {
        gn_fail("%s: is %s, an IDX file is needed", path,
                S_ISDIR(info.st_mode) ? "a folder" : "no regular file");
        return NULL;
    }
    gzFile file = gzopen(path, "rb");
    if (!file)
        gn_fail("%s: cannot be opened: %s", path, strerror(errno));
    *length = info.st_size;
    return file;
}

// Says why gzread() gave `got` of the `count` bytes of a part of the file ("header", "data"). Returns false.
// A gzip file that ends too early is no error to gzread(): it gives what there is and notes Z_BUF_ERROR.
static bool fail_read(gzFile file, const char *path, const char *part, int got, unsigned count) {
    int code;
    gzerror(file, &code);
    if (code == Z_ERRNO)
        return gn_fail("%s: cannot be read: %s", path, strerror(errno));
    if (code == Z_BUF_ERROR)
        return gn_fail("%s: truncated gzip file: it ends at %d of %u bytes of the %s; get it again", path,
                       got, count, part);
    if (code != Z_OK)
        return gn_fail("%s: corrupt gzip file, found in the %s; get it again", path, part);
    return gn_fail("%s: truncated: %d of %u bytes of the %s; get it again", path, got, count, part);
}

static bool read_part(gzFile file, const char *path, const char *part, uint8_t *to, unsigned count) {
    int got = gzread(file, to, count);
    return got == (int)count || fail_read(file, path, part, got, count);
}

static uint32_t big_endian(const uint8_t *at) {
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

// Reads the header; gives the sizes and the number of values.
static bool read_header(gzFile file, const char *path, int dims, int *size, unsigned *count) {
    uint8_t header[IDX_HEADER_MAX];
    int got = gzread(file, header, 4);
    if (got == 0 && gzdirect(file))
        return gn_fail("%s: is empty; get it again", path);
    if (got != 4)
        return fail_read(file, path, "header", got, 4 + 4 * (unsigned)dims);
    if (header[0] != 0 || header[1] != 0)
        return gn_fail("%s: not an IDX file: it starts with the bytes %02x %02x %02x %02x, not 00 00 08 %02x",
                       path, header[0], header[1], header[2], header[3], dims);
    if (header[2] != IDX_TYPE_BYTE)
        return gn_fail("%s: an IDX file of values of type 0x%02x; ganc reads bytes, 0x08", path, header[2]);
    if (header[3] != dims)
        return gn_fail("%s: an IDX file of %d dimension(s) where %d are needed (images have 3, labels 1)",
                       path, header[3], dims);
    got = gzread(file, header + 4, 4 * (unsigned)dims);
    if (got != 4 * dims)
        return fail_read(file, path, "header", got < 0 ? got : 4 + got, 4 + 4 * (unsigned)dims);

    uint64_t total = 1;
    for (int d = 0; d < dims; d++) {
        uint32_t n = big_endian(header + 4 + 4 * d);
        if (n == 0)
            return gn_fail("%s: holds nothing: the size of its dimension %d is 0", path, d + 1);
        total *= n; // cannot overflow: it was below 2^31
        if (total > INT32_MAX)
            return gn_fail("%s: its header promises %" PRIu32 " in dimension %d, 2^31 values or more in all: "
                           "corrupt, or too large for ganc",
                           path, n, d + 1);
        size[d] = (int)n;
    }
    *count = (unsigned)total;
    return true;
}

// Reads the values and sees to it that nothing follows them.
static bool read_values(gzFile file, const char *path, int64_t length, int dims, unsigned count,
                        uint8_t **values) {
    int64_t header = 4 + 4 * dims;
    int64_t room = gzdirect(file) ? length - header : length * DEFLATE_MAX_RATIO;
    if (count > room)
        return gn_fail("%s: truncated: its header promises %u bytes of data, and there are %s%" PRId64
                       "; get it again",
                       path, count, gzdirect(file) ? "" : "at most ", room);
    *values = malloc(count);
    if (!*values)
        return gn_fail("%s: no memory for its %u bytes of data", path, count);
    if (!read_part(file, path, "data", *values, count))
        return false;
    uint8_t more;
    int got = gzread(file, &more, 1); // reaches gzip's checksum as well
    int code;
    gzerror(file, &code);
    if (got > 0)
        return gn_fail("%s: goes on after the %u bytes of data that its header promises: corrupt, or not "
                       "an IDX file",
                       path, count);
    return code == Z_OK || fail_read(file, path, "data", (int)count, count);
}

bool idx_read(idx_bytes *out, const char *path, int dims) {
    GN_ASSERT(dims >= 1 && dims <= IDX_MAX_DIMS, "idx_read: %d dimensions", dims);
    *out = (idx_bytes){0};
    int64_t length;
    gzFile file = open_file(path, &length);
    if (!file)
        return false;
    unsigned count = 0;
    bool ok = read_header(file, path, dims, out->size, &count) &&
              read_values(file, path, length, dims, count, &out->values);
    gzclose(file);
    if (!ok) {
        free(out->values);
        *out = (idx_bytes){0};
    }
    return ok;
}
