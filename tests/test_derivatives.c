// Derivatives by central differences, first and second, in double by the reference: of every operation and of
// what the models compose of them; and optimisers against their formulas.
//
// For f = sum(weights * y), with fixed random weights, gn_grad() gives df/dx. Its sum with further weights,
// g, gives dg/dx by gn_grad() again. Both are compared with (f(x + h) - f(x - h)) / 2h, and g's likewise.
#include "graph/reference.h"
#include "graph_fixture.h"
#include "models/mlp.h"
#include "op_cases.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEED = 11, MAX_VARIABLES = 16 };

static double largest_error[2]; // of first and second derivatives

// sum(x * fixed random weights), a scalar
static gn_node *weighted_sum(gn_node *x) {
    gn_graph *graph = x->graph;
    size_t count = gn_shape_count(x->shape);
    float *weights = gn_calloc(count, sizeof *weights);
    char *name = gn_format("weights %d", graph->count);
    gn_draw_uniform(SEED, name, 0, weights, count);
    for (size_t i = 0; i < count; i++)
        weights[i] += 0.5f;
    gn_node *w = gn_read(graph, gn_state_add(graph->state, name, GN_F32, x->shape, weights));
    free(name);
    free(weights);
    return gn_sum_to(gn_mul(x, w), (gn_shape){0});
}

// The f32 variables of a graph, as it reads them at first.
static int list_variables(const gn_graph *graph, gn_node **variables) {
    int count = 0;
    for (int i = 0; i < graph->count; i++) {
        gn_node *node = graph->nodes[i];
        if (node->op != OP_VARIABLE || node->type != GN_F32)
            continue;
        REQUIRE(count < MAX_VARIABLES, "more than %d variables", MAX_VARIABLES);
        variables[count++] = node;
    }
    return count;
}

static double largest_of(const double *values, size_t count) {
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(values[i]));
    return largest;
}

// Compares derivatives[i] with central differences of a scalar, at up to `samples` elements of variables[i].
// Errors are relative to the largest derivative by the same variable, or to 1 where all are zero
// (to rounding, as those by a bias in front of a batch norm).
static void compare(const char *name, reference *run, const gn_node *scalar, gn_node *const *variables,
                    gn_node *const *derivatives, int count, int samples, int order) {
    const double h = 1e-5, bound = order == 1 ? 1e-6 : 1e-5;
    for (int v = 0; v < count; v++) {
        size_t size = gn_shape_count(variables[v]->shape), stride = size / (size_t)samples + 1;
        double *exact = gn_calloc(size, sizeof *exact), *x = reference_variable(run, variables[v]->variable);
        double *kept = gn_calloc(size, sizeof *kept);
        memcpy(kept, x, size * sizeof *kept);
        reference_run(run);
        memcpy(exact, reference_node(run, derivatives[v]), size * sizeof *exact);
        double scale = largest_of(exact, size);
        for (size_t i = 0; i < size; i += stride) {
            double sides[2];
            for (int side = 0; side < 2; side++) {
                memcpy(x, kept, size * sizeof *kept); // the run may have assigned to it
                x[i] += side ? h : -h;
                reference_run(run);
                sides[side] = reference_node(run, scalar)[0];
            }
            double difference = (sides[1] - sides[0]) / (2 * h);
            double error = fabs(exact[i] - difference) / (scale > 1e-6 ? scale : 1);
            REQUIRE(error < bound, "%s: derivative %d by %s, element %zu: %.12g, by differences %.12g", name,
                    order, variables[v]->variable->name, i, exact[i], difference);
            largest_error[order - 1] = fmax(largest_error[order - 1], error);
        }
        memcpy(x, kept, size * sizeof *kept);
        free(kept);
        free(exact);
    }
}

// Checks both derivatives of a node by all f32 variables before it, at values that are moved by up to `move`
// from their initial ones.
static void check_derivatives(const char *name, gn_node *y, int samples, double move) {
    gn_graph *graph = y->graph;
    gn_node *variables[MAX_VARIABLES], *first[MAX_VARIABLES], *second[MAX_VARIABLES];
    int count = list_variables(graph, variables);
    ck_assert_msg(count > 0 || y->op == OP_CONSTANT, "%s has no f32 variable", name);
    gn_node *f = weighted_sum(y), *g = gn_constant(graph, 0);
    gn_grad(f, variables, count, first);
    for (int i = 0; i < count; i++)
        g = gn_add(g, weighted_sum(first[i]));
    gn_grad(g, variables, count, second);

    reference *run = reference_new(graph);
    for (int i = 0; i < count; i++) {
        const gn_variable *v = variables[i]->variable;
        size_t size = gn_shape_count(v->shape);
        float *draws = gn_calloc(size, sizeof *draws);
        gn_draw_uniform(SEED, v->name, 1, draws, size);
        for (size_t j = 0; j < size; j++)
            reference_variable(run, v)[j] += move * (double)draws[j];
        free(draws);
    }
    compare(name, run, f, variables, first, count, samples, 1);
    compare(name, run, g, variables, second, count, samples, 2);
    reference_free(run);
}

