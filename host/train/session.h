// A session: the state and the programs (training steps, the sample grid) of a model on a device. What
// training and replay share.
#ifndef GANC_TRAIN_SESSION_H
#define GANC_TRAIN_SESSION_H

#include "data/dataset.h"
#include "models/models.h"

enum {
    GRID_COLUMNS = 10,
    GRID_IMAGES = 100,
    LOSS_ROWS = 1024 // steps whose losses the device keeps
};

enum { D_LOSS, G_LOSS, GP, LOSS_COLUMNS };
extern const char *const loss_names[LOSS_COLUMNS]; // "d_loss", ...

typedef struct {
    const model *model;
    hyper_parameters hyper;
    gn_device *device;
    gn_state *state;
    int steps_per_epoch;
    gn_variable *order;   // i32 (images): the order in which this epoch takes them
    gn_variable *losses;  // f32 (LOSS_ROWS, LOSS_COLUMNS): of step s in row s mod LOSS_ROWS
    gn_variable *samples; // f32 (GRID_IMAGES, image_side * image_side): the last grid
    // Steps without and with an update of the generator, the first NULL where n_critic is 1; the sample grid.
    gn_program *steps[2], *grid;
} session;

// Where a step's draws come from: random streams, or, in a replay, tensors with one row an image, in the
// order of the data.
typedef struct {
    const float *z;             // (images, z_dim)
    const int32_t *fake_labels; // (images); NULL where the model has none
    const float *alpha;         // (images); likewise
} recorded_draws;

typedef struct {
    gn_graph *steps[2], *grid;        // as the session's programs
    network generator, discriminator; // their parameters
} session_graphs;

// Makes the state (weights and the grid's noise drawn by the seed, the data set) and the graphs over it, for
// s->model with s->hyper; needs no device. `recorded` is NULL for training.
session_graphs session_build(session *s, const dataset *data, uint64_t seed, const recorded_draws *recorded);
void session_graphs_free(session_graphs *graphs);

// Floating-point operations a step, the mean of n_critic steps, of which one updates the generator.
double session_mean_flops(const session_graphs *graphs, int n_critic);

// Compiles the graphs for s->device. False on failure.
bool session_compile(session *s, session_graphs *graphs);

// Compiles the steps once more, with what has been found out about the device since.
bool session_compile_steps(session *s, session_graphs *graphs);

// Steps are counted from 0 over the whole run. Starts one; does not wait.
bool session_run_step(session *s, long step);

// Has the step this one of the LOSS_COLUMNS losses? That of the generator only those that update it have.
bool session_has_loss(const session *s, long step, int loss);

// Picks the losses of a step out of the device's rows; not a number where the step has no such loss.
void session_losses(const session *s, float rows[LOSS_ROWS][LOSS_COLUMNS], long step,
                    float losses[LOSS_COLUMNS]);

// Frees all that a session has, the device too.
void session_free(session *s);

#endif
