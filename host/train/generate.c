// Samples of a trained generator. The file alone says which networks could have written it: a model's
// generator is built without a device, and its variables are compared with the file's tensors by name and
// shape. The length of the noise follows from the first weight.
#include "train/generate.h"
#include "base/error.h"
#include "io/run_folder.h"
#include "train/tensors.h"

#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 100 };

static const char NETWORK[] = "generator.";
enum { NETWORK_LENGTH = sizeof NETWORK - 1 };

typedef struct {
    safetensors *file;
    const char *path;
    const char *prefix; // of the generator's tensors: "generator." in a checkpoint
} source;

// A generator on a batch of noise: state and graph.
typedef struct {
    gn_state *state;
    gn_graph *graph;
    gn_variable *z, *labels, *images; // labels: NULL where the model has none
    gn_variable *first;               // its first weight
} sampler;

static sampler sampler_new(const model *m, int z_dim, int batch) {
    sampler s = {.state = gn_state_new(0)};
    s.graph = gn_graph_new(s.state);
    network generator = network_new(s.graph, "generator", false);
    s.z = gn_state_add(s.state, "z", GN_F32, gn_shape_of(2, batch, z_dim), NULL);
    if (m->conditional)
        s.labels = gn_state_add(s.state, "labels", GN_I32, gn_shape_of(1, batch), NULL);
    gn_node *images =
        m->sample(&generator, gn_read(s.graph, s.z), s.labels ? gn_read(s.graph, s.labels) : NULL);
    s.images = gn_state_add(s.state, "images", GN_F32, gn_node_shape(images), NULL);
    gn_assign(s.graph, s.images, images);
    s.first = generator.parameters[0];
    return s;
}

static void sampler_free(sampler *s) {
    gn_graph_free(s->graph);
    gn_state_free(s->state);
}

// ---- The file ----------------------------------------------------------------------------------------

// The file that is meant: itself, or one of a run's folder. The caller frees.
static char *find_file(const char *path) {
    struct stat info;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode))
        return gn_strdup(path);
    char *file = run_folder_generator_path(path);
    if (access(file, F_OK) == 0)
        return file;
    free(file);
    return run_folder_checkpoint_path(path);
}

static bool source_open(source *from, const char *path) {
    from->path = path;
    from->prefix = "";
    from->file = safetensors_read(path);
    if (!from->file)
        return false;
    for (const st_tensor *t = st_next(from->file, NULL); t; t = st_next(from->file, t))
        if (!strncmp(t->name, NETWORK, NETWORK_LENGTH))
            from->prefix = NETWORK;
    return true;
}

// The file's name of a generator's variable; the caller frees.
static char *name_in_file(const source *from, const gn_variable *variable) {
    return gn_format("%s%s", from->prefix, gn_variable_name(variable) + NETWORK_LENGTH);
}

// Belongs a tensor of the file to the generator? In a checkpoint others are the discriminator's and the
// optimiser's.
static bool is_generators(const source *from, const st_tensor *tensor) {
    return !strncmp(tensor->name, from->prefix, strlen(from->prefix)) && !is_optimizer_key(tensor->name);
}

// Has the model's generator every tensor of the file? That the file has all of the generator's, tensor_load()
// checks.
static bool knows_tensors(const source *from, const model *m, const gn_state *state) {
    for (const st_tensor *t = st_next(from->file, NULL); t; t = st_next(from->file, t)) {
        // Batches are counted in training only, so the generator at hand has no such variable.
        if (!is_generators(from, t) || strstr(t->name, "num_batches_tracked"))
            continue;
        char *name = gn_format("%s%s", NETWORK, t->name + strlen(from->prefix));
        bool known = gn_state_find(state, name) != NULL;
        free(name);
        if (!known)
            return gn_fail("%s: the generator of %s has no tensor '%.200s'; does --model say what it is?",
                           from->path, m->name, t->name);
    }
    return true;
}

static bool load_generator(const source *from, const model *m, gn_state *state) {
    for (gn_variable *v = gn_state_next(state, NULL); v; v = gn_state_next(state, v)) {
        if (!is_network_variable(v))
            continue;
        char *name = name_in_file(from, v);
        bool done = tensor_load(from->file, name, NULL, v);
        free(name);
        if (!done)
            return gn_fail_within("not a generator of %s", m->name);
    }
    return knows_tensors(from, m, state);
}

// The length of the noise, if the file is of that model: its first layer has an input for each of its
// elements, and perhaps more. The usual length where it cannot be told.
static int find_z_dim(const source *from, const model *m) {
    int usual = m->defaults.z_dim;
    sampler s = sampler_new(m, usual, 1);
    char *name = name_in_file(from, s.first);
    const st_tensor *weight = st_find(from->file, name);
    gn_shape shape = gn_variable_file_shape(s.first);
    int64_t z_dim = weight && weight->dims == 2 ? weight->shape[1] - shape.size[1] + usual : usual;
    free(name);
    sampler_free(&s);
    return z_dim >= 1 && z_dim <= MAX_Z_DIM ? (int)z_dim : usual;
}

// Is the file a generator of that model, with the usual length of noise?
static bool is_usual(const source *from, const model *m) {
    sampler s = sampler_new(m, m->defaults.z_dim, 1);
    bool fits = load_generator(from, m, s.state);
    sampler_free(&s);
    return fits;
}

