// Errors: how a failure travels up.
//
// A function that can fail returns false (or NULL) after it has said why with gn_fail(). Callers pass the
// failure on and free what they hold; the text is printed once, by main(). A message is one line: what is
// wrong, with the value; where; what to do about it. A programmer's mistake is no such failure: GN_ASSERT.
#ifndef GANC_BASE_ERROR_H
#define GANC_BASE_ERROR_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

// Keeps the formatted text as this thread's error, in place of any before. Returns false, always.
bool gn_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));

// Puts "<text>: " in front of this thread's error. Returns false, always.
bool gn_fail_within(const char *format, ...) __attribute__((format(printf, 1, 2)));

// calloc that ends the program with a line on stderr when memory is out: for small host structures, where
// nothing better can be done. Never returns NULL. realloc likewise.
void *gn_calloc(size_t count, size_t size);
void *gn_realloc(void *old, size_t size);
char *gn_strdup(const char *text);
char *gn_format(const char *format, ...) __attribute__((format(printf, 1, 2))); // the caller frees

// A condition that only a programmer can break; prints the formatted text and aborts.
#define GN_ASSERT(condition, ...)                                                                            \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "ganc: %s:%d: ", __FILE__, __LINE__);                                            \
            fprintf(stderr, __VA_ARGS__);                                                                    \
            fputc('\n', stderr);                                                                             \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

#endif
