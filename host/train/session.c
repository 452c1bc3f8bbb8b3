#include "train/session.h"
#include "error.h"

#include <string.h>

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

// Bytes to [-1, 1] as torchvision's ToTensor and Normalize(0.5, 0.5), in the same order of operations.
static gn_node *normalise(gn_node *bytes) {
    gn_graph *graph = gn_node_graph(bytes);
    gn_node *unit = gn_div(gn_to_f32(bytes), gn_constant(graph, 255));
    return gn_div(gn_offset(unit, -0.5), gn_constant(graph, 0.5));
}

// The step's rows of a recorded tensor with one row an image.
static gn_node *recorded_rows(gn_graph *graph, const char *name, gn_type type, gn_shape shape, const void *values,
                              gn_node *rows) {
    return gn_gather(gn_read(graph, gn_state_add(gn_graph_state(graph), name, type, shape, values)), rows);
}

static gn_graph *build_step(session *s, const dataset *data, const recorded_draws *recorded, session_graphs *out) {
    gn_graph *graph = gn_graph_new(s->state);
    int count = data->count, batch = s->hyper.batch;
    gn_variable *counter = gn_state_add(s->state, "step", GN_I32, (gn_shape){0}, NULL);
    gn_variable *images = gn_state_add(s->state, "data.images", GN_U8, gn_shape_of(2, count, IMAGE_PIXELS), data->images);
    s->order = add_i32(s->state, "data.order", count, NULL);
    s->losses = gn_state_add(s->state, "losses", GN_F32, gn_shape_of(2, LOSS_ROWS, LOSS_COLUMNS), NULL);

    gn_node *step = gn_read(graph, counter);
    gn_node *rows = gn_batch_rows(gn_read(graph, s->order), step, batch);
    training_step t = {
        .graph = graph,
        .hyper = s->hyper,
        .generator = network_new(graph, "generator", true),
        .discriminator = network_new(graph, "discriminator", true),
        .real = normalise(gn_gather(gn_read(graph, images), rows)),
    };
    gn_shape noise = gn_shape_of(2, batch, s->hyper.z_dim), all_noise = gn_shape_of(2, count, s->hyper.z_dim);
    gn_shape classes = gn_shape_of(1, batch), all_classes = gn_shape_of(1, count);
    t.z = recorded ? recorded_rows(graph, "recorded.z", GN_F32, all_noise, recorded->z, rows)
                   : gn_random_normal("z", step, noise, 0);
    if (s->model->conditional) {
        gn_variable *labels = add_labels(s->state, "data.labels", data->labels, count);
        t.labels = gn_gather(gn_read(graph, labels), rows);
        t.fake_labels = recorded ? recorded_rows(graph, "recorded.fake_labels", GN_I32, all_classes,
                                                 recorded->fake_labels, rows)
                                 : gn_random_below("fake_labels", step, classes, 0, IMAGE_CLASSES);
    }
    s->model->train(&t);
    gn_record(graph, s->losses, step, 0, t.d_loss);
    gn_record(graph, s->losses, step, 1, t.g_loss);
    gn_assign(graph, counter, gn_add(step, gn_constant_int(graph, 1)));
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
    s->samples = gn_state_add(s->state, "samples", GN_F32, gn_shape_of(2, GRID_IMAGES, IMAGE_PIXELS), NULL);
    gn_assign(graph, s->samples, s->model->sample(&generator, z, labels));
    return graph;
}

session_graphs session_build(session *s, const dataset *data, uint64_t seed, const recorded_draws *recorded) {
    session_graphs graphs;
    s->state = gn_state_new(seed);
    graphs.step = build_step(s, data, recorded, &graphs);
    graphs.grid = build_grid(s);
    return graphs;
}

bool session_compile(session *s, session_graphs *graphs) {
    s->step = gn_program_new(s->device, graphs->step);
    s->grid = s->step ? gn_program_new(s->device, graphs->grid) : NULL;
    return s->grid != NULL;
}

void session_free(session *s) {
    gn_program_free(s->step);
    gn_program_free(s->grid);
    gn_state_free(s->state);
    gn_device_free(s->device);
    *s = (session){0};
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
    model_cost cost = {parameters[0], parameters[1], gn_graph_flops(graphs.step)};
    gn_graph_free(graphs.step);
    gn_graph_free(graphs.grid);
    session_free(&s);
    return cost;
}
