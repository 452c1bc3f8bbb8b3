#include "models/layers.h"
#include "base/error.h"

#include <math.h>

network network_new(gn_graph *graph, const char *name, bool training) {
    return (network){.graph = graph, .name = name, .training = training};
}

void network_start(network *net, const char *section) {
    net->section = section;
    net->layer = 0;
}

void network_single(network *net, const char *section) {
    net->section = section;
    net->layer = -1;
}

// The variable "NETWORK.SECTION.LAYER.what" of the present layer; made by the caller when it is new.
static gn_variable *find_variable(const network *net, const char *what, char **key) {
    *key = net->layer < 0 ? gn_format("%s.%s.%s", net->name, net->section, what)
                          : gn_format("%s.%s.%d.%s", net->name, net->section, net->layer, what);
    return gn_state_find(gn_graph_state(net->graph), *key);
}

static void list_parameter(network *net, gn_variable *variable) {
    for (int i = 0; i < net->parameter_count; i++)
        if (net->parameters[i] == variable)
            return;
    GN_ASSERT(net->parameter_count < NETWORK_MAX_PARAMETERS, "%s has too many parameters", net->name);
    net->parameters[net->parameter_count++] = variable;
}

// How a parameter starts: U(mean - spread, mean + spread), or N(mean, spread^2).
typedef struct {
    bool normal;
    double mean, spread;
} initial_values;

// A parameter of the present layer, drawn when it is new in the order of torch's layout: so that how it lies
// here does not decide what a seed gives.
static gn_node *parameter(network *net, const char *what, gn_shape shape, gn_layout layout,
                          initial_values initial) {
    char *key;
    gn_variable *variable = find_variable(net, what, &key);
    if (!variable) {
        gn_state *state = gn_graph_state(net->graph);
        size_t count = gn_shape_count(shape);
        float *draws = gn_calloc(count, sizeof *draws), *values = gn_calloc(count, sizeof *values);
        (initial.normal ? gn_draw_normal : gn_draw_uniform)(gn_state_seed(state), key, 0, draws, count);
        for (size_t i = 0; i < count; i++) {
            float unit = initial.normal ? draws[i] : 2 * draws[i] - 1;
            draws[i] = (float)initial.mean + (float)initial.spread * unit;
        }
        variable = gn_state_add(state, key, GN_F32, shape, NULL);
        gn_variable_set_layout(variable, layout);
        gn_variable_from_file(variable, draws, values);
        gn_state_set(NULL, variable, values);
        free(draws);
        free(values);
    }
    free(key);
    list_parameter(net, variable);
    return gn_read(net->graph, variable);
}

// torch's default for weights and biases: U(-1 / sqrt(fan_in), 1 / sqrt(fan_in))
static initial_values by_fan_in(int fan_in) {
    return (initial_values){.spread = 1 / sqrt(fan_in)};
}

static gn_layout plain_layout(gn_shape shape) {
    return (gn_layout){shape, shape, {0, 1, 2, 3}};
}

// One number for each of the last axis's elements.
static gn_node *bias_of(network *net, int outputs, initial_values initial) {
    gn_shape shape = gn_shape_of(1, outputs);
    return parameter(net, "bias", shape, plain_layout(shape), initial);
}

gn_node *dense(network *net, gn_node *x, int outputs) {
    int inputs = gn_node_shape(x).size[1];
    // The product reads a weight as (inputs, outputs); torch's files have (outputs, inputs).
    gn_shape inside = gn_shape_of(2, inputs, outputs), in_file = gn_shape_of(2, outputs, inputs);
    gn_layout layout = {in_file, in_file, {1, 0}};
    gn_node *weight = parameter(net, "weight", inside, layout, by_fan_in(inputs));
    gn_node *bias = bias_of(net, outputs, by_fan_in(inputs));
    net->layer++;
    return gn_add(gn_matmul(x, weight), bias);
}

