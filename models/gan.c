// GAN: Goodfellow et al. 2014, "Generative Adversarial Nets", arXiv:1406.2661.
//
//     D maximises   log D(x) + log(1 - D(G(z)))
//     G maximises   log D(G(z))                 the loss that does not saturate (their section 3)
//
// One update of D, then one of G through the updated D, on the same noise.
#include "models/mlp.h"

static gn_node *generator(network *net, gn_node *z) {
    return mlp_generator(net, z);
}

static gn_node *discriminator(network *net, gn_node *images) {
    return sigmoid(net, mlp_discriminator(net, images));
}

static void train(training_step *s) {
    gn_node *fake = generator(&s->generator, s->z);

    scores on = split_scores(discriminator(&s->discriminator, gn_concat_rows(s->real, fake)));
    s->d_loss = gn_add(gn_bce(on.real, 1), gn_bce(on.fake, 0));
    update_by_adam(s, &s->discriminator, s->d_loss);

    if (!s->generator_turn)
        return;
    s->g_loss = gn_bce(discriminator(&s->discriminator, fake), 1);
    update_by_adam(s, &s->generator, s->g_loss);
}

static gn_node *sample(network *net, gn_node *z, gn_node *labels) {
    return generator(net, z);
}

const model gan = {
    .name = "gan",
    .title = "Generative adversarial network",
    .paper = "Goodfellow et al. 2014, arXiv:1406.2661",
    .networks = "dense 100-128-256-512-784 with batch norm; dense 784-512-256-1",
    .image_side = IMAGE_SIDE,
    .defaults =
        {.batch = 64, .epochs = 200, .z_dim = 100, .lr = 2e-4, .beta1 = 0.5, .beta2 = 0.999, .n_critic = 1},
    .train = train,
    .sample = sample,
};
