// `ganc bench`: peaks, then each model's training step in two ways, in turns: a few steps one after another
// by the clock, as in training, and one step whose every launch is timed. So what disturbs the machine meets
// both, and the sum of the launches can be held against the step. All of it is done in several passes, each
// with new programs and buffers: how fast a kernel is also depends on where its memory happens to lie.
//
// A launch's share is the time that the device's peaks allow it, divided by what it takes. A figure above a
// measured peak is the peak: no measurement of a peak can be sure to have seen the best.
//
// What single launches take is left to cl/profile.c, peaks to cl/peak.c, tables to cli/bench.c.
#include "train/bench.h"
#include "base/clock.h"
#include "base/numbers.h"
#include "cl/gemm.h"
#include "cl/generated_kernels.h"
#include "cl/program.h"
#include "data/synthetic.h"
#include "train/session.h"

#include <math.h>
#include <string.h>

enum {
    IMAGES = 10000, // or a few more: an epoch is whole turns of n_critic steps
    ROUND_MILLISECONDS = 25,
    WARM_UP = 2,
    PASSES = 3
};

typedef struct {
    double *values;
    int count, capacity;
} samples;

// A program, and which row each kernel of its run belongs to.
typedef struct {
    gn_program *program;
    double weight; // of its runs among the steps
    int *rows;     // by the kernel's place in the run; NULL before the first
    int kernels;
} timed_program;

// What is measured: a model, or the cases of kernels that no model uses.
typedef struct {
    const model *model; // NULL: the cases
    gn_device *device;
    session session;
    gn_state *state;                    // of the cases
    timed_program programs[2];          // the first may have none
    bench_step *measured;               // of a model
    samples step_ms, parts_ms, gaps_ms; // by round
    double gaps;                        // of the present round
    double ms;                          // a step of the last round
    long step;                          // the next
} subject;

typedef struct {
    samples ms;    // of one launch
    samples round; // of all launches of a step, by round
    double sum;    // of the present round
} row_samples;

enum { MAX_SUBJECTS = 32 };

typedef struct {
    const bench_options *options;
    bench_result *result;
    gn_device *device, *native; // the second only where products of the first are another's
    profile *profiles[2];       // of the two
    subject subjects[MAX_SUBJECTS];
    int subject_count;
    int pass, passes;
    row_samples *samples; // by row
} bench;

static void say(const bench *b, const char *what) {
    if (b->options->progress)
        b->options->progress(what);
}

// ---- Samples -----------------------------------------------------------------------------------------

static void add_sample(samples *s, double value) {
    if (s->count == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 32;
        s->values = gn_realloc(s->values, (size_t)s->capacity * sizeof *s->values);
    }
    s->values[s->count++] = value;
}

// Sorts the samples.
static spread spread_of(samples *s) {
    sort_numbers(s->values, s->count);
    int last = s->count - 1;
    return (spread){s->values[last / 4], s->values[last / 2], s->values[last - last / 4]};
}

// ---- What is measured --------------------------------------------------------------------------------

static bool prepare_cases(bench *b, subject *s) {
    s->device = b->native ? b->native : b->device;
    s->state = gn_state_new(0);
    gn_graph *graph = gn_graph_new(s->state);
    bench_add_cases(graph);
    s->programs[1] = (timed_program){.program = gn_program_new(s->device, graph), .weight = 1};
    gn_graph_free(graph);
    return s->programs[1].program != NULL;
}

static bool prepare_model(bench *b, subject *s) {
    session *run = &s->session;
    *run = (session){.model = s->model, .hyper = s->model->defaults, .device = b->device};
    s->device = b->device;
    if (b->options->batch)
        run->hyper.batch = b->options->batch;
    int turn = run->hyper.batch * run->hyper.n_critic, count = (IMAGES + turn - 1) / turn * turn;
    dataset data = {.count = count, .height = SYNTHETIC_SIZE, .width = SYNTHETIC_SIZE};
    data.images = gn_calloc((size_t)count, SYNTHETIC_SIZE * SYNTHETIC_SIZE);
    data.labels = gn_calloc((size_t)count, 1);
    synthetic_draw(0, 0, count, data.images, data.labels);
    session_graphs graphs = session_build(run, &data, 0, NULL);
    double n = run->hyper.n_critic;
    s->measured->batch = run->hyper.batch;
    s->measured->flops = session_mean_flops(&graphs, run->hyper.n_critic);

    // The model's generated kernels are then in the same programs as in its training, which may have been
    // compiled.
    generated_kernels_forget(run->device);
    int32_t *order = gn_calloc((size_t)count, sizeof *order);
    gn_draw_permutation(0, "order", 0, order, (size_t)count);
    bool done = session_compile(run, &graphs) && gn_state_set(run->device, run->order, order);
    free(order);
    free(data.images);
    free(data.labels);
    session_graphs_free(&graphs);
    if (!done)
        return false;
    s->programs[0] = (timed_program){.program = run->steps[0], .weight = (n - 1) / n};
    s->programs[1] = (timed_program){.program = run->steps[1], .weight = 1 / n};
    s->measured->arena_bytes = program_get_cost(run->steps[1]).arena_bytes;
    return true;
}

