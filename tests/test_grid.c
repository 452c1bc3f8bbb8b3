// Sample grids: pixel by pixel what torchvision's save_image makes of the same images. The expected pixels
// are torchvision's own (reference/grid.py); where the environment variable GANC_TRACES names the folder of
// the PyTorch runs, their grids are compared as well.
#include "io/image_grid.h"
#include "io/safetensors.h"
#include "scratch.h"

#include <math.h>
#include <png.h>

static const uint8_t SENTINEL = 0xa5;

// Renders, with sentinels around the pixels; the caller frees `*rgb`. Returns how many bytes they take.
static size_t render(const float *images, const int64_t *shape, int columns, uint8_t **rgb, int size[2]) {
    int count = (int)shape[0], height = (int)shape[1], width = (int)shape[2];
    image_grid_size(count, height, width, columns, &size[0], &size[1]);
    size_t bytes = (size_t)size[0] * (size_t)size[1] * 3;
    uint8_t *guarded = malloc(bytes + 128);
    memset(guarded, SENTINEL, bytes + 128);
    image_grid_pixels(images, count, height, width, columns, guarded + 64);
    for (int i = 0; i < 64; i++)
        ck_assert_msg(guarded[i] == SENTINEL && guarded[64 + bytes + (size_t)i] == SENTINEL,
                      "wrote outside the %dx%d pixels", size[0], size[1]);
    memmove(guarded, guarded + 64, bytes);
    *rgb = guarded;
    return bytes;
}

static void compare(const char *name, const uint8_t *found, const uint8_t *expected, size_t bytes) {
    int largest = 0;
    size_t different = 0;
    for (size_t i = 0; i < bytes; i++) {
        int distance = abs(found[i] - expected[i]);
        different += distance > 0;
        largest = distance > largest ? distance : largest;
    }
    printf("grid %s: %zu of %zu bytes differ, largest difference %d\n", name, different, bytes, largest);
    ck_assert_uint_eq(different, 0);
}

static const char *const cases[] = {"partial_row", "narrow",          "single", "full_rows", "one_column",
                                    "constant",    "nearly_constant", "ties",   "wide"};

START_TEST(test_torchvision) {
    safetensors *file = safetensors_read(TESTS_DIR "/expected/grid.safetensors");
    ck_assert_msg(file != NULL, "%s", gn_error());
    char name[64];
    snprintf(name, sizeof(name), "images.%s", cases[_i]);
    const st_tensor *images = st_find(file, name);
    snprintf(name, sizeof(name), "pixels.%s", cases[_i]);
    const st_tensor *pixels = st_find(file, name);
    snprintf(name, sizeof(name), "columns.%s", cases[_i]);
    int32_t columns;
    ck_assert(images && pixels && st_find(file, name) && st_read_i32(st_find(file, name), &columns));

    float *values = malloc(st_count(images) * sizeof(float));
    st_read_f32(images, values);
    uint8_t *rgb;
    int size[2];
    size_t bytes = render(values, images->shape, columns, &rgb, size);
    ck_assert_int_eq(size[0], pixels->shape[0]);
    ck_assert_int_eq(size[1], pixels->shape[1]);
    compare(cases[_i], rgb, pixels->data, bytes);
    free(rgb);
    free(values);
    safetensors_free(file);
}
END_TEST

START_TEST(test_sizes) {
    const int expected[][6] = {// count, height, width, columns -> height, width
                               {100, 28, 28, 10, 302, 302}, {100, 32, 32, 10, 342, 342},
                               {1, 28, 28, 10, 28, 28},     {4, 28, 28, 10, 32, 122},
                               {13, 5, 4, 10, 16, 62},      {3, 6, 5, 1, 26, 9}};
    for (int i = 0; i < 6; i++) {
        const int *e = expected[i];
        int height, width;
        image_grid_size(e[0], e[1], e[2], e[3], &height, &width);
        ck_assert_int_eq(height, e[4]);
        ck_assert_int_eq(width, e[5]);
    }
}
END_TEST

// A generator that diverged must not crash the run: torchvision's grid of it is black.
START_TEST(test_not_finite) {
    const float values[] = {NAN, INFINITY, -INFINITY};
    for (int i = 0; i < 3; i++) {
        float images[2 * 3 * 3] = {0.5f, -0.5f};
        images[11] = values[i];
        uint8_t *rgb;
        int size[2];
        size_t bytes = render(images, (int64_t[]){2, 3, 3}, 10, &rgb, size);
        for (size_t at = 0; at < bytes; at++)
            ck_assert_uint_eq(rgb[at], 0);
        free(rgb);
    }
}
END_TEST

