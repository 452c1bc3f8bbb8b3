// `ganc models`: what there is to train, and what a step of it costs.
#include "base/error.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "io/json.h"
#include "train/train.h"

static void print_model(const model *m, const model_cost *cost) {
    const hyper_parameters *d = &m->defaults;
    printf("%-12s%s\n", m->name, m->title);
    printf("  paper     %s\n", m->paper);
    printf("  networks  %s\n", m->networks);
    printf("  weights   %ld generator + %ld discriminator\n", cost->generator_parameters,
           cost->discriminator_parameters);
    printf("  a step    %.0f MFLOP for %d images\n", cost->flops_per_step / 1e6, d->batch);
    printf("  defaults  --batch %d --epochs %d --z-dim %d --lr %g --n-critic %d", d->batch, d->epochs,
           d->z_dim, d->lr, d->n_critic);
    if (d->beta1 > 0)
        printf(" --beta1 %g --beta2 %g", d->beta1, d->beta2);
    if (d->clip > 0)
        printf(" --clip %g", d->clip);
    if (d->gp_weight > 0)
        printf(" --gp-weight %g", d->gp_weight);
    putchar('\n');
}

static json_t *describe_model(const model *m, const model_cost *cost) {
    const hyper_parameters *d = &m->defaults;
    json_t *parameters = json_pack("{sI sI}", "generator", (json_int_t)cost->generator_parameters,
                                   "discriminator", (json_int_t)cost->discriminator_parameters);
    json_t *defaults = json_pack("{si si si sf si sf sf sf sf}", "batch", d->batch, "epochs", d->epochs,
                                 "z_dim", d->z_dim, "lr", d->lr, "n_critic", d->n_critic, "beta1", d->beta1,
                                 "beta2", d->beta2, "clip", d->clip, "gp_weight", d->gp_weight);
    return json_pack("{ss ss ss ss so so so}", "name", m->name, "title", m->title, "paper", m->paper,
                     "networks", m->networks, "parameters", parameters, "mflop_per_step",
                     json_number(cost->flops_per_step / 1e6), "defaults", defaults);
}

int command_models(int argc, char **argv) {
    bool json = false;
    const option options[] = {
        {"json", NULL, "Output", "print one JSON object on stdout", FLAG(&json)},
        {.name = NULL},
    };
    const command_syntax syntax = {
        .name = "models",
        .summary =
            "List the models: paper, networks, number of weights, operations of a training step, defaults.",
        .example = "ganc models --json",
        .options = options,
    };
    int status = options_parse(&syntax, argc, argv, NULL);
    if (status != OPTIONS_OK)
        return status;

    json_t *list = json_array();
    for (int i = 0; all_models[i] != NULL; i++) {
        model_cost cost = train_model_cost(all_models[i], &all_models[i]->defaults);
        if (json) {
            json_array_append_new(list, describe_model(all_models[i], &cost));
        } else {
            if (i > 0)
                putchar('\n');
            print_model(all_models[i], &cost);
        }
    }
    if (json)
        return print_json(json_pack("{so}", "models", list));
    json_decref(list);
    return 0;
}
