// `ganc bench`: arguments, tables and JSON. Measuring is train/bench.c's, comparing bench_compare.c's.
#include "train/bench.h"
#include "base/error.h"
#include "cli/bench_compare.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "io/json.h"

#include <string.h>

enum { BAR = 10, FEW_ROWS = 8 };

// ---- For a person ------------------------------------------------------------------------------------

static void print_size(double bytes) {
    if (bytes < 1 << 20)
        printf("%.0f KiB", bytes / (1 << 10));
    else
        printf("%.0f MiB", bytes / (1 << 20));
}

static void print_device(const bench_result *r) {
    const device_peaks *p = &r->peaks;
    printf("%s (%s, driver %s), kernels for a %s, products by %s, times by %s\n", r->device.name,
           r->device.platform_name, r->device.driver, r->class == CLASS_CPU ? "CPU" : "GPU", r->gemm,
           r->by_clock ? "the clock, with which the driver's events disagree" : "events");
    printf("  arithmetic  %.0f GFLOP/s (%s)\n  memory     ", p->gflops, p->shape);
    for (int i = 0; i < p->footprints; i++) {
        bool last = i == p->footprints - 1;
        if (!last && peak_gbs(p, p->bytes[i]) < 1.1 * peak_gbs(p, p->bytes[i + 1]))
            continue;
        printf(" %.0f GB/s ", peak_gbs(p, p->bytes[i]));
        if (last)
            printf("beyond");
        else {
            printf("up to ");
            print_size(p->bytes[i]);
            putchar(',');
        }
    }
    printf("\n  launches    %.1f us each in a queue, %.1f us with the wait for it\n", p->launch_us,
           p->wait_us);
}

static void print_step(const bench_result *r, const bench_step *s) {
    printf("\n%s: %.3g ms a step of %d images (%.3g .. %.3g), %.0f images/s\n", s->model->name, s->ms.median,
           s->batch, s->ms.low, s->ms.high, 1e3 * s->batch / s->ms.median);
    printf("  needs %.0f MFLOP, at peak %.3g ms: %.0f%% of peak; %.1f MiB beside the weights\n",
           1e-6 * s->flops, 1e-6 * s->flops / r->peaks.gflops, 100 * s->share,
           (double)s->arena_bytes / (1 << 20));
    printf("  %.3g kernels take %.3g ms", s->launches, s->parts_ms);
    if (r->by_clock)
        printf(", each with the wait for it, %.3g us", r->peaks.wait_us);
    else
        printf(", and %.2g ms pass between them: together %.0f%% of the step", s->gaps_ms,
               100 * (s->parts_ms + s->gaps_ms) / s->ms.median);
    putchar('\n');
}

static void print_heading(void) {
    printf("\n%7s %9s %5s %8s %7s  %-17s %s\n", "of step", "ms each", "count", "GFLOP/s", "GB/s",
           "of the limit", "kernel, shape");
}

static void print_row(const bench_row *row, const bench_step *step) {
    char bar[BAR + 1] = "..........";
    memset(bar, '#', (size_t)(row->share * BAR + 0.5));
    if (step)
        printf("%6.1f%% ", 100 * row->step_ms / step->ms.median);
    else
        printf("%7s ", "");
    printf("%9.4f %5.3g %8.1f %7.1f  %3.0f%% %s %c %s %s\n", row->ms.median, row->count, row->gflops,
           row->gbs, 100 * row->share, bar, row->memory_bound ? 'M' : 'A', row->kernel, row->shape);
}

static const bench_step *step_of(const bench_result *r, const model *model) {
    for (int i = 0; i < r->step_count; i++)
        if (r->steps[i].model == model)
            return &r->steps[i];
    return NULL;
}

// All rows, or the few of each model that take longest.
static void print_result(const bench_result *r, bool all) {
    print_device(r);
    for (int i = 0, of_model = 0; i < r->row_count; i++, of_model++) {
        const bench_row *row = &r->rows[i];
        const bench_step *step = step_of(r, row->model);
        bool first = i == 0 || row->model != r->rows[i - 1].model;
        bool last = i == r->row_count - 1 || row->model != r->rows[i + 1].model;
        of_model = first ? 0 : of_model;
        if (first && step)
            print_step(r, step);
        else if (first)
            printf("\nkernels that no model uses\n");
        if (first)
            print_heading();
        if (all || !step || of_model < FEW_ROWS)
            print_row(row, step);
        else if (last)
            printf("%7s %d more: --model %s shows them\n", "", of_model - FEW_ROWS + 1, row->model->name);
    }
    puts("\nThe limit of a kernel is the device's arithmetic (A) or its memory (M), whichever ends later. "
         "Kernels are\n"
         "timed one by one; in a step those run at the same time that do not need each other.");
}

// ---- For a machine -----------------------------------------------------------------------------------

