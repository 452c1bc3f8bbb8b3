#include "models/models.h"
#include "error.h"

// A sixth model is one more file and one more name here.
const model *const all_models[] = {&gan, &cgan, NULL};

void update_by_adam(training_step *s, network *net, gn_node *loss) {
    char *name = gn_format("%s.adam", net->name);
    gn_adam(s->graph, name, net->parameters, net->parameter_count, loss, s->hyper.lr, s->hyper.beta1, s->hyper.beta2);
    free(name);
}
