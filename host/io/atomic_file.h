// Files that appear whole or not at all: written beside their place as PATH.tmp, then renamed into it.
//
// What is no regular file (/dev/null, a pipe) cannot be replaced and is written directly.
#ifndef GANC_IO_ATOMIC_FILE_H
#define GANC_IO_ATOMIC_FILE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    int descriptor;
    int error; // errno of the first write that failed, else 0
    char *path;
    char *written; // PATH.tmp, or PATH itself where it is written directly
} atomic_file;

// Starts a file that shall replace `path`. False, with the path and the reason, where it cannot be made.
bool atomic_file_open(atomic_file *file, const char *path);

// Appends `size` bytes. What goes wrong is kept for the commit to report.
void atomic_file_write(atomic_file *file, const void *data, size_t size);

// Ends it: what was written lies on the disk under its name afterwards. False, with the path and the reason,
// where that or any write failed; then nothing is left beside, and the old file, if any, is as it was.
bool atomic_file_commit(atomic_file *file);

// The same for a file whose bytes are at hand.
bool atomic_file_put(const char *path, const void *data, size_t size);

#endif
