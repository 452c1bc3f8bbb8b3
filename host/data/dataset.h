// Data sets: images with labels, in host memory. See dataset.c.
#ifndef GANC_DATASET_H
#define GANC_DATASET_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    char *name;               // "fashion-mnist", "mnist", "synthetic" or the folder
    int count, height, width; // height and width are 28
    uint8_t *images;          // (count, height, width)
    uint8_t *labels;          // (count), 0..9
} dataset;

// Loads what --data names: "mnist", "fashion-mnist", "synthetic" (10,000 digits that depend on `seed`, the
// only use of it) or a folder of IDX files. NULL: MNIST where the user has it, else Fashion-MNIST where
// installed. In a folder the train-* files are preferred, t10k-* taken where only those are there; each may
// be plain or .gz. Fails with the file's name and what is wrong with it, and `out` is empty then. The caller
// frees.
bool dataset_load(dataset *out, const char *which, uint64_t seed);
void dataset_free(dataset *set); // NULL and empty ones too

// The folder where "mnist" or "fashion-mnist" lies: the first of $GANC_DATA/NAME, ./data/NAME,
// $XDG_DATA_HOME/ganc/NAME (~/.local/share/ganc/NAME where unset), /usr/share/datasets/NAME that holds IDX
// files, NULL where none does. The caller frees.
char *dataset_find(const char *name);

extern const char *dataset_system_folder; // "/usr/share/datasets"; a test points it elsewhere

#endif