// The file's model: as its metadata say, as --model says, or the first that fits. NULL on failure.
static const model *choose_model(const source *from, const model *wanted) {
    const char *name = st_find_metadata(from->file, "model");
    const model *said = name ? find_model(name) : NULL;
    if (name && !said)
        gn_fail("%s is of the model '%.40s', which this ganc does not have; 'ganc models' lists them",
                from->path, name);
    else if (said && wanted && said != wanted)
        gn_fail("%s is of %s; --model %s contradicts it: leave it out", from->path, said->name, wanted->name);
    else if (said || wanted)
        return said ? said : wanted;
    if (name)
        return NULL;
    for (int i = 0; all_models[i]; i++)
        if (is_usual(from, all_models[i]))
            return all_models[i];
    gn_fail("%s does not say its model, and no model's generator with the usual length of noise fits; give "
            "--model M",
            from->path);
    return NULL;
}

// ---- Noise -------------------------------------------------------------------------------------------

// The point at `t` from 0 to 1 on the way from `a` to `b`, along a great circle: as normal noise lies near a
// sphere, a straight line would leave where the generator was trained (White 2016, arXiv:1609.04468).
static void interpolate(const float *a, const float *b, double t, int length, float *out) {
    double dot = 0, aa = 0, bb = 0;
    for (int i = 0; i < length; i++) {
        dot += (double)a[i] * b[i];
        aa += (double)a[i] * a[i];
        bb += (double)b[i] * b[i];
    }
    double angle = acos(fmax(-1, fmin(1, dot / fmax(sqrt(aa * bb), 1e-30)))), s = sin(angle);
    double from = s > 1e-6 ? sin((1 - t) * angle) / s : 1 - t, to = s > 1e-6 ? sin(t * angle) / s : t;
    for (int i = 0; i < length; i++)
        out[i] = (float)(from * a[i] + to * b[i]);
}

// The noise of every image, (result->count, z_dim); the caller frees.
static float *draw_noise(const generate_options *o, const generated *result) {
    size_t rows = (size_t)o->count, z_dim = (size_t)result->z_dim;
    float *noise = gn_calloc((size_t)result->count * z_dim, sizeof *noise);
    if (!o->frames) {
        gn_draw_normal(o->seed, "fixed_z", 0, noise, rows * z_dim);
        return noise;
    }
    float *from = gn_calloc(rows * z_dim, sizeof *from), *to = gn_calloc(rows * z_dim, sizeof *to);
    gn_draw_normal(o->seed, "fixed_z", 0, from, rows * z_dim);
    gn_draw_normal(o->seed, "fixed_z", 1, to, rows * z_dim);
    for (size_t i = 0; i < (size_t)result->count; i++) {
        size_t frame = i / rows;
        double t = o->frames > 1 ? (double)frame / (o->frames - 1) : 0;
        size_t row = i % rows * z_dim;
        interpolate(from + row, to + row, t, result->z_dim, noise + i * z_dim);
    }
    free(from);
    free(to);
    return noise;
}

// ---- Sampling ----------------------------------------------------------------------------------------

// Runs the program batch by batch; the last batch may be filled with what is left of the one before.
static bool run_batches(const generate_options *o, gn_device *device, gn_program *program, const sampler *s,
                        const float *noise, generated *result) {
    int batch = gn_variable_shape(s->z).size[0];
    size_t pixels = (size_t)result->side * (size_t)result->side, z_dim = (size_t)result->z_dim;
    float *z = gn_calloc((size_t)batch * z_dim, sizeof *z);
    float *images = gn_calloc((size_t)batch * pixels, sizeof *images);
    int32_t *labels = gn_calloc((size_t)batch, sizeof *labels);
    bool done = true;
    for (int first = 0; first < result->count && done; first += batch) {
        size_t count = (size_t)(result->count - first < batch ? result->count - first : batch);
        memcpy(z, noise + (size_t)first * z_dim, count * z_dim * sizeof *z);
        for (int i = 0; i < batch; i++)
            labels[i] = o->label >= 0 ? o->label : (first + i) % o->count % IMAGE_CLASSES;
        done = gn_state_set(device, s->z, z) && (!s->labels || gn_state_set(device, s->labels, labels)) &&
               gn_program_run(program) && gn_state_get(device, s->images, images);
        memcpy(result->images + (size_t)first * pixels, images, count * pixels * sizeof *images);
    }
    free(z);
    free(images);
    free(labels);
    return done;
}

static bool sample(const generate_options *o, const source *from, generated *result) {
    int batch = result->count < BATCH ? result->count : BATCH;
    sampler s = sampler_new(result->model, result->z_dim, batch);
    gn_device *device = NULL;
    gn_program *program = NULL;
    float *noise = NULL;
    bool done = load_generator(from, result->model, s.state) &&
                (device = gn_device_open(o->device, &o->device_options)) &&
                (program = gn_program_new(device, s.graph));
    if (done) {
        snprintf(result->device, sizeof result->device, "%s", gn_device_name(device));
        result->side = result->model->image_side;
        result->images =
            gn_calloc((size_t)result->count * (size_t)result->side * (size_t)result->side, sizeof(float));
        noise = draw_noise(o, result);
        done = run_batches(o, device, program, &s, noise, result);
    }
    free(noise);
    gn_program_free(program);
    sampler_free(&s);
    gn_device_free(device);
    return done;
}

bool generate(const generate_options *options, generated *result) {
    *result = (generated){.count = options->count * (options->frames ? options->frames : 1)};
    source from = {.file = NULL};
    char *path = find_file(options->source);
    bool done = source_open(&from, path) && (result->model = choose_model(&from, options->model));
    if (done && options->label >= 0 && !result->model->conditional)
        done = gn_fail("%s draws no classes: --class 0..9 is for models such as cgan", result->model->name);
    if (done) {
        result->z_dim = find_z_dim(&from, result->model);
        done = sample(options, &from, result);
    }
    safetensors_free(from.file);
    free(path);
    if (!done)
        generated_free(result);
    return done;
}

void generated_free(generated *result) {
    free(result->images);
    *result = (generated){.images = NULL};
}
