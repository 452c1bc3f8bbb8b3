// Data sets: which one is meant, where it lies, and whether its two files belong together.
//
// A data set is found by the presence of its files, and what is found is used or refused: a broken file is an
// error that names it, never a reason to look further. The files' format is left to idx.c, drawing digits
// to synthetic.c.
#include "data/dataset.h"

#include "base/error.h"
#include "data/idx.h"
#include "data/synthetic.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { SIZE = 28, CLASSES = 10, SYNTHETIC_COUNT = 10000 };

static const char IMAGES[] = "images-idx3-ubyte", LABELS[] = "labels-idx1-ubyte";

const char *dataset_system_folder = "/usr/share/datasets";

// ---- Files -------------------------------------------------------------------------------------------

// The file PART-NAME or PART-NAME.gz in a folder; NULL where there is neither. The caller frees. A link to
// nowhere is found as well: reading it will say so.
static char *find_file(const char *folder, const char *part, const char *name) {
    static const char *const suffixes[] = {"", ".gz"};
    for (int i = 0; i < 2; i++) {
        char *path = gn_format("%s/%s-%s%s", folder, part, name, suffixes[i]);
        struct stat info;
        if (lstat(path, &info) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static bool has_file(const char *folder, const char *part, const char *name) {
    char *path = find_file(folder, part, name);
    free(path);
    return path != NULL;
}

// The part of a data set that a folder holds, if only half of it; NULL: none.
static const char *find_part(const char *folder) {
    static const char *const parts[] = {"train", "t10k"};
    for (int i = 0; i < 2; i++)
        if (has_file(folder, parts[i], IMAGES) || has_file(folder, parts[i], LABELS))
            return parts[i];
    return NULL;
}

static bool load_files(dataset *out, const char *images_path, const char *labels_path) {
    idx_bytes images, labels = {0};
    if (!idx_read(&images, images_path, 3))
        return false;
    if (images.size[1] != SIZE || images.size[2] != SIZE) {
        gn_fail("%s: its images have %d x %d pixels, 28 x 28 are needed", images_path, images.size[1],
                images.size[2]);
        goto fail;
    }
    if (!idx_read(&labels, labels_path, 1))
        goto fail;
    if (labels.size[0] != images.size[0]) {
        gn_fail("%s: %d images, but %s: %d labels; do the two belong together?", images_path, images.size[0],
                labels_path, labels.size[0]);
        goto fail;
    }
    for (int i = 0; i < labels.size[0]; i++) {
        if (labels.values[i] >= CLASSES) {
            gn_fail("%s: label %d at index %d, labels are 0 to 9", labels_path, labels.values[i], i);
            goto fail;
        }
    }
    out->count = images.size[0];
    out->images = images.values;
    out->labels = labels.values;
    return true;

fail:
    free(images.values);
    free(labels.values);
    return false;
}

static bool load_folder(dataset *out, const char *folder) {
    struct stat info;
    if (stat(folder, &info) != 0)
        return gn_fail(
            "data set '%s': cannot find it: %s (mnist, fashion-mnist, synthetic or a folder of IDX files)",
            folder, strerror(errno));
    if (!S_ISDIR(info.st_mode))
        return gn_fail("data set '%s': is a file; give the folder that holds the IDX files", folder);
    if (access(folder, X_OK) != 0)
        return gn_fail("data set '%s': cannot look into the folder: %s", folder, strerror(errno));
    const char *part = find_part(folder);
    if (!part)
        return gn_fail("data set '%s': the folder holds neither train-%s and train-%s nor t10k-%s and "
                       "t10k-%s, plain or .gz",
                       folder, IMAGES, LABELS, IMAGES, LABELS);
    char *images = find_file(folder, part, IMAGES), *labels = find_file(folder, part, LABELS);
    bool ok = images && labels ? load_files(out, images, labels)
                               : gn_fail("%s: needs %s-%s beside it, plain or .gz", images ? images : labels,
                                         part, images ? LABELS : IMAGES);
    free(images);
    free(labels);
    return ok;
}

// ---- Places ------------------------------------------------------------------------------------------

static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value && *value ? value : NULL;
}

char *dataset_find(const char *name) {
    const char *own = environment("GANC_DATA"), *xdg = environment("XDG_DATA_HOME"),
               *home = environment("HOME");
    char *places[] = {
        own ? gn_format("%s/%s", own, name) : NULL,
        gn_format("data/%s", name),
        xdg    ? gn_format("%s/ganc/%s", xdg, name)
        : home ? gn_format("%s/.local/share/ganc/%s", home, name)
               : NULL,
        gn_format("%s/%s", dataset_system_folder, name),
    };
    char *found = NULL;
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        if (!found && places[i] && find_part(places[i]))
            found = places[i];
        else
            free(places[i]);
    }
    return found;
}

// ---- Data sets ---------------------------------------------------------------------------------------

static void draw_synthetic(dataset *out, uint64_t seed) {
    out->count = SYNTHETIC_COUNT;
    out->images = gn_calloc(SYNTHETIC_COUNT, SIZE * SIZE);
    out->labels = gn_calloc(SYNTHETIC_COUNT, 1);
    synthetic_draw(seed, 0, SYNTHETIC_COUNT, out->images, out->labels);
}

#define HOW_MNIST                                                                                            \
    "put MNIST's IDX files (train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz) into data/mnist or "     \
    "$GANC_DATA/mnist"
#define HOW_FASHION   "install Fashion-MNIST (Debian: apt install dataset-fashion-mnist)"
#define HOW_SYNTHETIC "draw digits: --data synthetic"

static bool load_named(dataset *out, const char *which, uint64_t seed) {
    bool mnist = !which || strcmp(which, "mnist") == 0;
    bool fashion = !which || strcmp(which, "fashion-mnist") == 0;
    out->height = out->width = SIZE;
    if (which && strcmp(which, "synthetic") == 0) {
        out->name = gn_strdup(which);
        draw_synthetic(out, seed);
        return true;
    }
    if (!mnist && !fashion) {
        out->name = gn_strdup(which);
        return load_folder(out, which);
    }
    char *folder = mnist ? dataset_find("mnist") : NULL;
    out->name = gn_strdup(folder ? "mnist" : "fashion-mnist");
    if (!folder && fashion)
        folder = dataset_find("fashion-mnist");
    if (!folder)
        return gn_fail("no data set found: %s", !fashion ? HOW_MNIST ", or " HOW_SYNTHETIC
                                                : !mnist ? HOW_FASHION ", or " HOW_SYNTHETIC
                                                         : HOW_MNIST ", or " HOW_FASHION
                                                                     ", or " HOW_SYNTHETIC);
    bool ok = load_folder(out, folder);
    free(folder);
    return ok;
}

bool dataset_load(dataset *out, const char *which, uint64_t seed) {
    *out = (dataset){0};
    bool ok = load_named(out, which, seed);
    if (!ok)
        dataset_free(out);
    return ok;
}

void dataset_free(dataset *set) {
    if (!set)
        return;
    free(set->name);
    free(set->images);
    free(set->labels);
    *set = (dataset){0};
}
