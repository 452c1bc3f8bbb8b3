// The models: what a model file gives, and what it may use of layers.h and ../host/ganc.h.
#ifndef GANC_MODELS_H
#define GANC_MODELS_H

#include "models/layers.h"

enum { IMAGE_SIDE = 28, IMAGE_PIXELS = IMAGE_SIDE * IMAGE_SIDE, IMAGE_CLASSES = 10 };

// The largest that a user can set: no tensor of a model has more elements than can be counted then.
enum { MAX_BATCH = 1 << 15, MAX_Z_DIM = 10000 };

// What a user can change of a model; the defaults are those of its PyTorch script.
typedef struct {
    int batch;
    int epochs;
    int z_dim;
    double lr;
    double beta1, beta2; // Adam's; 0 where the model has another optimiser
    int n_critic;        // the generator is updated in every n_critic-th step of an epoch, from the first on
    double clip;         // WGAN: the critic's weights stay in -clip .. clip
    double gp_weight;    // WGAN-GP: of the gradient penalty; 0 where the model has none
} hyper_parameters;

// What a training step is built from. Where a training run draws `real`, `z` and labels from the data set
// and the random streams, a replay takes them from its trace: the model cannot tell.
typedef struct {
    gn_graph *graph;
    hyper_parameters hyper;
    network generator, discriminator;
    bool generator_turn;           // is the generator updated in this step?
    gn_node *real;                 // (batch, image_side * image_side), in [-1, 1]
    gn_node *labels;               // i32 (batch): the classes of `real`
    gn_node *z;                    // (batch, z_dim)
    gn_node *fake_labels;          // i32 (batch): the classes to generate
    gn_node *alpha;                // (batch, 1): shares in [0, 1)
    gn_node *d_loss, *g_loss, *gp; // scalars, set by the model; NULL where the step has none
} training_step;

typedef struct {
    const char *name; // as --model takes it
    const char *title;
    const char *paper;    // authors, year, where
    const char *networks; // one line: what the two networks are
    bool conditional;     // does it use labels?
    int image_side;       // of its square images: IMAGE_SIDE, or 32, to which the data is resized then
    hyper_parameters defaults;
    // Adds one training step: losses, gradients, updates.
    void (*train)(training_step *step);
    // The generator's images (N, image_side * image_side) in [-1, 1] for noise z (N, z_dim) and, where
    // conditional, labels i32 (N).
    gn_node *(*sample)(network *generator, gn_node *z, gn_node *labels);
} model;

// One step of Adam, or of RMSprop, on all of a network's parameters; the moments are the network's own.
void update_by_adam(training_step *step, network *net, gn_node *loss);
void update_by_rmsprop(training_step *step, network *net, gn_node *loss);

extern const model gan, cgan, dcgan, wgan, wgan_gp;

// All models, in the order in which they are listed; ends with NULL.
extern const model *const all_models[];

// The model that --model NAME means; NULL where there is none.
const model *find_model(const char *name);

#endif
