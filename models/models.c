#include "models/models.h"
#include "base/error.h"

#include <string.h>

// A further model is one more file and one more name here.
const model *const all_models[] = {&gan, &cgan, &dcgan, &wgan, &wgan_gp, NULL};

const model *find_model(const char *name) {
    int i = 0;
    while (all_models[i] && strcmp(all_models[i]->name, name) != 0)
        i++;
    return all_models[i];
}

void update_by_adam(training_step *s, network *net, gn_node *loss) {
    char *name = gn_format("%s.adam", net->name);
    gn_adam(s->graph, name, net->parameters, net->parameter_count, loss, s->hyper.lr, s->hyper.beta1,
            s->hyper.beta2);
    free(name);
}

void update_by_rmsprop(training_step *s, network *net, gn_node *loss) {
    char *name = gn_format("%s.rmsprop", net->name);
    gn_rmsprop(s->graph, name, net->parameters, net->parameter_count, loss, s->hyper.lr);
    free(name);
}
