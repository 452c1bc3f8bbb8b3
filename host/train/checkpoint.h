// Checkpoints: all that a run needs to go on, in one file.
//
// checkpoint.safetensors holds both networks and the optimisers' moments and counters in PyTorch's names and
// layouts ("generator.model.0.weight", "generator.adam.generator.model.0.weight.m") and `step`; its metadata
// say the options that the run was started with, how far it is and what it trains on. What the seed or the
// data give is not in it: the data set, the grid's noise, and the order of an epoch's images, which is drawn
// by seed and epoch. generator.safetensors holds the generator alone, as its own state_dict() in PyTorch.
#ifndef GANC_TRAIN_CHECKPOINT_H
#define GANC_TRAIN_CHECKPOINT_H

#include "train/session.h"
#include "train/train.h"

// What a checkpoint says of its run, besides the state.
typedef struct {
    train_options options;       // in effect; `data` is the data set's name
    int images;                  // in the data set
    uint64_t data_crc;           // checkpoint_data_crc()
    const char *place;           // checkpoint_place() of the device that it ran on last
    int step;                    // steps done
    double seconds;              // of training so far
    double losses[LOSS_COLUMNS]; // the latest of each kind
} run_record;

typedef struct checkpoint checkpoint;

// Opens a run's checkpoint. NULL where the folder has none, or one that is damaged or not ganc's. Its tensors
// are checked when they are loaded.
checkpoint *checkpoint_open(const char *dir);
void checkpoint_free(checkpoint *saved); // NULL is fine

// The record; its strings belong to the checkpoint. `out`, `overwrite` and `resume` are not set in its
// options.
const run_record *checkpoint_record(const checkpoint *saved);

// Puts the saved state into a session that was built, but not compiled yet.
bool checkpoint_load(const checkpoint *saved, session *s);

// False, naming the option with both values, where `options` would not go on with the same run. How long it
// is to last, what it writes besides, and where it computes may differ.
bool checkpoint_allows(const checkpoint *saved, const train_options *options);

// Writes both files into a run's folder, each whole or not at all; waits for what runs.
bool checkpoint_write(const char *dir, session *s, const run_record *record);

// CRC-32 of a data set's images and labels.
uint64_t checkpoint_data_crc(const dataset *data);

// The steps that a run with these options on so many images takes in all.
long checkpoint_steps(const train_options *options, int images);

// A device with all that decides a result's last bits, as a line of text; the caller frees.
char *checkpoint_place(const gn_device *device);

#endif
