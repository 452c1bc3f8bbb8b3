// WGAN-GP: Gulrajani et al. 2017, "Improved Training of Wasserstein GANs", arXiv:1704.00028.
//
//     the critic D minimises   E D(G(z)) - E D(x) + lambda E (|grad D(x_hat)| - 1)^2
//     the generator maximises  E D(G(z))
//
// with x_hat = alpha x + (1 - alpha) G(z), one alpha an image, and the gradient by x_hat. That the penalty
// itself is then differentiated by D's weights is nothing special: gn_grad() of a gn_grad().
#include "models/mlp.h"

// E (|grad D(x_hat)| - 1)^2
static gn_node *gradient_penalty(training_step *s, gn_node *fake) {
    gn_node *one = gn_constant(s->graph, 1);
    gn_node *x_hat = gn_add(gn_mul(s->alpha, s->real), gn_mul(gn_sub(one, s->alpha), fake));
    gn_node *score = mlp_discriminator(&s->discriminator, x_hat);
    gn_node *slope;
    gn_grad(gn_sum_to(score, gn_shape_of(0)), &x_hat, 1, &slope); // (N, 784)
    gn_node *norm = gn_sqrt(gn_sum_axis(gn_square(slope), 1));    // (N, 1)
    return gn_mean(gn_square(gn_sub(norm, one)));
}

static void train(training_step *s) {
    gn_node *fake = mlp_generator(&s->generator, s->z);

    scores on = split_scores(mlp_discriminator(&s->discriminator, gn_concat_rows(s->real, fake)));
    s->d_loss = gn_sub(gn_mean(on.fake), gn_mean(on.real));
    s->gp = gradient_penalty(s, fake);
    update_by_adam(s, &s->discriminator, gn_add(s->d_loss, gn_scale(s->gp, s->hyper.gp_weight)));

    if (!s->generator_turn)
        return;
    // The script runs the generator anew, on the same z, which moves its running statistics a second time.
    fake = mlp_generator(&s->generator, s->z);
    s->g_loss = gn_neg(gn_mean(mlp_discriminator(&s->discriminator, fake)));
    update_by_adam(s, &s->generator, s->g_loss);
}

static gn_node *sample(network *net, gn_node *z, gn_node *labels) {
    return mlp_generator(net, z);
}

const model wgan_gp = {
    .name = "wgan-gp",
    .title = "Wasserstein GAN with gradient penalty",
    .paper = "Gulrajani et al. 2017, arXiv:1704.00028",
    .networks = "gan's, without the last sigmoid",
    .image_side = IMAGE_SIDE,
    .defaults = {.batch = 64,
                 .epochs = 200,
                 .z_dim = 100,
                 .lr = 1e-4,
                 .beta1 = 0.5,
                 .beta2 = 0.9,
                 .n_critic = 5,
                 .gp_weight = 10},
    .train = train,
    .sample = sample,
};