// Frees the programs and their state; the samples stay. May be called twice.
static void release(subject *s) {
    for (int i = 0; i < 2; i++)
        free(s->programs[i].rows);
    if (s->model) {
        s->session.device = NULL; // shared
        session_free(&s->session);
    } else {
        gn_program_free(s->programs[1].program);
        gn_state_free(s->state);
        s->state = NULL;
    }
    memset(s->programs, 0, sizeof s->programs);
    s->ms = 0;
}

// ---- Rows --------------------------------------------------------------------------------------------

static int find_row(bench *b, const bench_row *row) {
    bench_result *r = b->result;
    for (int i = 0; i < r->row_count; i++) {
        const bench_row *other = &r->rows[i];
        if (other->model == row->model && !strcmp(other->kernel, row->kernel) &&
            !strcmp(other->shape, row->shape) && other->flops == row->flops && other->bytes == row->bytes)
            return i;
    }
    r->rows = gn_realloc(r->rows, (size_t)(r->row_count + 1) * sizeof *r->rows);
    b->samples = gn_realloc(b->samples, (size_t)(r->row_count + 1) * sizeof *b->samples);
    r->rows[r->row_count] = *row;
    r->rows[r->row_count].kernel = gn_strdup(row->kernel);
    r->rows[r->row_count].shape = gn_strdup(row->shape);
    b->samples[r->row_count] = (row_samples){.sum = 0};
    return r->row_count++;
}

// Which row a kernel of a run belongs to.
static int row_of(bench *b, const subject *s, const timed_program *p, const profile_time *time) {
    launch_work work = program_work(p->program, time->launch, time->part);
    bench_row row = {.model = s->model, .shape = work.shape, .flops = work.flops, .bytes = work.bytes};
    row.kernel = (char *)(work.template ? work.template : time->kernel[0] ? time->kernel : "clblast");
    return find_row(b, &row);
}

// Runs a program once with every launch timed; adds the times to their rows where they are to be kept.
static bool profile_run(bench *b, subject *s, timed_program *p, bool keep) {
    profile *profile = b->profiles[s->device == b->native];
    if (!profile_start(profile))
        return false;
    bool done = gn_program_run(p->program);
    if (!profile_stop(profile) || !done)
        return false;
    int count;
    const profile_time *times = profile_times(profile, &count);
    if (!p->rows) {
        p->kernels = count;
        p->rows = gn_calloc((size_t)count, sizeof *p->rows);
        for (int i = 0; i < count; i++) {
            p->rows[i] = row_of(b, s, p, &times[i]);
            b->result->rows[p->rows[i]].count += b->pass ? 0 : p->weight;
        }
    }
    GN_ASSERT(count == p->kernels, "a program ran %d kernels, and %d another time", p->kernels, count);
    for (int i = 0; i < count && keep; i++) {
        row_samples *row = &b->samples[p->rows[i]];
        add_sample(&row->ms, times[i].ms);
        row->sum += p->weight * times[i].ms;
    }
    s->gaps += p->weight * profile_gaps(profile);
    return true;
}

static bool profile_step(bench *b, subject *s, bool keep) {
    for (int i = 0; i < 2; i++)
        if (s->programs[i].program && !profile_run(b, s, &s->programs[i], keep))
            return false;
    return true;
}

static bool is_wanted(const bench *b, const bench_row *row) {
    return !b->options->kernel || strstr(row->kernel, b->options->kernel);
}

static bool has_wanted_rows(const bench *b, const subject *s) {
    for (int i = 0; i < b->result->row_count; i++)
        if (b->result->rows[i].model == s->model && is_wanted(b, &b->result->rows[i]))
            return true;
    return false;
}

// The names of all rows' kernels, each once. The caller frees.
static char *list_kernels(const bench_result *r) {
    char *list = gn_strdup("");
    for (int i = 0; i < r->row_count; i++) {
        bool known = false;
        for (int j = 0; j < i; j++)
            known = known || !strcmp(r->rows[j].kernel, r->rows[i].kernel);
        if (known)
            continue;
        char *longer = gn_format("%s%s%s", list, i ? ", " : "", r->rows[i].kernel);
        free(list);
        list = longer;
    }
    return list;
}

