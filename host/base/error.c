#include "base/error.h"
#include "ganc.h"

#include <stdarg.h>
#include <string.h>

static _Thread_local char *message;

static void *need(void *memory) {
    if (!memory) {
        fputs("ganc: out of memory on the host\n", stderr);
        exit(1);
    }
    return memory;
}

void *gn_calloc(size_t count, size_t size) {
    return need(calloc(count ? count : 1, size ? size : 1));
}

void *gn_realloc(void *old, size_t size) {
    return need(realloc(old, size ? size : 1));
}

char *gn_strdup(const char *text) {
    return need(strdup(text));
}

static char *format_list(const char *format, va_list list) {
    va_list again;
    va_copy(again, list);
    int length = vsnprintf(NULL, 0, format, list);
    char *text = gn_calloc((size_t)length + 1, 1);
    vsnprintf(text, (size_t)length + 1, format, again);
    va_end(again);
    return text;
}

char *gn_format(const char *format, ...) {
    va_list list;
    va_start(list, format);
    char *text = format_list(format, list);
    va_end(list);
    return text;
}

bool gn_fail(const char *format, ...) {
    va_list list;
    va_start(list, format);
    char *text = format_list(format, list); // before the free: an argument may be the old message
    va_end(list);
    free(message);
    message = text;
    return false;
}

bool gn_fail_within(const char *format, ...) {
    va_list list;
    va_start(list, format);
    char *where = format_list(format, list);
    va_end(list);
    gn_fail("%s: %s", where, gn_error());
    free(where);
    return false;
}

const char *gn_error(void) {
    return message ? message : "no error";
}
