// Two recorded benchmarks held against each other.
#ifndef GANC_CLI_BENCH_COMPARE_H
#define GANC_CLI_BENCH_COMPARE_H

#include <jansson.h>

// Reads what `ganc bench --json` printed into a file. NULL, with an error, where it is something else. The
// caller releases.
json_t *bench_load(const char *path);

// What became faster or slower beyond the noise, whole steps first: an array of objects `model`, `name` and
// `shape` (absent for a whole step), `old_ms`, `new_ms`, `ratio` (new to old). What only one of the two has
// measured is left out. A new reference.
json_t *bench_changes(const json_t *old, const json_t *new);

// Prints the changes for a person, with what makes the two hard to compare: another device, other peaks.
void bench_print_changes(const json_t *old, const json_t *new, const json_t *changes);

#endif
