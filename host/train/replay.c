// Replay: a training run whose random draws were recorded by PyTorch, repeated and compared.
//
// The trace's images become the data set, in the order recorded; its weights the initial state; its noise
// and labels the draws of each step. Files keep PyTorch's layouts.
#include "base/error.h"
#include "base/numbers.h"
#include "train/session.h"
#include "train/tensors.h"
#include "train/train.h"

#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <string.h>

// Distances below these count as these: a step of Adam on a gradient that is rounding noise, or an activation
// that falls on the other side of a kink, are no mistakes. See replay_row.
static const double loss_floor = 1e-5, tensor_floor = 1e-4;

typedef struct {
    const char *path;
    safetensors *file;
    session session;
    int steps, batch;
    float *losses[LOSS_COLUMNS]; // (steps), what we compute
    json_t *torch32_distance;    // by tensor name
    tensor_list saved;           // for --save
    replay_result *result;
} replay_run;

// ---- Reading the trace -------------------------------------------------------------------------------

static bool read_number(const replay_run *r, const char *key, int most, int *value) {
    const char *text = st_find_metadata(r->file, key);
    char *end = "none";
    long number = text ? strtol(text, &end, 10) : 0;
    *value = (int)number;
    return (*end == '\0' && number >= 1 && number <= most) ||
           gn_fail("%s: its metadata has no '%s', a number from 1 to %d: is it a trace?", r->path, key, most);
}

static bool read_metadata(replay_run *r) {
    const char *name = st_find_metadata(r->file, "model");
    if (!name)
        return gn_fail("%s: its metadata has no 'model': is it a trace?", r->path);
    r->session.model = find_model(name);
    if (!r->session.model)
        return gn_fail(
            "%s: a trace of the model '%s', which this ganc does not have; 'ganc models' lists them", r->path,
            name);
    if (!read_number(r, "batch", MAX_BATCH, &r->batch) ||
        !read_number(r, "steps", INT_MAX / (r->batch * IMAGE_PIXELS), &r->steps))
        return false;
    if (r->batch < 2)
        return gn_fail("%s: batch 1; batch norm has no variance then, so that nothing can be trained",
                       r->path);
    const char *distances = st_find_metadata(r->file, "torch32_distance");
    json_error_t error;
    r->torch32_distance = distances ? json_loads(distances, 0, &error) : NULL;
    if (!json_is_object(r->torch32_distance))
        return gn_fail("%s: its metadata has no 'torch32_distance' with a JSON object", r->path);
    const st_tensor *noise = st_find(r->file, "z");
    r->session.hyper = r->session.model->defaults;
    r->session.hyper.batch = r->batch;
    if (noise && noise->dims == 3 && noise->shape[2] > 0 && noise->shape[2] <= MAX_Z_DIM &&
        noise->shape[2] <= INT_MAX / (r->steps * r->batch))
        r->session.hyper.z_dim = (int)noise->shape[2];
    return true;
}

// The draws, with one row an image, and the data set; the caller frees all.
typedef struct {
    dataset data;
    float *z;
    int32_t *fake_labels;
    float *alpha;
} trace_draws;

static bool read_i32(const replay_run *r, const char *name, int count, int32_t *out) {
    const st_tensor *tensor = st_need(r->file, name, gn_shape_of(2, r->steps, r->batch));
    if (!tensor || !st_read_i32(tensor, out))
        return false;
    for (int i = 0; i < count; i++)
        if (out[i] < 0 || out[i] >= IMAGE_CLASSES)
            return gn_fail("%s: '%s' has the label %d at %d; labels go from 0 to 9", r->path, name, out[i],
                           i);
    return true;
}

static bool read_labels(const replay_run *r, int count, trace_draws *draws) {
    draws->fake_labels = gn_calloc((size_t)count, sizeof(int32_t));
    int32_t *labels = gn_calloc((size_t)count, sizeof(int32_t));
    bool done = read_i32(r, "labels", count, labels) && read_i32(r, "fake_labels", count, draws->fake_labels);
    for (int i = 0; i < count && done; i++)
        draws->data.labels[i] = (uint8_t)labels[i];
    free(labels);
    return done;
}

