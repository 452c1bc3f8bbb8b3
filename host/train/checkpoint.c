// Checkpoints. One table lists what the metadata hold: it drives writing, reading with its checks, and the
// comparison with the options of a resumed run. In the metadata all values are text; reals are written so
// that reading them gives the same bits.
#include "train/checkpoint.h"
#include "base/error.h"
#include "base/switches.h"
#include "cl/device.h"
#include "cl/gemm.h"
#include "io/json.h"
#include "io/run_folder.h"
#include "train/tensors.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

static const char FORMAT[] = "ganc-checkpoint-1";

struct checkpoint {
    char *path;
    safetensors *file;
    run_record record; // its strings are the file's
};

// ---- What the metadata hold --------------------------------------------------------------------------

typedef enum { FIELD_INT, FIELD_LONG, FIELD_U64, FIELD_REAL, FIELD_TEXT, FIELD_OPTIONAL_TEXT } field_kind;

typedef struct {
    const char *key; // an option's name, with _ for -, where it is one
    field_kind kind;
    size_t at;        // in run_record
    double low, high; // what numbers are possible; low > high: any, none too
    bool decides;     // may not change when the run goes on
} field;

#define AT(member)   offsetof(run_record, member)
#define OPTION(name) AT(options.name)
#define ANY_NUMBER   1, 0
#define NO_RANGE     0, 0

static const field fields[] = {
    {"seed", FIELD_U64, OPTION(seed), NO_RANGE, true},
    {"batch", FIELD_INT, OPTION(hyper.batch), 2, MAX_BATCH, true},
    {"z_dim", FIELD_INT, OPTION(hyper.z_dim), 1, MAX_Z_DIM, true},
    {"lr", FIELD_REAL, OPTION(hyper.lr), 0, 1e30, true},
    {"beta1", FIELD_REAL, OPTION(hyper.beta1), 0, 1, true},
    {"beta2", FIELD_REAL, OPTION(hyper.beta2), 0, 1, true},
    {"n_critic", FIELD_INT, OPTION(hyper.n_critic), 1, INT_MAX, true},
    {"clip", FIELD_REAL, OPTION(hyper.clip), 0, 1e30, true},
    {"gp_weight", FIELD_REAL, OPTION(hyper.gp_weight), 0, 1e30, true},
    {"epochs", FIELD_INT, OPTION(hyper.epochs), 1, INT_MAX, false},
    {"steps", FIELD_LONG, OPTION(steps), 0, INT_MAX, false},
    {"log_interval", FIELD_INT, OPTION(log_interval), 1, INT_MAX, false},
    {"checkpoint_minutes", FIELD_REAL, OPTION(checkpoint_minutes), 0, 1e30, false},
    {"device", FIELD_OPTIONAL_TEXT, OPTION(device), NO_RANGE, false},
    {"class", FIELD_OPTIONAL_TEXT, OPTION(device_options.device_class), NO_RANGE, false},
    {"gemm", FIELD_OPTIONAL_TEXT, OPTION(device_options.gemm), NO_RANGE, false},
    {"kernels", FIELD_OPTIONAL_TEXT, OPTION(device_options.kernels), NO_RANGE, false},
    {"data", FIELD_TEXT, OPTION(data), NO_RANGE, false}, // data_crc says whether it is the same
    {"images", FIELD_INT, AT(images), 1, INT_MAX, false},
    {"data_crc", FIELD_U64, AT(data_crc), NO_RANGE, false},
    {"place", FIELD_TEXT, AT(place), NO_RANGE, false},
    {"seconds", FIELD_REAL, AT(seconds), 0, 1e30, false},
    {"d_loss", FIELD_REAL, AT(losses[D_LOSS]), ANY_NUMBER, false},
    {"g_loss", FIELD_REAL, AT(losses[G_LOSS]), ANY_NUMBER, false},
    {"gp", FIELD_REAL, AT(losses[GP]), ANY_NUMBER, false},
};
enum { FIELDS = sizeof fields / sizeof *fields };

// The shortest text that gives the same number again.
static char *real_text(double value) {
    char *text = NULL;
    for (int digits = 6; digits <= 17; digits++) {
        free(text);
        text = gn_format("%.*g", digits, value);
        if (strtod(text, NULL) == value)
            break;
    }
    return text;
}

// A copy for a file whose text is UTF-8, which a folder's name need not be.
static char *utf8_text(const char *text) {
    json_t *string = json_text(text);
    char *copy = gn_strdup(json_string_value(string));
    json_decref(string);
    return copy;
}

