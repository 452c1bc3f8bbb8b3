#include "train/session.h"
#include "base/error.h"

#include <math.h>

const char *const loss_names[LOSS_COLUMNS] = {"d_loss", "g_loss", "gp"};

static gn_variable *add_i32(gn_state *state, const char *name, int count, const int32_t *values) {
    return gn_state_add(state, name, GN_I32, gn_shape_of(1, count), values);
}

static gn_variable *add_labels(gn_state *state, const char *name, const uint8_t *labels, int count) {
    int32_t *values = gn_calloc((size_t)count, sizeof *values);
    for (int i = 0; i < count; i++)
        values[i] = labels ? labels[i] : i % IMAGE_CLASSES; // the grid's: a class a column
    gn_variable *variable = add_i32(state, name, count, values);
    free(values);
    return variable;
}

static gn_variable *add_normals(gn_state *state, const char *name, int rows, int columns) {
    size_t count = (size_t)rows * (size_t)columns;
    float *values = gn_calloc(count, sizeof *values);
    gn_draw_normal(gn_state_seed(state), name, 0, values, count);
    gn_variable *variable = gn_state_add(state, name, GN_F32, gn_shape_of(2, rows, columns), values);
    free(values);
    return variable;
}

// The images of the given rows as the model takes them: bytes (N, side * side).
static gn_node *gather_images(gn_graph *graph, gn_variable *images, gn_node *rows, int side) {
    gn_node *bytes = gn_gather(gn_read(graph, images), rows);
    int n = gn_node_shape(rows).size[0];
    if (side != IMAGE_SIDE)
        bytes = gn_resize(gn_reshape(bytes, gn_shape_of(3, n, IMAGE_SIDE, IMAGE_SIDE)));
    return gn_reshape(bytes, gn_shape_of(2, n, side * side));
}

// Bytes to [-1, 1] as torchvision's ToTensor and Normalize(0.5, 0.5), in the same order of operations.
static gn_node *normalise(gn_node *bytes) {
    gn_graph *graph = gn_node_graph(bytes);
    gn_node *unit = gn_div(gn_to_f32(bytes), gn_constant(graph, 255));
    return gn_div(gn_offset(unit, -0.5), gn_constant(graph, 0.5));
}

// The variables that a step reads or writes besides the networks'.
typedef struct {
    gn_variable *step, *images, *labels;
    gn_variable *recorded[3]; // z, fake_labels, alpha; NULL in training
} step_variables;

static step_variables add_variables(session *s, const dataset *data, const recorded_draws *recorded) {
    gn_state *state = s->state;
    int count = data->count;
    s->order = add_i32(state, "data.order", count, NULL);
    s->losses = gn_state_add(state, "losses", GN_F32, gn_shape_of(2, LOSS_ROWS, LOSS_COLUMNS), NULL);
    step_variables v = {
        .step = gn_state_add(state, "step", GN_I32, (gn_shape){0}, NULL),
        .images =
            gn_state_add(state, "data.images", GN_U8, gn_shape_of(2, count, IMAGE_PIXELS), data->images),
        .labels = add_labels(state, "data.labels", data->labels, count),
    };
    if (recorded) {
        gn_shape noise = gn_shape_of(2, count, s->hyper.z_dim), column = gn_shape_of(2, count, 1);
        v.recorded[0] = gn_state_add(state, "recorded.z", GN_F32, noise, recorded->z);
        v.recorded[1] = add_i32(state, "recorded.fake_labels", count, recorded->fake_labels);
        v.recorded[2] = gn_state_add(state, "recorded.alpha", GN_F32, column, recorded->alpha);
    }
    return v;
}

