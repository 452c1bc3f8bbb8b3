// Files that appear whole or not at all. The data must be on the disk before the rename is: a crash between
// the two would else leave an empty file under the good name.
#include "io/atomic_file.h"
#include "base/error.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void release(atomic_file *file) {
    free(file->path);
    free(file->written);
    *file = (atomic_file){.descriptor = -1};
}

bool atomic_file_open(atomic_file *file, const char *path) {
    struct stat there;
    bool direct = stat(path, &there) == 0 && !S_ISREG(there.st_mode);
    *file = (atomic_file){.path = gn_strdup(path),
                          .written = direct ? gn_strdup(path) : gn_format("%s.tmp", path)};
    file->descriptor = open(file->written, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file->descriptor < 0) {
        gn_fail("cannot write %s: %s", path, strerror(errno));
        release(file);
        return false;
    }
    return true;
}

void atomic_file_write(atomic_file *file, const void *data, size_t size) {
    const char *bytes = data;
    while (size > 0 && !file->error) {
        ssize_t written = write(file->descriptor, bytes, size);
        if (written < 0) {
            file->error = errno == EINTR ? 0 : errno;
        } else {
            bytes += written;
            size -= (size_t)written;
        }
    }
}

bool atomic_file_commit(atomic_file *file) {
    bool beside = strcmp(file->written, file->path) != 0;
    if (!file->error && beside && fsync(file->descriptor) != 0)
        file->error = errno;
    if (close(file->descriptor) != 0 && !file->error)
        file->error = errno;
    if (!file->error && beside && rename(file->written, file->path) != 0)
        file->error = errno;

    int error = file->error;
    if (error) {
        gn_fail("cannot write %s: %s", file->path, strerror(error));
        if (beside)
            unlink(file->written);
    }
    release(file);
    return !error;
}

bool atomic_file_put(const char *path, const void *data, size_t size) {
    atomic_file file;
    if (!atomic_file_open(&file, path))
        return false;
    atomic_file_write(&file, data, size);
    return atomic_file_commit(&file);
}
