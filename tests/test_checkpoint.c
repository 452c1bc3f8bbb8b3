// Checkpoints: a run that went on from one is the run that never stopped, bit for bit, for every model; what
// is damaged or foreign or contradicts is refused in one line; what cannot be written leaves the earlier one
// alone.
#include "data/synthetic.h"
#include "io/run_folder.h"
#include "io/safetensors.h"
#include "scratch.h"
#include "train/checkpoint.h"
#include "training.h"

enum { IMAGES = 64, BATCH = 16, STEPS = 12, STOP = 5, SEED = 3 }; // three epochs; it stops in the second

static dataset digits(void) {
    dataset data = {.name = strdup("synthetic"), .count = IMAGES, .height = 28, .width = 28};
    data.images = calloc(IMAGES, 28 * 28);
    data.labels = calloc(IMAGES, 1);
    synthetic_draw(SEED, 0, IMAGES, data.images, data.labels);
    return data;
}

static session start(const model *m, uint64_t seed) {
    dataset data = digits();
    session s = training_start((training_options){m, "cpu", "native", BATCH, seed}, &data);
    dataset_free(&data);
    return s;
}

static run_record record_of(const session *s, int step) {
    run_record record = {.options = {.model = s->model,
                                     .hyper = s->hyper,
                                     .seed = SEED,
                                     .steps = 1000,
                                     .data = "synthetic",
                                     .log_interval = 50,
                                     .checkpoint_minutes = 2.5,
                                     .device = "cpu",
                                     .device_options = {.gemm = "native"}},
                         .images = IMAGES,
                         .data_crc = 0xfedcba98,
                         .place = "here",
                         .step = step,
                         .seconds = 1.0 / 3,
                         .losses = {0.1, NAN, 3}};
    return record;
}

// A folder with the checkpoint of a run of `steps` steps.
static const char *save(session *s, const char *name, int steps) {
    const char *dir = in_scratch(name);
    ck_assert_msg(run_folder_open(dir, true), "%s", gn_error());
    run_record record = record_of(s, steps);
    ck_assert_msg(checkpoint_write(dir, s, &record), "%s", gn_error());
    return dir;
}

static void set_order(session *s, int epoch) {
    int32_t order[IMAGES];
    gn_draw_permutation(SEED, "order", (uint32_t)epoch, order, IMAGES);
    ck_assert(gn_state_set(s->device, s->order, order));
}

static void *fetch(session *s, gn_variable *v, size_t *bytes) {
    *bytes = gn_shape_count(gn_variable_shape(v)) * gn_type_size(gn_variable_type(v));
    void *values = calloc(*bytes, 1);
    ck_assert_msg(gn_state_get(s->device, v, values), "%s", gn_error());
    return values;
}

// ---- Going on ----------------------------------------------------------------------------------------

START_TEST(a_resumed_run_is_the_run) {
    const model *m = all_models[_i];
    session whole = start(m, SEED), stopped = start(m, SEED);
    training_steps(&whole, 0, STEPS);
    training_steps(&stopped, 0, STOP);
    const char *dir = save(&stopped, m->name, STOP);
    session_free(&stopped);

    checkpoint *saved = checkpoint_open(dir);
    ck_assert_msg(saved != NULL, "%s", gn_error());
    ck_assert_int_eq(checkpoint_record(saved)->step, STOP);
    session resumed = start(m, SEED);
    ck_assert_msg(checkpoint_load(saved, &resumed), "%s", gn_error());
    checkpoint_free(saved);
    set_order(&resumed, STOP / (IMAGES / BATCH));
    training_steps(&resumed, STOP, STEPS - STOP);

    ck_assert(gn_program_run(whole.grid) && gn_program_run(resumed.grid));
    size_t compared = 0;
    for (gn_variable *v = gn_state_next(whole.state, NULL); v; v = gn_state_next(whole.state, v)) {
        size_t bytes, other_bytes, skipped = 0;
        void *values = fetch(&whole, v, &bytes);
        gn_variable *other = gn_state_find(resumed.state, gn_variable_name(v));
        void *others = fetch(&resumed, other, &other_bytes);
        if (v == whole.losses) // those of the earlier steps were read and logged by the process that did them
            skipped = STOP * LOSS_COLUMNS * sizeof(float);
        ck_assert_uint_eq(bytes, other_bytes);
        ck_assert_msg(!memcmp((char *)values + skipped, (char *)others + skipped, bytes - skipped),
                      "%s: '%s' differs", m->name, gn_variable_name(v));
        compared += bytes - skipped;
        free(values);
        free(others);
    }
    printf("%s: %zu bytes, equal\n", m->name, compared);
    session_free(&whole);
    session_free(&resumed);
}
END_TEST