static json_t *describe_device(const bench_result *r) {
    const device_peaks *p = &r->peaks;
    json_t *bandwidth = json_array();
    for (int i = 0; i < p->footprints; i++)
        json_array_append_new(bandwidth,
                              json_pack("{sI sf}", "bytes", (json_int_t)p->bytes[i], "gbs", p->gbs[i]));
    return json_pack("{so so so ss so ss sf sf so sf sf}", "name", json_text(r->device.name), "driver",
                     json_text(r->device.driver), "platform", json_text(r->device.platform_name), "class",
                     device_class_name(r->class), "gemm", json_text(r->gemm), "timing",
                     r->by_clock ? "clock" : "events", "peak_gflops", p->gflops, "peak_gbs", peak_gbs(p, 0),
                     "bandwidth", bandwidth, "launch_us", p->launch_us, "wait_us", p->wait_us);
}

static json_t *describe_row(const bench_row *row) {
    return json_pack("{ss so ss sf sf sf sf sf sf sI sf sf ss sf}", "name", row->kernel, "shape",
                     json_text(row->shape), "model", row->model ? row->model->name : "none", "ms",
                     row->ms.median, "ms_low", row->ms.low, "ms_high", row->ms.high, "count", row->count,
                     "step_ms", row->step_ms, "flops", row->flops, "bytes", (json_int_t)row->bytes, "gflops",
                     row->gflops, "gbs", row->gbs, "limit", row->memory_bound ? "memory" : "arithmetic",
                     "share", row->share);
}

static json_t *describe_step(const bench_step *s) {
    return json_pack("{ss si sf sf sf sf sf sf sf sf sf sI}", "model", s->model->name, "batch", s->batch,
                     "ms_per_step", s->ms.median, "ms_low", s->ms.low, "ms_high", s->ms.high, "parts_ms",
                     s->parts_ms, "gaps_ms", s->gaps_ms, "images_per_second", 1e3 * s->batch / s->ms.median,
                     "mflop_per_step", 1e-6 * s->flops, "share", s->share, "launches_per_step", s->launches,
                     "arena_bytes", (json_int_t)s->arena_bytes);
}

static json_t *describe(const bench_result *r) {
    json_t *kernels = json_array(), *models = json_array();
    for (int i = 0; i < r->row_count; i++)
        json_array_append_new(kernels, describe_row(&r->rows[i]));
    for (int i = 0; i < r->step_count; i++)
        json_array_append_new(models, describe_step(&r->steps[i]));
    return json_pack("{so so so}", "device", describe_device(r), "kernels", kernels, "models", models);
}

// ---- The command -------------------------------------------------------------------------------------

// Prints what was measured, or read, beside what was recorded; `old` may be NULL. Takes both.
static void report(json_t *old, json_t *new, bool json) {
    json_t *changes = old ? bench_changes(old, new) : NULL;
    if (changes && !json)
        bench_print_changes(old, new, changes);
    if (changes && json)
        json_object_set(new, "changes", changes);
    json_decref(changes);
    json_decref(old);
    if (json)
        print_json(new);
    else
        json_decref(new);
}

static int measure(const bench_options *o, json_t *old, bool json) {
    bench_result result;
    bool done = bench_run(o, &result);
    if (o->progress)
        o->progress("");
    if (done && !json)
        print_result(&result, o->model || o->kernel);
    if (done)
        report(old, describe(&result), json);
    else
        json_decref(old);
    bench_result_free(&result);
    return done ? 0 : run_error();
}

int command_bench(int argc, char **argv) {
    const char *model_name = NULL, *compare = NULL, *with = NULL, *names[MAX_MODELS + 1];
    bench_options o = {.rounds = 20, .progress = show_progress};
    bool json = false;
    list_models(names);
    const option options[] = {
        {"model", "M", "What", "the training step of this model only (default: all)",
         CHOICE(&model_name, names)},
        {"kernel", "NAME", "What", "only kernels whose name has this in it, such as gemm", TEXT(&o.kernel)},
        {"batch", "N", "What", "images in a step (default: the model's)",
         INT(&o.batch, 2, MAX_BATCH, "batch norm needs a variance")},
        {"rounds", "N", "What", "how often each step is measured (default: 20)",
         INT(&o.rounds, 1, 10000, NULL)},
        {"compare", "OLD.json", "What",
         "say what became faster or slower than recorded there, beyond the noise", TEXT(&compare)},
        {"with", "NEW.json", "What", "compare this record with the other, and measure nothing", TEXT(&with)},
        DEVICE_OPTIONS(o.device, o.device_options),
        {"json", NULL, "Output", "print one JSON object on stdout, no table", FLAG(&json)},
        {.name = NULL},
    };
    const command_syntax syntax = {
        .name = "bench",
        .summary = "Measure a device: the most it can do, each kernel of the models' training steps and its "
                   "share of\n"
                   "that, and whole steps.",
        .example = "ganc bench --model dcgan                  # where does a step's time go?\n"
                   "  ganc bench --json >before.json            # ... change something ...\n"
                   "  ganc bench --compare before.json",
        .options = options,
    };
    int status = options_parse(&syntax, argc, argv, NULL);
    if (status != OPTIONS_OK)
        return status;
    if (with && !compare)
        return usage_error("--with '%s': what to compare it with is missing, --compare OLD.json", with);
    o.model = model_name ? find_model(model_name) : NULL;

    json_t *old = NULL, *new = NULL;
    if ((compare && !(old = bench_load(compare))) || (with && !(new = bench_load(with)))) {
        json_decref(old);
        return run_error();
    }
    if (!with)
        return measure(&o, old, json);
    report(old, new, json);
    return 0;
}
