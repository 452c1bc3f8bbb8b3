// PyTorch's runs, repeated. The small ones of tests/expected start from ganc's own draws, so a session makes
// them, and a graph of this file's own the one that is no model's; whole recorded runs are replay()'s, from
// the folder that the environment variable GANC_TRACES names. What replay() says of traces that are broken is
// tried on traces of two steps made here.
#include "base/error.h"
#include "io/safetensors.h"
#include "scratch.h"
#include "train/tensors.h"
#include "training.h"

#include <jansson.h>

static const char *const classes[] = {"cpu", "gpu"};
static const model *const models[] = {&gan, &cgan, &dcgan, &wgan, &wgan_gp};
enum { MODELS = sizeof models / sizeof *models };

// Ratios of ours to PyTorch float32's distance, each distance at least its floor; as `ganc replay` has it.
static const double loss_floor = 1e-5, tensor_floor = 1e-4, tolerance = 4;

// ---- tests/expected ----------------------------------------------------------------------------------

enum { SEED = 7, MAX_STEPS = 20, BATCH = 16, SAMPLES = 10, KEPT = 256 };

typedef struct {
    safetensors *file;
    json_t *torch32; // its distances, by tensor
    int steps;
    double worst; // ratio so far
    char where[64];
    int compared;
} expected_run;

static int read_setting(const expected_run *e, const char *key) {
    const char *text = st_find_metadata(e->file, key);
    ck_assert_msg(text != NULL, "no '%s'", key);
    return atoi(text);
}

static expected_run open_expected(const char *name) {
    expected_run e = {.worst = 0};
    char *path = gn_format("%s/expected/%s.safetensors", TESTS_DIR, name);
    e.file = safetensors_read(path);
    ck_assert_msg(e.file != NULL, "%s", gn_error());
    ck_assert_int_eq(read_setting(&e, "batch"), BATCH);
    ck_assert_int_eq(read_setting(&e, "seed"), SEED);
    e.steps = read_setting(&e, "steps");
    ck_assert(e.steps > 0 && e.steps <= MAX_STEPS);
    e.torch32 = json_loads(st_find_metadata(e.file, "torch32_distance"), 0, NULL);
    ck_assert_ptr_nonnull(e.torch32);
    free(path);
    return e;
}

static double *read_expected(const expected_run *e, const char *name, size_t count) {
    char *key = gn_format("expect.%s", name);
    const st_tensor *tensor = st_find(e->file, key);
    ck_assert_msg(tensor && st_count(tensor) == count, "'%s' has no %zu values", key, count);
    double *values = gn_calloc(count, sizeof *values);
    st_read_f64(tensor, values);
    free(key);
    return values;
}

static void take_ratio(expected_run *e, const char *name, double distance, double torch32, double floor) {
    double ratio = fmax(distance, floor) / fmax(torch32, floor);
    e->compared++;
    if (ratio > e->worst) {
        e->worst = ratio;
        snprintf(e->where, sizeof e->where, "%s", name);
    }
}

static void compare_tensor(expected_run *e, const char *name, const float *ours, size_t count) {
    double *expected = read_expected(e, name, count);
    json_t *torch32 = json_object_get(e->torch32, name);
    ck_assert_msg(json_is_number(torch32), "no distance of '%s'", name);
    take_ratio(e, name, relative_distance(ours, expected, count), json_number_value(torch32), tensor_floor);
    free(expected);
}

// One loss in every step; ours must be there in exactly the steps in which the file's is a number.
static void compare_loss(expected_run *e, const char *name, const float ours[MAX_STEPS]) {
    double *expected = read_expected(e, name, (size_t)e->steps);
    float theirs[MAX_STEPS], our_losses[MAX_STEPS], their_losses[MAX_STEPS];
    double losses[MAX_STEPS];
    char *key = gn_format("torch32.%s", name);
    const st_tensor *tensor = st_need(e->file, key, gn_shape_of(1, e->steps));
    ck_assert_msg(tensor != NULL, "%s", gn_error());
    st_read_f32(tensor, theirs);
    size_t count = 0;
    for (int step = 0; step < e->steps; step++) {
        ck_assert_msg(isnan(ours[step]) == isnan(expected[step]), "%s of step %d is %g, not %g", name, step,
                      ours[step], expected[step]);
        if (isnan(expected[step]))
            continue;
        our_losses[count] = ours[step];
        their_losses[count] = theirs[step];
        losses[count++] = expected[step];
    }
    take_ratio(e, name, relative_distance(our_losses, losses, count),
               relative_distance(their_losses, losses, count), loss_floor);
    free(key);
    free(expected);
}

