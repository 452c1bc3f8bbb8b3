// `ganc replay`: a recorded PyTorch run, repeated and compared. The repeating and comparing is replay()'s;
// here are the table and the verdict.
#include "base/error.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "io/json.h"
#include "train/train.h"

#include <string.h>

static void print_table(const replay_result *result) {
    int width = (int)strlen("quantity");
    for (int i = 0; i < result->count; i++)
        if ((int)strlen(result->rows[i].name) > width)
            width = (int)strlen(result->rows[i].name);
    printf("%s, %d steps of %d images; distances from PyTorch's float64 run\n\n", result->model,
           result->steps, result->batch);
    printf("%-*s  %10s  %15s  %7s\n", width, "quantity", "ganc", "PyTorch float32", "ratio");
    for (int i = 0; i < result->count; i++) {
        const replay_row *row = &result->rows[i];
        printf("%-*s  %10.2e  %15.2e  %7.2f\n", width, row->name, row->distance, row->torch32, row->ratio);
    }
    printf("\nlargest ratio %.2f (%s), median %.2f\n", result->worst, result->worst_name, result->median);
}

static void print_result(const replay_result *result, double tolerance) {
    json_t *rows = json_array();
    for (int i = 0; i < result->count; i++) {
        const replay_row *row = &result->rows[i];
        json_array_append_new(rows, json_pack("{ss so so so}", "name", row->name, "distance",
                                              json_number(row->distance), "torch32",
                                              json_number(row->torch32), "ratio", json_number(row->ratio)));
    }
    print_json(json_pack("{ss si si so so sf so sb}", "model", result->model, "steps", result->steps, "batch",
                         result->batch, "worst", json_number(result->worst), "median",
                         json_number(result->median), "tolerance", tolerance, "quantities", rows, "passed",
                         (int)(result->worst <= tolerance)));
}

int command_replay(int argc, char **argv) {
    const char *trace = NULL, *save = NULL, *device = NULL;
    gn_device_options device_options = {0};
    double tolerance = 4;
    bool json = false;
    const option options[] = {
        {"tolerance", "X", "Comparison", "fail when a ratio of the two distances is above X (default: 4)",
         REAL(&tolerance, 0, 1e9)},
        {"save", "FILE", "Comparison", "write what was computed as safetensors", TEXT(&save)},
        DEVICE_OPTIONS(device, device_options),
        {"json", NULL, "Output", "print one JSON object on stdout, no table", FLAG(&json)},
        {.name = NULL},
    };
    const command_syntax syntax = {
        .name = "replay",
        .operand = "TRACE",
        .summary =
            "Repeat a training run that PyTorch recorded in TRACE, a safetensors file with all random "
            "draws,\n"
            "and compare losses, weights and samples. Each one's distance from the run in float64 "
            "(relative,\n"
            "by 2-norm) is set in ratio to the distance of PyTorch's own float32 run. Exits 1 when a ratio\n"
            "is above the tolerance. Of a single number, such as a bias, it may be so by chance: then the\n"
            "median says how close the whole is.",
        .example = "ganc replay traces/gan.safetensors --device cpu",
        .options = options,
    };
    int status = options_parse(&syntax, argc, argv, &trace);
    if (status != OPTIONS_OK)
        return status;

    replay_result result = {0};
    if (!replay(trace, save, device, &device_options, &result))
        return run_error();
    if (json)
        print_result(&result, tolerance);
    else
        print_table(&result);
    if (!(result.worst <= tolerance)) {
        gn_fail("%s: the ratio of %s, %.2f, is above the tolerance, %g; the median is %.2f", trace,
                result.worst_name, result.worst, tolerance, result.median);
        status = run_error();
    } else {
        status = 0;
    }
    replay_result_free(&result);
    return status;
}
