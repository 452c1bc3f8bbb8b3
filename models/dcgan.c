// DCGAN: Radford, Metz and Chintala 2015, "Unsupervised Representation Learning with Deep Convolutional
// Generative Adversarial Networks", arXiv:1511.06434.
//
//     D maximises   log D(x) + log(1 - D(G(z)))
//     G maximises   log D(G(z))
//
// The losses are GAN's; the networks follow the paper's guidelines for stable training: convolutions with a
// stride in the discriminator and transposed ones in the generator instead of pooling, batch norm in both but
// for the generator's last and the discriminator's first layer, ReLU in the generator, leaky ReLU in the
// discriminator, no hidden dense layers; all convolutions start from N(0, 0.02^2). Images are 32x32.
#include "models/models.h"

enum { SIDE = 32 };
static const double weight_std = 0.02, eps = 1e-5;

// noise (N, z_dim) -> images (N, 1024) in (-1, 1)
static gn_node *generator(network *net, gn_node *z) {
    net->weight_std = weight_std;
    network_single(net, "linear");
    gn_node *x = dense_image(net, z, 4, 4, 256);
    network_start(net, "model");
    x = relu(net, batch_norm(net, conv_transpose2d(net, x, 128, 3, 2, 0), eps)); // (N, 9, 9, 128)
    x = relu(net, batch_norm(net, conv_transpose2d(net, x, 64, 3, 2, 1), eps));  // (N, 17, 17, 64)
    x = hyperbolic_tangent(net, conv_transpose2d(net, x, 1, 4, 2, 2));           // (N, 32, 32, 1)
    return gn_reshape(x, gn_shape_of(2, gn_node_shape(z).size[0], SIDE * SIDE));
}

// images (N, 1024) -> the probability that each is real (N, 1)
static gn_node *discriminator(network *net, gn_node *images) {
    int n = gn_node_shape(images).size[0];
    net->weight_std = weight_std;
    network_start(net, "conv");
    gn_node *x = gn_reshape(images, gn_shape_of(4, n, SIDE, SIDE, 1));
    x = leaky_relu(net, conv2d(net, x, 16, 3, 2, 1), 0.2);                        // (N, 16, 16, 16)
    x = leaky_relu(net, batch_norm(net, conv2d(net, x, 32, 3, 2, 1), eps), 0.2);  // (N, 8, 8, 32)
    x = leaky_relu(net, batch_norm(net, conv2d(net, x, 64, 3, 2, 1), eps), 0.2);  // (N, 4, 4, 64)
    x = leaky_relu(net, batch_norm(net, conv2d(net, x, 128, 4, 1, 0), eps), 0.2); // (N, 1, 1, 128)
    network_start(net, "linear");
    return sigmoid(net, dense(net, gn_reshape(x, gn_shape_of(2, n, 128)), 1));
}

static void train(training_step *s) {
    gn_node *fake = generator(&s->generator, s->z);

    gn_node *on_real = discriminator(&s->discriminator, s->real);
    gn_node *on_fake = discriminator(&s->discriminator, fake);
    s->d_loss = gn_add(gn_bce(on_real, 1), gn_bce(on_fake, 0));
    update_by_adam(s, &s->discriminator, s->d_loss);

    if (!s->generator_turn)
        return;
    s->g_loss = gn_bce(discriminator(&s->discriminator, fake), 1);
    update_by_adam(s, &s->generator, s->g_loss);
}

static gn_node *sample(network *net, gn_node *z, gn_node *labels) {
    return generator(net, z);
}

const model dcgan = {
    .name = "dcgan",
    .title = "Deep convolutional GAN",
    .paper = "Radford, Metz and Chintala 2015, arXiv:1511.06434",
    .networks =
        "dense 100-4096, transposed convolutions to 128, 64, 1 channels; convolutions to 16, 32, 64, 128",
    .image_side = SIDE,
    .defaults =
        {.batch = 64, .epochs = 200, .z_dim = 100, .lr = 2e-4, .beta1 = 0.5, .beta2 = 0.999, .n_critic = 1},
    .train = train,
    .sample = sample,
};
