// cGAN: Mirza and Osindero 2014, "Conditional Generative Adversarial Nets", arXiv:1411.1784.
//
//     D maximises   log D(x | y) + log(1 - D(G(z | y') | y'))
//     G maximises   log D(G(z | y') | y')
//
// Both networks are told the class y: a one-hot vector, joined to the noise and to the flattened image. Real
// images come with their own class, fakes with a random one.
#include "models/mlp.h"

static gn_node *with_labels(gn_node *rows, gn_node *labels) {
    return gn_concat(rows, gn_one_hot(labels, IMAGE_CLASSES));
}

static gn_node *generator(network *net, gn_node *z, gn_node *labels) {
    return mlp_generator(net, with_labels(z, labels));
}

static gn_node *discriminator(network *net, gn_node *images_with_labels) {
    return sigmoid(net, mlp_discriminator(net, images_with_labels));
}

static void train(training_step *s) {
    gn_node *fake = generator(&s->generator, s->z, s->fake_labels);

    gn_node *told_real = with_labels(s->real, s->labels), *told_fake = with_labels(fake, s->fake_labels);
    scores on = split_scores(discriminator(&s->discriminator, gn_concat_rows(told_real, told_fake)));
    s->d_loss = gn_add(gn_bce(on.real, 1), gn_bce(on.fake, 0));
    update_by_adam(s, &s->discriminator, s->d_loss);

    if (!s->generator_turn)
        return;
    s->g_loss = gn_bce(discriminator(&s->discriminator, told_fake), 1);
    update_by_adam(s, &s->generator, s->g_loss);
}

const model cgan = {
    .name = "cgan",
    .title = "Conditional GAN",
    .paper = "Mirza and Osindero 2014, arXiv:1411.1784",
    .networks = "gan's, with ten more inputs each for the class",
    .conditional = true,
    .image_side = IMAGE_SIDE,
    .defaults =
        {.batch = 64, .epochs = 200, .z_dim = 100, .lr = 2e-4, .beta1 = 0.5, .beta2 = 0.999, .n_critic = 1},
    .train = train,
    .sample = generator,
};