// A field's value as text, which the caller frees; NULL for a text that is not set.
static char *field_text(const field *f, const run_record *record) {
    const void *at = (const char *)record + f->at;
    switch (f->kind) {
    case FIELD_INT:
        return gn_format("%d", *(const int *)at);
    case FIELD_LONG:
        return gn_format("%ld", *(const long *)at);
    case FIELD_U64:
        return gn_format("%llu", (unsigned long long)*(const uint64_t *)at);
    case FIELD_REAL:
        return real_text(*(const double *)at);
    case FIELD_TEXT:
    case FIELD_OPTIONAL_TEXT:
        break;
    }
    const char *text = *(const char *const *)at;
    return text ? utf8_text(text) : NULL;
}

static bool parse_number(const field *f, const char *text, double *number) {
    char *end;
    *number = strtod(text, &end);
    bool whole = f->kind == FIELD_REAL || *number == floor(*number);
    return end != text && *end == '\0' && whole &&
           (f->low > f->high || (*number >= f->low && *number <= f->high));
}

static bool read_field(const checkpoint *saved, const field *f, run_record *record) {
    const char *text = st_find_metadata(saved->file, f->key);
    void *at = (char *)record + f->at;
    if (f->kind == FIELD_TEXT || f->kind == FIELD_OPTIONAL_TEXT) {
        *(const char **)at = text;
        return text || f->kind == FIELD_OPTIONAL_TEXT ||
               gn_fail("%s: its metadata have no '%s': the checkpoint is damaged", saved->path, f->key);
    }
    double number = 0;
    char *end = "?";
    errno = 0;
    if (text && f->kind == FIELD_U64)
        *(uint64_t *)at = strtoull(text, &end, 10);
    if (!text ||
        (f->kind == FIELD_U64 ? *end != '\0' || end == text || errno : !parse_number(f, text, &number)))
        return gn_fail("%s: its metadata say %s '%.40s', which is impossible: the checkpoint is damaged",
                       saved->path, f->key, text ? text : "");
    if (f->kind == FIELD_INT)
        *(int *)at = (int)number;
    if (f->kind == FIELD_LONG)
        *(long *)at = (long)number;
    if (f->kind == FIELD_REAL)
        *(double *)at = number;
    return true;
}

// ---- Reading -----------------------------------------------------------------------------------------

static bool read_record(checkpoint *saved) {
    run_record *record = &saved->record;
    const char *format = st_find_metadata(saved->file, "format");
    const char *name = st_find_metadata(saved->file, "model");
    if (!format || strcmp(format, FORMAT) != 0 || !name)
        return gn_fail("%s is no checkpoint that this ganc can read: its metadata do not say format %s",
                       saved->path, FORMAT);
    record->options.model = find_model(name);
    if (!record->options.model)
        return gn_fail(
            "%s: a run of the model '%.40s', which this ganc does not have; 'ganc models' lists them",
            saved->path, name);
    for (int i = 0; i < FIELDS; i++)
        if (!read_field(saved, &fields[i], record))
            return false;
    const st_tensor *step = st_need(saved->file, "step", gn_shape_of(0));
    if (!step || !st_read_i32(step, &record->step))
        return false;
    if (record->step < 0 || record->options.hyper.batch > record->images)
        return gn_fail("%s: step %d of a run with batches of %d of %d images: the checkpoint is damaged",
                       saved->path, record->step, record->options.hyper.batch, record->images);
    return true;
}

checkpoint *checkpoint_open(const char *dir) {
    checkpoint *saved = gn_calloc(1, sizeof *saved);
    saved->path = run_folder_checkpoint_path(dir);
    bool done = false;
    if (access(saved->path, F_OK) != 0)
        gn_fail("%s holds no run that could go on: no %s; without --resume one begins", dir, saved->path);
    else
        done = (saved->file = safetensors_read(saved->path)) && read_record(saved);
    if (done)
        return saved;
    checkpoint_free(saved);
    return NULL;
}

void checkpoint_free(checkpoint *saved) {
    if (!saved)
        return;
    safetensors_free(saved->file);
    free(saved->path);
    free(saved);
}

const run_record *checkpoint_record(const checkpoint *saved) {
    return &saved->record;
}

// Is the variable in a checkpoint? The others follow from the seed and the data, or live from step to step.
static bool is_saved(const gn_variable *variable) {
    const char *name = gn_variable_name(variable);
    return !strncmp(name, "generator.", 10) || !strncmp(name, "discriminator.", 14) || !strcmp(name, "step");
}

