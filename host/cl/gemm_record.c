// The file is named by a hash of what its contents depend on, and holds that in words as well: two devices,
// drivers or versions of gemm.cl do not share one. It is a cache: whoever removes it loses only time.
//
// What the findings mean is left to gemm.c and gemm_tune.c.
#include "cl/gemm_record.h"
#include "base/error.h"
#include "cl/gemm_engines.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static uint64_t hash(uint64_t state, const char *text) { // FNV-1a, 64 bits
    do {
        state = (state ^ (unsigned char)*text) * 0x100000001b3u;
    } while (*text++);
    return state;
}

static char *cache_folder(void) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    char *parent = cache && cache[0] == '/' ? gn_strdup(cache)
                   : home && home[0]        ? gn_format("%s/.cache", home)
                                            : NULL;
    if (!parent) {
        return NULL;
    }
    char *folder = gn_format("%s/ganc/", parent);
    for (size_t i = 1; folder[i]; i++) {
        if (folder[i] == '/') {
            folder[i] = '\0';
            mkdir(folder, 0700); // where that fails, so does writing the file
            folder[i] = '/';
        }
    }
    free(parent);
    return folder;
}

// Takes the findings out of `root`, whose rest must be the facts.
static void take_findings(gemm_record *record, json_t *root) {
    json_t *engine = json_incref(json_object_get(root, "products"));
    json_t *right = json_incref(json_object_get(root, "right"));
    json_t *chosen = json_incref(json_object_get(root, "chosen"));
    json_t *ordered = json_incref(json_object_get(root, "ordered"));
    json_object_del(root, "products");
    json_object_del(root, "right");
    json_object_del(root, "chosen");
    json_object_del(root, "ordered");
    if (json_equal(root, record->facts) && json_is_string(engine)) {
        record->engine = gn_strdup(json_string_value(engine));
        json_object_update(record->right, right);
        json_object_update(record->chosen, chosen);
        record->ordered = json_is_boolean(ordered) ? json_incref(ordered) : NULL;
    }
    json_decref(engine);
    json_decref(right);
    json_decref(chosen);
    json_decref(ordered);
}

gemm_record gemm_record_read(const gn_device *device, const char *choice, const char *source) {
    char platform[256] = "";
    clGetPlatformInfo(device->info.platform, CL_PLATFORM_VERSION, sizeof platform - 1, platform, NULL);
    const char *facts[][2] = {
        {"ganc", GANC_VERSION},
        {"device", device->info.name},
        {"driver", device->info.driver},
        {"platform", platform},
        {"class", device_class_name(device->class)},
        {"choice", choice},
        {"clblast_build_options", gemm_clblast_options()},
    };
    gemm_record out = {.facts = json_object(), .right = json_object(), .chosen = json_object()};
    uint64_t state = hash(0xcbf29ce484222325u, source);
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        json_object_set_new(out.facts, facts[i][0], json_string_nocheck(facts[i][1]));
        state = hash(state, facts[i][1]);
    }
    char *folder = cache_folder();
    if (folder) {
        out.path = gn_format("%sgemm-%016llx.json", folder, (unsigned long long)state);
        json_t *root = json_load_file(out.path, 0, NULL);
        take_findings(&out, root);
        json_decref(root);
        free(folder);
    }
    return out;
}

bool gemm_record_write(const gemm_record *record) {
    if (!record->path) {
        return gn_fail("no folder for a cache: $XDG_CACHE_HOME and $HOME are not set");
    }
    json_t *root = json_copy(record->facts);
    json_object_set_new(root, "products", json_string(record->engine));
    json_object_set(root, "right", record->right);
    json_object_set(root, "chosen", record->chosen);
    if (record->ordered) {
        json_object_set(root, "ordered", record->ordered);
    }
    char *beside = gn_format("%s.%ld", record->path, (long)getpid());
    bool written = !json_dump_file(root, beside, JSON_INDENT(2)) && !rename(beside, record->path);
    if (!written) {
        gn_fail("cannot write %s: %s", record->path, strerror(errno));
        unlink(beside);
    }
    free(beside);
    json_decref(root);
    return written;
}

void gemm_record_free(gemm_record *record) {
    free(record->path);
    free(record->engine);
    json_decref(record->facts);
    json_decref(record->right);
    json_decref(record->chosen);
    json_decref(record->ordered);
}
