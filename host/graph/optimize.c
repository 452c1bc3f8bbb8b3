// Optimisers, as compositions of the primitive operations. Each adds the loss's gradient and the update of
// every variable to the graph; the moments are variables of the same state.
#include "graph/graph.h"

#include <math.h>

// The gradient of the loss by each variable as it is read now; the caller frees the array.
static gn_node **gradients_of(gn_graph *graph, gn_variable *const *variables, int count, gn_node *loss) {
    gn_node **nodes = gn_calloc(2 * (size_t)count, sizeof(gn_node *));
    for (int i = 0; i < count; i++)
        nodes[count + i] = gn_read(graph, variables[i]);
    gn_grad(loss, nodes + count, count, nodes);
    return nodes;
}

// The variable NAME.VARIABLE.MOMENT, made with zeros when it is new; in files it lies as the variable does.
static gn_variable *moment(gn_graph *graph, const char *name, const gn_variable *of, const char *which) {
    char *key = gn_format("%s.%s.%s", name, of->name, which);
    gn_variable *found = gn_state_find(graph->state, key);
    if (!found) {
        found = gn_state_add(graph->state, key, GN_F32, of->shape, NULL);
        gn_variable_set_layout(found, of->layout);
    }
    free(key);
    return found;
}

// decay * old + (1 - decay) * value, assigned to the variable
static gn_node *moving_average(gn_graph *graph, gn_variable *variable, double decay, gn_node *value) {
    gn_node *old = gn_read(graph, variable);
    return gn_assign(graph, variable, gn_add(gn_scale(old, decay), gn_scale(value, 1 - decay)));
}

void gn_sgd(gn_graph *graph, gn_variable *const *variables, int count, gn_node *loss, double lr) {
    gn_node **g = gradients_of(graph, variables, count, loss);
    for (int i = 0; i < count; i++)
        gn_assign(graph, variables[i], gn_sub(gn_read(graph, variables[i]), gn_scale(g[i], lr)));
    free(g);
}

// 1 - decay^t = -expm1(t ln decay): no digits are lost where decay^t is close to 1.
static gn_node *bias_correction(gn_node *t, double decay) {
    return decay == 0 ? gn_constant(t->graph, 1) : gn_neg(gn_expm1(gn_scale(t, log(decay))));
}

void gn_adam(gn_graph *graph, const char *name, gn_variable *const *variables, int count, gn_node *loss,
             double lr, double beta1, double beta2) {
    const double eps = 1e-8;
    gn_node **g = gradients_of(graph, variables, count, loss);

    char *key = gn_format("%s.step", name);
    gn_variable *step = gn_state_find(graph->state, key);
    if (!step)
        step = gn_state_add(graph->state, key, GN_I32, (gn_shape){0}, NULL);
    free(key);
    gn_node *t = gn_to_f32(gn_assign(graph, step, gn_add(gn_read(graph, step), gn_constant_int(graph, 1))));
    gn_node *step_size = gn_div(gn_constant(graph, lr), bias_correction(t, beta1));
    // A factor for all: divisions by a number take as long as all else on most CPUs.
    gn_node *inverse_root = gn_div(gn_constant(graph, 1), gn_sqrt(bias_correction(t, beta2)));

    for (int i = 0; i < count; i++) {
        gn_node *m = moving_average(graph, moment(graph, name, variables[i], "m"), beta1, g[i]);
        gn_node *v = moving_average(graph, moment(graph, name, variables[i], "v"), beta2, gn_square(g[i]));
        gn_node *change = gn_div(gn_mul(m, step_size), gn_offset(gn_mul(gn_sqrt(v), inverse_root), eps));
        gn_assign(graph, variables[i], gn_sub(gn_read(graph, variables[i]), change));
    }
    free(g);
}

void gn_rmsprop(gn_graph *graph, const char *name, gn_variable *const *variables, int count, gn_node *loss,
                double lr) {
    const double decay = 0.99, eps = 1e-8;
    gn_node **g = gradients_of(graph, variables, count, loss);
    for (int i = 0; i < count; i++) {
        gn_node *v = moving_average(graph, moment(graph, name, variables[i], "v"), decay, gn_square(g[i]));
        gn_node *change = gn_div(gn_scale(g[i], lr), gn_offset(gn_sqrt(v), eps));
        gn_assign(graph, variables[i], gn_sub(gn_read(graph, variables[i]), change));
    }
    free(g);
}
