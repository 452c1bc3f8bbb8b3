// Samples of a trained generator, from a file of ours or of PyTorch's.
#ifndef GANC_TRAIN_GENERATE_H
#define GANC_TRAIN_GENERATE_H

#include "models/models.h"

typedef struct {
    const char *source; // generator.safetensors, checkpoint.safetensors, or a run's folder
    const model *model; // NULL: as the file says or lets recognise
    int count;
    uint64_t seed;
    int label;  // the class to draw, 0..9; -1: each in turn, as in a run's grid
    int frames; // 0: one image for each of `count` noises. Else so many for each, on its way to another noise
    const char *device;
    gn_device_options device_options;
} generate_options;

typedef struct {
    const model *model;
    int z_dim;
    int count, side; // images; pixels in a row and in a column
    float *images;   // (count, side, side), in (-1, 1); frame by frame
    char device[128];
} generated;

// Draws the noise by the seed, as a run draws that of its grid: with a run's own seed, 100 images are its
// last grid. False where the file does not fit: the error names the tensor.
bool generate(const generate_options *options, generated *result);
void generated_free(generated *result);

#endif
