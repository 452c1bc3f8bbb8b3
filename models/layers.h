// Layers that the models share, applied in the order of torch.nn.Sequential.
//
// A network is a name, a mode and a position in a list of layers. network_start() goes to layer 0 of a list;
// each layer applied then takes the next index. The first application of a layer makes its variables, under
// the keys of torch's state_dict behind the network's name ("generator.model.2.weight"), with torch's default
// initialisation unless weight_std is set; later ones find them. So a network is a plain function of its
// input, which may be called several times in a step, and on another graph of the same state.
#ifndef GANC_LAYERS_H
#define GANC_LAYERS_H

#include "ganc.h"

enum { NETWORK_MAX_PARAMETERS = 64 };

typedef struct {
    gn_graph *graph;
    const char *name;    // "generator"
    bool training;       // batch norm: the batch's statistics, else the running ones
    const char *section; // "model": the torch.nn.Sequential at hand
    int layer;           // index of its next layer; -1: a single layer, not in a list
    // DCGAN's initialisation: weights of convolutions are drawn from N(0, weight_std^2), those of batch norms
    // from N(1, weight_std^2). 0: torch's default.
    double weight_std;
    gn_variable *parameters[NETWORK_MAX_PARAMETERS]; // what an optimiser updates, in order of appearance
    int parameter_count;
} network;

network network_new(gn_graph *graph, const char *name, bool training);
void network_start(network *net, const char *section);
void network_single(network *net, const char *section); // a single layer: "generator.linear.weight"

gn_node *dense(network *net, gn_node *x, int outputs); // (N, inputs) -> (N, outputs)

// The same as an image (N, height, width, channels); in files the outputs are ordered channel first, as
// torch's view(N, channels, height, width) of a dense layer has them.
gn_node *dense_image(network *net, gn_node *x, int height, int width, int channels);

// (N, H, W, inputs) -> (N, OH, OW, outputs), with a bias; sizes as gn_conv2d() and gn_conv_transpose2d().
gn_node *conv2d(network *net, gn_node *x, int outputs, int kernel, int stride, int padding);
gn_node *conv_transpose2d(network *net, gn_node *x, int outputs, int kernel, int stride, int padding);

// Ioffe and Szegedy 2015, over all axes but the last; momentum 0.1. While training it uses the batch's
// statistics and moves the running ones; a batch of one row has no variance and is the caller's to refuse.
gn_node *batch_norm(network *net, gn_node *x, double eps);

gn_node *relu(network *net, gn_node *x);
gn_node *leaky_relu(network *net, gn_node *x, double slope);
gn_node *hyperbolic_tangent(network *net, gn_node *x);
gn_node *sigmoid(network *net, gn_node *x);

#endif