// One training step. All draws are offered to the model; what it does not use is never computed.
static gn_graph *build_step(session *s, const step_variables *v, bool generator_turn, session_graphs *out) {
    gn_graph *graph = gn_graph_new(s->state);
    int batch = s->hyper.batch;
    gn_node *step = gn_read(graph, v->step);
    gn_node *rows = gn_batch_rows(gn_read(graph, s->order), step, batch);
    training_step t = {
        .graph = graph,
        .hyper = s->hyper,
        .generator = network_new(graph, "generator", true),
        .discriminator = network_new(graph, "discriminator", true),
        .generator_turn = generator_turn,
        .real = normalise(gather_images(graph, v->images, rows, s->model->image_side)),
        .labels = gn_gather(gn_read(graph, v->labels), rows),
    };
    if (v->recorded[0]) {
        t.z = gn_gather(gn_read(graph, v->recorded[0]), rows);
        t.fake_labels = gn_gather(gn_read(graph, v->recorded[1]), rows);
        t.alpha = gn_gather(gn_read(graph, v->recorded[2]), rows);
    } else {
        t.z = gn_random_normal("z", step, gn_shape_of(2, batch, s->hyper.z_dim), 0);
        t.fake_labels = gn_random_below("fake_labels", step, gn_shape_of(1, batch), 0, IMAGE_CLASSES);
        t.alpha = gn_random_uniform("alpha", step, gn_shape_of(2, batch, 1), 0);
    }
    s->model->train(&t);
    gn_node *losses[LOSS_COLUMNS] = {t.d_loss, t.g_loss, t.gp};
    for (int i = 0; i < LOSS_COLUMNS; i++)
        if (losses[i])
            gn_record(graph, s->losses, step, i, losses[i]);
    gn_assign(graph, v->step, gn_add(step, gn_constant_int(graph, 1)));
    out->generator = t.generator;
    out->discriminator = t.discriminator;
    return graph;
}

static gn_graph *build_grid(session *s) {
    gn_graph *graph = gn_graph_new(s->state);
    network generator = network_new(graph, "generator", false);
    gn_node *z = gn_read(graph, add_normals(s->state, "fixed_z", GRID_IMAGES, s->hyper.z_dim));
    gn_node *labels = NULL;
    if (s->model->conditional)
        labels = gn_read(graph, add_labels(s->state, "fixed_labels", NULL, GRID_IMAGES));
    s->samples = gn_state_add(s->state, "samples", GN_F32,
                              gn_shape_of(2, GRID_IMAGES, s->model->image_side * s->model->image_side), NULL);
    gn_assign(graph, s->samples, s->model->sample(&generator, z, labels));
    return graph;
}

session_graphs session_build(session *s, const dataset *data, uint64_t seed, const recorded_draws *recorded) {
    session_graphs graphs = {.grid = NULL};
    s->state = gn_state_new(seed);
    s->steps_per_epoch = data->count / s->hyper.batch;
    step_variables v = add_variables(s, data, recorded);
    graphs.steps[1] =
        build_step(s, &v, true, &graphs); // this one first: it names the parameters of both networks
    if (s->hyper.n_critic > 1) {
        session_graphs critic_only;
        graphs.steps[0] = build_step(s, &v, false, &critic_only);
    }
    graphs.grid = build_grid(s);
    return graphs;
}

void session_graphs_free(session_graphs *graphs) {
    gn_graph_free(graphs->steps[0]);
    gn_graph_free(graphs->steps[1]);
    gn_graph_free(graphs->grid);
}

bool session_compile_steps(session *s, session_graphs *graphs) {
    for (int i = 0; i < 2; i++) {
        gn_program_free(s->steps[i]);
        s->steps[i] = NULL;
        if (graphs->steps[i] && !(s->steps[i] = gn_program_new(s->device, graphs->steps[i])))
            return false;
    }
    return true;
}

bool session_compile(session *s, session_graphs *graphs) {
    return session_compile_steps(s, graphs) && (s->grid = gn_program_new(s->device, graphs->grid));
}

static bool is_generator_turn(const session *s, long step) {
    return step % s->steps_per_epoch % s->hyper.n_critic == 0;
}

bool session_run_step(session *s, long step) {
    return gn_program_run(s->steps[is_generator_turn(s, step)]);
}

bool session_has_loss(const session *s, long step, int loss) {
    return loss == D_LOSS || (loss == G_LOSS && is_generator_turn(s, step)) ||
           (loss == GP && s->hyper.gp_weight > 0);
}

void session_losses(const session *s, float rows[LOSS_ROWS][LOSS_COLUMNS], long step,
                    float losses[LOSS_COLUMNS]) {
    for (int i = 0; i < LOSS_COLUMNS; i++)
        losses[i] = session_has_loss(s, step, i) ? rows[step % LOSS_ROWS][i] : NAN;
}

void session_free(session *s) {
    gn_program_free(s->steps[0]);
    gn_program_free(s->steps[1]);
    gn_program_free(s->grid);
    gn_state_free(s->state);
    gn_device_free(s->device);
    *s = (session){0};
}