START_TEST(a_record_comes_back) {
    session s = start(&cgan, SEED);
    training_steps(&s, 0, 2);
    checkpoint *saved = checkpoint_open(save(&s, "record", 2));
    ck_assert_msg(saved != NULL, "%s", gn_error());
    run_record in = record_of(&s, 2), out = *checkpoint_record(saved);
    ck_assert_ptr_eq(out.options.model, &cgan);
    const hyper_parameters *a = &in.options.hyper, *b = &out.options.hyper;
    ck_assert(a->batch == b->batch && a->epochs == b->epochs && a->z_dim == b->z_dim && a->lr == b->lr);
    ck_assert(a->beta1 == b->beta1 && a->beta2 == b->beta2 && a->n_critic == b->n_critic);
    ck_assert(a->clip == b->clip && a->gp_weight == b->gp_weight);
    ck_assert_uint_eq(out.options.seed, SEED);
    ck_assert_int_eq(out.options.steps, 1000);
    ck_assert_int_eq(out.options.log_interval, 50);
    ck_assert_double_eq(out.options.checkpoint_minutes, 2.5);
    ck_assert_str_eq(out.options.data, "synthetic");
    ck_assert_str_eq(out.options.device, "cpu");
    ck_assert_str_eq(out.options.device_options.gemm, "native");
    ck_assert_ptr_null(out.options.device_options.device_class);
    ck_assert_ptr_null(out.options.device_options.kernels);
    ck_assert_int_eq(out.images, IMAGES);
    ck_assert_uint_eq(out.data_crc, 0xfedcba98);
    ck_assert_str_eq(out.place, "here");
    ck_assert_int_eq(out.step, 2);
    ck_assert_double_eq(out.seconds, 1.0 / 3);
    ck_assert_double_eq(out.losses[D_LOSS], 0.1);
    ck_assert(isnan(out.losses[G_LOSS]));
    checkpoint_free(saved);
    session_free(&s);
}
END_TEST

// ---- What is in the files ----------------------------------------------------------------------------

static void assert_counter(const safetensors *file, const char *name, int value) {
    const st_tensor *tensor = st_find(file, name);
    int32_t found;
    ck_assert_msg(tensor && tensor->dtype == ST_I64 && tensor->dims == 0, "%s is no I64 scalar", name);
    ck_assert(st_read_i32(tensor, &found));
    ck_assert_int_eq(found, value);
}

// The tensor is the variable, (inputs, outputs), transposed.
static void assert_weight(session *s, const safetensors *file, const char *name, const char *variable,
                          int inputs, int outputs) {
    const st_tensor *tensor = st_need(file, name, gn_shape_of(2, outputs, inputs));
    ck_assert_msg(tensor != NULL, "%s", gn_error());
    size_t bytes;
    float *values = fetch(s, gn_state_find(s->state, variable), &bytes), *found = malloc(bytes);
    st_read_f32(tensor, found);
    bool any = false;
    for (int i = 0; i < inputs; i++)
        for (int o = 0; o < outputs; o++) {
            any = any || found[o * inputs + i] != 0;
            REQUIRE(values[i * outputs + o] == found[o * inputs + i], "%s[%d, %d] differs", name, o, i);
        }
    ck_assert_msg(any, "%s is zero", name);
    free(values);
    free(found);
}

