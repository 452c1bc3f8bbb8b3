// A run's folder. A file is the run's own by its name alone; whatever else lies there belongs to the user and
// is never touched.
#include "io/run_folder.h"
#include "base/error.h"
#include "io/atomic_file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char LOG[] = "log.jsonl", CHECKPOINT[] = "checkpoint.safetensors",
                  GENERATOR[] = "generator.safetensors";
static const char *const files[] = {LOG, CHECKPOINT, GENERATOR};
enum { FILES = sizeof(files) / sizeof(files[0]) };

static char *join(const char *dir, const char *name) {
    return gn_format("%s/%s", dir, name);
}

char *run_folder_grid_path(const char *dir, int epoch) {
    return gn_format("%s/images/epoch-%06d.png", dir, epoch);
}

char *run_folder_log_path(const char *dir) {
    return join(dir, LOG);
}

char *run_folder_checkpoint_path(const char *dir) {
    return join(dir, CHECKPOINT);
}

char *run_folder_generator_path(const char *dir) {
    return join(dir, GENERATOR);
}

// ---- Making the folder -------------------------------------------------------------------------------

static bool is_folder(const char *path) {
    struct stat status;
    return stat(path, &status) == 0 && S_ISDIR(status.st_mode);
}

static bool fail_to_make(const char *path, const char *option, int code) {
    bool is_file = code == EEXIST || code == ENOTDIR;
    return gn_fail("cannot make the folder %s: %s; choose another --%s", path,
                   is_file ? "it, or a part of its path, is a file" : strerror(code), option);
}

bool folder_make(const char *path, const char *option) {
    char *part = gn_strdup(path);
    bool good = true;
    for (char *at = part; good && *at; at++) {
        bool ends = at[1] == '/' || at[1] == '\0';
        if (*at == '/' || !ends)
            continue;
        char next = at[1];
        at[1] = '\0';
        if (!is_folder(part) && mkdir(part, 0777) != 0 && !(errno == EEXIST && is_folder(part)))
            good = fail_to_make(path, option, errno);
        at[1] = next;
    }
    free(part);
    return good;
}

static bool ends_with(const char *text, const char *end) {
    size_t length = strlen(text), end_length = strlen(end);
    return length >= end_length && strcmp(text + length - end_length, end) == 0;
}

// "epoch-000012.png", or the half-written "epoch-000012.png.tmp" of a run that was killed.
static bool is_our_grid(const char *name) {
    static const char before[] = "epoch-";
    if (strncmp(name, before, strlen(before)) != 0)
        return false;
    const char *digits = name + strlen(before), *end = digits + strspn(digits, "0123456789");
    return end > digits && (strcmp(end, ".png") == 0 || strcmp(end, ".png.tmp") == 0);
}

static bool any_image(const char *name) {
    return ends_with(name, ".png");
}

// The first entry of a folder that `matches`, as a path that the caller frees; NULL where there is none.
static char *find_entry(const char *dir, bool (*matches)(const char *name)) {
    DIR *entries = opendir(dir);
    char *found = NULL;
    for (struct dirent *entry; entries && !found && (entry = readdir(entries));) {
        if (matches(entry->d_name))
            found = join(dir, entry->d_name);
    }
    if (entries)
        closedir(entries);
    return found;
}

static bool exists(const char *path) {
    struct stat status;
    return lstat(path, &status) == 0;
}

static bool is_named(const char *dir) {
    return *dir || gn_fail("the folder's name is empty; --out DIR names one");
}

// Is there no run in it?
static bool is_free(const char *dir) {
    char *images = join(dir, "images"), *found = find_entry(images, any_image);
    free(images);
    for (int i = 0; i < FILES && !found; i++) {
        char *path = join(dir, files[i]);
        if (exists(path))
            found = path;
        else
            free(path);
    }
    if (found)
        gn_fail("%s holds a run already (%s): --resume goes on with it, --overwrite replaces it, --out DIR "
                "keeps it and writes elsewhere",
                dir, found);
    free(found);
    return !found;
}

static bool remove_file(const char *path) {
    if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR) // a path below a file fails when it is made
        return true;
    return gn_fail("cannot remove %s of the earlier run: %s", path, strerror(errno));
}

static bool remove_run(const char *dir, const char *images) {
    bool good = true;
    for (int i = 0; i < FILES && good; i++) {
        char *path = join(dir, files[i]), *beside = gn_format("%s.tmp", path);
        good = remove_file(path) && remove_file(beside);
        free(path);
        free(beside);
    }
    for (char *path; good && (path = find_entry(images, is_our_grid)); free(path))
        good = remove_file(path);
    return good;
}

static bool is_writable(const char *dir) {
    return access(dir, W_OK | X_OK) == 0 ||
           gn_fail("cannot write in %s: %s; choose another --out", dir, strerror(errno));
}

// Is all there that a run writes into?
static bool make_writable(const char *dir, const char *images) {
    return folder_make(dir, "out") && folder_make(images, "out") && is_writable(dir) && is_writable(images);
}

// What there is of a path decides whether the rest can be made.
static bool can_be_made(const char *path) {
    char *part = gn_strdup(path);
    struct stat status;
    while (stat(part, &status) != 0 && strcmp(part, ".") != 0) {
        char *slash = strrchr(part, '/');
        if (slash) {
            slash[slash == part] = '\0'; // of "/x" the root stays
        } else {
            free(part);
            part = gn_strdup(".");
        }
    }
    bool good = is_folder(part) ? is_writable(part) : fail_to_make(path, "out", ENOTDIR);
    free(part);
    return good;
}