// The tensor's elements 0, s, 2 s, ... in PyTorch's layout.
static void compare_final(expected_run *e, gn_device *device, gn_variable *variable) {
    size_t count = gn_shape_count(gn_variable_shape(variable)), stride = count > KEPT ? count / KEPT : 1;
    size_t kept = count > KEPT ? KEPT : count;
    float *values = gn_calloc(count, sizeof *values), *file = gn_calloc(count, sizeof *file), part[KEPT];
    ck_assert_msg(gn_state_get(device, variable, values), "%s", gn_error());
    gn_variable_to_file(variable, values, file);
    for (size_t i = 0; i < kept; i++)
        part[i] = file[i * stride];
    char *name = gn_format("final.%s", gn_variable_name(variable));
    compare_tensor(e, name, part, kept);
    free(name);
    free(file);
    free(values);
}

// Is the variable one of the networks' own tensors of reals?
static bool is_network_tensor(const gn_variable *variable) {
    return gn_variable_type(variable) == GN_F32 && is_network_variable(variable);
}

static void compare_networks(expected_run *e, gn_device *device, const gn_state *state) {
    for (gn_variable *v = gn_state_next(state, NULL); v; v = gn_state_next(state, v))
        if (is_network_tensor(v))
            compare_final(e, device, v);
}

// Says what came out, which must be all that the file has; and frees the run.
static void close_expected(expected_run *e, const char *name, const char *class) {
    int expected = 0;
    for (const st_tensor *t = st_next(e->file, NULL); t; t = st_next(e->file, t))
        expected += !strncmp(t->name, "expect.", 7);
    printf("expected %s, class %s: %d quantities, largest ratio %.2f (%s)\n", name, class, e->compared,
           e->worst, e->where);
    ck_assert_int_eq(e->compared, expected);
    ck_assert_msg(e->worst <= tolerance, "'%s' is %g times as far from float64 as PyTorch float32", e->where,
                  e->worst);
    json_decref(e->torch32);
    safetensors_free(e->file);
}

START_TEST(expected_runs) {
    const model *model = models[_i / 2];
    const char *class = classes[_i % 2];
    expected_run e = open_expected(model->name);
    dataset data;
    ck_assert_msg(dataset_load(&data, TESTS_DIR "/data", SEED), "%s", gn_error());
    session s = training_start((training_options){model, class, "native", BATCH, SEED}, &data);
    training_steps(&s, 0, e.steps);

    float rows[LOSS_ROWS][LOSS_COLUMNS], losses[LOSS_COLUMNS], columns[LOSS_COLUMNS][MAX_STEPS];
    ck_assert_msg(gn_state_get(s.device, s.losses, rows), "%s", gn_error());
    for (int step = 0; step < e.steps; step++) {
        session_losses(&s, rows, step, losses);
        for (int i = 0; i < LOSS_COLUMNS; i++)
            columns[i][step] = losses[i];
    }
    for (int i = 0; i < LOSS_COLUMNS; i++)
        if (i != GP || s.hyper.gp_weight > 0)
            compare_loss(&e, loss_names[i], columns[i]);

    size_t pixels = (size_t)model->image_side * (size_t)model->image_side;
    float *samples = gn_calloc(GRID_IMAGES * pixels, sizeof *samples);
    ck_assert_msg(gn_program_run(s.grid) && gn_state_get(s.device, s.samples, samples), "%s", gn_error());
    compare_tensor(&e, "samples", samples, SAMPLES * pixels);
    free(samples);
    compare_networks(&e, s.device, s.state);
    close_expected(&e, model->name, class);
    session_free(&s);
    dataset_free(&data);
}
END_TEST

// ---- The penalty on convolutions ---------------------------------------------------------------------

