// Data sets: what is read is what was written, whatever is broken fails with a line that names the file and
// the problem, and synthetic digits are reproducible, spread like MNIST's and tell their classes apart.
#define _XOPEN_SOURCE 700 // nftw()

#include "data/dataset.h"
#include "data/synthetic.h"
#include "ganc.h"
#include "test.h"

#include <ftw.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

enum { COUNT = 30, PIXELS = 28 * 28, IMAGE_BYTES = 16 + COUNT * PIXELS, LABEL_BYTES = 8 + COUNT };

// A good data set's two files, made anew for each test, which may spoil them, and a folder to write into.
static uint8_t images[IMAGE_BYTES], labels[LABEL_BYTES];
static char folder[4096];

// A path inside the folder; valid until the eighth call after this one.
static const char *path_of(const char *name) {
    static char paths[8][8192];
    static int next;
    next = (next + 1) % 8;
    snprintf(paths[next], sizeof paths[next], "%s/%s", folder, name);
    return paths[next];
}

static void write_bytes(const char *path, const void *bytes, size_t count) {
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(bytes, 1, count, file), count);
    ck_assert_int_eq(fclose(file), 0);
}

// Writes folder/NAME, or folder/NAME.gz compressed.
static void put(const char *name, bool gz, const void *bytes, size_t count) {
    if (!gz) {
        write_bytes(path_of(name), bytes, count);
        return;
    }
    char zipped[256];
    snprintf(zipped, sizeof zipped, "%s.gz", name);
    gzFile file = gzopen(path_of(zipped), "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(gzwrite(file, bytes, (unsigned)count), (int)count);
    ck_assert_int_eq(gzclose(file), Z_OK);
}

static void put_images(bool gz, size_t count) {
    put("train-images-idx3-ubyte", gz, images, count);
}

static void put_labels(bool gz, size_t count) {
    put("train-labels-idx1-ubyte", gz, labels, count);
}

// Reads a whole file of the folder; the caller frees.
static uint8_t *slurp(const char *name, size_t *count) {
    FILE *file = fopen(path_of(name), "rb");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fseek(file, 0, SEEK_END), 0);
    *count = (size_t)ftell(file);
    rewind(file);
    uint8_t *bytes = malloc(*count);
    ck_assert_uint_eq(fread(bytes, 1, *count, file), *count);
    fclose(file);
    return bytes;
}

static void set_size(uint8_t *header, int dimension, uint32_t size) {
    uint8_t *at = header + 4 + 4 * dimension;
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(size >> (24 - 8 * i));
}

static void make_folder(const char *name) {
    ck_assert_int_eq(mkdir(path_of(name), 0777), 0);
}

// Fails unless loading fails with one line that has both texts in it, and leaves nothing behind.
static void must_fail_as(const char *which, const char *file, const char *problem) {
    dataset set;
    memset(&set, 0x5a, sizeof set);
    ck_assert_msg(!dataset_load(&set, which, 1), "%s was loaded; expected: %s", which ? which : "NULL",
                  problem);
    ck_assert_msg(strstr(gn_error(), file), "'%s' does not name '%s'", gn_error(), file);
    ck_assert_msg(strstr(gn_error(), problem), "'%s' does not say '%s'", gn_error(), problem);
    ck_assert_ptr_null(strchr(gn_error(), '\n'));
    ck_assert_ptr_null(set.name);
    ck_assert_ptr_null(set.images);
    ck_assert_ptr_null(set.labels);
    ck_assert_int_eq(set.count, 0);
}

static void must_fail(const char *file, const char *problem) {
    must_fail_as(folder, path_of(file), problem);
}

static void must_load(const char *which, const char *name) {
    dataset set;
    ck_assert_msg(dataset_load(&set, which, 1), "%s", gn_error());
    ck_assert_str_eq(set.name, name);
    ck_assert_int_eq(set.count, COUNT);
    ck_assert_int_eq(set.height, 28);
    ck_assert_int_eq(set.width, 28);
    ck_assert_mem_eq(set.images, images + 16, COUNT * PIXELS);
    ck_assert_mem_eq(set.labels, labels + 8, COUNT);
    dataset_free(&set);
    ck_assert_ptr_null(set.images);
    dataset_free(&set);
    dataset_free(NULL);
}