static void setup(void) {
    start_graph(SEED);
}

static void print_errors(const char *of) {
    printf("test_derivatives: %s: largest error of first derivatives %.2g, of second %.2g\n", of,
           largest_error[0], largest_error[1]);
}

// In one process, so that it can tell the largest error of all.
START_TEST(every_operation) {
    static const int sizes[] = {1, 4, 17};
    for (int i = 0; i < op_case_count; i++)
        for (int s = 0; s < 3 && op_cases[i].smooth; s++) {
            gn_graph *own = gn_graph_new(gn_state_new(SEED));
            check_derivatives(op_cases[i].name, op_cases[i].build(own, sizes[s]), 7, 0);
            gn_state_free(own->state);
            gn_graph_free(own);
        }
    print_errors("operations");
}
END_TEST

// ---- Compositions ------------------------------------------------------------------------------------

// A variable of normal numbers.
static gn_node *normals(const char *name, gn_shape shape) {
    float *values = gn_calloc(gn_shape_count(shape), sizeof *values);
    gn_draw_normal(SEED, name, 0, values, gn_shape_count(shape));
    gn_node *node = gn_read(graph, gn_state_add(state, name, GN_F32, shape, values));
    free(values);
    return node;
}

static gn_node *batch_norm_of(gn_shape shape, bool training, double eps) {
    network net = network_new(graph, "net", training);
    network_start(&net, "model");
    return batch_norm(&net, normals("x", shape), eps);
}

static gn_node *batch_norm_training(void) {
    return batch_norm_of(gn_shape_of(2, 6, 5), true, 0.8);
}

static gn_node *batch_norm_images(void) {
    return batch_norm_of(gn_shape_of(4, 3, 2, 4, 5), true, 1e-5);
}

static gn_node *batch_norm_sampling(void) {
    return batch_norm_of(gn_shape_of(2, 6, 5), false, 0.8);
}

static gn_node *bce_after_sigmoid(void) {
    gn_node *p = gn_sigmoid(normals("x", gn_shape_of(2, 6, 3)));
    return gn_add(gn_bce(p, 1), gn_add(gn_bce(p, 0), gn_bce(p, 0.3)));
}

static gn_node *softplus_mixture(void) {
    gn_node *x = normals("x", gn_shape_of(2, 4, 5)), *y = normals("y", gn_shape_of(1, 5));
    gn_node *softplus = gn_log(gn_offset(gn_exp(x), 1));
    gn_node *length = gn_sqrt(gn_offset(gn_sum_axis(gn_square(gn_sub(x, y)), 1), 0.1));
    gn_node *bounded = gn_tanh(gn_expm1(gn_scale(gn_concat(x, gn_slice(x, 1, 2)), 0.5)));
    return gn_div(gn_concat(gn_mul(softplus, gn_sigmoid(y)), bounded), length);
}

// dense, batch norm, leaky ReLU, dense: the generator in small
static gn_node *small_generator(void) {
    network net = network_new(graph, "generator", true);
    network_start(&net, "model");
    gn_node *x = leaky_relu(&net, dense(&net, normals("z", gn_shape_of(2, 5, 3)), 4), 0.2);
    x = leaky_relu(&net, batch_norm(&net, dense(&net, x, 6), 0.8), 0.2);
    return hyperbolic_tangent(&net, dense(&net, x, 7));
}

static gn_node *small_discriminator(network *net, gn_node *x) {
    network_start(net, "model");
    x = hyperbolic_tangent(net, dense(net, x, 7));
    x = leaky_relu(net, dense(net, x, 5), 0.2);
    return dense(net, x, 1);
}

