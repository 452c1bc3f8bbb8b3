// A run's folder and the log in it:
//
//     images/epoch-000000.png       the sample grid before the first epoch, then after each
//     log.jsonl                     one JSON object a line
//     checkpoint.safetensors        all that is needed to go on
//     generator.safetensors         the trained weights alone
#ifndef GANC_IO_RUN_FOLDER_H
#define GANC_IO_RUN_FOLDER_H

#include <jansson.h>
#include <stdbool.h>

// Makes `dir` ready for a new run: makes it and DIR/images, with its parents. A folder that holds a run is an
// error, unless `overwrite`: then the files named above are removed, and no others.
bool run_folder_open(const char *dir, bool overwrite);

// Paths in the folder; the caller frees. The names of grids sort in order of time; epoch 0 is before the
// first.
char *run_folder_grid_path(const char *dir, int epoch);
char *run_folder_log_path(const char *dir);
char *run_folder_checkpoint_path(const char *dir);
char *run_folder_generator_path(const char *dir);

// ---- The log -----------------------------------------------------------------------------------------

typedef struct run_log run_log;

// Opens the folder's log; lines go to its end. NULL on failure.
run_log *run_log_new(const char *dir);

// Adds one line and takes over the reference to `object`, so that it can be json_pack()'s result. The file
// holds the whole line afterwards, or, on failure, none of it.
bool run_log_write(run_log *log, json_t *object);

// A number for such a line: null where it is not finite, which JSON cannot say.
json_t *run_log_number(double value);

// Closes and frees. False where what was written could not be kept. NULL is fine.
bool run_log_free(run_log *log);

#endif