static void setup(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/ganc-data-XXXXXX", base && *base ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));

    static const uint8_t image_magic[4] = {0, 0, 8, 3}, label_magic[4] = {0, 0, 8, 1};
    memcpy(images, image_magic, 4);
    set_size(images, 0, COUNT);
    set_size(images, 1, 28);
    set_size(images, 2, 28);
    memcpy(labels, label_magic, 4);
    set_size(labels, 0, COUNT);
    uint32_t noise = 1; // incompressible, so that a .gz can be cut anywhere in its data
    for (int i = 0; i < COUNT * PIXELS; i++)
        images[16 + i] = (uint8_t)((noise = noise * 1664525U + 1013904223U) >> 24);
    for (int i = 0; i < COUNT; i++)
        labels[8 + i] = (uint8_t)(i * 7 % 10);
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *walk) {
    return remove(path);
}

static void teardown(void) {
    if (chdir("/") == 0) // a folder in use may not go on some systems
        nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

// ---- Good files; bit 0 of _i: images compressed, bit 1: labels ---------------------------------------

START_TEST(round_trip) {
    put_images(_i & 1, IMAGE_BYTES);
    put_labels(_i & 2, LABEL_BYTES);
    must_load(folder, folder);
}
END_TEST

START_TEST(test_part_where_only_that_is) {
    put("t10k-images-idx3-ubyte", _i & 1, images, IMAGE_BYTES);
    put("t10k-labels-idx1-ubyte", _i & 2, labels, LABEL_BYTES);
    must_load(folder, folder);
}
END_TEST

START_TEST(training_part_preferred) {
    put_images(_i & 1, IMAGE_BYTES);
    put_labels(_i & 2, LABEL_BYTES);
    put("t10k-images-idx3-ubyte", false, "broken", 6);
    put("t10k-labels-idx1-ubyte", false, "broken", 6);
    must_load(folder, folder);
}
END_TEST

// A browser may unpack a file and leave its name, or the other way round: the content counts.
START_TEST(name_does_not_matter) {
    put("train-images-idx3-ubyte.gz", false, images, IMAGE_BYTES);
    put("train-labels-idx1-ubyte", true, labels, LABEL_BYTES);
    ck_assert_int_eq(rename(path_of("train-labels-idx1-ubyte.gz"), path_of("train-labels-idx1-ubyte")), 0);
    must_load(folder, folder);
}
END_TEST

// ---- Broken folders ----------------------------------------------------------------------------------

START_TEST(missing_folder) {
    must_fail_as(path_of("nowhere"), path_of("nowhere"), "No such file");
    must_fail_as("no-such-set", "no-such-set", "synthetic");
    must_fail_as("", "''", "No such file");
}
END_TEST

START_TEST(folder_without_idx_files) {
    put("train-images.txt", false, "x", 1);
    must_fail_as(folder, folder, "train-images-idx3-ubyte");
    must_fail_as(folder, folder, "t10k-labels-idx1-ubyte");
}
END_TEST

START_TEST(file_as_folder) {
    put_images(false, IMAGE_BYTES);
    must_fail_as(path_of("train-images-idx3-ubyte"), path_of("train-images-idx3-ubyte"), "is a file");
}
END_TEST

START_TEST(half_a_set) {
    put_images(_i & 1, IMAGE_BYTES);
    put("t10k-labels-idx1-ubyte", false, labels, LABEL_BYTES);
    must_fail(_i & 1 ? "train-images-idx3-ubyte.gz" : "train-images-idx3-ubyte", "train-labels-idx1-ubyte");
    unlink(path_of("train-images-idx3-ubyte"));
    unlink(path_of("train-images-idx3-ubyte.gz"));
    put_labels(false, LABEL_BYTES);
    must_fail("train-labels-idx1-ubyte", "train-images-idx3-ubyte");
}
END_TEST

START_TEST(folder_as_file) {
    make_folder("train-images-idx3-ubyte");
    put_labels(false, LABEL_BYTES);
    must_fail("train-images-idx3-ubyte", "is a folder");
}
END_TEST

START_TEST(pipe_as_file) { // would wait for ever
    ck_assert_int_eq(mkfifo(path_of("train-images-idx3-ubyte"), 0666), 0);
    put_labels(false, LABEL_BYTES);
    must_fail("train-images-idx3-ubyte", "no regular file");
}
END_TEST

START_TEST(unreadable_file) {
    put_labels(false, LABEL_BYTES);
    ck_assert_int_eq(symlink("train-images-idx3-ubyte", path_of("train-images-idx3-ubyte")), 0);
    must_fail("train-images-idx3-ubyte", "symbolic link");
    unlink(path_of("train-images-idx3-ubyte"));
    ck_assert_int_eq(symlink("nowhere", path_of("train-images-idx3-ubyte")), 0);
    must_fail("train-images-idx3-ubyte", "No such file");
    unlink(path_of("train-images-idx3-ubyte"));
    if (geteuid() == 0) {
        puts("unreadable_file: permissions skipped, root may read everything");
        return;
    }
    put_images(false, IMAGE_BYTES);
    ck_assert_int_eq(chmod(path_of("train-images-idx3-ubyte"), 0), 0);
    must_fail("train-images-idx3-ubyte", "Permission denied");
}
END_TEST

// The one regular file of Linux that cannot be read: address 0 of this process.
START_TEST(failing_read) {
    struct stat info;
    if (stat("/proc/self/mem", &info) != 0 || !S_ISREG(info.st_mode)) {
        puts("failing_read: skipped, no /proc/self/mem here");
        return;
    }
    put_labels(false, LABEL_BYTES);
    ck_assert_int_eq(symlink("/proc/self/mem", path_of("train-images-idx3-ubyte")), 0);
    must_fail("train-images-idx3-ubyte", "Input/output error");
}
END_TEST

// ---- Broken files; _i: compressed --------------------------------------------------------------------

static const char *images_name(int gz) {
    return gz ? "train-images-idx3-ubyte.gz" : "train-images-idx3-ubyte";
}

static const char *labels_name(int gz) {
    return gz ? "train-labels-idx1-ubyte.gz" : "train-labels-idx1-ubyte";
}

START_TEST(empty_file) {
    write_bytes(path_of(images_name(_i)), "", 0); // as a download that failed leaves it, under either name
    put_labels(_i, LABEL_BYTES);
    must_fail(images_name(_i), "is empty");
    put_images(_i, IMAGE_BYTES);
    write_bytes(path_of(labels_name(_i)), "", 0);
    must_fail(labels_name(_i), "is empty");
}
END_TEST

START_TEST(truncated_header) {
    put_labels(_i, LABEL_BYTES);
    put_images(_i, 15);
    must_fail(images_name(_i), "15 of 16 bytes of the header");
    put_images(_i, 3);
    must_fail(images_name(_i), "3 of 16 bytes of the header");
}
END_TEST

START_TEST(truncated_data) {
    put_labels(_i, LABEL_BYTES);
    put_images(_i, IMAGE_BYTES - 1);
    must_fail(images_name(_i), "truncated");
    must_fail(images_name(_i), "23520");
    must_fail(images_name(_i), "23519");
    put_images(_i, IMAGE_BYTES);
    put_labels(_i, LABEL_BYTES - 10);
    must_fail(labels_name(_i), "truncated");
    must_fail(labels_name(_i), "20");
}
END_TEST

START_TEST(trailing_bytes) {
    put_labels(_i, LABEL_BYTES);
    set_size(images, 0, COUNT - 1);
    put_images(_i, IMAGE_BYTES);
    must_fail(images_name(_i), "goes on after the 22736 bytes");
}
END_TEST

START_TEST(not_idx) {
    put_labels(_i, LABEL_BYTES);
    memcpy(images, "<html>", 6);
    put_images(_i, IMAGE_BYTES);
    must_fail(images_name(_i), "not an IDX file: it starts with the bytes 3c 68 74 6d");
}
END_TEST

START_TEST(wrong_type) {
    put_labels(_i, LABEL_BYTES);
    images[2] = 0x0d;
    put_images(_i, IMAGE_BYTES);
    must_fail(images_name(_i), "type 0x0d");
}
END_TEST

START_TEST(wrong_dimensions) {
    put("train-images-idx3-ubyte", _i, labels, LABEL_BYTES); // the two changed places
    put("train-labels-idx1-ubyte", _i, images, IMAGE_BYTES);
    must_fail(images_name(_i), "1 dimension(s) where 3");
    put_images(_i, IMAGE_BYTES);
    must_fail(labels_name(_i), "3 dimension(s) where 1");
}
END_TEST

START_TEST(absurd_counts) {
    put_labels(_i, LABEL_BYTES);
    set_size(images, 0, 0xffffffffU);
    put_images(_i, IMAGE_BYTES);
    must_fail(images_name(_i), "4294967295");
    set_size(images, 0, 2739138); // one image more than 2^31 pixels hold
    put_images(_i, IMAGE_BYTES);
    must_fail(images_name(_i), "2^31");
    set_size(images, 0, 2739137); // possible, but not in a file as short as this
    put_images(_i, IMAGE_BYTES);
    must_fail(images_name(_i), "promises 2147483408 bytes");
    set_size(images, 1, 0x10000); // the product wraps around to 0 in 32 and in 64 bits
    set_size(images, 2, 0x10000);
    set_size(images, 0, 0x80000000U);
    put_images(_i, IMAGE_BYTES);
    must_fail(images_name(_i), "2^31");
    set_size(images, 0, 0);
    put_images(_i, 16);
    must_fail(images_name(_i), "holds nothing");
}
END_TEST

START_TEST(other_size) {
    put_labels(_i, LABEL_BYTES);
    set_size(images, 1, 14);
    set_size(images, 2, 56);
    put_images(_i, IMAGE_BYTES);
    must_fail(images_name(_i), "14 x 56 pixels");
}
END_TEST

START_TEST(counts_differ) {
    put_images(_i, IMAGE_BYTES);
    set_size(labels, 0, COUNT - 1);
    put_labels(_i, LABEL_BYTES - 1);
    must_fail(images_name(_i), "30 images");
    must_fail(labels_name(_i), "29 labels");
}
END_TEST

START_TEST(label_out_of_range) {
    put_images(_i, IMAGE_BYTES);
    labels[8 + 17] = 10;
    put_labels(_i, LABEL_BYTES);
    must_fail(labels_name(_i), "label 10 at index 17");
}
END_TEST

// ---- Spoilt at every place ---------------------------------------------------------------------------

START_TEST(corrupt_gzip) {
    put_images(true, IMAGE_BYTES);
    put_labels(true, LABEL_BYTES);
    size_t count;
    uint8_t *bytes = slurp("train-images-idx3-ubyte.gz", &count);
    bytes[count - 6] ^= 1; // the checksum alone: all values are right
    write_bytes(path_of("train-images-idx3-ubyte.gz"), bytes, count);
    must_fail("train-images-idx3-ubyte.gz", "corrupt gzip file");
    bytes[count - 6] ^= 1;
    int noticed = 0, changed = 0;
    for (size_t at = 10; at < count; at += 97, changed++) { // after gzip's header
        bytes[at] ^= 0x10;
        write_bytes(path_of("train-images-idx3-ubyte.gz"), bytes, count);
        dataset set;
        if (dataset_load(&set, folder, 1)) { // a bit between two blocks has no meaning
            ck_assert_mem_eq(set.images, images + 16, COUNT * PIXELS);
            dataset_free(&set);
        } else {
            noticed++;
            ck_assert_ptr_nonnull(strstr(gn_error(), path_of("train-images-idx3-ubyte.gz")));
        }
        bytes[at] ^= 0x10;
    }
    printf("corrupt_gzip: %d of %d changed bits noticed, the others harmless\n", noticed, changed);
    ck_assert_int_gt(noticed, changed * 9 / 10);
    free(bytes);
}
END_TEST

START_TEST(cut_anywhere) {
    put_images(_i, IMAGE_BYTES);
    put_labels(_i, LABEL_BYTES);
    size_t count;
    uint8_t *bytes = slurp(images_name(_i), &count);
    int cuts = 0;
    // Each length near either end, where headers, trailers and buffers end; some between.
    for (size_t length = 1; length < count; length += length < 64 || length + 64 > count ? 1 : 61, cuts++) {
        write_bytes(path_of(images_name(_i)), bytes, length);
        must_fail(images_name(_i), "truncated");
    }
    free(bytes);
    put_images(_i, IMAGE_BYTES);
    bytes = slurp(labels_name(_i), &count);
    for (size_t length = 1; length < count; length++, cuts++) {
        write_bytes(path_of(labels_name(_i)), bytes, length);
        must_fail(labels_name(_i), "truncated");
    }
    free(bytes);
    ck_assert_int_gt(cuts, 500);
}
END_TEST

// ---- Where data sets are looked for ------------------------------------------------------------------

// Puts a good set into folder/NAME.
static void put_set(const char *name) {
    char path[256];
    snprintf(path, sizeof path, "%s/train-images-idx3-ubyte", name);
    put(path, false, images, IMAGE_BYTES);
    snprintf(path, sizeof path, "%s/train-labels-idx1-ubyte", name);
    put(path, true, labels, LABEL_BYTES);
}

static void remove_set(const char *name) {
    ck_assert_int_eq(nftw(path_of(name), remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void must_find(const char *name, const char *where) {
    char *found = dataset_find(name);
    ck_assert_msg(found && strcmp(found, where) == 0, "%s is in %s, expected %s", name,
                  found ? found : "NULL", where);
    free(found);
}

// Puts every place inside the folder, with a folder for each data set, still empty.
static void make_places(void) {
    static const char *const folders[] = {"own",
                                          "data",
                                          "xdg",
                                          "xdg/ganc",
                                          "home",
                                          "home/.local",
                                          "home/.local/share",
                                          "home/.local/share/ganc",
                                          "system"};
    static const char *const places[] = {"own", "data", "xdg/ganc", "home/.local/share/ganc", "system"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++)
        make_folder(folders[i]);
    for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/mnist", places[i]);
        make_folder(path);
        snprintf(path, sizeof path, "%s/fashion-mnist", places[i]);
        make_folder(path);
    }
    ck_assert_int_eq(chdir(folder), 0);
    setenv("GANC_DATA", path_of("own"), 1);
    setenv("XDG_DATA_HOME", path_of("xdg"), 1);
    setenv("HOME", path_of("home"), 1);
    static char system_folder[8192];
    snprintf(system_folder, sizeof system_folder, "%s", path_of("system"));
    dataset_system_folder = system_folder;
}

START_TEST(search_order) {
    make_places();
    const char *name = _i ? "fashion-mnist" : "mnist";
    char own[64], data[64], xdg[64], home[64], system_wide[64];
    snprintf(own, sizeof own, "own/%s", name);
    snprintf(data, sizeof data, "data/%s", name);
    snprintf(xdg, sizeof xdg, "xdg/ganc/%s", name);
    snprintf(home, sizeof home, "home/.local/share/ganc/%s", name);
    snprintf(system_wide, sizeof system_wide, "system/%s", name);

    ck_assert_ptr_null(dataset_find(name));
    put_set(system_wide);
    must_find(name, path_of(system_wide));
    put_set(home);
    must_find(name, path_of(system_wide)); // XDG_DATA_HOME stands in the place of the home folder
    put_set(xdg);
    must_find(name, path_of(xdg));
    put_set(data);
    must_find(name, data);
    put_set(own);
    must_find(name, path_of(own));
    must_load(name, name);
    must_load(NULL, name);

    setenv("GANC_DATA", "", 1); // as unset
    must_find(name, data);
    remove_set(data);
    unsetenv("XDG_DATA_HOME");
    must_find(name, path_of(home));
    unsetenv("HOME");
    must_find(name, path_of(system_wide));
    must_load(NULL, name);
}
END_TEST

START_TEST(default_prefers_mnist) {
    make_places();
    put_set("own/fashion-mnist");
    must_load(NULL, "fashion-mnist");
    must_fail_as("mnist", "MNIST", "--data synthetic");
    put_set("system/mnist");
    must_load(NULL, "mnist");
    must_load("fashion-mnist", "fashion-mnist");
}
END_TEST

START_TEST(nothing_found) {
    make_places();
    must_fail_as(NULL, "train-images-idx3-ubyte.gz", "data/mnist");
    must_fail_as(NULL, "apt install dataset-fashion-mnist", "--data synthetic");
    must_fail_as("mnist", "data/mnist", "--data synthetic");
    must_fail_as("fashion-mnist", "dataset-fashion-mnist", "--data synthetic");
}
END_TEST

// What is found is used or refused: no other data set takes its place in silence.
START_TEST(broken_default_is_an_error) {
    make_places();
    put_set("system/mnist");
    put("own/mnist/train-images-idx3-ubyte", false, images, 100);
    must_fail_as(NULL, path_of("own/mnist/train-images-idx3-ubyte"), "train-labels-idx1-ubyte");
    put("own/mnist/train-labels-idx1-ubyte", false, labels, LABEL_BYTES);
    must_fail_as(NULL, path_of("own/mnist/train-images-idx3-ubyte"), "truncated");
}
END_TEST

START_TEST(installed_fashion_mnist) {
    struct stat info;
    if (stat("/usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz", &info) != 0) {
        puts("installed_fashion_mnist: skipped, dataset-fashion-mnist is not installed");
        return;
    }
    dataset set;
    ck_assert_msg(dataset_load(&set, "/usr/share/datasets/fashion-mnist", 1), "%s", gn_error());
    ck_assert_int_eq(set.count, 60000);
    int per_class[10] = {0};
    double sum = 0;
    for (int i = 0; i < set.count; i++)
        per_class[set.labels[i]]++;
    for (size_t i = 0; i < (size_t)set.count * PIXELS; i++)
        sum += set.images[i];
    for (int c = 0; c < 10; c++)
        ck_assert_int_eq(per_class[c], 6000);
    double mean = sum / 255 / PIXELS / set.count; // 0.2860, as everyone who normalises with it knows
    ck_assert_msg(fabs(mean - 0.2860) < 0.0001, "mean %g", mean);
    dataset_free(&set);
}
END_TEST

// ---- Synthetic digits --------------------------------------------------------------------------------

static void load_synthetic(dataset *set, uint64_t seed) {
    ck_assert_msg(dataset_load(set, "synthetic", seed), "%s", gn_error());
    ck_assert_str_eq(set->name, "synthetic");
    ck_assert_int_eq(set->count, 10000);
    ck_assert_int_eq(set->height, 28);
    ck_assert_int_eq(set->width, 28);
}

START_TEST(synthetic_depends_on_seed_and_number_alone) {
    dataset a, b;
    load_synthetic(&a, 7);
    load_synthetic(&b, 7);
    ck_assert_mem_eq(a.images, b.images, (size_t)a.count * PIXELS);
    ck_assert_mem_eq(a.labels, b.labels, (size_t)a.count);

    enum { FIRST = 1233, SOME = 57 };
    static uint8_t some_images[(SOME + 1) * PIXELS], some_labels[SOME + 1];
    memset(some_images, 0xa5, sizeof some_images);
    some_labels[SOME] = 0xa5;
    synthetic_draw(7, FIRST, SOME, some_images, some_labels);
    ck_assert_mem_eq(some_images, a.images + FIRST * PIXELS, SOME * PIXELS);
    ck_assert_mem_eq(some_labels, a.labels + FIRST, SOME);
    for (int i = 0; i < PIXELS; i++)
        ck_assert_uint_eq(some_images[SOME * PIXELS + i], 0xa5);
    ck_assert_uint_eq(some_labels[SOME], 0xa5);
    dataset_free(&b);

    load_synthetic(&b, 8);
    int equal = 0, equal_labels = 0;
    for (int i = 0; i < a.count; i++) {
        equal += memcmp(a.images + i * PIXELS, b.images + i * PIXELS, PIXELS) == 0;
        equal_labels += a.labels[i] == b.labels[i];
        // and no image is the one before it again
        REQUIRE(i == 0 || memcmp(a.images + i * PIXELS, a.images + (i - 1) * PIXELS, PIXELS) != 0, "image %d",
                i);
    }
    printf("synthetic: %d images, %d labels of 10000 equal under two seeds\n", equal, equal_labels);
    ck_assert_int_eq(equal, 0);
    ck_assert_int_lt(abs(equal_labels - 1000), 150); // a tenth by chance, give or take five times 30
    dataset_free(&a);
    dataset_free(&b);
}
END_TEST

START_TEST(synthetic_statistics) {
    dataset set;
    load_synthetic(&set, 3);
    int per_class[10] = {0}, repeated = 0;
    double ink = 0, rim = 0, ink_of[10] = {0};
    for (int i = 0; i < set.count; i++) {
        REQUIRE(set.labels[i] < 10, "label %d is %d", i, set.labels[i]);
        per_class[set.labels[i]]++;
        repeated += i >= 10 && set.labels[i] == set.labels[i - 10]; // one order for all tens?
        int darkest = 0;
        for (int p = 0; p < PIXELS; p++) {
            int value = set.images[i * PIXELS + p], x = p % 28, y = p / 28;
            ink += value;
            ink_of[set.labels[i]] += value;
            rim += x < 2 || y < 2 || x >= 26 || y >= 26 ? value : 0;
            darkest = value > darkest ? value : darkest;
        }
        ck_assert_msg(darkest >= 200, "image %d is nearly blank: its darkest pixel is %d", i, darkest);
    }
    for (int c = 0; c < 10; c++)
        ck_assert_int_eq(per_class[c], 1000);
    double mean = ink / 255 / PIXELS / set.count;
    printf("synthetic: mean of the pixels %.4f (MNIST 0.1307), share of ink in the outer two %.2g\n", mean,
           rim / ink);
    ck_assert(mean > 0.08 && mean < 0.2);
    ck_assert(rim / ink < 0.005);
    ck_assert(ink_of[1] < ink_of[7] && ink_of[7] < ink_of[8]);
    ck_assert_int_lt(abs(repeated - 1000), 150);
    dataset_free(&set);
}
END_TEST

// The class whose mean image is nearest: right for about four of five of MNIST's digits.
START_TEST(synthetic_classes_differ) {
    enum { TRAINED = 2000, TESTED = 500 };
    dataset set;
    load_synthetic(&set, 11);
    static double mean[10][PIXELS];
    for (int i = 0; i < TRAINED; i++)
        for (int p = 0; p < PIXELS; p++)
            mean[set.labels[i]][p] += set.images[i * PIXELS + p] / (TRAINED / 10.0);
    int right = 0;
    for (int i = TRAINED; i < TRAINED + TESTED; i++) {
        double least = INFINITY;
        int nearest = -1;
        for (int c = 0; c < 10; c++) {
            double distance = 0;
            for (int p = 0; p < PIXELS; p++) {
                double d = set.images[i * PIXELS + p] - mean[c][p];
                distance += d * d;
            }
            if (distance < least) {
                least = distance;
                nearest = c;
            }
        }
        right += nearest == set.labels[i];
    }
    printf("synthetic: nearest class mean is right for %.1f%%\n", 100.0 * right / TESTED);
    ck_assert_int_gt(right, TESTED * 8 / 10);
    dataset_free(&set);
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("data");

    TCase *good = tcase_create("good files");
    tcase_add_checked_fixture(good, setup, teardown);
    tcase_add_loop_test(good, round_trip, 0, 4);
    tcase_add_loop_test(good, test_part_where_only_that_is, 0, 4);
    tcase_add_loop_test(good, training_part_preferred, 0, 4);
    tcase_add_test(good, name_does_not_matter);
    suite_add_tcase(suite, good);

    TCase *broken = tcase_create("broken files");
    tcase_add_checked_fixture(broken, setup, teardown);
    tcase_set_timeout(broken, 60);
    tcase_add_test(broken, missing_folder);
    tcase_add_test(broken, folder_without_idx_files);
    tcase_add_test(broken, file_as_folder);
    tcase_add_loop_test(broken, half_a_set, 0, 2);
    tcase_add_test(broken, folder_as_file);
    tcase_add_test(broken, pipe_as_file);
    tcase_add_test(broken, unreadable_file);
    tcase_add_test(broken, failing_read);
    tcase_add_loop_test(broken, empty_file, 0, 2);
    tcase_add_loop_test(broken, truncated_header, 0, 2);
    tcase_add_loop_test(broken, truncated_data, 0, 2);
    tcase_add_loop_test(broken, trailing_bytes, 0, 2);
    tcase_add_loop_test(broken, not_idx, 0, 2);
    tcase_add_loop_test(broken, wrong_type, 0, 2);
    tcase_add_loop_test(broken, wrong_dimensions, 0, 2);
    tcase_add_loop_test(broken, absurd_counts, 0, 2);
    tcase_add_loop_test(broken, other_size, 0, 2);
    tcase_add_loop_test(broken, counts_differ, 0, 2);
    tcase_add_loop_test(broken, label_out_of_range, 0, 2);
    tcase_add_test(broken, corrupt_gzip);
    tcase_add_loop_test(broken, cut_anywhere, 0, 2);
    suite_add_tcase(suite, broken);

    TCase *places = tcase_create("places");
    tcase_add_checked_fixture(places, setup, teardown);
    tcase_set_timeout(places, 60);
    tcase_add_loop_test(places, search_order, 0, 2);
    tcase_add_test(places, default_prefers_mnist);
    tcase_add_test(places, nothing_found);
    tcase_add_test(places, broken_default_is_an_error);
    tcase_add_test(places, installed_fashion_mnist);
    suite_add_tcase(suite, places);

    TCase *synthetic = tcase_create("synthetic");
    tcase_set_timeout(synthetic, 60);
    tcase_add_test(synthetic, synthetic_depends_on_seed_and_number_alone);
    tcase_add_test(synthetic, synthetic_statistics);
    tcase_add_test(synthetic, synthetic_classes_differ);
    suite_add_tcase(suite, synthetic);
    return suite;
}