// WGAN-GP's penalty, mean((||d score / d x|| - 1)^2), with x between real and fake images, one alpha each.
static gn_node *penalty(gn_node *(*discriminator)(network *net, gn_node *x), int pixels) {
    gn_node *real = normals("real", gn_shape_of(2, 3, pixels)),
            *fake = normals("fake", gn_shape_of(2, 3, pixels));
    gn_node *alpha = gn_random_uniform("alpha", gn_constant_int(graph, 0), gn_shape_of(2, 3, 1), 0);
    gn_node *x = gn_add(real, gn_mul(alpha, gn_sub(fake, real))), *gradient;
    network net = network_new(graph, "discriminator", true);
    gn_grad(gn_sum_to(discriminator(&net, x), (gn_shape){0}), &x, 1, &gradient);
    gn_node *norm = gn_sqrt(gn_sum_axis(gn_square(gradient), 1));
    return gn_mean(gn_square(gn_offset(norm, -1)));
}

static gn_node *penalty_small(void) {
    return penalty(small_discriminator, 6);
}

static gn_node *penalty_mlp(void) { // of the real discriminator, for small images
    return penalty(mlp_discriminator, 4);
}

static gn_node *small_conv_generator(void) {
    network net = network_new(graph, "generator", true);
    network_single(&net, "linear");
    gn_node *x = dense_image(&net, normals("z", gn_shape_of(2, 3, 4)), 2, 2, 3);
    network_start(&net, "model");
    x = leaky_relu(&net, batch_norm(&net, conv_transpose2d(&net, x, 2, 3, 2, 0), 1e-1), 0.2);
    return hyperbolic_tangent(&net, conv_transpose2d(&net, x, 1, 4, 2, 2));
}

static gn_node *small_conv_discriminator(network *net, gn_node *x) { // (3, 25)
    network_start(net, "conv");
    x = hyperbolic_tangent(net, conv2d(net, gn_reshape(x, gn_shape_of(4, 3, 5, 5, 1)), 3, 3, 2, 1));
    x = leaky_relu(net, batch_norm(net, conv2d(net, x, 2, 2, 1, 0), 1e-1), 0.2);
    network_start(net, "linear");
    return dense(net, gn_reshape(x, gn_shape_of(2, 3, 8)), 1);
}

static gn_node *penalty_conv(void) {
    return penalty(small_conv_discriminator, 25);
}