gn_node *dense_image(network *net, gn_node *x, int height, int width, int channels) {
    int inputs = gn_node_shape(x).size[1], pixels = height * width, outputs = pixels * channels;
    gn_layout of_weight = {
        gn_shape_of(2, outputs, inputs), gn_shape_of(3, channels, pixels, inputs), {2, 1, 0}};
    gn_layout of_bias = {gn_shape_of(1, outputs), gn_shape_of(2, channels, pixels), {1, 0}};
    initial_values initial = by_fan_in(inputs);
    gn_node *weight = parameter(net, "weight", gn_shape_of(2, inputs, outputs), of_weight, initial);
    gn_node *bias = parameter(net, "bias", gn_shape_of(1, outputs), of_bias, initial);
    net->layer++;
    gn_node *rows = gn_add(gn_matmul(x, weight), bias);
    return gn_reshape(rows, gn_shape_of(4, gn_node_shape(x).size[0], height, width, channels));
}

static initial_values of_convolution(const network *net, int fan_in) {
    return net->weight_std > 0 ? (initial_values){true, 0, net->weight_std} : by_fan_in(fan_in);
}

gn_node *conv2d(network *net, gn_node *x, int outputs, int kernel, int stride, int padding) {
    int inputs = gn_node_shape(x).size[3], fan_in = kernel * kernel * inputs;
    gn_shape in_file = gn_shape_of(4, outputs, inputs, kernel, kernel);
    gn_layout layout = {in_file, in_file, {2, 3, 1, 0}};
    gn_node *weight =
        parameter(net, "weight", gn_shape_of(2, fan_in, outputs), layout, of_convolution(net, fan_in));
    gn_node *bias = bias_of(net, outputs, by_fan_in(fan_in));
    net->layer++;
    return gn_add(gn_conv2d(x, weight, kernel, stride, padding), bias);
}

gn_node *conv_transpose2d(network *net, gn_node *x, int outputs, int kernel, int stride, int padding) {
    // torch counts what an output of the convolution would come from, of which this is the transpose.
    int inputs = gn_node_shape(x).size[3], columns = kernel * kernel * outputs, fan_in = columns;
    gn_shape in_file = gn_shape_of(4, inputs, outputs, kernel, kernel);
    gn_layout layout = {in_file, in_file, {0, 2, 3, 1}};
    gn_node *weight =
        parameter(net, "weight", gn_shape_of(2, inputs, columns), layout, of_convolution(net, fan_in));
    gn_node *bias = bias_of(net, outputs, by_fan_in(fan_in));
    net->layer++;
    return gn_add(gn_conv_transpose2d(x, weight, kernel, stride, padding), bias);
}

// A running statistic of batch norm, one value a channel, the same everywhere at first.
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
    gn_shape each = gn_shape_of(1, channels);
    gn_node *weight =
        parameter(net, "weight", each, plain_layout(each), (initial_values){true, 1, net->weight_std});
    gn_node *bias = bias_of(net, channels, (initial_values){0});
    gn_variable *running_mean = channel_variable(net, "running_mean", channels, 0);
    gn_variable *running_var = channel_variable(net, "running_var", channels, 1);

    gn_node *centred, *variance;
    if (net->training) {
        double n = (double)gn_shape_count(shape) / channels;
        gn_node *mean = gn_scale(gn_sum_to(x, each), 1 / n);
        centred = gn_sub(x, mean);
        variance = gn_scale(gn_sum_to(gn_square(centred), each), 1 / n);
        move_running(net, running_mean, mean);
        move_running(net, running_var, gn_scale(variance, n / (n - 1))); // torch keeps the unbiased one
        count_batch(net);
    } else {
        centred = gn_sub(x, gn_read(net->graph, running_mean));
        variance = gn_read(net->graph, running_var);
    }
    // weight * (x - mean) / sqrt(variance + eps) + bias. What is one value a channel is computed first, and x
    // - mean is one node: so that few of the gradient's sums go over all of x.
    gn_node *scale = gn_div(weight, gn_sqrt(gn_offset(variance, eps)));
    net->layer++;
    return gn_add(gn_mul(centred, scale), bias);
}

gn_node *relu(network *net, gn_node *x) {
    return leaky_relu(net, x, 0);
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
