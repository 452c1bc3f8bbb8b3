// Training: a model, a data set and a device become a run.
#ifndef GANC_TRAIN_H
#define GANC_TRAIN_H

#include "models/models.h"

// Everything that decides a run. Strings belong to the caller.
typedef struct {
    const model *model;
    hyper_parameters hyper;
    uint64_t seed;
    long steps;       // stop after so many in all; 0: no limit but the epochs
    const char *data; // as --data takes it; NULL: the default
    const char *out;  // the run's folder
    bool overwrite;
    const struct checkpoint *resume; // go on from here (train/checkpoint.h); NULL: begin
    double checkpoint_minutes;       // at most so long between two checkpoints; 0: after each epoch only
    int log_interval;                // steps between two lines of the log and the terminal
    const char *device;              // as --device takes it; NULL: the default
    gn_device_options device_options;
} train_options;

typedef struct {
    char device[128];
    long steps;
    double seconds; // training alone, after the first step
    double images_per_second;
    double d_loss, g_loss; // of the last step
    bool interrupted;      // by Ctrl-C or SIGTERM, before the last step
} train_result;

// Trains; writes the run's folder; shows progress on stderr. A resumed run goes on as if it had never
// stopped; one that is complete says so and trains nothing. What a result says is of the whole run.
bool train(const train_options *options, train_result *result);

// What a model costs, for `ganc models`.
typedef struct {
    long generator_parameters, discriminator_parameters;
    double flops_per_step; // floating-point operations that one training step needs
} model_cost;

model_cost train_model_cost(const model *model, const hyper_parameters *hyper);

// ---- Replay ------------------------------------------------------------------------------------------

// One compared quantity of a replay.
typedef struct {
    char *name;      // "d_loss", "final.generator.model.0.weight", "samples"
    double distance; // ours from float64: relative, by 2-norm
    double torch32;  // PyTorch float32's
    double ratio;    // of the two, each at least its floor
} replay_row;

typedef struct {
    char *model;
    int steps, batch;
    replay_row *rows;
    int count;
    double worst;           // the largest ratio; not a number counts as infinite
    const char *worst_name; // whose it is; a row's
    double median;          // of the ratios
} replay_result;

// Repeats the run of a trace on a device and compares; writes what it computed to `save` unless that is NULL.
// A trace whose tensors are missing or do not fit is an error that names the tensor and both shapes.
bool replay(const char *trace, const char *save, const char *device, const gn_device_options *device_options,
            replay_result *result);
void replay_result_free(replay_result *result);

#endif
