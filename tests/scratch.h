// A folder of their own for the tests that write files; for one suite each.
#ifndef GANC_TESTS_SCRATCH_H
#define GANC_TESTS_SCRATCH_H

#include "base/error.h"
#include "ganc.h"
#include "test.h"

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[] = "/tmp/ganc-test-XXXXXX";

// A path in the folder; good until the fourth call after it.
static inline const char *in_scratch(const char *name) {
    static char paths[4][512];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof(paths[0]), "%s/%s", scratch, name);
    return path;
}

static inline void scratch_make(void) {
    ck_assert_ptr_nonnull(mkdtemp(scratch));
}

static inline void scratch_remove(void) {
    char command[64];
    snprintf(command, sizeof(command), "rm -r %s", scratch);
    ck_assert_int_eq(system(command), 0);
}

static inline bool is_there(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

static inline void put_file(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    ck_assert_msg(file && fwrite(data, 1, size, file) == size && fclose(file) == 0, "cannot make %s", path);
}

static inline void assert_holds(const char *path, const char *text) {
    char found[512] = {0};
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s is missing", path);
    ck_assert_uint_eq(fread(found, 1, sizeof(found) - 1, file), strlen(text));
    fclose(file);
    ck_assert_str_eq(found, text);
}

// What a full disk does to a test's later writes: beyond `size` bytes a file takes no more.
static inline void limit_file_size(size_t size) {
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = size;
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static inline void lift_file_size(void) {
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

// The last error is one line and holds both texts.
static inline void assert_error(const char *one, const char *other) {
    const char *error = gn_error();
    ck_assert_msg(strstr(error, one) && strstr(error, other) && !strchr(error, '\n'),
                  "the error should hold \"%s\" and \"%s\" on one line: %s", one, other, error);
}

#endif
