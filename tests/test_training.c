// Training as such: the same seed gives the same bits, whatever else happens; the planner's switches, the
// classes of kernels and the engines for products give the same run to rounding. With GANC_TEST_SIZE there
// are the cases "step of MODEL", which are what a simulator of devices can run.
#include "data/synthetic.h"
#include "graph/graph.h"
#include "training.h"

#include <string.h>

enum { IMAGES = 64, BATCH = 16, STEPS = 12, SEED = 3 }; // three epochs

static dataset digits(void) {
    dataset data = {.count = IMAGES, .height = SYNTHETIC_SIZE, .width = SYNTHETIC_SIZE};
    data.images = calloc(IMAGES, IMAGE_PIXELS);
    data.labels = calloc(IMAGES, 1);
    synthetic_draw(SEED, 0, IMAGES, data.images, data.labels);
    return data;
}

// What a run leaves: the state; the last grid is in it.
typedef struct {
    int count;
    struct {
        char *name;
        gn_type type;
        size_t elements;
        void *values;
    } variables[256];
} outcome;

static outcome take_outcome(session *s) {
    outcome o = {.count = 0};
    for (gn_variable *v = gn_state_next(s->state, NULL); v; v = gn_state_next(s->state, v), o.count++) {
        ck_assert_int_lt(o.count, 256);
        size_t elements = gn_shape_count(gn_variable_shape(v));
        o.variables[o.count].name = strdup(gn_variable_name(v));
        o.variables[o.count].type = gn_variable_type(v);
        o.variables[o.count].elements = elements;
        o.variables[o.count].values = calloc(elements, sizeof(float));
        ck_assert_msg(gn_state_get(s->device, v, o.variables[o.count].values), "%s", gn_error());
    }
    return o;
}

static void outcome_free(outcome *o) {
    for (int i = 0; i < o->count; i++) {
        free(o->variables[i].name);
        free(o->variables[i].values);
    }
}

// Runs STEPS steps on the device, which stays open for other runs: it need not compile their kernels again.
// `waiting` waits after each step.
static outcome run(gn_device *device, training_options options, bool waiting) {
    dataset data = digits();
    session s = training_start_on(device, options, &data);
    for (int step = 0; step < STEPS; step++) {
        training_steps(&s, step, 1);
        ck_assert(!waiting || gn_device_wait(s.device));
    }
    ck_assert_msg(gn_program_run(s.grid), "%s", gn_error());
    outcome o = take_outcome(&s);
    s.device = NULL;
    session_free(&s);
    dataset_free(&data);
    return o;
}

static size_t bytes_of(const outcome *o, int i) {
    return o->variables[i].elements * gn_type_size(o->variables[i].type);
}

static int find(const outcome *o, const char *name) {
    int i = 0;
    while (i < o->count && strcmp(o->variables[i].name, name) != 0)
        i++;
    ck_assert_msg(i < o->count, "no variable '%s'", name);
    return i;
}

// ---- The same seed -----------------------------------------------------------------------------------

// In one process; test_determinism.sh has all models, each in processes of their own.
static const training_options deterministic[] = {
    {&gan, "cpu", "native", BATCH, SEED},
    {&gan, "gpu", "native", BATCH, SEED},
    {&wgan_gp, "cpu", "native", BATCH, SEED},
    {&gan, "cpu", "clblast", BATCH, SEED},
};
enum { DETERMINISTIC = sizeof deterministic / sizeof *deterministic };

static void assert_a_run(const outcome *o) {
    int losses = find(o, "losses"), samples = find(o, "samples"), step = find(o, "step");
    ck_assert_int_eq(*(int32_t *)o->variables[step].values, STEPS);
    for (int i = 0; i < STEPS * LOSS_COLUMNS; i++) { // a loss that a step does not have stays 0
        float loss = ((float *)o->variables[losses].values)[i];
        ck_assert_msg(fabsf(loss) < 100 && (i % LOSS_COLUMNS != D_LOSS || loss != 0), "loss %d is %g", i,
                      loss);
    }
    for (size_t i = 0; i < o->variables[samples].elements; i++) {
        float pixel = ((float *)o->variables[samples].values)[i];
        REQUIRE(pixel >= -1 && pixel <= 1, "pixel %zu is %g", i, pixel);
    }
}