// DCGAN's discriminator without the sigmoid: images (N, 1024) -> scores (N, 1)
static gn_node *conv_critic(network *net, gn_node *images) {
    const double eps = 1e-5;
    net->weight_std = 0.02;
    network_start(net, "conv");
    gn_node *x = gn_reshape(images, gn_shape_of(4, BATCH, 32, 32, 1));
    x = leaky_relu(net, conv2d(net, x, 16, 3, 2, 1), 0.2);
    x = leaky_relu(net, batch_norm(net, conv2d(net, x, 32, 3, 2, 1), eps), 0.2);
    x = leaky_relu(net, batch_norm(net, conv2d(net, x, 64, 3, 2, 1), eps), 0.2);
    x = leaky_relu(net, batch_norm(net, conv2d(net, x, 128, 4, 1, 0), eps), 0.2);
    network_start(net, "linear");
    return dense(net, gn_reshape(x, gn_shape_of(2, BATCH, 128)), 1);
}

// A step of WGAN-GP's critic between u and 2 u - 1, u uniform; d_loss and gp go to the columns of `losses`.
static gn_graph *critic_step(gn_state *state, gn_variable *losses) {
    gn_graph *graph = gn_graph_new(state);
    gn_variable *counter = gn_state_add(state, "step", GN_I32, (gn_shape){0}, NULL);
    gn_node *step = gn_read(graph, counter), *one = gn_constant(graph, 1);
    network critic = network_new(graph, "discriminator", true);
    gn_shape images = gn_shape_of(2, BATCH, 32 * 32);
    gn_node *real = gn_random_uniform("real", step, images, 0);
    gn_node *fake = gn_offset(gn_scale(gn_random_uniform("fake", step, images, 0), 2), -1);
    gn_node *alpha = gn_random_uniform("alpha", step, gn_shape_of(2, BATCH, 1), 0);

    // In the order of the reference, since each call moves the running statistics.
    gn_node *on_fake = conv_critic(&critic, fake), *on_real = conv_critic(&critic, real);
    gn_node *d_loss = gn_sub(gn_mean(on_fake), gn_mean(on_real));
    gn_node *x_hat = gn_add(gn_mul(alpha, real), gn_mul(gn_sub(one, alpha), fake)), *slope;
    gn_grad(gn_sum_to(conv_critic(&critic, x_hat), gn_shape_of(0)), &x_hat, 1, &slope);
    gn_node *norm = gn_sqrt(gn_sum_axis(gn_square(slope), 1));
    gn_node *gp = gn_mean(gn_square(gn_sub(norm, one)));
    gn_adam(graph, "discriminator.adam", critic.parameters, critic.parameter_count,
            gn_add(d_loss, gn_scale(gp, 10)), 1e-4, 0.5, 0.9);
    gn_record(graph, losses, step, 0, d_loss);
    gn_record(graph, losses, step, 1, gp);
    gn_assign(graph, counter, gn_add(step, gn_constant_int(graph, 1)));
    return graph;
}

START_TEST(the_penalty_on_convolutions) {
    const char *class = classes[_i];
    expected_run e = open_expected("dcgan-gp");
    gn_state *state = gn_state_new(SEED);
    gn_variable *log = gn_state_add(state, "losses", GN_F32, gn_shape_of(2, MAX_STEPS, 2), NULL);
    gn_graph *graph = critic_step(state, log);
    gn_device *device = gn_device_open(NULL, &(gn_device_options){.device_class = class, .gemm = "native"});
    gn_program *program = device ? gn_program_new(device, graph) : NULL;
    ck_assert_msg(program != NULL, "%s", gn_error());
    for (int step = 0; step < e.steps; step++)
        ck_assert_msg(gn_program_run(program), "%s", gn_error());

    float rows[MAX_STEPS][2], d_loss[MAX_STEPS], gp[MAX_STEPS];
    ck_assert_msg(gn_state_get(device, log, rows), "%s", gn_error());
    for (int step = 0; step < e.steps; step++) {
        d_loss[step] = rows[step][0];
        gp[step] = rows[step][1];
    }
    compare_loss(&e, "d_loss", d_loss);
    compare_loss(&e, "gp", gp);
    compare_networks(&e, device, state);
    close_expected(&e, "dcgan-gp", class);
    gn_program_free(program);
    gn_graph_free(graph);
    gn_state_free(state);
    gn_device_free(device);
}
END_TEST

