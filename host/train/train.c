// The training loop: replays a step's program, reads the losses back now and then, writes the run's folder.
//
// The host starts steps and does not wait for them, except to read the losses, which it does a few times a
// second: often enough for the display, rarely enough not to matter. So the device always has work queued,
// and never more than half the rows in which it keeps losses.
//
// A run goes on from its last checkpoint by being in the state that it was in: nothing below knows whether
// steps were done by an earlier process, but for the clock and the log, whose later lines are dropped first.
#include "train/train.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/switches.h"
#include "cl/gemm.h"
#include "cl/program.h"
#include "io/image_grid.h"
#include "io/json.h"
#include "io/progress.h"
#include "io/run_folder.h"
#include "train/ahead.h"
#include "train/checkpoint.h"
#include "train/session.h"

#include <math.h>
#include <signal.h>
#include <string.h>

// What a run holds while it lasts.
typedef struct {
    const train_options *options;
    session session;
    session_graphs graphs;
    long total;     // steps of the whole run
    long first;     // steps that earlier processes did
    long done;      // steps started
    long read;      // steps whose losses were read back
    long ahead;     // steps to start before the next reading
    double earlier; // seconds of training in earlier processes
    double start;   // when the second step of this one began
    double saved;   // when the last checkpoint was written
    int images;     // in the data set
    uint64_t data_crc;
    const char *data_name;
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
    struct sigaction action = {.sa_handler = ask_to_stop, .sa_flags = (int)(SA_RESETHAND | SA_RESTART)};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

// ---- The folder --------------------------------------------------------------------------------------

// The log's first line, of a run that begins.
static json_t *describe_run(const run *r, const dataset *data) {
    const train_options *o = r->options;
    const hyper_parameters *h = &o->hyper;
    const gn_device *device = r->session.device;
    program_cost cost = program_get_cost(r->session.steps[1]);
    json_t *line = json_pack("{ss ss so si so sI}", "ganc", GANC_VERSION, "model", o->model->name, "data",
                             json_text(data->name), "images", data->count, "seed", json_u64(o->seed), "steps",
                             (json_int_t)r->total);
    json_t *hyper = json_pack("{si si si sf sf sf si sf sf}", "batch", h->batch, "epochs", h->epochs, "z_dim",
                              h->z_dim, "lr", h->lr, "beta1", h->beta1, "beta2", h->beta2, "n_critic",
                              h->n_critic, "clip", h->clip, "gp_weight", h->gp_weight);
    json_t *where =
        json_pack("{ss ss ss ss ss si sI}", "device", device->info.name, "driver", device->info.driver,
                  "platform", device->info.platform_name, "class", device_class_name(device->class), "gemm",
                  gemm_description(device->gemm), "launches_per_step", cost.launches, "arena_bytes",
                  (json_int_t)cost.arena_bytes);
    json_object_update_new(line, hyper);
    json_object_update_new(line, where);
    const char *off = gn_switches_off(), *kernels = o->device_options.kernels;
    if (off)
        json_object_set_new(line, "off", json_text(off));
    if (kernels)
        json_object_set_new(line, "kernels", json_text(kernels));
    return line;
}

// That of a run that goes on: what may have changed is its length, and where it computes.
static json_t *describe_resumed_run(const run *r, const dataset *data, bool moved) {
    json_t *line = run_log_header(r->options->out);
    if (!line)
        return describe_run(r, data);
    json_object_set_new(line, "steps", json_integer(r->total));
    json_object_set_new(line, "epochs", json_integer(r->options->hyper.epochs));
    if (moved) {
        json_t *moves = json_object_get(line, "continued_on");
        if (!moves)
            json_object_set_new(line, "continued_on", moves = json_array());
        const device_info *device = &r->session.device->info;
        json_array_append_new(moves, json_pack("{sI ss ss}", "step", (json_int_t)r->done, "device",
                                               device->name, "driver", device->driver));
    }
    return line;
}

static bool is_due(const session *s, long step, int log_interval) {
    return step % s->steps_per_epoch % log_interval == 0;
}

// Writes the checkpoint of the steps done, whose losses must have been read.
static bool save(run *r) {
    gn_device *device = r->session.device;
    char *place = checkpoint_place(device);
    run_record record = {.options = *r->options,
                         .images = r->images,
                         .data_crc = r->data_crc,
                         .place = place,
                         .step = (int)r->done,
                         .seconds = r->earlier + (r->done > r->first ? seconds_now() - r->start : 0)};
    memcpy(record.losses, r->last, sizeof record.losses);
    record.options.data = r->data_name;
    bool done = (!r->log || run_log_sync(r->log)) && checkpoint_write(r->options->out, &r->session, &record);
    free(place);
    r->saved = seconds_now();
    return done;
}

static bool begin_folder(run *r, const dataset *data) {
    const char *out = r->options->out;
    // The checkpoint first, so that there is none without a run, and no run without one.
    return run_folder_open(out, r->options->overwrite) && save(r) &&
           run_log_rewind(out, describe_run(r, data), 0, -1);
}

// Brings the folder back to where the checkpoint is.
static bool resume_folder(run *r, const dataset *data) {
    const run_record *record = checkpoint_record(r->options->resume);
    char *place = checkpoint_place(r->session.device);
    bool moved = strcmp(place, record->place) != 0;
    if (moved)
        fprintf(stderr, "ganc: the run was on %s, and goes on on %s: its last bits will differ\n",
                record->place, place);
    free(place);
    // The last step of a run is logged, due or not; it may no longer be the last.
    long last = checkpoint_steps(&record->options, record->images) - 1;
    bool stays = last == r->total - 1 || is_due(&r->session, last, record->options.log_interval);
    return run_folder_resume(r->options->out, (int)(r->done / r->session.steps_per_epoch)) &&
           run_log_rewind(r->options->out, describe_resumed_run(r, data, moved), r->done, stays ? -1 : last);
}

static bool open_folder(run *r, const dataset *data) {
    bool done = r->options->resume ? resume_folder(r, data) : begin_folder(r, data);
    return done && (r->log = run_log_new(r->options->out));
}

static bool write_grid(run *r, int epoch) {
    session *s = &r->session;
    int side = s->model->image_side;
    float *images = gn_calloc((size_t)GRID_IMAGES * (size_t)(side * side), sizeof *images);
    char *path = run_folder_grid_path(r->options->out, epoch);
    bool done = gn_program_run(s->grid) && gn_state_get(s->device, s->samples, images) &&
                image_grid_write(path, images, GRID_IMAGES, side, side, GRID_COLUMNS);
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
            json_object_set_new(line, loss_names[i], json_number(r->last[i]));
    json_object_set_new(line, "seconds", json_real(seconds));
    json_object_set_new(line, "images_per_second", json_real(rate));
    return run_log_write(r->log, line);
}

// Keeps a step's losses, and says so when one that the step has is no number.
static void take_losses(run *r, float rows[LOSS_ROWS][LOSS_COLUMNS], long step) {
    float losses[LOSS_COLUMNS];
    session_losses(&r->session, rows, step, losses);
    bool finite = true;
    for (int i = 0; i < LOSS_COLUMNS; i++) {
        if (!session_has_loss(&r->session, step, i))
            continue;
        r->last[i] = (double)losses[i];
        finite = finite && isfinite(losses[i]);
    }
    if (!finite && !r->said_nan) {
        progress_message(r->progress,
                         "ganc: step %ld: the loss is no longer a number; a smaller --lr may help", step);
        r->said_nan = true;
    }
}

// Reads back the losses of all steps started since the last reading, which waits for them.
static bool read_losses(run *r) {
    float rows[LOSS_ROWS][LOSS_COLUMNS];
    if (!gn_state_get(r->session.device, r->session.losses, rows))
        return false;
    double seconds = seconds_now() - r->start;
    long steps = r->done - r->first;
    for (; r->read < r->done; r->read++) {
        take_losses(r, rows, r->read);
        bool due = is_due(&r->session, r->read, r->options->log_interval) || r->read == r->total - 1;
        // Steps read together ended at about equal distances.
        double ended = steps > 1 ? seconds * (double)(r->read - r->first) / (double)(steps - 1) : 0;
        if (due && !log_step(r, r->read, r->earlier + ended))
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
    double before = seconds_now(), start = r->start;
    long steps = r->done - r->read;
    if (!read_losses(r))
        return false;
    if (r->done == r->first + 1) {
        ahead_stop();
        r->start = seconds_now(); // the first step compiled kernels: training alone is timed from here
    } else if (seconds_now() - start < 0.25 * (double)(r->done - r->first) / (double)steps &&
               r->ahead < LOSS_ROWS / 2)
        r->ahead *= 2;
    else if (seconds_now() - before > 0.5 && r->ahead > 1)
        r->ahead /= 2;
    return true;
}

static bool is_checkpoint_due(const run *r) {
    double minutes = r->options->checkpoint_minutes;
    return minutes > 0 && seconds_now() - r->saved >= 60 * minutes;
}

// The grid of an epoch that has ended, and a checkpoint. They are no training: the clock stands still.
static bool keep_results(run *r, bool ended, int epoch) {
    if (!read_losses(r))
        return false;
    double before = seconds_now();
    bool kept = (!ended || write_grid(r, epoch + 1)) && save(r);
    r->start += seconds_now() - before;
    return kept;
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
        if (r->done < end && is_checkpoint_due(r) && !keep_results(r, false, epoch))
            return false;
    }
    return keep_results(r, r->done == end, epoch);
}

// A long run begins by measuring how the model's products are made fastest on this device, unless that is
// known. It comes after the first picture, and changes no bit.
static bool tune(run *r) {
    enum { LONG_RUN = 20000, ROUNDS = 5 };
    session *s = &r->session;
    gemm *products = s->device->gemm;
    gemm_shape shape;
    gemm_tuning found;
    if (r->total - r->done < LONG_RUN || !gemm_find_untuned(products, &shape))
        return true;
    ahead_stop();
    progress_message(r->progress, "finding the fastest matrix products for this device, once");
    while (!stop_asked && gemm_find_untuned(products, &shape))
        if (!gemm_tune(products, shape, ROUNDS, &found))
            return false;
    return session_compile_steps(s, &r->graphs);
}

static bool run_all(run *r, train_result *result) {
    if ((r->done == 0 && !write_grid(r, 0)) || !tune(r))
        return false;
    r->start = r->saved = seconds_now();
    r->ahead = 1;
    for (int epoch = (int)(r->done / r->session.steps_per_epoch); r->done < r->total && !stop_asked; epoch++)
        if (!run_epoch(r, epoch))
            return false;
    double seconds = r->earlier + seconds_now() - r->start;
    *result = (train_result){.steps = r->done,
                             .seconds = seconds,
                             .images_per_second =
                                 r->done > 1 ? (double)(r->done - 1) * r->options->hyper.batch / seconds : 0,
                             .d_loss = r->last[D_LOSS],
                             .g_loss = r->last[G_LOSS],
                             .interrupted = stop_asked && r->done < r->total};
    snprintf(result->device, sizeof result->device, "%s", gn_device_name(r->session.device));
    if (result->interrupted)
        progress_message(r->progress,
                         "ganc: stopped after %ld of %ld steps; to go on: ganc --model %s --out %s --resume",
                         r->done, r->total, r->options->model->name, r->options->out);
    return true;
}

// Puts the run to where its checkpoint left it; the session is built and not yet compiled.
static bool take_up(run *r) {
    const run_record *record = checkpoint_record(r->options->resume);
    r->first = r->done = r->read = record->step;
    r->earlier = record->seconds;
    memcpy(r->last, record->losses, sizeof r->last);
    return checkpoint_load(r->options->resume, &r->session);
}

static bool is_same_data(const run *r, const dataset *data) {
    const run_record *record = checkpoint_record(r->options->resume);
    return (r->images == record->images && r->data_crc == record->data_crc) ||
           gn_fail("%s is a run on %s, %d images with the CRC %08x; %s has %d with %08x: give the "
                   "--data that it began with",
                   r->options->out, record->options.data, record->images, (unsigned)record->data_crc,
                   data->name, r->images, (unsigned)r->data_crc);
}

static bool prepare(run *r, dataset *data) {
    const train_options *o = r->options;
    if (!dataset_load(data, o->data, o->seed))
        return false;
    if (o->hyper.batch > data->count)
        return gn_fail("a batch of %d images is more than the %d of %s: give a smaller --batch",
                       o->hyper.batch, data->count, data->name);
    r->images = data->count;
    r->data_crc = checkpoint_data_crc(data);
    r->data_name = data->name;
    if (o->resume && !is_same_data(r, data))
        return false;
    ahead_start(o, data);
    r->session = (session){
        .model = o->model, .hyper = o->hyper, .device = gn_device_open(o->device, &o->device_options)};
    if (!r->session.device)
        return false;
    r->graphs = session_build(&r->session, data, o->seed, NULL);
    r->total = checkpoint_steps(o, data->count);
    free(data->images); // the state has them
    data->images = NULL;
    return (!o->resume || take_up(r)) && session_compile(&r->session, &r->graphs);
}

// The result of a run that has nothing left to do.
static void tell_complete(const train_options *options, train_result *result) {
    const run_record *record = checkpoint_record(options->resume);
    fprintf(stderr,
            "ganc: %s is complete, with %d steps; more --epochs, or more --steps within them, go on\n",
            options->out, record->step);
    *result = (train_result){.steps = record->step,
                             .seconds = record->seconds,
                             .d_loss = record->losses[D_LOSS],
                             .g_loss = record->losses[G_LOSS]};
    if (record->seconds > 0)
        result->images_per_second = (double)(record->step - 1) * options->hyper.batch / record->seconds;
    snprintf(result->device, sizeof result->device, "%s", record->place);
}

bool train(const train_options *options, train_result *result) {
    run r = {.options = options};
    dataset data = {0};
    bool done = false;
    stop_asked = 0;
    if (options->resume) {
        if (!checkpoint_allows(options->resume, options))
            return false;
        const run_record *record = checkpoint_record(options->resume);
        if (record->step >= checkpoint_steps(options, record->images)) {
            tell_complete(options, result);
            return true;
        }
    } else if (!run_folder_is_possible(options->out, options->overwrite)) {
        return false; // now, and not after the kernels were compiled
    }
    // The folder is touched only when everything else is known to work.
    if (!prepare(&r, &data))
        goto cleanup;
    catch_signals();
    if (!open_folder(&r, &data))
        goto cleanup;
    r.progress = progress_new(
        (progress_plan){r.total, r.session.steps_per_epoch, options->hyper.epochs, options->hyper.batch});
    progress_message(r.progress, "%s on %s (%d images), on %s; pictures in %s/images", options->model->name,
                     data.name, data.count, gn_device_name(r.session.device), options->out);
    if (r.done > 0)
        progress_message(r.progress, "going on after %ld of %ld steps", r.done, r.total);
    done = run_all(&r, result);
cleanup:
    ahead_stop();
    progress_free(r.progress);
    if (!run_log_free(r.log))
        done = false;
    session_graphs_free(&r.graphs);
    session_free(&r.session);
    dataset_free(&data);
    return done;
}
