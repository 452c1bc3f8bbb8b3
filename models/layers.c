#include "models/layers.h"
#include "error.h"

#include <math.h>

network network_new(gn_graph *graph, const char *name, bool training) {
    return (network){.graph = graph, .name = name, .training = training};
}

void network_start(network *net, const char *section) {
    net->section = section;
    net->layer = 0;
}

// The variable "NETWORK.SECTION.LAYER.what" of the present layer; made by the caller when it is new.
static gn_variable *find_variable(const network *net, const char *what, char **key) {
    *key = gn_format("%s.%s.%d.%s", net->name, net->section, net->layer, what);
    return gn_state_find(gn_graph_state(net->graph), *key);
}

static void list_parameter(network *net, gn_variable *variable) {
    for (int i = 0; i < net->parameter_count; i++)
        if (net->parameters[i] == variable)
            return;
    GN_ASSERT(net->parameter_count < NETWORK_MAX_PARAMETERS, "%s has too many parameters", net->name);
    net->parameters[net->parameter_count++] = variable;
}

// torch's default for dense layers, U(-bound, bound), drawn in the order of torch's layout (outputs, inputs)
// and laid out as the product reads it, (inputs, outputs). A bias is the case of one input.
static gn_node *uniform_parameter(network *net, const char *what, gn_shape shape, double bound) {
    char *key;
    gn_variable *variable = find_variable(net, what, &key);
    if (!variable) {
        gn_state *state = gn_graph_state(net->graph);
        size_t count = gn_shape_count(shape), outputs = (size_t)shape.size[shape.dims - 1], inputs = count / outputs;
        float *draws = gn_calloc(count, sizeof *draws), *values = gn_calloc(count, sizeof *values);
        gn_draw_uniform(gn_state_seed(state), key, 0, draws, count);
        for (size_t i = 0; i < count; i++)
            values[i % inputs * outputs + i / inputs] = (float)bound * (2 * draws[i] - 1);
        variable = gn_state_add(state, key, GN_F32, shape, values);
        free(draws);
        free(values);
    }
    free(key);
    list_parameter(net, variable);
    return gn_read(net->graph, variable);
}

gn_node *dense(network *net, gn_node *x, int outputs) {
    int inputs = gn_node_shape(x).size[1];
    double bound = 1 / sqrt(inputs);
    gn_node *weight = uniform_parameter(net, "weight", gn_shape_of(2, inputs, outputs), bound);
    gn_node *bias = uniform_parameter(net, "bias", gn_shape_of(1, outputs), bound);
    net->layer++;
    return gn_add(gn_matmul(x, weight), bias);
}

// A variable of batch norm, one value a channel, the same everywhere at first.
static gn_variable *channel_variable(network *net, const char *what, int channels, float initial) {
    char *key;
    gn_variable *variable = find_variable(net, what, &key);
    if (!variable) {
        float *values = gn_calloc((size_t)channels, sizeof *values);
        for (int i = 0; i < channels; i++)
            values[i] = initial;
        variable = gn_state_add(gn_graph_state(net->graph), key, GN_F32, gn_shape_of(1, channels), values);
        free(values);
    }
    free(key);
    return variable;
}

// running = 0.9 running + 0.1 value
static void move_running(network *net, gn_variable *running, gn_node *value) {
    const double momentum = 0.1;
    gn_node *old = gn_read(net->graph, running);
    gn_node *flat = gn_reshape(value, gn_variable_shape(running));
    gn_assign(net->graph, running, gn_add(gn_scale(old, 1 - momentum), gn_scale(flat, momentum)));
}

// Counts the batches seen, as torch does for those who average over all of them.
static void count_batch(network *net) {
    char *key;
    gn_variable *counter = find_variable(net, "num_batches_tracked", &key);
    if (!counter)
        counter = gn_state_add(gn_graph_state(net->graph), key, GN_I32, (gn_shape){0}, NULL);
    free(key);
    gn_assign(net->graph, counter, gn_add(gn_read(net->graph, counter), gn_constant_int(net->graph, 1)));
}

gn_node *batch_norm(network *net, gn_node *x, double eps) {
    gn_shape shape = gn_node_shape(x);
    int channels = shape.size[shape.dims - 1];
    gn_variable *weight = channel_variable(net, "weight", channels, 1);
    gn_variable *bias = channel_variable(net, "bias", channels, 0);
    gn_variable *running_mean = channel_variable(net, "running_mean", channels, 0);
    gn_variable *running_var = channel_variable(net, "running_var", channels, 1);
    list_parameter(net, weight);
    list_parameter(net, bias);

    gn_node *mean, *variance;
    if (net->training) {
        double n = (double)gn_shape_count(shape) / channels;
        gn_shape per_channel = gn_shape_of(1, channels);
        mean = gn_scale(gn_sum_to(x, per_channel), 1 / n);
        variance = gn_scale(gn_sum_to(gn_square(gn_sub(x, mean)), per_channel), 1 / n);
        move_running(net, running_mean, mean);
        move_running(net, running_var, gn_scale(variance, n / (n - 1))); // torch keeps the unbiased one
        count_batch(net);
    } else {
        mean = gn_read(net->graph, running_mean);
        variance = gn_read(net->graph, running_var);
    }
    gn_node *scale = gn_div(gn_constant(net->graph, 1), gn_sqrt(gn_offset(variance, eps)));
    gn_node *x_hat = gn_mul(gn_sub(x, mean), scale);
    gn_node *y = gn_add(gn_mul(x_hat, gn_read(net->graph, weight)), gn_read(net->graph, bias));
    net->layer++;
    return y;
}

gn_node *leaky_relu(network *net, gn_node *x, double slope) {
    net->layer++;
    return gn_leaky_relu(x, slope);
}

gn_node *hyperbolic_tangent(network *net, gn_node *x) {
    net->layer++;
    return gn_tanh(x);
}

gn_node *sigmoid(network *net, gn_node *x) {
    net->layer++;
    return gn_sigmoid(x);
}