// Once started step by step, once all at once: what runs ahead must not disturb what still runs. Another seed
// starts elsewhere.
START_TEST(the_seed_decides_every_bit) {
    training_options options = deterministic[_i];
    gn_device *device = training_device(options);
    outcome first = run(device, options, true), second = run(device, options, false);
    options.seed++;
    outcome other = run(device, options, false);
    gn_device_free(device);
    assert_a_run(&first);
    ck_assert_int_eq(first.count, second.count);
    size_t bytes = 0;
    for (int i = 0; i < first.count; i++) {
        ck_assert_msg(!memcmp(first.variables[i].values, second.variables[i].values, bytes_of(&first, i)),
                      "'%s' differs between two runs", first.variables[i].name);
        bytes += bytes_of(&first, i);
    }
    static const char *const drawn[] = {"losses",
                                        "samples",
                                        "data.order",
                                        "fixed_z",
                                        "generator.model.0.weight",
                                        "discriminator.model.4.bias"};
    for (size_t i = 0; i < sizeof drawn / sizeof *drawn; i++) {
        int v = find(&first, drawn[i]);
        ck_assert_msg(memcmp(first.variables[v].values, other.variables[v].values, bytes_of(&first, v)) != 0,
                      "'%s' does not depend on the seed", drawn[i]);
    }
    printf("%s, class %s, %s: %d variables, %zu bytes, equal\n", options.model->name, options.class,
           options.gemm, first.count, bytes);
    outcome_free(&first);
    outcome_free(&second);
    outcome_free(&other);
}
END_TEST

// ---- Turns -------------------------------------------------------------------------------------------

static const model *const stepped[] = {&gan, &cgan, &dcgan, &wgan, &wgan_gp};
enum { STEPPED = sizeof stepped / sizeof *stepped };

static int assignments(const gn_graph *graph, const char *network) {
    int count = 0;
    for (int i = 0; i < graph->count; i++) {
        const gn_node *node = graph->nodes[i];
        const char *name = node->op == OP_ASSIGN ? gn_variable_name(node->variable) : "";
        count += !strncmp(name, network, strlen(network)) && strstr(name, ".weight");
    }
    return count;
}

// Whatever the model, a step that is not the generator's turn leaves its weights, and those of the optimiser,
// alone.
START_TEST(the_generator_waits_for_its_turn) {
    dataset data = digits();
    session s = {.model = stepped[_i], .hyper = stepped[_i]->defaults};
    s.hyper.batch = BATCH;
    s.hyper.n_critic = 2;
    session_graphs graphs = session_build(&s, &data, SEED, NULL);
    ck_assert_int_gt(assignments(graphs.steps[1], "generator"), 0);
    ck_assert_int_eq(assignments(graphs.steps[0], "generator"), 0);
    ck_assert_int_gt(assignments(graphs.steps[0], "discriminator"), 0);
    session_graphs_free(&graphs);
    session_free(&s);
    dataset_free(&data);
}
END_TEST

// ---- The same run by other ways ----------------------------------------------------------------------

// Biases in front of a batch norm have a gradient of zero: Adam makes steps of its rounding noise, and they
// and the running means follow that noise. They do no harm, and say nothing.
static bool is_noise(const model *model, const char *name) {
    static const char *const dense[] = {"generator.model.2.bias", "generator.model.5.bias", NULL};
    static const char *const conv[] = {"generator.model.0.bias",    "generator.model.3.bias",
                                       "discriminator.conv.2.bias", "discriminator.conv.5.bias",
                                       "discriminator.conv.8.bias", NULL};
    for (const char *const *bias = model == &dcgan ? conv : dense; *bias; bias++)
        if (!strcmp(name, *bias))
            return true;
    return strstr(name, "running_mean") || strstr(name, ".adam.") || strstr(name, ".rmsprop.");
}

// The largest relative distance of a network's tensor, the samples or the losses; integers must be equal.
static double outcome_distance(const model *model, const outcome *a, const outcome *b, const char **where) {
    double worst = 0;
    ck_assert_int_eq(a->count, b->count);
    for (int i = 0; i < a->count; i++) {
        if (a->variables[i].type != GN_F32) {
            ck_assert_msg(!memcmp(a->variables[i].values, b->variables[i].values, bytes_of(a, i)),
                          "'%s' differs", a->variables[i].name);
            continue;
        }
        if (is_noise(model, a->variables[i].name))
            continue;
        double *expected = calloc(a->variables[i].elements, sizeof *expected);
        for (size_t j = 0; j < a->variables[i].elements; j++)
            expected[j] = ((float *)a->variables[i].values)[j];
        double distance = relative_distance(b->variables[i].values, expected, a->variables[i].elements);
        free(expected);
        if (distance > worst) {
            worst = distance;
            *where = a->variables[i].name;
        }
    }
    return worst;
}

typedef struct {
    const char *off, *class, *gemm; // compared with nothing off but one-program, class cpu, native
    double bound;
} way;

