// `ganc generate`: samples of a trained generator, as pictures and as numbers. Sampling is generate()'s; here
// are the files.
#include "train/generate.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "io/image_grid.h"
#include "io/json.h"
#include "io/npy.h"
#include "io/run_folder.h"

#include <string.h>
#include <sys/stat.h>

enum { COLUMNS = 10, MAX_IMAGES = 200000 };

// What --class takes besides a class of kernels.
static const char *const labels[] = {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9", NULL};

typedef struct {
    generate_options sampling;
    const char *out, *single, *npy; // files and folders to write; NULL: not this
    bool overwrite, json;
} arguments;

// ---- Writing -----------------------------------------------------------------------------------------

static bool is_free(const arguments *a, const char *path) {
    struct stat info;
    return a->overwrite || lstat(path, &info) != 0 ||
           gn_fail("%s exists already: --overwrite replaces it, another name keeps it", path);
}

// The pictures of a folder: so many, each of `each` images.
typedef struct {
    const char *dir, *option, *name; // "frame"
    int count, each;
} picture_series;

static char *picture_path(const picture_series *s, int i) {
    return gn_format("%s/%s-%06d.png", s->dir, s->name, i);
}

static bool are_free(const arguments *a, const picture_series *s) {
    bool good = true;
    for (int i = 0; i < s->count && good; i++) {
        char *path = picture_path(s, i);
        good = is_free(a, path);
        free(path);
    }
    return good;
}

static bool write_series(const picture_series *s, const generated *g) {
    bool good = folder_make(s->dir, s->option);
    size_t size = (size_t)s->each * (size_t)g->side * (size_t)g->side;
    for (int i = 0; i < s->count && good; i++) {
        char *path = picture_path(s, i);
        good = image_grid_write(path, g->images + (size_t)i * size, s->each, g->side, g->side, COLUMNS);
        free(path);
    }
    return good;
}

static picture_series series_of(const arguments *a, bool frames) {
    if (frames)
        return (picture_series){a->out, "out", "frame", a->sampling.frames, a->sampling.count};
    return (picture_series){a->single, "single", "sample", a->sampling.count, 1};
}

// Nothing is computed that could not be kept.
static bool may_write(const arguments *a) {
    picture_series frames = series_of(a, true), singles = series_of(a, false);
    return (!a->sampling.frames || are_free(a, &frames)) && (!a->single || are_free(a, &singles)) &&
           (!a->out || a->sampling.frames || is_free(a, a->out)) && (!a->npy || is_free(a, a->npy));
}

static bool write_all(const arguments *a, const generated *g) {
    picture_series frames = series_of(a, true), singles = series_of(a, false);
    if (a->sampling.frames && !write_series(&frames, g))
        return false;
    if (a->single && !write_series(&singles, g))
        return false;
    if (a->out && !a->sampling.frames &&
        !image_grid_write(a->out, g->images, g->count, g->side, g->side, COLUMNS))
        return false;
    return !a->npy || npy_write(a->npy, gn_shape_of(4, g->count, 1, g->side, g->side), g->images);
}

static void print_result(const arguments *a, const generated *g) {
    json_t *written = json_array();
    const char *const paths[] = {a->out, a->single, a->npy};
    for (int i = 0; i < 3; i++)
        if (paths[i])
            json_array_append_new(written, json_text(paths[i]));
    json_t *class = a->sampling.label >= 0 ? json_integer(a->sampling.label) : json_null();
    print_json(json_pack("{ss si si si so so so}", "model", g->model->name, "z_dim", g->z_dim, "images",
                         g->count, "size", g->side, "class", class, "device", json_text(g->device), "written",
                         written));
}

static void say_result(const arguments *a, const generated *g) {
    fprintf(stderr, "%d images of %s, by %s:", g->count, g->model->name, g->device);
    const char *const paths[] = {a->out, a->single, a->npy};
    for (int i = 0; i < 3; i++)
        if (paths[i])
            fprintf(stderr, " %s", paths[i]);
    fputc('\n', stderr);
}

// ---- The command line --------------------------------------------------------------------------------

static int parse(int argc, char **argv, arguments *a) {
    const char *models[MAX_MODELS + 1], *model_name = NULL, *label = NULL;
    list_models(models);
    char *models_text = list_words(models);
    generate_options *o = &a->sampling;
    const option options[] = {
        {"count", "N", "Samples", "images, or in an interpolation images a frame (default: 100)",
         INT(&o->count, 1, MAX_IMAGES, NULL)},
        {"seed", "N", "Samples", "of the noise; a run's own seed gives its last grid again (default: 0)",
         U64(&o->seed)},
        {"interpolate", "N", "Samples", "N frames from each noise to another, into the folder of --out",
         INT(&o->frames, 2, MAX_IMAGES, NULL)},
        {"model", "M", "Samples", models_text, CHOICE(&model_name, models)},
        {"class", "C", "Samples", "0 to 9: draw that class alone, with cgan (default: each in turn)",
         CHOICE(&label, labels)},
        {"out", "FILE", "Output",
         "the grid of all images, 10 in a row (default: samples.png), or the\n"
         "folder of the frames (default: frames)",
         TEXT(&a->out)},
        {"single", "DIR", "Output", "each image as a PNG file of its own", TEXT(&a->single)},
        {"npy", "FILE", "Output", "the numbers, for numpy.load(): float32 (N, 1, H, W) in -1 .. 1",
         TEXT(&a->npy)},
        {"overwrite", NULL, "Output", "replace files that exist", FLAG(&a->overwrite)},
        {"json", NULL, "Output", "print what was written as a JSON object on stdout", FLAG(&a->json)},
        DEVICE_OPTIONS(o->device, o->device_options),
        {.name = NULL},
    };
    const command_syntax syntax = {
        .name = "generate",
        .operand = "FILE",
        .summary = "Sample a trained generator. FILE is a run's folder, its generator.safetensors or\n"
                   "checkpoint.safetensors, or a state_dict() of the same network that PyTorch saved.",
        .example = "ganc generate runs/cgan --class 7 --seed 3 --out sneakers.png",
        .options = options,
    };
    int status = options_parse(&syntax, argc, argv, &o->source);
    free(models_text);
    if (status != OPTIONS_OK)
        return status;
    o->model = model_name ? find_model(model_name) : NULL;
    if (label)
        o->label = *label - '0';
    return OPTIONS_OK;
}

// Which files are meant, where not all are named.
static int complete(arguments *a) {
    const generate_options *o = &a->sampling;
    if (o->frames && a->single)
        return usage_error("--single writes single images, --interpolate frames: give one of them");
    if (o->frames && (long)o->frames * o->count > MAX_IMAGES)
        return usage_error("%d frames of %d images are more than %d images: a smaller --count helps",
                           o->frames, o->count, MAX_IMAGES);
    if (!a->out && o->frames)
        a->out = "frames";
    else if (!a->out && !a->single && !a->npy)
        a->out = "samples.png";
    return OPTIONS_OK;
}

int command_generate(int argc, char **argv) {
    arguments a = {.sampling = {.count = 100, .label = -1}};
    int status = parse(argc, argv, &a);
    if (status == OPTIONS_OK)
        status = complete(&a);
    if (status != OPTIONS_OK)
        return status;

    generated result = {.images = NULL};
    bool done = may_write(&a) && generate(&a.sampling, &result) && write_all(&a, &result);
    if (done && a.json)
        print_result(&a, &result);
    else if (done)
        say_result(&a, &result);
    generated_free(&result);
    return done ? 0 : run_error();
}
