// The process that compiles ahead: it leaves nothing to compile, and ends when it is told.
#include "cl/device.h"
#include "scratch.h"
#include "train/ahead.h"
#include "training.h"

// Folders of the test's own, in which nothing is compiled.
static void make_caches(void) {
    static const char *const names[] = {"pocl", "cache"}, *const variables[] = {"POCL_CACHE_DIR",
                                                                                "XDG_CACHE_HOME"};
    for (int i = 0; i < 2; i++) {
        ck_assert_int_eq(mkdir(in_scratch(names[i]), 0700), 0);
        setenv(variables[i], in_scratch(names[i]), 1);
    }
}

// How many files of these names PoCL keeps there: one for each kernel, or program.
static const char *const kernels = "*.so", *const programs = "program.bc";
static int count_files(const char *names) {
    char command[128];
    int count = -1;
    snprintf(command, sizeof command, "find %s -name '%s' | wc -l", in_scratch("pocl"), names);
    FILE *found = popen(command, "r");
    ck_assert(found && fscanf(found, "%d", &count) == 1);
    pclose(found);
    return count;
}

static train_options short_run(const char *out) {
    train_options options = {
        .model = &gan, .hyper = gan.defaults, .steps = 1, .data = TESTS_DIR "/data", .out = out};
    options.log_interval = 1;
    return options;
}

static dataset load(const train_options *run) {
    dataset data = {0};
    ck_assert_msg(dataset_load(&data, run->data, run->seed), "%s", gn_error());
    return data;
}

// Makes the run's programs, for which products are verified, and runs none.
static bool have_pocl(const train_options *run, const dataset *data) {
    session s = training_start((training_options){run->model, NULL, NULL, run->hyper.batch, run->seed}, data);
    bool pocl = device_is_pocl(&s.device->info);
    session_free(&s);
    return pocl;
}

START_TEST(it_compiles_all_that_a_run_needs) {
    make_caches();
    setenv("GANC_OFF", "ahead", 1);
    const char *out = in_scratch("run");
    train_options options = short_run(out);
    dataset data = load(&options);
    train_result result;
    if (!have_pocl(&options, &data))
        return; // other drivers have other folders, or none
    int before = count_files(kernels), texts = count_files(programs);
    ahead_compile(&options, &data, -1);
    int after = count_files(kernels);
    ck_assert_int_ge(after, before + 20);
    ck_assert_msg(train(&options, &result), "%s", gn_error());
    ck_assert_int_eq(count_files(kernels), after);
    // Whether a start verifies products, compiles alone or trains, its programs have the same texts.
    ck_assert_int_gt(texts, 0);
    ck_assert_int_eq(count_files(programs), texts);
    dataset_free(&data);
}
END_TEST

// It holds an end of a pipe, as it holds everything that was open: reading the other one waits until it is
// gone. Told at once, it has compiled nothing.
START_TEST(it_ends_when_it_is_told) {
    int ends[2];
    char nothing;
    make_caches();
    unsetenv("GANC_OFF");
    const char *out = in_scratch("run");
    train_options options = short_run(out);
    dataset data = load(&options);
    for (int i = 0; i < 2; i++) { // one process a run
        ck_assert_int_eq(pipe(ends), 0);
        ahead_start(&options, &data);
        close(ends[1]);
        ahead_stop();
        ck_assert_int_eq(read(ends[0], &nothing, 1), 0);
        close(ends[0]);
    }
    ck_assert_int_eq(count_files(kernels), 0);
    dataset_free(&data);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("ahead");
    TCase *cases = tcase_create("ahead");
    tcase_add_checked_fixture(cases, scratch_make, scratch_remove);
    if (!getenv("GANC_TEST_BRIEF")) // all kernels of a model are compiled anew
        tcase_add_test(cases, it_compiles_all_that_a_run_needs);
    tcase_add_test(cases, it_ends_when_it_is_told);
    suite_add_tcase(suite, cases);
    return suite;
}