START_TEST(the_files_are_pytorchs) {
    session s = start(&wgan_gp, SEED);
    training_steps(&s, 0, 2);
    const char *dir = save(&s, "files", 2);
    char *path = run_folder_checkpoint_path(dir), *generator_path = run_folder_generator_path(dir);
    safetensors *file = safetensors_read(path), *generator = safetensors_read(generator_path);
    ck_assert_msg(file && generator, "%s", gn_error());

    assert_weight(&s, file, "generator.model.0.weight", "generator.model.0.weight", 100, 128);
    assert_weight(&s, file, "generator.adam.generator.model.0.weight.m",
                  "generator.adam.generator.model.0.weight.m", 100, 128);
    assert_weight(&s, file, "discriminator.adam.discriminator.model.2.weight.v",
                  "discriminator.adam.discriminator.model.2.weight.v", 512, 256);
    assert_weight(&s, generator, "model.2.weight", "generator.model.2.weight", 128, 256);
    assert_counter(file, "step", 2);
    assert_counter(file, "discriminator.adam.step", 2);
    assert_counter(file, "generator.model.3.num_batches_tracked", 3); // the generator's step runs it twice
    assert_counter(generator, "model.3.num_batches_tracked", 3);
    ck_assert_ptr_nonnull(st_find(file, "generator.model.3.running_var"));
    ck_assert_ptr_nonnull(st_find(generator, "model.3.running_var"));
    for (const st_tensor *t = st_next(file, NULL); t; t = st_next(file, t))
        ck_assert_msg(!strncmp(t->name, "generator.", 10) || !strncmp(t->name, "discriminator.", 14) ||
                          !strcmp(t->name, "step"),
                      "%s does not belong into a checkpoint", t->name);
    int count = 0;
    for (const st_tensor *t = st_next(generator, NULL); t; t = st_next(generator, t), count++)
        ck_assert_msg(!strncmp(t->name, "model.", 6), "%s is not the generator's", t->name);
    ck_assert_int_eq(count, 4 * 2 + 2 * 5);
    ck_assert_str_eq(st_find_metadata(generator, "format"), "pt");
    safetensors_free(file);
    safetensors_free(generator);
    free(path);
    free(generator_path);
    session_free(&s);
}
END_TEST

// ---- What is refused ---------------------------------------------------------------------------------

static char *read_whole(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    ck_assert_ptr_nonnull(file);
    fseek(file, 0, SEEK_END);
    *size = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*size);
    ck_assert_uint_eq(fread(bytes, 1, *size, file), *size);
    fclose(file);
    return bytes;
}

// Each replaces the first text in the file by the second, of the same length.
static const struct {
    const char *from, *to, *error;
} damages[] = {
    {"ganc-checkpoint-1", "ganc-checkpoint-9", "ganc-checkpoint-1"},
    {"\"model\":\"gan\"", "\"model\":\"gun\"", "'gun'"},
    {"\"batch\":\"16\"", "\"batch\":\"-1\"", "batch '-1'"},
    {"\"batch\":\"16\"", "\"batch\":\"1x\"", "batch '1x'"},
    {"\"batch\":\"16\"", "\"batch\":\"99\"", "99"},
    {"\"batch\":\"16\"", "\"botch\":\"16\"", "batch ''"},
    {"\"z_dim\":\"100\"", "\"z_dim\":\"100\"", NULL}, // unchanged: good
    {"\"z_dim\":\"100\"", "\"z_dim\":\"1.5\"", "z_dim '1.5'"},
    {"\"z_dim\":\"100\"", "\"z_dim\":\"101\"", "generator.model.0.weight"},
    {"\"seed\":\"3\"", "\"seed\":\"?\"", "seed '?'"},
    {"\"n_critic\":\"1\"", "\"n_critic\":\"0\"", "n_critic '0'"},
    {"\"lr\":\"0.0002\"", "\"lr\":\"nan   \"", "lr 'nan"},
    {"\"data\":", "\"dato\":", "data"},
    {"\"generator.adam.step\"", "\"generator.adam.stop\"", "generator.adam.step"},
    {"\"step\":{", "\"stop\":{", "step"},
    {"[128,100]", "[100,128]", "(128, 100)"},
};
enum { DAMAGES = sizeof damages / sizeof *damages };

// Is the checkpoint in `dir` opened and loaded?
static bool opens(const char *dir) {
    checkpoint *saved = checkpoint_open(dir);
    if (!saved)
        return false;
    session s = {.model = checkpoint_record(saved)->options.model,
                 .hyper = checkpoint_record(saved)->options.hyper};
    dataset data = digits();
    session_graphs graphs = session_build(&s, &data, SEED, NULL);
    bool good = checkpoint_load(saved, &s);
    session_graphs_free(&graphs);
    session_free(&s);
    dataset_free(&data);
    checkpoint_free(saved);
    return good;
}

