// A training run in a test: a session as `ganc` makes one, without the run's folder.
#ifndef GANC_TESTS_TRAINING_H
#define GANC_TESTS_TRAINING_H

#include "test.h"
#include "train/session.h"
#include "train/train.h"

#include <math.h>
#include <stdio.h>

typedef struct {
    const model *model;
    const char *class, *gemm;
    int batch;
    uint64_t seed;
} training_options;

static inline gn_device *training_device(training_options options) {
    gn_device_options device_options = {.device_class = options.class, .gemm = options.gemm};
    gn_device *device = gn_device_open(NULL, &device_options);
    ck_assert_msg(device != NULL, "%s", gn_error());
    return device;
}

// A session on the device, compiled; session_free() closes the device. The data set stays the caller's. Ends
// the test on failure.
static inline session training_start_on(gn_device *device, training_options options, const dataset *data) {
    session s = {.model = options.model, .hyper = options.model->defaults, .device = device};
    s.hyper.batch = options.batch;
    session_graphs graphs = session_build(&s, data, options.seed, NULL);
    ck_assert_msg(session_compile(&s, &graphs), "%s", gn_error());
    session_graphs_free(&graphs);
    return s;
}

static inline session training_start(training_options options, const dataset *data) {
    return training_start_on(training_device(options), options, data);
}

// Runs the steps first .. first + count - 1, each epoch in its own order.
static inline void training_steps(session *s, int first, int count) {
    int images = (int)gn_shape_count(gn_variable_shape(s->order)), per_epoch = images / s->hyper.batch;
    int32_t *order = calloc((size_t)images, sizeof *order);
    for (int step = first; step < first + count; step++) {
        if (step % per_epoch == 0) {
            gn_draw_permutation(gn_state_seed(s->state), "order", (uint32_t)(step / per_epoch), order,
                                (size_t)images);
            ck_assert_msg(gn_state_set(s->device, s->order, order), "%s", gn_error());
        }
        ck_assert_msg(session_run_step(s, step), "%s", gn_error());
    }
    free(order);
}

// |ours - expected| / |expected|, by 2-norm; infinite where ours is no number.
static inline double relative_distance(const float *ours, const double *expected, size_t count) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        difference += (ours[i] - expected[i]) * (ours[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    double distance = sqrt(difference) / fmax(sqrt(norm), 1e-30);
    return isfinite(distance) ? distance : INFINITY;
}

#endif
