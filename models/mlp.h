// The fully connected networks that gan, cgan, wgan and wgan-gp share, as in their PyTorch scripts.
#ifndef GANC_MLP_H
#define GANC_MLP_H

#include "models/models.h"

// (N, noise) -> images (N, 784) in (-1, 1)
gn_node *mlp_generator(network *net, gn_node *noise);

// images (N, 784), or with their classes (N, 794) -> scores (N, 1) before any sigmoid
gn_node *mlp_discriminator(network *net, gn_node *images);

#endif