// ---- Traces ------------------------------------------------------------------------------------------

// By the kernels of CPUs: by those of GPUs a run takes a minute there, most of it to compile them, and the
// expected runs above have all of them.
START_TEST(recorded_runs) {
    const char *folder = getenv("GANC_TRACES"), *name = models[_i]->name;
    if (!folder) {
        printf("%s: NOT repeated, since GANC_TRACES names no folder with traces\n", name);
        return;
    }
    char *path = gn_format("%s/%s.safetensors", folder, name);
    gn_device_options options = {.device_class = "cpu", .gemm = "native"};
    replay_result result;
    ck_assert_msg(replay(path, NULL, NULL, &options, &result), "%s", gn_error());
    int worst = 0, below = 0;
    for (int i = 0; i < result.count; i++) {
        if (result.rows[i].ratio > result.rows[worst].ratio)
            worst = i;
        below += result.rows[i].ratio < result.median;
    }
    printf("trace %s: %d quantities, largest ratio %.2f (%s), median %.2f\n", name, result.count,
           result.worst, result.worst_name, result.median);
    ck_assert_str_eq(result.model, name);
    ck_assert(result.rows[worst].ratio == result.worst);
    ck_assert_str_eq(result.rows[worst].name, result.worst_name);
    ck_assert_int_le(below, result.count / 2);
    ck_assert_msg(result.worst <= tolerance, "'%s': %g", result.worst_name, result.worst);
    replay_result_free(&result);
    free(path);
}
END_TEST

// ---- Traces of two steps, made here ------------------------------------------------------------------

enum { TINY_STEPS = 2, TINY_BATCH = 4, TINY_IMAGES = TINY_STEPS * TINY_BATCH, TINY_Z = 3, MAX_TENSORS = 128 };

// A trace of cgan: tensors in the order they were added. Names and data are the trace's own.
typedef struct {
    st_tensor tensors[MAX_TENSORS];
    int count;
    char *distances; // JSON
} trace;

static st_tensor *add_tensor(trace *t, const char *name, st_dtype dtype, gn_shape shape) {
    ck_assert_int_lt(t->count, MAX_TENSORS);
    void *data = gn_calloc(gn_shape_count(shape), st_dtype_size(dtype));
    t->tensors[t->count] = st_tensor_of(gn_strdup(name), dtype, shape, data);
    return &t->tensors[t->count++];
}

static void *data_of(const st_tensor *tensor) {
    return (void *)tensor->data;
}

static void add_uniform(trace *t, const char *name, gn_shape shape) { // -0.1 .. 0.1
    float *values = data_of(add_tensor(t, name, ST_F32, shape));
    size_t count = gn_shape_count(shape);
    gn_draw_uniform(SEED, name, 0, values, count);
    for (size_t i = 0; i < count; i++)
        values[i] = 0.2F * values[i] - 0.1F;
}

static void add_labels(trace *t, const char *name) {
    int32_t draws[TINY_IMAGES];
    int64_t *values = data_of(add_tensor(t, name, ST_I64, gn_shape_of(2, TINY_STEPS, TINY_BATCH)));
    gn_draw_below(SEED, name, 0, draws, TINY_IMAGES, IMAGE_CLASSES);
    for (int i = 0; i < TINY_IMAGES; i++)
        values[i] = draws[i];
}

// "PREFIX.VARIABLE" for every tensor of the networks, as a file has it.
static void add_networks(trace *t, const char *prefix, bool counters) {
    session s = {.model = &cgan, .hyper = cgan.defaults};
    s.hyper.batch = TINY_BATCH;
    s.hyper.z_dim = TINY_Z;
    dataset nothing = {.count = TINY_BATCH, .height = 28, .width = 28};
    session_graphs graphs = session_build(&s, &nothing, SEED, NULL);
    for (gn_variable *v = gn_state_next(s.state, NULL); v; v = gn_state_next(s.state, v)) {
        char *name = gn_format("%s.%s", prefix, gn_variable_name(v));
        gn_shape shape = gn_variable_file_shape(v);
        if (is_network_tensor(v))
            add_uniform(t, name, shape);
        else if (counters && strstr(name, "num_batches_tracked"))
            add_tensor(t, name, ST_I64, shape);
        free(name);
    }
    session_graphs_free(&graphs);
    session_free(&s);
}

