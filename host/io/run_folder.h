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

// Makes a folder and its parents, as mkdir -p. `option` is the one that named it, for the error.
bool folder_make(const char *path, const char *option);

// Makes `dir` ready for a new run: makes it and DIR/images, with its parents. A folder that holds a run is an
// error, unless `overwrite`: then the files named above are removed, and no others.
bool run_folder_open(const char *dir, bool overwrite);

// Would run_folder_open() do that, as far as can be seen? Touches nothing. Else the error that it would have.
bool run_folder_is_possible(const char *dir, bool overwrite);

// Makes the folder of a run that stopped ready to go on from `epoch` epochs: removes the grids of later ones.
bool run_folder_resume(const char *dir, int epoch);

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

// Waits until all lines are on the disk.
bool run_log_sync(run_log *log);

// The first line of the folder's log, which describes the run; NULL where there is none. A new reference.
json_t *run_log_header(const char *dir);

// Makes a log that of a run which stopped before step `step`: `header` becomes its first line (the reference
// is taken over); the lines of later steps go, that of step `skip` (-1: none), and what is no whole line. The
// file is replaced whole or not at all; it need not exist.
bool run_log_rewind(const char *dir, json_t *header, long step, long skip);

// Closes and frees. False where what was written could not be kept. NULL is fine.
bool run_log_free(run_log *log);

#endif
