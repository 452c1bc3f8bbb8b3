// What a model costs, from the graph of its training step: needs no device.
#include "train/session.h"
#include "train/train.h"

double session_mean_flops(const session_graphs *graphs, int n_critic) {
    double with = gn_graph_flops(graphs->steps[1]);
    double without = graphs->steps[0] ? gn_graph_flops(graphs->steps[0]) : 0;
    return (with + (n_critic - 1) * without) / n_critic;
}

model_cost train_model_cost(const model *model, const hyper_parameters *hyper) {
    session s = {.model = model, .hyper = *hyper};
    dataset nothing = {.count = hyper->batch, .height = 28, .width = 28};
    session_graphs graphs = session_build(&s, &nothing, 0, NULL);
    const network *nets[] = {&graphs.generator, &graphs.discriminator};
    long parameters[2] = {0, 0};
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < nets[i]->parameter_count; j++)
            parameters[i] += (long)gn_shape_count(gn_variable_shape(nets[i]->parameters[j]));
    model_cost cost = {parameters[0], parameters[1], session_mean_flops(&graphs, hyper->n_critic)};
    session_graphs_free(&graphs);
    session_free(&s);
    return cost;
}