START_TEST(damage_is_refused) {
    session s = start(&gan, SEED);
    const char *dir = save(&s, "damaged", 3);
    session_free(&s);
    char *path = run_folder_checkpoint_path(dir);
    size_t size;
    char *bytes = read_whole(path, &size);
    for (int i = 0; i < DAMAGES; i++) {
        size_t length = strlen(damages[i].from);
        ck_assert_uint_eq(length, strlen(damages[i].to));
        char *changed = malloc(size), *at;
        memcpy(changed, bytes, size);
        for (at = changed; memcmp(at, damages[i].from, length) != 0; at++)
            REQUIRE(at + length < changed + size, "the file has no %s", damages[i].from);
        memcpy(at, damages[i].to, length);
        put_file(path, changed, size);
        bool good = opens(dir);
        ck_assert_msg(good == !damages[i].error, "%s was taken", damages[i].to);
        if (!good)
            assert_error(path, damages[i].error);
        free(changed);
    }
    for (size_t length = 0; length < size; length = length * 5 + 1) {
        put_file(path, bytes, length);
        ck_assert_msg(!opens(dir), "%zu bytes of %zu were taken", length, size);
        assert_error(path, "");
    }
    free(bytes);
    free(path);
    ck_assert(!checkpoint_open(in_scratch("nowhere")));
    assert_error("nowhere", "holds no run");
}
END_TEST

