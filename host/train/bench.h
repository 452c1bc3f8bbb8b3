// Benchmarks: how fast a device is, where the models' training steps go on it, and how near to its limits.
#ifndef GANC_TRAIN_BENCH_H
#define GANC_TRAIN_BENCH_H

#include "cl/peak.h"
#include "models/models.h"

typedef struct {
    const model *model; // NULL: all, and the kernels that no model uses
    const char *kernel; // only kernels whose names hold this; NULL: all
    int batch;          // 0: each model's own
    int rounds;         // of measurement; medians and quartiles are over these
    const char *device; // as --device takes it; NULL: the default
    gn_device_options device_options;
    void (*progress)(const char *what); // told what begins; may be NULL
} bench_options;

// The quartiles of what was measured.
typedef struct {
    double low, median, high;
} spread;

// Launches of one kernel that are equal but for their buffers.
typedef struct {
    const model *model; // NULL: a case of its own
    char *kernel;       // as it stands in kernels_cl/, "clblast" for what CLBlast launched
    char *shape;
    double flops, bytes; // of one launch
    double count;        // launches a step, the mean over n_critic steps
    spread ms;           // of one launch
    double step_ms;      // what they take together of a step
    double gflops, gbs;
    bool memory_bound; // would the device's memory end later than its arithmetic?
    double share;      // of what the device's peaks allow, 0 to 1
} bench_row;

// A training step: the mean over n_critic steps, of which one updates the generator.
typedef struct {
    const model *model;
    int batch;
    spread ms;
    double parts_ms; // sum of its kernels
    double gaps_ms;  // what passes between them
    double flops;    // that it needs
    double share;    // of the peak
    double launches; // of kernels
    size_t arena_bytes;
} bench_step;

typedef struct {
    device_info device;
    device_class class;
    const char *gemm; // what products run on
    bool by_clock;    // events were not used, as they disagree with the clock
    device_peaks peaks;
    bench_row *rows; // those of a model together, what takes longest first
    int row_count;
    bench_step *steps;
    int step_count;
} bench_result;

// Measures. False on failure. The caller frees the result, also then.
bool bench_run(const bench_options *options, bench_result *result);
void bench_result_free(bench_result *result);

// Adds the cases of bench_cases.c to a graph whose state is new.
void bench_add_cases(gn_graph *graph);

#endif