bool checkpoint_load(const checkpoint *saved, session *s) {
    for (gn_variable *v = gn_state_next(s->state, NULL); v; v = gn_state_next(s->state, v))
        if (is_saved(v) && !tensor_load(saved->file, gn_variable_name(v), s->device, v))
            return false;
    return true;
}

// "log_interval" to "log-interval"; the caller frees.
static char *option_name(const char *key) {
    char *name = gn_strdup(key);
    for (char *c = name; *c != '\0'; c++)
        if (*c == '_')
            *c = '-';
    return name;
}

static bool contradicts(const checkpoint *saved, const char *key, const char *was, const char *is) {
    if (!strcmp(was, is))
        return false;
    char *name = option_name(key);
    gn_fail("%s is of a run with --%s %s; --%s %s contradicts it: leave it out, or begin another run with "
            "another "
            "--out",
            saved->path, name, was, name, is);
    free(name);
    return true;
}

bool checkpoint_allows(const checkpoint *saved, const train_options *options) {
    run_record wanted = {.options = *options};
    bool allowed = !contradicts(saved, "model", saved->record.options.model->name, options->model->name);
    for (int i = 0; i < FIELDS && allowed; i++) {
        if (!fields[i].decides)
            continue;
        char *was = field_text(&fields[i], &saved->record), *is = field_text(&fields[i], &wanted);
        allowed = !contradicts(saved, fields[i].key, was, is);
        free(was);
        free(is);
    }
    return allowed;
}

// ---- Writing -----------------------------------------------------------------------------------------

// The generator's own state_dict(): its names begin behind "generator.".
static bool write_generator(const char *dir, session *s) {
    tensor_list list = {0};
    bool done = true;
    for (gn_variable *v = gn_state_next(s->state, NULL); v && done; v = gn_state_next(s->state, v)) {
        const char *name = gn_variable_name(v);
        if (is_network_variable(v) && !strncmp(name, "generator.", 10))
            done = tensor_list_add_variable(&list, gn_strdup(name + 10), s->device, v);
    }
    char *path = run_folder_generator_path(dir), *z_dim = gn_format("%d", s->hyper.z_dim);
    // "pt" tells other libraries that names and layouts are PyTorch's.
    st_metadata metadata[] = {{"format", "pt"}, {"model", s->model->name}, {"z_dim", z_dim}};
    done = done && safetensors_write(path, list.tensors, list.count, metadata, 3);
    free(z_dim);
    free(path);
    tensor_list_free(&list);
    return done;
}

static bool write_state(const char *dir, session *s, const run_record *record) {
    tensor_list list = {0};
    bool done = true;
    for (gn_variable *v = gn_state_next(s->state, NULL); v && done; v = gn_state_next(s->state, v))
        if (is_saved(v))
            done = tensor_list_add_variable(&list, gn_strdup(gn_variable_name(v)), s->device, v);
    char *texts[FIELDS];
    st_metadata metadata[FIELDS + 2] = {{"format", FORMAT}, {"model", s->model->name}};
    int count = 2;
    for (int i = 0; i < FIELDS; i++)
        if ((texts[i] = field_text(&fields[i], record)))
            metadata[count++] = (st_metadata){fields[i].key, texts[i]};
    char *path = run_folder_checkpoint_path(dir);
    done = done && safetensors_write(path, list.tensors, list.count, metadata, count);
    free(path);
    for (int i = 0; i < FIELDS; i++)
        free(texts[i]);
    tensor_list_free(&list);
    return done;
}

bool checkpoint_write(const char *dir, session *s, const run_record *record) {
    return write_generator(dir, s) && write_state(dir, s, record);
}

// ---- What identifies a run ---------------------------------------------------------------------------

uint64_t checkpoint_data_crc(const dataset *data) {
    size_t pixels = (size_t)data->height * (size_t)data->width;
    uLong crc = crc32_z(0, data->images, (size_t)data->count * pixels);
    return crc32_z(crc, data->labels, (size_t)data->count);
}

long checkpoint_steps(const train_options *options, int images) {
    long all = (long)(images / options->hyper.batch) * options->hyper.epochs;
    return options->steps && options->steps < all ? options->steps : all;
}

char *checkpoint_place(const gn_device *device) {
    const char *off = gn_switches_off();
    return gn_format("%s, driver %s, class %s, gemm %s, ganc %s%s%s", device->info.name, device->info.driver,
                     device_class_name(device->class), gemm_description(device->gemm), GANC_VERSION,
                     off ? " without " : "", off ? off : "");
}
