// Tuning: the fastest way to make each matrix product of the models on a device.
#ifndef GANC_TRAIN_TUNE_H
#define GANC_TRAIN_TUNE_H

#include "cl/gemm.h"
#include "cl/peak.h"
#include "models/models.h"

typedef struct {
    const model *model; // NULL: all
    int batch;          // 0: each model's own
    int rounds;         // of measurement
    const char *device; // as --device takes it; NULL: the default
    gn_device_options device_options;
    void (*progress)(const char *what); // told what begins; may be NULL
} tune_options;

typedef struct {
    device_info device;
    device_class class;
    const char *gemm; // what products run on
    double peak_gflops;
    gemm_tuning *products; // each shape once, in the order in which the models have them
    int product_count;
} tune_result;

// Measures, and keeps what is fastest in the user's cache folder. False on failure. The caller frees the
// result, also then.
bool tune_run(const tune_options *options, tune_result *result);
void tune_result_free(tune_result *result);

#endif