START_TEST(compositions) {
    static const struct {
        const char *name;
        gn_node *(*build)(void);
        int samples;
    } cases[] = {
        {"batch norm, training", batch_norm_training, 30},
        {"batch norm of images", batch_norm_images, 30},
        {"batch norm, sampling", batch_norm_sampling, 30},
        {"bce after sigmoid", bce_after_sigmoid, 30},
        {"softplus mixture", softplus_mixture, 30},
        {"small generator", small_generator, 10},
        {"gradient penalty", penalty_small, 10},
        {"gradient penalty of the MLP", penalty_mlp, 2},
        {"small generator of convolutions", small_conv_generator, 10},
        {"gradient penalty of convolutions", penalty_conv, 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check_derivatives(cases[i].name, cases[i].build(), cases[i].samples, 0.25);
        teardown();
        setup();
    }
    print_errors("compositions");
}
END_TEST

// (p - t) / max(p (1 - p), 1e-12), as torch has it: finite where p is 0 or 1.
START_TEST(bce_where_p_is_certain) {
    static const float probabilities[] = {0, 1, 1e-20f, 0.5f, 1 - 0x1p-24f};
    enum { COUNT = sizeof probabilities / sizeof *probabilities };
    for (int target = 0; target < 2; target++) {
        char name[] = {'p', (char)('0' + target), 0};
        gn_node *p = gn_read(graph, gn_state_add(state, name, GN_F32, gn_shape_of(1, COUNT), probabilities));
        gn_node *gradient;
        gn_grad(gn_bce(p, target), &p, 1, &gradient);
        reference *run = reference_new(graph);
        reference_run(run);
        for (int i = 0; i < COUNT; i++) {
            double q = (double)probabilities[i], expected = (q - target) / fmax(q * (1 - q), 1e-12) / COUNT;
            ck_assert_double_le(fabs(reference_node(run, gradient)[i] - expected), 1e-14 * fabs(expected));
        }
        reference_free(run);
    }
}
END_TEST

// ---- Optimisers --------------------------------------------------------------------------------------

enum { STEPS = 6, A = 3, B = 2 };

// Two variables and loss = mean((a - 1)^2) + mean(c b^2), whose gradients are 2 (a - 1) / A and 2 c b / B.
// The second variable is already assigned to in the step, to which the update adds: b is halved first.
typedef struct {
    gn_variable *variables[2];
    gn_node *loss;
} problem;

static problem make_problem(void) {
    static const float a[A] = {-0.5f, 2, 30}, b[B] = {1e-3f, -4};
    problem p;
    p.variables[0] = gn_state_add(state, "a", GN_F32, gn_shape_of(1, A), a);
    p.variables[1] = gn_state_add(state, "b", GN_F32, gn_shape_of(1, B), b);
    gn_node *halved = gn_assign(graph, p.variables[1], gn_scale(gn_read(graph, p.variables[1]), 0.5));
    gn_node *distance = gn_square(gn_offset(gn_read(graph, p.variables[0]), -1));
    p.loss = gn_add(gn_mean(distance), gn_mean(gn_scale(gn_square(halved), 3)));
    return p;
}

// One element's update, in double: given its gradient g and moments at step t = 1, 2, ..., what is
// subtracted.
typedef double (*update_rule)(double g, double *m, double *v, int t);

static double sgd(double g, double *m, double *v, int t) {
    return 0.1 * g;
}

static double adam(double g, double *m, double *v, int t) {
    *m = 0.5 * *m + 0.5 * g;
    *v = 0.999 * *v + 0.001 * g * g;
    return 0.01 / (1 - pow(0.5, t)) * *m / (sqrt(*v) / sqrt(1 - pow(0.999, t)) + 1e-8);
}

static double adam_without_momentum(double g, double *m, double *v, int t) {
    *v = 0.9 * *v + 0.1 * g * g;
    return 0.01 * g / (sqrt(*v) / sqrt(1 - pow(0.9, t)) + 1e-8);
}

static double rmsprop(double g, double *m, double *v, int t) {
    *v = 0.99 * *v + 0.01 * g * g;
    return 0.01 * g / (sqrt(*v) + 1e-8);
}

static void check_optimiser(const char *name, const problem *p, update_rule rule) {
    double x[A + B], m[A + B] = {0}, v[A + B] = {0}, largest = 0;
    reference *run = reference_new(graph);
    for (int i = 0; i < A + B; i++)
        x[i] = reference_variable(run, p->variables[i >= A])[i < A ? i : i - A];
    for (int t = 1; t <= STEPS; t++) {
        reference_run(run);
        for (int i = 0; i < A + B; i++) {
            x[i] *= i < A ? 1 : 0.5;
            double g = i < A ? 2 * (x[i] - 1) / A : 2 * 3 * x[i] / B;
            x[i] -= rule(g, &m[i], &v[i], t);
            double ours = reference_variable(run, p->variables[i >= A])[i < A ? i : i - A];
            double error = fabs(ours - x[i]) / fmax(fabs(x[i]), 1e-3);
            ck_assert_msg(error < 1e-12, "%s: step %d, element %d: %.15g, not %.15g", name, t, i, ours, x[i]);
            largest = fmax(largest, error);
        }
    }
    reference_free(run);
    printf("test_derivatives: %s: largest error %.2g\n", name, largest);
}

START_TEST(optimiser_sgd) {
    problem p = make_problem();
    gn_sgd(graph, p.variables, 2, p.loss, 0.1);
    check_optimiser("sgd", &p, sgd);
}
END_TEST

START_TEST(optimiser_adam) {
    problem p = make_problem();
    gn_adam(graph, "optimiser", p.variables, 2, p.loss, 0.01, 0.5, 0.999);
    check_optimiser("adam", &p, adam);
}
END_TEST

START_TEST(optimiser_adam_without_momentum) {
    problem p = make_problem();
    gn_adam(graph, "optimiser", p.variables, 2, p.loss, 0.01, 0, 0.9);
    check_optimiser("adam with beta1 0", &p, adam_without_momentum);
}
END_TEST

START_TEST(optimiser_rmsprop) {
    problem p = make_problem();
    gn_rmsprop(graph, "optimiser", p.variables, 2, p.loss, 0.01);
    check_optimiser("rmsprop", &p, rmsprop);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("derivatives");
    TCase *differences = tcase_create("differences");
    tcase_add_checked_fixture(differences, setup, teardown);
    tcase_set_timeout(differences, 120);
    tcase_add_test(differences, every_operation);
    tcase_add_test(differences, compositions);
    tcase_add_test(differences, bce_where_p_is_certain);
    suite_add_tcase(suite, differences);

    TCase *optimisers = tcase_create("optimisers");
    tcase_add_checked_fixture(optimisers, setup, teardown);
    tcase_add_test(optimisers, optimiser_sgd);
    tcase_add_test(optimisers, optimiser_adam);
    tcase_add_test(optimisers, optimiser_adam_without_momentum);
    tcase_add_test(optimisers, optimiser_rmsprop);
    suite_add_tcase(suite, optimisers);
    return suite;
}
