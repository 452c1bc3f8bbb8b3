// Progress on stderr: a line per interval, as the PyTorch scripts print it, and on a terminal a bar below:
//
//     [Epoch 0/200] [Batch 50/937] [D loss: 0.530000] [G loss: 1.710000]
//     epoch 1/200  batch 73/937  d 0.53  g 1.71  9120 images/s  34:12 left [##------------------]
//
// Whatever else is said while a bar stands goes through progress_message(), which keeps the two apart.
#ifndef GANC_IO_PROGRESS_H
#define GANC_IO_PROGRESS_H

typedef struct {
    long steps; // of the whole run
    long steps_per_epoch;
    int epochs;
    int batch; // images a step
} progress_plan;

typedef struct progress progress;

// Starts a display; whether stderr is a terminal is decided here.
progress *progress_new(progress_plan plan);
void progress_free(progress *shown); // leaves the bar, if any, as the last line; NULL is fine

// Brings the bar up to date after `done` steps of the run; without a terminal, and more than 10 times a
// second, it does nothing, so call it as often as you like. The rate counts from the first call, so that a
// resumed run's earlier steps and the compilation in a first step do not distort it.
void progress_redraw(progress *shown, long done);

// Prints the line of one step, counted from 0 over the whole run, and keeps the losses for the bar.
void progress_line(progress *shown, long step, double d_loss, double g_loss);

// Prints a line of text above the bar; the newline is added.
void progress_message(progress *shown, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