// Decodes a PNG file; the caller frees.
static uint8_t *read_png(const char *path, int *height, int *width) {
    png_image png = {.version = PNG_IMAGE_VERSION};
    ck_assert_msg(png_image_begin_read_from_file(&png, path), "%s: %s", path, png.message);
    png.format = PNG_FORMAT_RGB;
    uint8_t *rgb = malloc(PNG_IMAGE_SIZE(png));
    ck_assert_msg(png_image_finish_read(&png, NULL, rgb, 0, NULL), "%s: %s", path, png.message);
    *height = (int)png.height;
    *width = (int)png.width;
    return rgb;
}

static float ramp[13 * 28 * 28];

START_TEST(test_written_file) {
    for (int i = 0; i < 13 * 28 * 28; i++)
        ramp[i] = sinf((float)i);
    const char *path = in_scratch("grid.png");
    ck_assert_msg(image_grid_write(path, ramp, 13, 28, 28, 10), "%s", gn_error());
    ck_assert(!is_there(in_scratch("grid.png.tmp")));
    uint8_t *expected;
    int size[2], height, width;
    size_t bytes = render(ramp, (int64_t[]){13, 28, 28}, 10, &expected, size);
    uint8_t *found = read_png(path, &height, &width);
    ck_assert_int_eq(height, size[0]);
    ck_assert_int_eq(width, size[1]);
    compare("written", found, expected, bytes);
    free(found);
    free(expected);
}
END_TEST

START_TEST(test_failed_write) {
    const char *path = in_scratch("old.png");
    put_file(path, "old", 3);
    for (int i = 0; i < 13 * 28 * 28; i++)
        ramp[i] = sinf((float)(i * i));
    limit_file_size(1024);
    bool written = image_grid_write(path, ramp, 13, 28, 28, 10);
    lift_file_size();
    ck_assert(!written);
    assert_error(path, "File too large");
    ck_assert(!is_there(in_scratch("old.png.tmp")));
    assert_holds(path, "old");

    ck_assert(!image_grid_write("/dev/full", ramp, 1, 28, 28, 10));
    assert_error("/dev/full", "No space left");
    ck_assert(!image_grid_write("/dev/null/grid.png", ramp, 1, 28, 28, 10));
    assert_error("/dev/null/grid.png", "Not a directory");
}
END_TEST

START_TEST(test_traces) {
    const char *folder = getenv("GANC_TRACES");
    const char *const models[] = {"gan", "cgan", "dcgan", "wgan", "wgan-gp"};
    if (!folder) {
        printf("grid: SKIPPED the grids of the PyTorch runs: GANC_TRACES does not name their folder\n");
        return;
    }
    for (int i = 0; i < 5; i++) {
        char path[512];
        snprintf(path, sizeof(path), "%s/%s.safetensors", folder, models[i]);
        safetensors *file = safetensors_read(path);
        ck_assert_msg(file != NULL, "%s", gn_error());
        const st_tensor *samples = st_need(file, "expect.samples", (gn_shape){4, {100, 1, -1, -1}});
        ck_assert_msg(samples != NULL, "%s", gn_error());
        snprintf(path, sizeof(path), "%s/%s.grid.png", folder, models[i]);
        int height, width, size[2];
        uint8_t *expected = read_png(path, &height, &width), *rgb;

        float *values = malloc(st_count(samples) * sizeof(float));
        st_read_f32(samples, values);
        size_t bytes = render(values, (int64_t[]){100, samples->shape[2], samples->shape[3]}, 10, &rgb, size);
        ck_assert_int_eq(size[0], height);
        ck_assert_int_eq(size[1], width);
        compare(models[i], rgb, expected, bytes);
        free(values);
        free(rgb);
        free(expected);
        safetensors_free(file);
    }
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("grid");
    TCase *tests = tcase_create("pixels");
    tcase_add_unchecked_fixture(tests, scratch_make, scratch_remove);
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, test_torchvision, 0, sizeof(cases) / sizeof(cases[0]));
    tcase_add_test(tests, test_sizes);
    tcase_add_test(tests, test_not_finite);
    tcase_add_test(tests, test_written_file);
    tcase_add_test(tests, test_failed_write);
    tcase_add_test(tests, test_traces);
    suite_add_tcase(suite, tests);
    return suite;
}
