// `ganc tune`: arguments, table and JSON. Measuring is cl/gemm_tune.c's.
#include "train/tune.h"
#include "base/error.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "io/json.h"

#include <string.h>

// ---- For a person ------------------------------------------------------------------------------------

static void print_product(const tune_result *r, const gemm_tuning *t) {
    double best = t->candidates[t->chosen].gflops;
    printf("%-20s %6.1f %5.0f%% %+5.0f%%  ", gemm_shape_words(t->shape).text, best,
           100 * best / r->peak_gflops, 100 * t->candidates[t->chosen].gain);
    for (int i = 0; i < t->count; i++) {
        const gemm_candidate *c = &t->candidates[i];
        printf("%s%s%s ", i ? ", " : "", i == t->chosen ? "*" : "", c->name);
        if (c->right)
            printf("%.1f", c->gflops);
        else
            printf("wrong");
    }
    putchar('\n');
}

static void print_result(const tune_result *r) {
    printf("%s (%s, driver %s), kernels for a %s, products by %s, at most %.0f GFLOP/s\n\n", r->device.name,
           r->device.platform_name, r->device.driver, r->class == CLASS_CPU ? "CPU" : "GPU", r->gemm,
           r->peak_gflops);
    printf("%-20s %6s %6s %6s  %s\n", "product", "GFLOP/s", "peak", "gain", "ways, the built-in one first");
    double before = 0, after = 0; // seconds for one product of each shape
    for (int i = 0; i < r->product_count; i++) {
        const gemm_tuning *t = &r->products[i];
        double operations = 2e-9 * t->shape.m * t->shape.n * t->shape.k;
        print_product(r, t);
        before += operations / t->candidates[0].gflops;
        after += operations / t->candidates[t->chosen].gflops;
    }
    printf("\nOne product of each shape takes %.3g ms by the built-in table, %.3g ms by what is marked *,\n"
           "which runs use from now on. GANC_OFF=tune goes by the table.\n",
           1e3 * before, 1e3 * after);
}

// ---- For a machine -----------------------------------------------------------------------------------

static json_t *describe_product(const tune_result *r, const gemm_tuning *t) {
    json_t *ways = json_array();
    for (int i = 0; i < t->count; i++)
        json_array_append_new(ways, json_pack("{ss sb sf}", "way", t->candidates[i].name, "right",
                                              t->candidates[i].right, "gflops", t->candidates[i].gflops));
    const gemm_candidate *chosen = &t->candidates[t->chosen];
    return json_pack("{ss ss ss sf sf sf so}", "shape", gemm_shape_words(t->shape).text, "chosen",
                     chosen->name, "built_in", t->candidates[0].name, "gflops", chosen->gflops, "gain",
                     chosen->gain, "share", chosen->gflops / r->peak_gflops, "ways", ways);
}

static json_t *describe(const tune_result *r) {
    json_t *products = json_array();
    for (int i = 0; i < r->product_count; i++)
        json_array_append_new(products, describe_product(r, &r->products[i]));
    json_t *device =
        json_pack("{so so so ss so sf}", "name", json_text(r->device.name), "driver",
                  json_text(r->device.driver), "platform", json_text(r->device.platform_name), "class",
                  device_class_name(r->class), "gemm", json_text(r->gemm), "peak_gflops", r->peak_gflops);
    return json_pack("{so so}", "device", device, "products", products);
}

// ---- The command -------------------------------------------------------------------------------------

int command_tune(int argc, char **argv) {
    const char *model_name = NULL, *names[MAX_MODELS + 1];
    tune_options o = {.rounds = 20, .progress = show_progress};
    bool json = false;
    list_models(names);
    const option options[] = {
        {"model", "M", "What", "the products of this model only (default: all)", CHOICE(&model_name, names)},
        {"batch", "N", "What", "images in a step (default: the model's)",
         INT(&o.batch, 2, MAX_BATCH, "batch norm needs a variance")},
        {"rounds", "N", "What", "how often each way is measured, slow ones less (default: 20)",
         INT(&o.rounds, 1, 10000, NULL)},
        DEVICE_OPTIONS(o.device, o.device_options),
        {"json", NULL, "Output", "print one JSON object on stdout, no table", FLAG(&json)},
        {.name = NULL},
    };
    const command_syntax syntax = {
        .name = "tune",
        .summary = "Find the fastest kernel and tile for each matrix product of the models' training steps,\n"
                   "and keep them in the cache folder ($XDG_CACHE_HOME/ganc, else ~/.cache/ganc), where all\n"
                   "commands look. No result changes by it. GANC_OFF=tune goes by the built-in table;\n"
                   "GANC_TILE=12x32, rows and columns, takes that tile wherever there is one.",
        .example = "ganc tune --model gan",
        .options = options,
    };
    int status = options_parse(&syntax, argc, argv, NULL);
    if (status != OPTIONS_OK)
        return status;
    o.model = model_name ? find_model(model_name) : NULL;

    tune_result result;
    bool done = tune_run(&o, &result);
    if (o.progress)
        o.progress("");
    if (done && json)
        status = print_json(describe(&result));
    else if (done)
        print_result(&result);
    tune_result_free(&result);
    return done ? json ? status : 0 : run_error();
}
