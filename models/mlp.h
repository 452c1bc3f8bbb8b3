// The fully connected networks that gan, cgan, wgan and wgan-gp share, as in their PyTorch scripts.
#ifndef GANC_MLP_H
#define GANC_MLP_H

#include "models/models.h"

// (N, noise) -> images (N, 784) in (-1, 1)
gn_node *mlp_generator(network *net, gn_node *noise);

// images (N, 784), or with their classes (N, 794) -> scores (N, 1) before any sigmoid
gn_node *mlp_discriminator(network *net, gn_node *images);

// Without batch norm a row of a network's result depends on one row of its input. So real images and fakes
// pass through a discriminator together, as the rows of one matrix (2 N, 784), and its scores (2 N, 1) are
// cut in half again.
typedef struct {
    gn_node *real, *fake; // (N, 1)
} scores;
scores split_scores(gn_node *both);

#endif
