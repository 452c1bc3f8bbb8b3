// Benchmarks compared: by pairs of the same kernel, shape and model, or the same model's step.
//
// A pair differs beyond the noise where the medians are farther apart than both quartile ranges side by side,
// 5%, and half of what a launch costs: what one record saw does not tell how far a machine drifts between
// two.
#include "cli/bench_compare.h"
#include "base/error.h"

#include <math.h>
#include <string.h>

static const double MIN_CHANGE = 0.05;

static double number(const json_t *object, const char *key) {
    return json_number_value(json_object_get(object, key));
}

static const char *text(const json_t *object, const char *key) {
    const char *value = json_string_value(json_object_get(object, key));
    return value ? value : "";
}

// ---- Reading -----------------------------------------------------------------------------------------

// Is it a list of objects that have these keys, numbers all?
static bool has_numbers(const json_t *list, const char *const *keys) {
    for (size_t i = 0; i < json_array_size(list); i++)
        for (const char *const *key = keys; *key; key++)
            if (!json_is_number(json_object_get(json_array_get(list, i), *key)))
                return false;
    return json_is_array(list);
}

json_t *bench_load(const char *path) {
    static const char *const kernel_keys[] = {"ms", "ms_low", "ms_high", NULL};
    static const char *const model_keys[] = {"ms_per_step", "ms_low", "ms_high", NULL};
    json_error_t error;
    json_t *root = json_load_file(path, 0, &error);
    if (!root) {
        gn_fail("%s: %s; --compare takes a file that 'ganc bench --json' wrote", path, error.text);
        return NULL;
    }
    if (json_is_object(json_object_get(root, "device")) &&
        has_numbers(json_object_get(root, "kernels"), kernel_keys) &&
        has_numbers(json_object_get(root, "models"), model_keys))
        return root;
    gn_fail("%s: is JSON, but not what 'ganc bench --json' writes", path);
    json_decref(root);
    return NULL;
}

// ---- Comparing ---------------------------------------------------------------------------------------

static bool same(const json_t *a, const json_t *b) {
    static const char *const keys[] = {"model", "name", "shape", "bytes", "batch"};
    for (int i = 0; i < 5; i++) {
        const json_t *x = json_object_get(a, keys[i]), *y = json_object_get(b, keys[i]);
        if (x != y && !json_equal(x, y))
            return false;
    }
    return true;
}

static double width(const json_t *element) {
    return number(element, "ms_high") - number(element, "ms_low");
}

static bool differs(const json_t *old, const json_t *new, const char *ms, double launch_ms) {
    double was = number(old, ms), is = number(new, ms);
    return fabs(is - was) > MIN_CHANGE * was + launch_ms / 2 + width(old) + width(new);
}

static void add_changes(json_t *changes, const json_t *old, const json_t *new, const char *ms,
                        double launch_ms) {
    for (size_t i = 0; i < json_array_size(old); i++)
        for (size_t j = 0; j < json_array_size(new); j++) {
            const json_t *a = json_array_get(old, i), *b = json_array_get(new, j);
            double ratio = number(b, ms) / number(a, ms);
            if (!same(a, b) || !differs(a, b, ms, launch_ms))
                continue;
            json_t *change = json_object();
            static const char *const keys[] = {"model", "name", "shape"};
            for (int k = 0; k < 3; k++)
                if (json_object_get(a, keys[k]))
                    json_object_set(change, keys[k], json_object_get(a, keys[k]));
            json_object_set_new(change, "old_ms", json_real(number(a, ms)));
            json_object_set_new(change, "new_ms", json_real(number(b, ms)));
            json_object_set_new(change, "ratio", json_real(ratio));
            json_array_append_new(changes, change);
        }
}

json_t *bench_changes(const json_t *old, const json_t *new) {
    json_t *changes = json_array();
    double launch_ms = 1e-3 * number(json_object_get(old, "device"), "launch_us");
    add_changes(changes, json_object_get(old, "models"), json_object_get(new, "models"), "ms_per_step",
                launch_ms);
    add_changes(changes, json_object_get(old, "kernels"), json_object_get(new, "kernels"), "ms", launch_ms);
    return changes;
}

// ---- Printing ----------------------------------------------------------------------------------------

void bench_print_changes(const json_t *old, const json_t *new, const json_t *changes) {
    static const char *const facts[] = {"name", "driver", "class", "gemm", "timing"};
    static const char *const peaks[] = {"peak_gflops", "peak_gbs"};
    const json_t *then = json_object_get(old, "device"), *now = json_object_get(new, "device");
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++)
        if (strcmp(text(then, facts[i]), text(now, facts[i])) != 0)
            printf("Not the same %s: was %s, is %s\n", i ? facts[i] : "device", text(then, facts[i]),
                   text(now, facts[i]));
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        double ratio = number(now, peaks[i]) / number(then, peaks[i]);
        if (fabs(log(ratio)) > log(1 + MIN_CHANGE))
            printf("Not the same speed: %s was %.4g, is %.4g\n", peaks[i], number(then, peaks[i]),
                   number(now, peaks[i]));
    }
    if (!json_array_size(changes)) {
        puts("Nothing changed beyond the noise.");
        return;
    }
    printf("\n%10s %10s %7s\n", "was ms", "is ms", "ratio");
    for (size_t i = 0; i < json_array_size(changes); i++) {
        const json_t *c = json_array_get(changes, i);
        double ratio = number(c, "ratio");
        printf("%10.4f %10.4f %7.2f  %s  %s: %s %s\n", number(c, "old_ms"), number(c, "new_ms"), ratio,
               ratio < 1 ? "faster" : "slower", text(c, "model"),
               json_object_get(c, "name") ? text(c, "name") : "the whole step", text(c, "shape"));
    }
}