// A trace that fits in form; what it expects is anything.
static trace trace_new(void) {
    trace t = {.count = 0};
    add_networks(&t, "init", true);
    uint8_t *real = data_of(add_tensor(&t, "real", ST_U8, gn_shape_of(4, TINY_STEPS, TINY_BATCH, 28, 28)));
    for (int i = 0; i < TINY_IMAGES * IMAGE_PIXELS; i++)
        real[i] = (uint8_t)(i * 7);
    add_labels(&t, "labels");
    add_labels(&t, "fake_labels");
    add_uniform(&t, "z", gn_shape_of(3, TINY_STEPS, TINY_BATCH, TINY_Z));
    add_uniform(&t, "fixed_z", gn_shape_of(2, GRID_IMAGES, TINY_Z));
    add_tensor(&t, "expect.d_loss", ST_F64, gn_shape_of(1, TINY_STEPS));
    add_tensor(&t, "expect.g_loss", ST_F64, gn_shape_of(1, TINY_STEPS));
    add_tensor(&t, "torch32.d_loss", ST_F32, gn_shape_of(1, TINY_STEPS));
    add_tensor(&t, "torch32.g_loss", ST_F32, gn_shape_of(1, TINY_STEPS));
    add_tensor(&t, "expect.samples", ST_F32, gn_shape_of(4, GRID_IMAGES, 1, 28, 28));
    add_networks(&t, "expect.final", false);

    json_t *distances = json_object();
    for (int i = 0; i < t.count; i++)
        if (!strncmp(t.tensors[i].name, "expect.", 7))
            json_object_set_new(distances, t.tensors[i].name + 7, json_real(0));
    t.distances = json_dumps(distances, 0);
    json_decref(distances);
    return t;
}

static void trace_free(trace *t) {
    for (int i = 0; i < t->count; i++) {
        free((void *)t->tensors[i].name);
        free(data_of(&t->tensors[i]));
    }
    free(t->distances);
}

static st_tensor *find_tensor(trace *t, const char *name) {
    for (int i = 0; i < t->count; i++)
        if (!strcmp(t->tensors[i].name, name))
            return &t->tensors[i];
    ck_abort_msg("no tensor '%s'", name);
}

typedef struct {
    const char *model, *steps, *batch;
} trace_metadata;
static const trace_metadata good = {"cgan", "2", "4"};

static void write_trace(const trace *t, trace_metadata m, const char *path) {
    st_metadata metadata[] = {
        {"model", m.model}, {"steps", m.steps}, {"batch", m.batch}, {"torch32_distance", t->distances}};
    ck_assert_msg(safetensors_write(path, t->tensors, t->count, metadata, 4), "%s", gn_error());
}

static bool replay_native(const char *path, const char *save, replay_result *result) {
    gn_device_options options = {.device_class = "cpu", .gemm = "native"};
    return replay(path, save, NULL, &options, result);
}

