// WGAN: Arjovsky, Chintala and Bottou 2017, "Wasserstein GAN", arXiv:1701.07875.
//
//     the critic D maximises   E D(x) - E D(G(z))    over functions with a bounded slope
//     the generator maximises  E D(G(z))
//
// The slope is bounded by clipping each of the critic's weights after each update. The generator is updated
// in every fifth step, on the same fakes. RMSprop: momentum made the critic unstable.
#include "models/mlp.h"

static void clip(training_step *s, const network *net) {
    double c = s->hyper.clip;
    for (int i = 0; i < net->parameter_count; i++)
        gn_assign(s->graph, net->parameters[i], gn_clamp(gn_read(s->graph, net->parameters[i]), -c, c));
}

static void train(training_step *s) {
    gn_node *fake = mlp_generator(&s->generator, s->z);

    scores on = split_scores(mlp_discriminator(&s->discriminator, gn_concat_rows(s->real, fake)));
    s->d_loss = gn_sub(gn_mean(on.fake), gn_mean(on.real));
    update_by_rmsprop(s, &s->discriminator, s->d_loss);
    clip(s, &s->discriminator);

    if (!s->generator_turn)
        return;
    s->g_loss = gn_neg(gn_mean(mlp_discriminator(&s->discriminator, fake)));
    update_by_rmsprop(s, &s->generator, s->g_loss);
}

static gn_node *sample(network *net, gn_node *z, gn_node *labels) {
    return mlp_generator(net, z);
}

const model wgan = {
    .name = "wgan",
    .title = "Wasserstein GAN",
    .paper = "Arjovsky et al. 2017, arXiv:1701.07875",
    .networks = "gan's, without the last sigmoid",
    .image_side = IMAGE_SIDE,
    .defaults = {.batch = 64, .epochs = 200, .z_dim = 100, .lr = 5e-5, .n_critic = 5, .clip = 0.01},
    .train = train,
    .sample = sample,
};
