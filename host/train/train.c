// The training loop: replays a step's program, reads the losses back now and then, writes the run's folder.
//
// The host starts steps and does not wait for them, except to read the losses, which it does a few times a
// second: often enough for the display, rarely enough not to matter. So the device always has work queued, and
// never more than half the rows in which it keeps losses.
#include "train/train.h"
#include "cl/gemm.h"
#include "cl/program.h"
#include "error.h"
#include "io/image_grid.h"
#include "io/progress.h"
#include "io/run_folder.h"
#include "train/session.h"

#include <math.h>
#include <signal.h>
#include <string.h>
#include <time.h>

// What a run holds while it lasts.
typedef struct {
    const train_options *options;
    session session;
    long total;     // steps of the whole run
    long done;      // steps started
    long read;      // steps whose losses were read back
    long ahead;     // steps to start before the next reading
    double start;   // when the second step began
    double last[LOSS_COLUMNS]; // the latest of each kind
    bool said_nan;
    progress *progress;
    run_log *log;
} run;

static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int signal) {
    stop_asked = signal;
}

// The first Ctrl-C or SIGTERM ends the run after the step in progress, the second the process at once.
static void catch_signals(void) {
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = (int)SA_RESETHAND};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// ---- The folder --------------------------------------------------------------------------------------

static bool write_header(const run *r, const dataset *data) {
    const train_options *o = r->options;
    const hyper_parameters *h = &o->hyper;
    const gn_device *device = r->session.device;
    program_cost cost = program_get_cost(r->session.steps[1]);
    json_t *line = json_pack("{ss ss ss si sI sI}", "ganc", GANC_VERSION, "model", o->model->name, "data", data->name,
                             "images", data->count, "seed", (json_int_t)o->seed, "steps", (json_int_t)r->total);
    json_t *hyper = json_pack("{si si si sf sf sf si sf sf}", "batch", h->batch, "epochs", h->epochs, "z_dim", h->z_dim,
                              "lr", h->lr, "beta1", h->beta1, "beta2", h->beta2, "n_critic", h->n_critic, "clip",
                              h->clip, "gp_weight", h->gp_weight);
    json_t *where = json_pack("{ss ss ss ss ss si sI}", "device", device->info.name, "driver", device->info.driver,
                              "platform", device->info.platform_name, "class",
                              device->class == CLASS_CPU ? "cpu" : "gpu", "gemm", gemm_description(device->gemm),
                              "launches_per_step", cost.launches, "arena_bytes", (json_int_t)cost.arena_bytes);
    json_object_update_new(line, hyper);
    json_object_update_new(line, where);
    return run_log_write(r->log, line);
}

static bool write_grid(run *r, int epoch) {
    session *s = &r->session;
    float *images = gn_calloc((size_t)GRID_IMAGES * IMAGE_PIXELS, sizeof *images);
    char *path = run_folder_grid_path(r->options->out, epoch);
    bool done = gn_program_run(s->grid) && gn_state_get(s->device, s->samples, images) &&
                image_grid_write(path, images, GRID_IMAGES, 28, 28, GRID_COLUMNS);
    free(path);
    free(images);
    return done;
}

// ---- Losses ------------------------------------------------------------------------------------------

// Logs a step with the latest losses up to it: in a step without an update of the generator, of the last one.
static bool log_step(run *r, long step, double seconds) {
    int epoch = (int)(step / r->session.steps_per_epoch);
    double rate = step > 0 && seconds > 0 ? (double)step * r->options->hyper.batch / seconds : 0;
    progress_line(r->progress, step, r->last[D_LOSS], r->last[G_LOSS]);
    json_t *line = json_pack("{sI si}", "step", (json_int_t)step, "epoch", epoch);
    for (int i = 0; i < LOSS_COLUMNS; i++)
        if (i != GP || r->session.hyper.gp_weight > 0)
            json_object_set_new(line, loss_names[i], run_log_number(r->last[i]));
    json_object_set_new(line, "seconds", json_real(seconds));
    json_object_set_new(line, "images_per_second", json_real(rate));
    return run_log_write(r->log, line);
}

// Keeps a step's losses, and says so when one that the step has is no number.
static void take_losses(run *r, float rows[LOSS_ROWS][LOSS_COLUMNS], long step) {
    float losses[LOSS_COLUMNS];
    session_losses(&r->session, rows, step, losses);
    for (int i = 0; i < LOSS_COLUMNS; i++)
        if (!isnan(losses[i]) || i == D_LOSS)
            r->last[i] = (double)losses[i];
    if (!isfinite(r->last[D_LOSS]) && !r->said_nan) {
        progress_message(r->progress, "ganc: step %ld: the loss is no longer a number; a smaller --lr may help", step);
        r->said_nan = true;
    }
}