bool run_folder_is_possible(const char *dir, bool overwrite) {
    char *images = join(dir, "images");
    bool good = is_named(dir) && (overwrite || is_free(dir)) && can_be_made(dir) && can_be_made(images);
    free(images);
    return good;
}

bool run_folder_open(const char *dir, bool overwrite) {
    if (!is_named(dir))
        return false;
    char *images = join(dir, "images");
    bool good = (overwrite ? remove_run(dir, images) : is_free(dir)) && make_writable(dir, images);
    free(images);
    return good;
}

bool run_folder_resume(const char *dir, int epoch) {
    char *images = join(dir, "images");
    bool good = make_writable(dir, images);
    DIR *entries = good ? opendir(images) : NULL;
    for (struct dirent *entry; good && entries && (entry = readdir(entries));) {
        if (!is_our_grid(entry->d_name) || atoi(entry->d_name + strlen("epoch-")) <= epoch)
            continue;
        char *path = join(images, entry->d_name);
        good = remove_file(path);
        free(path);
    }
    if (entries)
        closedir(entries);
    free(images);
    return good;
}

// ---- The log -----------------------------------------------------------------------------------------

struct run_log {
    int descriptor;
    char *path;
};

run_log *run_log_new(const char *dir) {
    char *path = run_folder_log_path(dir);
    int descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (descriptor < 0) {
        gn_fail("cannot write %s: %s", path, strerror(errno));
        free(path);
        return NULL;
    }
    run_log *log = gn_calloc(1, sizeof(*log));
    *log = (run_log){.descriptor = descriptor, .path = path};
    return log;
}

// An object as a line of the log at `path`; takes over the reference. The caller frees; NULL on failure.
static char *log_line(const char *path, json_t *object) {
    // 15 digits: a number that was typed looks as it was typed
    char *json = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(object);
    if (!json) {
        gn_fail("cannot write %s: a value of the line is none of JSON's", path);
        return NULL;
    }
    char *line = gn_format("%s\n", json);
    free(json);
    return line;
}

bool run_log_write(run_log *log, json_t *object) {
    char *line = log_line(log->path, object);
    if (!line)
        return false;

    off_t before = lseek(log->descriptor, 0, SEEK_END);
    size_t size = strlen(line), done = 0;
    bool good = true;
    while (done < size && good) {
        ssize_t written = write(log->descriptor, line + done, size - done);
        if (written >= 0)
            done += (size_t)written;
        else if (errno != EINTR)
            good = gn_fail("cannot write %s: %s", log->path, strerror(errno));
    }
    free(line);
    if (!good && done > 0 && before >= 0 && ftruncate(log->descriptor, before) != 0)
        gn_fail_within("its last line is half-written"); // the first error still says why
    return good;
}

bool run_log_sync(run_log *log) {
    // What is no file on a disk, a pipe or /dev/null, has nothing to wait for.
    return fsync(log->descriptor) == 0 || errno == EINVAL || errno == EROFS ||
           gn_fail("cannot write %s: %s", log->path, strerror(errno));
}

json_t *run_log_header(const char *dir) {
    char *path = run_folder_log_path(dir), *line = NULL;
    size_t room = 0;
    json_t *header = NULL;
    FILE *file = fopen(path, "r");
    if (file && getline(&line, &room, file) > 0)
        header = json_loads(line, 0, NULL);
    if (file)
        fclose(file);
    free(line);
    free(path);
    if (json_is_object(header) && json_object_get(header, "ganc"))
        return header;
    json_decref(header);
    return NULL;
}

// Is it the whole line of a step before `step`, other than `skip`?
static bool line_stays(const char *line, long step, long skip) {
    json_t *object = json_loads(line, 0, NULL);
    json_t *of = json_object_get(object, "step");
    bool stays = strchr(line, '\n') && json_is_integer(of) && json_integer_value(of) < step &&
                 json_integer_value(of) != skip;
    json_decref(object);
    return stays;
}

bool run_log_rewind(const char *dir, json_t *header, long step, long skip) {
    char *path = run_folder_log_path(dir), *line = log_line(path, header);
    atomic_file out;
    bool good = line && atomic_file_open(&out, path);
    if (good) {
        atomic_file_write(&out, line, strlen(line));
        size_t room = 0;
        FILE *file = fopen(path, "r");
        int error = file || errno == ENOENT ? 0 : errno;
        free(line);
        line = NULL;
        while (file && getline(&line, &room, file) > 0)
            if (line_stays(line, step, skip))
                atomic_file_write(&out, line, strlen(line));
        if (file && ferror(file))
            error = errno;
        if (file)
            fclose(file);
        out.error = out.error ? out.error : error; // or the lines that cannot be read now would be lost
        good = atomic_file_commit(&out) || (error && gn_fail("cannot read %s: %s", path, strerror(error)));
    }
    free(line);
    free(path);
    return good;
}

bool run_log_free(run_log *log) {
    if (!log)
        return true;
    bool good = close(log->descriptor) == 0 || gn_fail("cannot write %s: %s", log->path, strerror(errno));
    free(log->path);
    free(log);
    return good;
}
