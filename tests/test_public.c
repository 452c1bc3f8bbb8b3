// Another program: a small network of its own, built, trained, saved and restored by what ganc.h offers, and
// by nothing else of ganc. What is tried: that the public face is enough, and what it says when it must
// refuse.
#include "ganc.h"
#include "test.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { SEED = 11, HIDDEN = 16, STEPS = 300, MAX_VARIABLES = 32, MAX_VALUES = 64 };

// A multilayer perceptron 2-16-1 that learns XOR: "zeros" holds the inputs whose answer is 0, "ones" the
// rest.
typedef struct {
    gn_device *device;
    gn_state *state;
    gn_variable *loss, *answers;
    gn_program *step, *evaluation; // both set `loss`; the evaluation changes nothing else but `answers`
} xor_net;

static gn_variable *add_uniform(gn_state *state, const char *name, gn_shape shape) { // -1 .. 1
    float values[MAX_VALUES];
    size_t count = gn_shape_count(shape);
    ck_assert(count <= MAX_VALUES);
    gn_draw_uniform(gn_state_seed(state), name, 0, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = 2 * values[i] - 1;
    return gn_state_add(state, name, GN_F32, shape, values);
}

static gn_node *mlp(gn_graph *graph, gn_variable *const *w, gn_node *x) { // (N, 2) -> (N, 1)
    x = gn_tanh(gn_add(gn_matmul(x, gn_read(graph, w[0])), gn_read(graph, w[1])));
    return gn_sigmoid(gn_add(gn_matmul(x, gn_read(graph, w[2])), gn_read(graph, w[3])));
}

static gn_program *build(xor_net *net, gn_variable *const *w, bool training) {
    gn_graph *graph = gn_graph_new(net->state);
    gn_node *on_zeros = mlp(graph, w, gn_read(graph, gn_state_find(net->state, "zeros")));
    gn_node *on_ones = mlp(graph, w, gn_read(graph, gn_state_find(net->state, "ones")));
    gn_node *loss = gn_add(gn_bce(on_zeros, 0), gn_bce(on_ones, 1));
    gn_assign(graph, net->loss, loss);
    if (training)
        gn_adam(graph, "adam", w, 4, loss, 0.05, 0.9, 0.999);
    else
        gn_assign(
            graph, net->answers,
            gn_concat(gn_reshape(on_zeros, gn_shape_of(2, 1, 2)), gn_reshape(on_ones, gn_shape_of(2, 1, 2))));
    gn_program *program = gn_program_new(net->device, graph);
    ck_assert_msg(program != NULL, "%s", gn_error());
    gn_graph_free(graph); // the program needs it no more
    return program;
}

static xor_net xor_net_new(const char *class) {
    static const float zeros[] = {0, 0, 1, 1}, ones[] = {0, 1, 1, 0};
    gn_device_options options = {.device_class = class, .gemm = "native"};
    xor_net net = {.device = gn_device_open(NULL, &options), .state = gn_state_new(SEED)};
    ck_assert_msg(net.device != NULL, "%s", gn_error());
    gn_state_add(net.state, "zeros", GN_F32, gn_shape_of(2, 2, 2), zeros);
    gn_state_add(net.state, "ones", GN_F32, gn_shape_of(2, 2, 2), ones);
    net.loss = gn_state_add(net.state, "loss", GN_F32, gn_shape_of(0), NULL);
    net.answers = gn_state_add(net.state, "answers", GN_F32, gn_shape_of(2, 1, 4), NULL);
    gn_variable *w[] = {
        add_uniform(net.state, "w1", gn_shape_of(2, 2, HIDDEN)),
        add_uniform(net.state, "b1", gn_shape_of(1, HIDDEN)),
        add_uniform(net.state, "w2", gn_shape_of(2, HIDDEN, 1)),
        add_uniform(net.state, "b2", gn_shape_of(1, 1)),
    };
    net.step = build(&net, w, true);
    net.evaluation = build(&net, w, false);
    return net;
}

static void xor_net_free(xor_net *net) {
    gn_program_free(net->step);
    gn_program_free(net->evaluation);
    gn_state_free(net->state);
    gn_device_free(net->device);
}

static float run(xor_net *net, gn_program *program, int times) { // the last loss
    float loss = NAN;
    for (int i = 0; i < times; i++)
        ck_assert_msg(gn_program_run(program), "%s", gn_error());
    ck_assert_msg(gn_state_get(net->device, net->loss, &loss), "%s", gn_error());
    return loss;
}

static const char *const classes[] = {"cpu", "gpu"};

START_TEST(a_network_learns) {
    xor_net net = xor_net_new(classes[_i]);
    ck_assert_ptr_nonnull(gn_device_name(net.device));
    float first = run(&net, net.evaluation, 1), last = run(&net, net.step, STEPS), answers[4];
    run(&net, net.evaluation, 1);
    ck_assert(gn_state_get(net.device, net.answers, answers));
    printf("class %s: XOR's loss %.4f at first, %.4f after %d steps; answers %.3f %.3f %.3f %.3f\n",
           classes[_i], first, last, STEPS, answers[0], answers[1], answers[2], answers[3]);
    ck_assert_msg(first > 1, "%g: two halves of log 2 each at least, at first", first);
    ck_assert_msg(last < 0.05F, "%g", last);
    ck_assert(answers[0] < 0.1F && answers[1] < 0.1F && answers[2] > 0.9F && answers[3] > 0.9F);
    xor_net_free(&net);
}
END_TEST

// Updates of numbers share a launch, but no launch takes more of them than it may have arguments.
START_TEST(many_numbers_learn) {
    enum { NUMBERS = 100 };
    gn_state *state = gn_state_new(SEED);
    gn_graph *graph = gn_graph_new(state);
    gn_variable *numbers[NUMBERS];
    gn_node *loss = gn_constant(graph, 0);
    for (int i = 0; i < NUMBERS; i++) {
        char name[16];
        snprintf(name, sizeof name, "number%d", i);
        numbers[i] = gn_state_add(state, name, GN_F32, gn_shape_of(0), NULL);
        loss = gn_add(loss, gn_square(gn_offset(gn_read(graph, numbers[i]), -i - 1)));
    }
    gn_adam(graph, "adam", numbers, NUMBERS, loss, 0.5, 0.9, 0.999);
    gn_device *device = gn_device_open(NULL, &(gn_device_options){.device_class = classes[_i]});
    gn_program *program = device ? gn_program_new(device, graph) : NULL;
    ck_assert_msg(program && gn_program_run(program), "%s", gn_error());
    for (int i = 0; i < NUMBERS; i++) { // Adam's first step is lr, whatever the gradient
        float value;
        ck_assert_msg(gn_state_get(device, numbers[i], &value), "%s", gn_error());
        ck_assert_msg(fabsf(value - 0.5F) < 1e-5F, "number %d is %g", i, value);
    }
    gn_program_free(program);
    gn_graph_free(graph);
    gn_state_free(state);
    gn_device_free(device);
}
END_TEST

// A checkpoint is the state: what is read back and set again, in another device's state too, goes on with the
// same bits.
START_TEST(state_is_all_there_is) {
    xor_net net = xor_net_new(classes[_i]), other = xor_net_new(classes[_i]);
    run(&net, net.step, 20);
    unsigned char saved[MAX_VARIABLES][MAX_VALUES * sizeof(float)];
    int count = 0;
    for (gn_variable *v = gn_state_next(net.state, NULL); v; v = gn_state_next(net.state, v), count++) {
        ck_assert(count < MAX_VARIABLES);
        ck_assert(gn_shape_count(gn_variable_shape(v)) <= MAX_VALUES);
        ck_assert_msg(gn_state_get(net.device, v, saved[count]), "%s", gn_error());
    }
    float evaluated = run(&net, net.evaluation, 1), trained = run(&net, net.step, 20);
    ck_assert_msg(evaluated != trained, "20 steps changed nothing");
    xor_net *nets[] = {&net, &other};
    for (int i = 0; i < 2; i++) {
        int at = 0;
        for (gn_variable *v = gn_state_next(nets[i]->state, NULL); v; v = gn_state_next(nets[i]->state, v))
            ck_assert_msg(gn_state_set(nets[i]->device, v, saved[at++]), "%s", gn_error());
        ck_assert_int_eq(at, count);
        ck_assert(run(nets[i], nets[i]->evaluation, 1) == evaluated);
        ck_assert(run(nets[i], nets[i]->step, 20) == trained);
    }
    xor_net_free(&net);
    xor_net_free(&other);
}
END_TEST

// The error is one line and holds both texts.
static void assert_error(const char *one, const char *other) {
    const char *error = gn_error();
    ck_assert_msg(strstr(error, one) && strstr(error, other) && !strchr(error, '\n'),
                  "the error should hold \"%s\" and \"%s\" on one line: %s", one, other, error);
}

START_TEST(what_cannot_be_is_refused) {
    gn_device_options no_class = {.device_class = "tpu"}, no_gemm = {.gemm = "fast"},
                      no_folder = {.kernels = "/nowhere"};
    ck_assert_ptr_null(gn_device_open("amd:7", NULL));
    assert_error("amd:7", "there is");
    ck_assert_ptr_null(gn_device_open(NULL, &no_class));
    assert_error("tpu", "gpu");
    ck_assert_ptr_null(gn_device_open(NULL, &no_gemm));
    assert_error("fast", "native");
    ck_assert_ptr_null(gn_device_open(NULL, &no_folder));
    assert_error("/nowhere", "kernels");
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("public");
    TCase *training = tcase_create("training");
    tcase_set_timeout(training, 120);
    tcase_add_loop_test(training, a_network_learns, 0, 2);
    tcase_add_loop_test(training, many_numbers_learn, 0, 2);
    tcase_add_loop_test(training, state_is_all_there_is, 0, 2);
    suite_add_tcase(suite, training);
    TCase *errors = tcase_create("errors");
    tcase_add_test(errors, what_cannot_be_is_refused);
    suite_add_tcase(suite, errors);
    return suite;
}