// ---- Measuring ---------------------------------------------------------------------------------------

// Milliseconds a step of whole turns of n_critic steps, as training runs them. On entry *ms is an estimate:
// short steps are taken together, so that the wait at their end does not count.
static bool time_steps(subject *s, double *ms) {
    int steps = s->session.hyper.n_critic;
    while (*ms > 0 && steps * *ms < ROUND_MILLISECONDS)
        steps += s->session.hyper.n_critic;
    if (!gn_device_wait(s->device))
        return false;
    double began = seconds_now();
    for (int i = 0; i < steps; i++)
        if (!session_run_step(&s->session, s->step++ % s->session.steps_per_epoch))
            return false;
    bool done = gn_device_wait(s->device);
    *ms = 1e3 * (seconds_now() - began) / steps;
    return done;
}

static bool measure_round(bench *b, subject *s, bool keep) {
    double ms = s->ms, parts = 0;
    s->gaps = 0;
    if ((s->model && !time_steps(s, &ms)) || !profile_step(b, s, keep))
        return false;
    s->ms = ms;
    for (int i = 0; i < b->result->row_count && keep; i++)
        if (b->result->rows[i].model == s->model) {
            add_sample(&b->samples[i].round, b->samples[i].sum);
            parts += b->samples[i].sum;
            b->samples[i].sum = 0;
        }
    if (keep) {
        add_sample(&s->step_ms, ms);
        add_sample(&s->parts_ms, parts);
        add_sample(&s->gaps_ms, s->gaps);
    }
    return true;
}

static bool measure(bench *b, subject *s) {
    say(b, s->model ? s->model->name : "other kernels");
    int rounds = (b->options->rounds + b->passes - 1) / b->passes;
    for (int i = -WARM_UP; i < rounds; i++)
        if (!measure_round(b, s, i >= 0))
            return false;
    return true;
}

// ---- Results -----------------------------------------------------------------------------------------

// Rows that are wanted, with their figures; the others go. A case is for a kernel that no model runs.
static void settle_rows(bench *b) {
    bench_result *r = b->result;
    int kept = 0;
    for (int i = 0; i < r->row_count; i++) {
        bench_row row = r->rows[i];
        bool wanted = is_wanted(b, &row) && b->samples[i].round.count > 0;
        for (int j = 0; j < kept && !row.model; j++)
            wanted = wanted && !(r->rows[j].model && !strcmp(r->rows[j].kernel, row.kernel));
        if (wanted) {
            row.ms = spread_of(&b->samples[i].ms);
            row.ms.median = fmax(row.ms.median, 1e-6); // a coarse clock may show nothing
            row.step_ms = spread_of(&b->samples[i].round).median;
            row.gflops = 1e-6 * row.flops / row.ms.median;
            row.gbs = 1e-6 * row.bytes / row.ms.median;
            r->rows[kept++] = row;
        } else {
            free(row.kernel);
            free(row.shape);
        }
        free(b->samples[i].ms.values);
        free(b->samples[i].round.values);
    }
    r->row_count = kept;
    free(b->samples);
    b->samples = NULL;
}

static void settle_shares(bench_result *r) {
    for (int i = 0; i < r->row_count; i++)
        peak_reached(&r->peaks, r->rows[i].gflops, r->rows[i].gbs, r->rows[i].bytes);
    for (int i = 0; i < r->row_count; i++) {
        bench_row *row = &r->rows[i];
        double arithmetic = row->gflops / r->peaks.gflops,
               memory = row->gbs / peak_gbs(&r->peaks, row->bytes);
        row->memory_bound = memory > arithmetic;
        row->share = row->memory_bound ? memory : arithmetic;
    }
}

// Models in their order, then the cases; within one what takes longest first.
static int compare_rows(const void *a, const void *b) {
    const bench_row *x = a, *y = b;
    if (x->model != y->model) {
        int i = 0;
        while (all_models[i] && all_models[i] != x->model && all_models[i] != y->model)
            i++;
        return all_models[i] == x->model ? -1 : 1;
    }
    return (x->step_ms < y->step_ms) - (x->step_ms > y->step_ms);
}

static void settle_step(const bench *b, subject *s) {
    bench_step *step = s->measured;
    step->ms = spread_of(&s->step_ms);
    step->parts_ms = spread_of(&s->parts_ms).median;
    step->gaps_ms = spread_of(&s->gaps_ms).median;
    for (int i = 0; i < b->result->row_count; i++)
        step->launches += b->result->rows[i].model == s->model ? b->result->rows[i].count : 0;
}