static bool read_draws(const replay_run *r, trace_draws *draws) {
    int64_t rows = (int64_t)r->steps * r->batch;
    const st_tensor *real = st_need(r->file, "real", gn_shape_of(4, r->steps, r->batch, 28, 28));
    const st_tensor *z = st_need(r->file, "z", gn_shape_of(3, r->steps, r->batch, r->session.hyper.z_dim));
    if (!real || !z)
        return false;
    int count = (int)rows;
    draws->data = (dataset){.count = count, .height = 28, .width = 28};
    draws->data.images = gn_calloc((size_t)count, IMAGE_PIXELS);
    draws->data.labels = gn_calloc((size_t)count, 1);
    draws->z = gn_calloc(st_count(z), sizeof(float));
    st_read_f32(z, draws->z);
    if (!st_read_u8(real, draws->data.images))
        return false;
    if (r->session.hyper.gp_weight > 0) {
        const st_tensor *alpha = st_need(r->file, "alpha", gn_shape_of(2, r->steps, r->batch));
        if (!alpha)
            return false;
        draws->alpha = gn_calloc((size_t)count, sizeof(float));
        st_read_f32(alpha, draws->alpha);
    }
    return !r->session.model->conditional || read_labels(r, count, draws);
}

// ---- The state ---------------------------------------------------------------------------------------

static bool load_variable(replay_run *r, gn_variable *variable, const char *prefix) {
    char *name = gn_format("%s%s", prefix, gn_variable_name(variable));
    bool done = tensor_load(r->file, name, r->session.device, variable);
    free(name);
    return done;
}

static bool load_state(replay_run *r) {
    gn_state *state = r->session.state;
    for (gn_variable *v = gn_state_next(state, NULL); v; v = gn_state_next(state, v))
        if (is_network_variable(v) && !load_variable(r, v, "init."))
            return false;
    const st_tensor *noise = st_need(r->file, "fixed_z", gn_shape_of(2, GRID_IMAGES, r->session.hyper.z_dim));
    if (!noise)
        return false;
    float *values = gn_calloc(st_count(noise), sizeof *values);
    st_read_f32(noise, values);
    bool done = gn_state_set(r->session.device, gn_state_find(state, "fixed_z"), values);
    free(values);
    int rows = r->steps * r->batch;
    int32_t *order = gn_calloc((size_t)rows, sizeof *order);
    for (int i = 0; i < rows; i++)
        order[i] = i;
    done = done && gn_state_set(r->session.device, r->session.order, order);
    free(order);
    return done;
}

// ---- Comparing ---------------------------------------------------------------------------------------

// |ours - expected| / |expected|, by 2-norm. Where the expected value is not a number (a step without such a
// loss) nothing is compared; a value of ours that is not a number makes the distance infinite.
static double relative_distance(const double *expected, const float *ours, size_t count) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < count; i++) {
        if (isnan(expected[i]))
            continue;
        if (!isfinite(ours[i]))
            return INFINITY;
        difference += (ours[i] - expected[i]) * (ours[i] - expected[i]);
        norm += expected[i] * expected[i];
    }
    return sqrt(difference) / fmax(sqrt(norm), 1e-30);
}

static void add_row(replay_run *r, const char *name, double distance, double torch32, double floor) {
    replay_result *result = r->result;
    result->rows = gn_realloc(result->rows, (size_t)(result->count + 1) * sizeof *result->rows);
    double ratio = fmax(distance, floor) / fmax(torch32, floor);
    result->rows[result->count++] = (replay_row){gn_strdup(name), distance, torch32, ratio};
    if (result->count == 1 || ratio > result->worst) {
        result->worst = ratio;
        result->worst_name = result->rows[result->count - 1].name;
    }
}

static void find_median(replay_result *result) {
    double *ratios = gn_calloc((size_t)result->count, sizeof *ratios);
    for (int i = 0; i < result->count; i++)
        ratios[i] = result->rows[i].ratio;
    result->median = median(ratios, result->count);
    free(ratios);
}

static bool compare_losses(replay_run *r) {
    size_t count = (size_t)r->steps;
    gn_shape shape = gn_shape_of(1, r->steps);
    double *expected = gn_calloc(count, sizeof *expected);
    float *torch32 = gn_calloc(count, sizeof *torch32);
    bool done = true;
    for (int i = 0; i < LOSS_COLUMNS && done; i++) {
        if (i == GP && r->session.hyper.gp_weight == 0)
            continue;
        char *expect_name = gn_format("expect.%s", loss_names[i]),
             *torch_name = gn_format("torch32.%s", loss_names[i]);
        const st_tensor *e = st_need(r->file, expect_name, shape);
        const st_tensor *t = e ? st_need(r->file, torch_name, shape) : NULL;
        done = t != NULL;
        if (done) {
            st_read_f64(e, expected);
            st_read_f32(t, torch32);
            add_row(r, loss_names[i], relative_distance(expected, r->losses[i], count),
                    relative_distance(expected, torch32, count), loss_floor);
        }
        free(expect_name);
        free(torch_name);
    }
    free(expected);
    free(torch32);
    return done;
}

