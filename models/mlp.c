#include "models/mlp.h"

gn_node *mlp_generator(network *net, gn_node *noise) {
    const double eps = 0.8; // the scripts write BatchNorm1d(n, 0.8): not a momentum, as they meant, but eps
    network_start(net, "model");
    gn_node *x = leaky_relu(net, dense(net, noise, 128), 0.2);
    x = leaky_relu(net, batch_norm(net, dense(net, x, 256), eps), 0.2);
    x = leaky_relu(net, batch_norm(net, dense(net, x, 512), eps), 0.2);
    return hyperbolic_tangent(net, dense(net, x, IMAGE_PIXELS));
}

gn_node *mlp_discriminator(network *net, gn_node *images) {
    network_start(net, "model");
    gn_node *x = leaky_relu(net, dense(net, images, 512), 0.2);
    x = leaky_relu(net, dense(net, x, 256), 0.2);
    return dense(net, x, 1);
}

scores split_scores(gn_node *both) {
    int n = gn_node_shape(both).size[0] / 2;
    return (scores){gn_rows(both, 0, n), gn_rows(both, n, n)};
}