// What a replay saved, expected of the next one, is met to the bit; a hundredth part more in one weight is
// seen, and nowhere else.
START_TEST(a_replay_repeats_itself) {
    trace t = trace_new();
    const char *path = in_scratch("trace.safetensors"), *saved = in_scratch("saved.safetensors");
    replay_result result;
    write_trace(&t, good, path);
    ck_assert_msg(replay_native(path, saved, &result), "%s", gn_error());
    ck_assert_msg(result.worst > tolerance, "%g: it was wrong everywhere", result.worst);
    replay_result_free(&result);

    safetensors *file = safetensors_read(saved);
    ck_assert_msg(file != NULL, "%s", gn_error());
    for (int i = 0; i < t.count; i++) {
        st_tensor *tensor = &t.tensors[i];
        const char *dot = strchr(tensor->name, '.');
        if (strncmp(tensor->name, "expect.", 7) != 0 && strncmp(tensor->name, "torch32.", 8) != 0)
            continue;
        const st_tensor *computed = st_find(file, dot + 1);
        ck_assert_msg(computed && st_count(computed) == st_count(tensor), "'%s' was not saved", dot + 1);
        if (tensor->dtype == ST_F64)
            st_read_f64(computed, data_of(tensor));
        else
            st_read_f32(computed, data_of(tensor));
    }
    safetensors_free(file);
    write_trace(&t, good, path);
    ck_assert_msg(replay_native(path, NULL, &result), "%s", gn_error());
    ck_assert_str_eq(result.model, "cgan");
    ck_assert_int_eq(result.steps, TINY_STEPS);
    ck_assert_int_eq(result.batch, TINY_BATCH);
    ck_assert_int_eq(result.count, 2 + 1 + 22);
    for (int i = 0; i < result.count; i++)
        ck_assert_msg(result.rows[i].distance == 0, "'%s' is off by %g", result.rows[i].name,
                      result.rows[i].distance);
    ck_assert(result.worst == 1);
    replay_result_free(&result);

    static const char changed[] = "expect.final.discriminator.model.2.weight";
    float *weights = data_of(find_tensor(&t, changed));
    for (size_t i = 0; i < st_count(find_tensor(&t, changed)); i++)
        weights[i] *= 1.01F;
    write_trace(&t, good, path);
    ck_assert_msg(replay_native(path, NULL, &result), "%s", gn_error());
    for (int i = 0; i < result.count; i++) {
        bool is_changed = !strcmp(result.rows[i].name, changed + strlen("expect."));
        double distance = result.rows[i].distance, expected = is_changed ? 0.01 / 1.01 : 0;
        ck_assert_msg(fabs(distance - expected) < 1e-6, "'%s' is off by %g", result.rows[i].name, distance);
    }
    ck_assert_msg(fabs(result.worst - 0.01 / 1.01 / tensor_floor) < 0.01, "%g", result.worst);
    replay_result_free(&result);
    trace_free(&t);
}
END_TEST

static void assert_refused(const char *path, const char *one, const char *other) {
    replay_result result;
    ck_assert_msg(!replay_native(path, NULL, &result), "a broken trace was replayed: %s", one);
    ck_assert_int_eq(result.count, 0);
    assert_error(one, other);
    assert_error(path, one);
}

START_TEST(a_tensor_is_missing) {
    static const char *const names[] = {
        "real",
        "labels",
        "fake_labels",
        "z",
        "fixed_z",
        "init.generator.model.0.weight",
        "init.generator.model.3.num_batches_tracked",
        "expect.d_loss",
        "torch32.g_loss",
        "expect.samples",
        "expect.final.generator.model.6.running_var",
    };
    const char *path = in_scratch("missing.safetensors");
    trace t = trace_new();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *name = find_tensor(&t, names[i])->name;
        find_tensor(&t, names[i])->name = "another";
        write_trace(&t, good, path);
        assert_refused(path, names[i], "missing");
        find_tensor(&t, "another")->name = name;
    }
    trace_free(&t);
}
END_TEST

START_TEST(a_tensor_does_not_fit) {
    const char *path = in_scratch("shape.safetensors");
    trace t = trace_new();
    st_tensor *tensor = find_tensor(&t, "init.discriminator.model.0.weight"); // (512, 794) there
    tensor->shape[0] = 794;
    tensor->shape[1] = 512;
    write_trace(&t, good, path);
    assert_refused(path, tensor->name, "(794, 512)");
    assert_refused(path, tensor->name, "(512, 794)");
    tensor->shape[0] = 512;
    tensor->shape[1] = 794;

    tensor = find_tensor(&t, "real");
    tensor->shape[3] = 14;
    write_trace(&t, good, path);
    assert_refused(path, "real", "(2, 4, 28, 14)");
    tensor->shape[3] = 28;

    // Steps and batch say what the shapes must be.
    write_trace(&t, (trace_metadata){"cgan", "3", "4"}, path);
    assert_refused(path, "(3, 4,", "(2, 4,");
    write_trace(&t, (trace_metadata){"cgan", "2", "5"}, path);
    assert_refused(path, "(2, 5,", "(2, 4,");
    trace_free(&t);
}
END_TEST

