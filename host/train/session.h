// A session: the state and the two programs (a training step, the sample grid) of a model on a device. What
// training and replay share.
#ifndef GANC_TRAIN_SESSION_H
#define GANC_TRAIN_SESSION_H

#include "data/dataset.h"
#include "train/train.h"

enum {
    GRID_COLUMNS = 10,
    GRID_IMAGES = 100,
    LOSS_ROWS = 1024, // steps whose losses the device keeps
    LOSS_COLUMNS = 2  // d_loss, g_loss
};

typedef struct {
    const model *model;
    hyper_parameters hyper;
    gn_device *device;
    gn_state *state;
    gn_variable *order;   // i32 (images): the order in which this epoch takes them
    gn_variable *losses;  // f32 (LOSS_ROWS, LOSS_COLUMNS): of step s in row s mod LOSS_ROWS
    gn_variable *samples; // f32 (GRID_IMAGES, 784): the last grid
    gn_program *step, *grid;
} session;

// Where a step's draws come from: random streams, or, in a replay, tensors with one row an image, in the
// order of the data.
typedef struct {
    const float *z;             // (images, z_dim)
    const int32_t *fake_labels; // (images); NULL where the model has none
} recorded_draws;

// Adds the model's variables to a new state (weights drawn by the seed), the data set and the grid's noise,
// and builds the graph of a step; a description of the session before it meets a device. `recorded` is NULL
// for training. The caller frees the graphs.
typedef struct {
    gn_graph *step, *grid;
    network generator, discriminator;
} session_graphs;
session_graphs session_build(session *s, const dataset *data, uint64_t seed, const recorded_draws *recorded);

// Compiles the graphs for s->device. False on failure.
bool session_compile(session *s, session_graphs *graphs);

// Frees all that a session has, the device too.
void session_free(session *s);

#endif
