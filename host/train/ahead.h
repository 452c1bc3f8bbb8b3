// A process that compiles a run's kernels while the run's own is at others.
#ifndef GANC_TRAIN_AHEAD_H
#define GANC_TRAIN_AHEAD_H

#include "data/dataset.h"
#include "train/train.h"

// Starts it, where it would be of use; it has the data set as it is now. To be called before anything of
// OpenCL, since it forks; at most once until ahead_stop().
void ahead_start(const train_options *options, const dataset *data);

// Ends it. Without that it ends soon after this process.
void ahead_stop(void);

// What it does: makes the run's programs and has the driver compile their kernels, the last first; until the
// other end of the pipe is closed. -1: no pipe, to the end.
void ahead_compile(const train_options *options, const dataset *data, int pipe);

#endif
