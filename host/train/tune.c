// The products are those for which the models' programs ask: each model is compiled, on images that nobody
// looks at, and its products measured.
//
// Measuring, choosing and keeping are left to cl/gemm_tune.c.
#include "train/tune.h"
#include "base/error.h"
#include "train/session.h"

enum { IMAGES = 1024 };

static void say(const tune_options *o, const char *what) {
    if (o->progress)
        o->progress(what);
}

static bool measure_peak(gn_device *device, int rounds, tune_result *result) {
    device_peaks peaks;
    profile *p = profile_new(device);
    bool done = p && peak_measure_arithmetic(p, rounds, &peaks);
    result->peak_gflops = done ? peaks.gflops : 0;
    profile_free(p);
    return done;
}

// Compiles the model, after which the device's products know its shapes.
static bool prepare_shapes(const tune_options *o, gn_device *device, const model *model) {
    session run = {.model = model, .hyper = model->defaults, .device = device};
    if (o->batch)
        run.hyper.batch = o->batch;
    int count = run.hyper.batch > IMAGES ? run.hyper.batch : IMAGES;
    dataset data = {.count = count, .height = IMAGE_SIDE, .width = IMAGE_SIDE};
    data.images = gn_calloc((size_t)count, IMAGE_SIDE * IMAGE_SIDE);
    data.labels = gn_calloc((size_t)count, 1);
    session_graphs graphs = session_build(&run, &data, 0, NULL);
    bool done = session_compile(&run, &graphs);
    session_graphs_free(&graphs);
    free(data.images);
    free(data.labels);
    run.device = NULL; // it is not the session's own
    session_free(&run);
    return done;
}

static bool tune_products(const tune_options *o, gn_device *device, tune_result *result) {
    int count;
    const gemm_shape *shapes = gemm_shapes(device->gemm, &count);
    result->products = gn_calloc((size_t)count, sizeof *result->products);
    for (int i = 0; i < count; i++) {
        char *what = gn_format("product %d of %d", i + 1, count);
        say(o, what);
        free(what);
        if (!gemm_tune(device->gemm, shapes[i], o->rounds, &result->products[i]))
            return false;
        if (!result->products[i].kept)
            return gn_fail_within("what is measured cannot be kept");
        result->product_count++;
    }
    return true;
}

bool tune_run(const tune_options *options, tune_result *result) {
    *result = (tune_result){.gemm = NULL};
    gn_device *device = gn_device_open(options->device, &options->device_options);
    if (!device)
        return false;
    result->device = device->info;
    result->class = device->class;
    result->gemm = gemm_description(device->gemm);
    say(options, "peak");
    bool done = measure_peak(device, options->rounds, result);
    for (int i = 0; all_models[i] && done; i++)
        if (!options->model || options->model == all_models[i]) {
            say(options, all_models[i]->name);
            done = prepare_shapes(options, device, all_models[i]);
        }
    done = done && tune_products(options, device, result);
    gn_device_free(device);
    return done;
}

void tune_result_free(tune_result *result) {
    free(result->products);
    *result = (tune_result){.gemm = NULL};
}