START_TEST(contradictions_are_named) {
    session s = start(&wgan, SEED);
    checkpoint *saved = checkpoint_open(save(&s, "contradicted", 3));
    ck_assert_msg(saved != NULL, "%s", gn_error());
    const train_options same = checkpoint_record(saved)->options;
    ck_assert_msg(checkpoint_allows(saved, &same), "%s", gn_error());
    train_options other = same;
#define CONTRADICTS(member, value, was, is)                                                                  \
    other = same;                                                                                            \
    other.member = value;                                                                                    \
    ck_assert_msg(!checkpoint_allows(saved, &other), "another %s was taken", #member);                       \
    assert_error(was ";", is " contradicts")
    CONTRADICTS(model, &gan, "--model wgan", "--model gan");
    CONTRADICTS(seed, 4, "--seed 3", "--seed 4");
    CONTRADICTS(hyper.batch, 32, "--batch 16", "--batch 32");
    CONTRADICTS(hyper.z_dim, 7, "--z-dim 100", "--z-dim 7");
    CONTRADICTS(hyper.lr, 0.1, "--lr 5e-05", "--lr 0.1");
    CONTRADICTS(hyper.n_critic, 2, "--n-critic 5", "--n-critic 2");
    CONTRADICTS(hyper.clip, 0.010000000000000002, "--clip 0.01", "--clip 0.010000000000000002");
    CONTRADICTS(hyper.beta1, 0.5, "--beta1 0", "--beta1 0.5");
    CONTRADICTS(hyper.gp_weight, 10, "--gp-weight 0", "--gp-weight 10");
    other = same;
    other.hyper.epochs = 7;
    other.steps = 12345;
    other.log_interval = 3;
    other.checkpoint_minutes = 0;
    other.device = "amd:0";
    other.device_options.gemm = "clblast";
    ck_assert_msg(checkpoint_allows(saved, &other), "%s", gn_error());
    checkpoint_free(saved);
    session_free(&s);
}
END_TEST

START_TEST(a_full_disk_leaves_the_earlier_one) {
    session s = start(&gan, SEED);
    const char *dir = save(&s, "full", 1);
    char *path = run_folder_checkpoint_path(dir);
    size_t size, size_after;
    char *bytes = read_whole(path, &size);
    training_steps(&s, 0, 2);
    run_record record = record_of(&s, 2);
    limit_file_size(size / 2); // enough for generator.safetensors
    bool good = checkpoint_write(dir, &s, &record);
    lift_file_size();
    ck_assert(!good);
    assert_error(path, "File too large");
    char *after = read_whole(path, &size_after);
    ck_assert(size == size_after && !memcmp(bytes, after, size));
    ck_assert(!is_there(in_scratch("full/checkpoint.safetensors.tmp")));
    ck_assert_msg(opens(dir), "%s", gn_error());
    free(after);
    free(bytes);
    free(path);
    session_free(&s);
}
END_TEST

// ---- The folder --------------------------------------------------------------------------------------

static const char LOG[] = "{\"ganc\":\"1\",\"lr\":0.0002,\"steps\":9}\n"
                          "{\"step\":0,\"d_loss\":1.5}\n"
                          "{\"step\":4,\"d_loss\":null}\n"
                          "{\"step\":5}\n"
                          "{\"step\":6}\n"
                          "{\"step\":7,\"d_lo";

static void rewind_log(const char *log, long step, long skip, const char *expected) {
    ck_assert(run_folder_open(in_scratch("log"), true));
    put_file(in_scratch("log/log.jsonl"), log, strlen(log));
    json_t *header = run_log_header(in_scratch("log"));
    if (!header)
        header = json_pack("{s:s}", "ganc", "new");
    json_object_set_new(header, "steps", json_integer(20));
    ck_assert_msg(run_log_rewind(in_scratch("log"), header, step, skip), "%s", gn_error());
    assert_holds(in_scratch("log/log.jsonl"), expected);
}

START_TEST(a_log_is_rewound) {
#define HEAD "{\"ganc\":\"1\",\"lr\":0.0002,\"steps\":20}\n"
    rewind_log(LOG, 100, -1,
               HEAD
               "{\"step\":0,\"d_loss\":1.5}\n{\"step\":4,\"d_loss\":null}\n{\"step\":5}\n{\"step\":6}\n");
    rewind_log(LOG, 5, -1, HEAD "{\"step\":0,\"d_loss\":1.5}\n{\"step\":4,\"d_loss\":null}\n");
    rewind_log(LOG, 6, 4, HEAD "{\"step\":0,\"d_loss\":1.5}\n{\"step\":5}\n");
    rewind_log(LOG, 0, -1, HEAD);
    rewind_log("{\"ganc\":\"1\",\"lr", 5, -1, "{\"ganc\":\"new\",\"steps\":20}\n"); // a header cut short
    rewind_log("", 5, -1, "{\"ganc\":\"new\",\"steps\":20}\n");
    unlink(in_scratch("log/log.jsonl"));
    ck_assert(run_log_rewind(in_scratch("log"), json_pack("{s:i}", "ganc", 1), 5, -1));
    assert_holds(in_scratch("log/log.jsonl"), "{\"ganc\":1}\n");
}
END_TEST

START_TEST(later_grids_go) {
    const char *dir = in_scratch("grids");
    ck_assert(run_folder_open(dir, true));
    static const char *const stay[] = {"epoch-000000.png", "epoch-000003.png", "epoch-best.png", "other.png"},
                             *const go[] = {"epoch-000004.png", "epoch-000012.png", "epoch-000004.png.tmp"};
    char path[64];
    for (int i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "grids/images/%s", i < 4 ? stay[i] : go[i - 4]);
        put_file(in_scratch(path), "x", 1);
    }
    ck_assert_msg(run_folder_resume(in_scratch("grids"), 3), "%s", gn_error());
    for (int i = 0; i < 7; i++) {
        snprintf(path, sizeof path, "grids/images/%s", i < 4 ? stay[i] : go[i - 4]);
        ck_assert_msg(is_there(in_scratch(path)) == (i < 4), "%s", path);
    }
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("checkpoint");
    int models = 0;
    while (all_models[models])
        models++;
    TCase *tests = tcase_create("checkpoint");
    tcase_add_unchecked_fixture(tests, scratch_make, scratch_remove);
    tcase_set_timeout(tests, 300);
    tcase_add_loop_test(tests, a_resumed_run_is_the_run, 0, models);
    tcase_add_test(tests, a_record_comes_back);
    tcase_add_test(tests, the_files_are_pytorchs);
    tcase_add_test(tests, damage_is_refused);
    tcase_add_test(tests, contradictions_are_named);
    tcase_add_test(tests, a_full_disk_leaves_the_earlier_one);
    tcase_add_test(tests, a_log_is_rewound);
    tcase_add_test(tests, later_grids_go);
    suite_add_tcase(suite, tests);
    return suite;
}