// The ways of a model end with one that has no class.
static const struct {
    const model *model;
    way ways[16];
} runs[] = {
    {&gan,
     {{"reuse", "cpu", "native", 0}, // changes where tensors lie, and no computation
      {"in-place", "cpu", "native", 0},
      {"huge-pages", "cpu", "native", 0},
      {NULL, "cpu", "native", 0}, // one-program on
      {"epilogue", "cpu", "native", 1e-3},
      {"columns", "cpu", "native", 1e-3},
      {"prefetch", "cpu", "native", 0},
      {"fuse,reuse,in-place", "gpu", "native", 1e-3},
      {"", "cpu", "clblast", 1e-3}}},
    {&cgan, {{"fuse,reuse,in-place", "cpu", "native", 1e-3}}},
    {&dcgan, {{"passes", "cpu", "native", 1e-3}}},
    {&wgan, {{"recompute", "cpu", "native", 1e-3}}},
    {&wgan_gp,
     {{"concurrent", "cpu", "native", 0}, // changes when launches run
      {"linear,common", "cpu", "native", 1e-3},
      {"concat", "cpu", "native", 1e-3},
      {"fuse,reuse,in-place", "cpu", "native", 1e-3},
      {"columns", "gpu", "native", 1e-3}}},
};
enum { RUNS = sizeof runs / sizeof *runs };

// Do two ways take the same device? They do not where one has a switch off that is looked at as it is opened.
static bool same_device(const way *a, const way *b) {
    bool prefetch_a = a->off && !strcmp(a->off, "prefetch"),
         prefetch_b = b->off && !strcmp(b->off, "prefetch");
    return !strcmp(a->class, b->class) && !strcmp(a->gemm, b->gemm) && prefetch_a == prefetch_b;
}

// Runs share the kernels of products, which are compiled once, but for the one with nothing off. A run takes
// the device of the one before it, where that is the same and there is one.
static outcome run_by(const model *model, const way *by, const way *before, gn_device **device) {
    char off[64] = "";
    if (by->off)
        snprintf(off, sizeof off, "one-program%s%s", *by->off ? "," : "", by->off);
    setenv("GANC_OFF", off, 1);
    training_options options = {model, by->class, by->gemm, BATCH, SEED};
    if (!before || !same_device(by, before)) {
        gn_device_free(*device);
        *device = training_device(options);
    }
    return run(*device, options, false);
}

START_TEST(every_way_is_the_same_run) {
    const model *model = runs[_i].model;
    const way plain = {"", "cpu", "native", 0}, *before = &plain;
    gn_device *device = NULL;
    outcome expected = run_by(model, &plain, NULL, &device);
    for (const way *way = runs[_i].ways; way->class; before = way++) {
        outcome other = run_by(model, way, before, &device);
        const char *where = "all";
        double distance = outcome_distance(model, &expected, &other, &where);
        printf("%s, class %s, %s, off: %s; largest distance %.1e (%s)\n", model->name, way->class, way->gemm,
               !way->off   ? "nothing"
               : *way->off ? way->off
                           : "one-program",
               distance, where);
        ck_assert_msg(distance <= way->bound, "%g at '%s', at most %g", distance, where, way->bound);
        outcome_free(&other);
    }
    outcome_free(&expected);
    gn_device_free(device);
}
END_TEST

static int step_images; // GANC_TEST_SIZE, or 0 where it is not set

// One step of each model of so many images, the generator's update included and no grid, by the kernels of
// both classes. Where a device can run more, test_replay does. A batch norm of two rows would turn them into
// plus and minus one, and its gradient into noise.
static outcome first_step(training_options options) {
    dataset data = digits();
    session s = training_start(options, &data);
    training_steps(&s, 0, 1);
    outcome o = take_outcome(&s);
    session_free(&s);
    dataset_free(&data);
    return o;
}

START_TEST(a_step_in_both_classes) {
    outcome cpu = first_step((training_options){stepped[_i], "cpu", "native", step_images, SEED});
    outcome gpu = first_step((training_options){stepped[_i], "gpu", "native", step_images, SEED});
    const char *where = "all";
    double distance = outcome_distance(stepped[_i], &cpu, &gpu, &where);
    printf("%s, one step, class gpu; largest distance %.1e (%s)\n", stepped[_i]->name, distance, where);
    ck_assert_msg(distance <= 1e-3, "%g at '%s'", distance, where);
    outcome_free(&cpu);
    outcome_free(&gpu);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("training");
    TCase *bits = tcase_create("bits");
    tcase_set_timeout(bits, 300);
    tcase_add_loop_test(bits, the_seed_decides_every_bit, 0, DETERMINISTIC);
    tcase_add_loop_test(bits, the_generator_waits_for_its_turn, 0, STEPPED);
    suite_add_tcase(suite, bits);
    TCase *rounding = tcase_create("rounding");
    tcase_set_timeout(rounding, 600);
    tcase_add_loop_test(rounding, every_way_is_the_same_run, 0, RUNS);
    suite_add_tcase(suite, rounding);
    static char names[STEPPED][32];
    const char *size = getenv("GANC_TEST_SIZE");
    step_images = size ? atoi(size) : 0;
    for (int i = 0; i < STEPPED && step_images > 0; i++) {
        snprintf(names[i], sizeof names[i], "step of %s", stepped[i]->name);
        TCase *step = tcase_create(names[i]);
        tcase_set_timeout(step, 3600); // a simulator takes its time
        tcase_add_loop_test(step, a_step_in_both_classes, i, i + 1);
        suite_add_tcase(suite, step);
    }
    return suite;
}