// Compares a tensor with "expect.NAME".
static bool compare_tensor(replay_run *r, const char *name, gn_shape shape, const float *ours) {
    char *expect_name = gn_format("expect.%s", name);
    const st_tensor *tensor = st_need(r->file, expect_name, shape);
    free(expect_name);
    json_t *torch32 = json_object_get(r->torch32_distance, name);
    if (tensor && !json_is_number(torch32))
        return gn_fail("%s: its torch32_distance has no number for '%s'", r->path, name);
    if (!tensor)
        return false;
    size_t count = gn_shape_count(shape);
    double *expected = gn_calloc(count, sizeof *expected);
    st_read_f64(tensor, expected);
    add_row(r, name, relative_distance(expected, ours, count), json_number_value(torch32), tensor_floor);
    free(expected);
    return true;
}

static bool compare_state(replay_run *r) {
    gn_state *state = r->session.state;
    for (gn_variable *v = gn_state_next(state, NULL); v; v = gn_state_next(state, v)) {
        if (!is_network_variable(v))
            continue;
        char *name = gn_format("final.%s", gn_variable_name(v));
        if (!tensor_list_add_variable(&r->saved, name, r->session.device, v))
            return false;
        const st_tensor *ours = &r->saved.tensors[r->saved.count - 1];
        if (ours->dtype == ST_F32 && !compare_tensor(r, name, gn_variable_file_shape(v), ours->data))
            return false;
    }
    return true;
}

static bool compare_samples(replay_run *r) {
    session *s = &r->session;
    int side = s->model->image_side;
    gn_shape shape = gn_shape_of(4, GRID_IMAGES, 1, side, side);
    float *samples = gn_calloc(gn_shape_count(shape), sizeof *samples);
    tensor_list_add(&r->saved, gn_strdup("samples"), ST_F32, shape, samples);
    return gn_program_run(s->grid) && gn_state_get(s->device, s->samples, samples) &&
           compare_tensor(r, "samples", shape, samples);
}

// ---- The run -----------------------------------------------------------------------------------------

static bool train_steps(replay_run *r) {
    session *s = &r->session;
    for (int i = 0; i < LOSS_COLUMNS; i++) {
        r->losses[i] = gn_calloc((size_t)r->steps, sizeof(float));
        tensor_list_add(&r->saved, gn_strdup(loss_names[i]), ST_F32, gn_shape_of(1, r->steps), r->losses[i]);
    }
    float rows[LOSS_ROWS][LOSS_COLUMNS];
    for (int step = 0, read = 0; step < r->steps; step++) {
        if (!session_run_step(s, step))
            return false;
        if ((step + 1) % (LOSS_ROWS / 2) && step + 1 < r->steps)
            continue;
        if (!gn_state_get(s->device, s->losses, rows))
            return false;
        for (; read <= step; read++) {
            float losses[LOSS_COLUMNS];
            session_losses(s, rows, read, losses);
            for (int i = 0; i < LOSS_COLUMNS; i++)
                r->losses[i][read] = losses[i];
        }
    }
    return true;
}

static bool prepare(replay_run *r, const char *device, const gn_device_options *device_options) {
    trace_draws draws = {.z = NULL};
    bool done = (r->file = safetensors_read(r->path)) && read_metadata(r) && read_draws(r, &draws);
    if (done) {
        r->session.device = gn_device_open(device, device_options);
        done = r->session.device != NULL;
    }
    if (done) {
        recorded_draws recorded = {draws.z, draws.fake_labels, draws.alpha};
        session_graphs graphs = session_build(&r->session, &draws.data, 0, &recorded);
        done = load_state(r) && session_compile(&r->session, &graphs);
        session_graphs_free(&graphs);
    }
    dataset_free(&draws.data);
    free(draws.z);
    free(draws.fake_labels);
    free(draws.alpha);
    return done;
}

bool replay(const char *trace, const char *save, const char *device, const gn_device_options *device_options,
            replay_result *result) {
    *result = (replay_result){.count = 0};
    replay_run r = {.path = trace, .result = result};
    bool done = prepare(&r, device, device_options) && train_steps(&r) && compare_losses(&r) &&
                compare_state(&r) && compare_samples(&r);
    if (done) {
        find_median(result);
        result->model = gn_strdup(r.session.model->name);
        result->steps = r.steps;
        result->batch = r.batch;
    }
    if (done && save) {
        st_metadata metadata[] = {{"format", "ganc-replay-1"}, {"model", result->model}};
        done = safetensors_write(save, r.saved.tensors, r.saved.count, metadata, 2);
    }
    tensor_list_free(&r.saved);
    json_decref(r.torch32_distance);
    session_free(&r.session);
    safetensors_free(r.file);
    if (!done)
        replay_result_free(result);
    return done;
}

void replay_result_free(replay_result *result) {
    for (int i = 0; i < result->count; i++)
        free(result->rows[i].name);
    free(result->rows);
    free(result->model);
    *result = (replay_result){.count = 0};
}