START_TEST(a_value_does_not_fit) {
    const char *path = in_scratch("value.safetensors");
    static const char *const labels[] = {"labels", "fake_labels"};
    static const int64_t wrong[] = {11, -1, INT32_MAX};
    static const char *const said[] = {"11", "-1", "2147483647"};
    trace t = trace_new();
    for (int i = 0; i < 2; i++) {
        int64_t *values = data_of(find_tensor(&t, labels[i])), kept = values[5];
        for (int j = 0; j < 3; j++) {
            values[5] = wrong[j];
            write_trace(&t, good, path);
            assert_refused(path, labels[i], said[j]);
        }
        values[5] = kept;
    }
    st_tensor *real = find_tensor(&t, "real"); // as floats between 0 and 1, say, they would train on black
    uint8_t *bytes = data_of(real);
    float *halves = gn_calloc(st_count(real), sizeof *halves);
    for (size_t i = 0; i < st_count(real); i++)
        halves[i] = 0.5F;
    real->dtype = ST_F32;
    real->data = halves;
    write_trace(&t, good, path);
    assert_refused(path, "real", "0.5");
    real->dtype = ST_U8;
    real->data = bytes;
    free(halves);
    trace_free(&t);
}
END_TEST

START_TEST(the_metadata_does_not_fit) {
    const char *path = in_scratch("metadata.safetensors");
    trace t = trace_new();
    static const struct {
        trace_metadata metadata;
        const char *one, *other;
    } wrong[] = {
        {{"cyclegan", "2", "4"}, "cyclegan", "models"}, {{"cgan", "none", "4"}, "steps", "number"},
        {{"cgan", "0", "4"}, "steps", "number"},        {{"cgan", "2", "-4"}, "batch", "number"},
        {{"cgan", "8", "1"}, "batch 1", "batch norm"},  {{"cgan", "2x", "4"}, "steps", "number"},
        {{"cgan", "100000", "64"}, "steps", "number"},  {{"cgan", "2", "99999999999"}, "batch", "number"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        write_trace(&t, wrong[i].metadata, path);
        assert_refused(path, wrong[i].one, wrong[i].other);
    }
    free(t.distances);
    t.distances = gn_strdup("{\"samples\": 0}");
    write_trace(&t, good, path);
    assert_refused(path, "torch32_distance", "final.");
    free(t.distances);
    t.distances = gn_strdup("[1, 2");
    write_trace(&t, good, path);
    assert_refused(path, "torch32_distance", "JSON");
    trace_free(&t);
}
END_TEST

START_TEST(the_file_is_broken) {
    const char *path = in_scratch("broken.safetensors"), *saved = in_scratch("not-saved.safetensors");
    trace t = trace_new();
    write_trace(&t, good, path);
    trace_free(&t);
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    const off_t lengths[] = {status.st_size - 1, status.st_size / 2, 100, 8, 3, 0};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        ck_assert_int_eq(truncate(path, lengths[i]), 0);
        replay_result result;
        ck_assert(!replay_native(path, saved, &result));
        assert_error(path, ":");
        ck_assert_msg(!is_there(saved), "it saved something all the same");
    }
    replay_result result;
    ck_assert(!replay_native(in_scratch("nowhere.safetensors"), saved, &result));
    assert_error("nowhere.safetensors", "No such file");
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("replay");
    TCase *runs = tcase_create("runs");
    tcase_set_timeout(runs, 300);
    tcase_add_loop_test(runs, expected_runs, 0, 2 * MODELS);
    tcase_add_loop_test(runs, the_penalty_on_convolutions, 0, 2);
    tcase_add_loop_test(runs, recorded_runs, 0, MODELS);
    suite_add_tcase(suite, runs);
    TCase *tiny = tcase_create("tiny traces");
    tcase_set_timeout(tiny, 300);
    tcase_add_unchecked_fixture(tiny, scratch_make, scratch_remove);
    tcase_add_test(tiny, a_replay_repeats_itself);
    tcase_add_test(tiny, a_tensor_is_missing);
    tcase_add_test(tiny, a_tensor_does_not_fit);
    tcase_add_test(tiny, a_value_does_not_fit);
    tcase_add_test(tiny, the_metadata_does_not_fit);
    tcase_add_test(tiny, the_file_is_broken);
    suite_add_tcase(suite, tiny);
    return suite;
}