static void settle(bench *b) {
    bench_result *r = b->result;
    for (int i = 0; i < b->subject_count; i++) {
        subject *s = &b->subjects[i];
        if (s->model && s->step_ms.count)
            settle_step(b, s);
        free(s->step_ms.values);
        free(s->parts_ms.values);
        free(s->gaps_ms.values);
    }
    settle_rows(b);
    settle_shares(r);
    int kept = 0;
    for (int i = 0; i < r->step_count; i++) {
        bench_step step = r->steps[i];
        if (step.ms.median > 0) { // it was measured
            step.share = 1e-6 * step.flops / step.ms.median / r->peaks.gflops;
            r->steps[kept++] = step;
        }
    }
    r->step_count = kept;
    if (r->row_count)
        qsort(r->rows, (size_t)r->row_count, sizeof *r->rows, compare_rows);
}

// ---- All of it ---------------------------------------------------------------------------------------

static bool open_devices(bench *b) {
    const bench_options *o = b->options;
    if (!(b->device = gn_device_open(o->device, &o->device_options)))
        return false;
    b->result->gemm = gemm_description(b->device->gemm);
    if (strcmp(b->result->gemm, "native") != 0 && !o->model) {
        gn_device_options native = o->device_options;
        native.gemm = "native";
        if (!(b->native = gn_device_open(o->device, &native)))
            return false;
    }
    b->result->device = b->device->info;
    b->result->class = b->device->class;
    return (b->profiles[0] = profile_new(b->device)) &&
           (!b->native || (b->profiles[1] = profile_new(b->native)));
}

static void list_subjects(bench *b) {
    for (int i = 0; all_models[i]; i++)
        if (!b->options->model || b->options->model == all_models[i])
            b->subjects[b->subject_count++].model = all_models[i];
    b->result->step_count = b->subject_count;
    b->result->steps = gn_calloc((size_t)b->subject_count, sizeof *b->result->steps);
    for (int i = 0; i < b->subject_count; i++) {
        b->subjects[i].measured = &b->result->steps[i];
        b->result->steps[i].model = b->subjects[i].model;
    }
    b->subject_count += !b->options->model; // the cases
}

// Makes a subject's programs and runs each once, so that its rows are known.
static bool prepare(bench *b, subject *s) {
    say(b, "compiling");
    return (s->model ? prepare_model(b, s) : prepare_cases(b, s)) && profile_step(b, s, false);
}

// Before anything is measured: is there such a kernel at all?
static bool check_kernel(bench *b) {
    for (int i = 0; i < b->subject_count; i++)
        if (has_wanted_rows(b, &b->subjects[i]))
            return true;
    char *names = list_kernels(b->result);
    gn_fail("--kernel '%s': no kernel's name has that in it; there are %s", b->options->kernel, names);
    free(names);
    return false;
}

static bool measure_peaks(bench *b) {
    say(b, "peaks");
    if (!peak_measure(b->profiles[0], b->options->rounds, &b->result->peaks))
        return false;
    b->result->by_clock = profile_is_by_clock(b->profiles[0]);
    if (b->result->by_clock && b->profiles[1])
        profile_by_clock(b->profiles[1]);
    return true;
}

static bool run_pass(bench *b) {
    for (int i = 0; i < b->subject_count; i++)
        if ((b->pass == 0 || has_wanted_rows(b, &b->subjects[i])) && !prepare(b, &b->subjects[i]))
            return false;
    if (b->pass == 0 && (!check_kernel(b) || !measure_peaks(b)))
        return false;
    for (int i = 0; i < b->subject_count; i++)
        if (has_wanted_rows(b, &b->subjects[i]) && !measure(b, &b->subjects[i]))
            return false;
    return true;
}

bool bench_run(const bench_options *options, bench_result *result) {
    *result = (bench_result){.gemm = NULL};
    bench b = {.options = options, .result = result};
    b.passes = options->rounds < PASSES ? 1 : PASSES;
    bool done = open_devices(&b);
    list_subjects(&b);
    for (; done && b.pass < b.passes; b.pass++) {
        done = run_pass(&b);
        for (int i = 0; i < b.subject_count; i++)
            release(&b.subjects[i]);
    }
    settle(&b);
    profile_free(b.profiles[0]);
    profile_free(b.profiles[1]);
    gn_device_free(b.native);
    gn_device_free(b.device);
    return done;
}

void bench_result_free(bench_result *result) {
    for (int i = 0; i < result->row_count; i++) {
        free(result->rows[i].kernel);
        free(result->rows[i].shape);
    }
    free(result->rows);
    free(result->steps);
    *result = (bench_result){.gemm = NULL};
}