// Reads back the losses of all steps started since the last reading, which waits for them.
static bool read_losses(run *r) {
    float rows[LOSS_ROWS][LOSS_COLUMNS];
    if (!gn_state_get(r->session.device, r->session.losses, rows))
        return false;
    double seconds = now() - r->start;
    for (; r->read < r->done; r->read++) {
        take_losses(r, rows, r->read);
        bool due = r->read % r->session.steps_per_epoch % r->options->log_interval == 0 || r->read == r->total - 1;
        // Steps read together ended at about equal distances.
        double ended = r->done > 1 ? seconds * (double)r->read / (double)(r->done - 1) : 0;
        if (due && !log_step(r, r->read, ended))
            return false;
    }
    progress_redraw(r->progress, r->done);
    return true;
}

// ---- The loop ----------------------------------------------------------------------------------------

static bool start_epoch(run *r, int epoch) {
    session *s = &r->session;
    size_t count = gn_shape_count(gn_variable_shape(s->order));
    int32_t *order = gn_calloc(count, sizeof *order);
    gn_draw_permutation(r->options->seed, "order", (uint32_t)epoch, order, count);
    bool done = gn_state_set(s->device, s->order, order);
    free(order);
    return done;
}

// Reads the losses when enough steps were started, and aims at doing so four times a second.
static bool keep_pace(run *r) {
    if (r->done - r->read < r->ahead)
        return true;
    double before = now(), start = r->start;
    long steps = r->done - r->read;
    if (!read_losses(r))
        return false;
    if (r->done == 1)
        r->start = now(); // the first step compiled kernels: training alone is timed from here
    else if (now() - start < 0.25 * (double)r->done / (double)steps && r->ahead < LOSS_ROWS / 2)
        r->ahead *= 2;
    else if (now() - before > 0.5 && r->ahead > 1)
        r->ahead /= 2;
    return true;
}

static bool run_epoch(run *r, int epoch) {
    long end = (long)(epoch + 1) * r->session.steps_per_epoch;
    if (!start_epoch(r, epoch))
        return false;
    while (r->done < end && r->done < r->total && !stop_asked) {
        if (!session_run_step(&r->session, r->done))
            return false;
        r->done++;
        if (!keep_pace(r))
            return false;
    }
    return read_losses(r) && (r->done < end || write_grid(r, epoch + 1));
}

static bool run_all(run *r, train_result *result) {
    r->start = now();
    r->ahead = 1;
    if (!write_grid(r, 0))
        return false;
    for (int epoch = 0; r->done < r->total && !stop_asked; epoch++)
        if (!run_epoch(r, epoch))
            return false;
    double seconds = now() - r->start;
    *result = (train_result){.steps = r->done,
                             .seconds = seconds,
                             .images_per_second =
                                 r->done > 1 ? (double)(r->done - 1) * r->options->hyper.batch / seconds : 0,
                             .d_loss = r->last[D_LOSS],
                             .g_loss = r->last[G_LOSS],
                             .interrupted = stop_asked};
    snprintf(result->device, sizeof result->device, "%s", gn_device_name(r->session.device));
    return true;
}

static bool prepare(run *r, dataset *data) {
    const train_options *o = r->options;
    if (!dataset_load(data, o->data, o->seed))
        return false;
    if (o->hyper.batch > data->count)
        return gn_fail("a batch of %d images is more than the %d of %s: give a smaller --batch", o->hyper.batch,
                       data->count, data->name);
    r->session = (session){.model = o->model, .hyper = o->hyper, .device = gn_device_open(o->device, &o->device_options)};
    if (!r->session.device)
        return false;
    session_graphs graphs = session_build(&r->session, data, o->seed, NULL);
    r->total = (long)r->session.steps_per_epoch * o->hyper.epochs;
    if (o->steps && o->steps < r->total)
        r->total = o->steps;
    free(data->images); // the state has them
    data->images = NULL;
    bool done = session_compile(&r->session, &graphs);
    session_graphs_free(&graphs);
    return done;
}

bool train(const train_options *options, train_result *result) {
    run r = {.options = options};
    dataset data = {0};
    bool done = false;
    stop_asked = 0;
    // The folder is touched only when everything else is known to work.
    if (!prepare(&r, &data) || !run_folder_open(options->out, options->overwrite))
        goto cleanup;
    r.log = run_log_new(options->out);
    if (!r.log || !write_header(&r, &data))
        goto cleanup;
    catch_signals();
    r.progress = progress_new((progress_plan){r.total, r.session.steps_per_epoch, options->hyper.epochs, options->hyper.batch});
    progress_message(r.progress, "%s on %s (%d images), on %s; pictures in %s/images", options->model->name, data.name,
                     data.count, gn_device_name(r.session.device), options->out);
    done = run_all(&r, result);
cleanup:
    progress_free(r.progress);
    if (!run_log_free(r.log))
        done = false;
    session_free(&r.session);
    dataset_free(&data);
    return done;
}
