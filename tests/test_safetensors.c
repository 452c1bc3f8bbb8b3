// Safetensors files: what is written is read again; whatever is broken is refused with the file's name.
#include "io/safetensors.h"
#include "scratch.h"

#include <math.h>

static gn_shape shape_of(int dims, int a, int b) {
    return (gn_shape){.dims = dims, .size = {a, b}};
}

static const float floats[] = {1.5f, -0.0f, 3e38f, 1e-42f, INFINITY, 0.1f};
static const double doubles[] = {0.1, NAN, -1e300};
static const int64_t longs[] = {7, -2};
static const int32_t ints[] = {INT32_MIN, INT32_MAX, 0};
static const uint8_t bytes[] = {0, 127, 255, 1, 2};

static void write_example(const char *path) {
    st_tensor tensors[] = {
        st_tensor_of("bytes", ST_U8, shape_of(1, 5, 0), bytes),
        st_tensor_of("generator.model.0.weight", ST_F32, shape_of(2, 2, 3), floats),
        st_tensor_of("d_loss", ST_F64, shape_of(1, 3, 0), doubles),
        st_tensor_of("one", ST_I64, shape_of(0, 0, 0), longs),
        st_tensor_of("two", ST_I64, shape_of(1, 2, 0), longs),
        st_tensor_of("ints \"quoted\"\n\xc3\xa9", ST_I32, shape_of(2, 3, 1), ints),
        st_tensor_of("none", ST_F32, shape_of(2, 0, 4), floats),
    };
    st_metadata metadata[] = {{"model", "gan"}, {"json", "{\"a\": 1}"}};
    ck_assert_msg(safetensors_write(path, tensors, 7, metadata, 2), "%s", gn_error());
}

static safetensors *read_or_fail(const char *path) {
    safetensors *file = safetensors_read(path);
    ck_assert_msg(file != NULL, "%s", gn_error());
    return file;
}

START_TEST(test_round_trip) {
    const char *path = in_scratch("a.safetensors");
    write_example(path);
    ck_assert(!is_there(in_scratch("a.safetensors.tmp")));
    safetensors *file = read_or_fail(path);

    const struct {
        const char *name;
        st_dtype dtype;
        int dims, count;
        const void *data;
    } expected[] = {
        {"generator.model.0.weight", ST_F32, 2, 6, floats},
        {"d_loss", ST_F64, 1, 3, doubles},
        {"one", ST_I64, 0, 1, longs},
        {"two", ST_I64, 1, 2, longs},
        {"ints \"quoted\"\n\xc3\xa9", ST_I32, 2, 3, ints},
        {"none", ST_F32, 2, 0, floats},
        {"bytes", ST_U8, 1, 5, bytes},
    };
    for (int i = 0; i < 7; i++) {
        const st_tensor *tensor = st_find(file, expected[i].name);
        ck_assert_msg(tensor != NULL, "%s is missing", expected[i].name);
        ck_assert_int_eq(tensor->dtype, expected[i].dtype);
        ck_assert_int_eq(tensor->dims, expected[i].dims);
        ck_assert_uint_eq(st_count(tensor), expected[i].count);
        ck_assert_mem_eq(tensor->data, expected[i].data, expected[i].count * st_dtype_size(tensor->dtype));
    }
    int count = 0;
    for (const st_tensor *tensor = NULL; (tensor = st_next(file, tensor));)
        count++;
    ck_assert_int_eq(count, 7);
    ck_assert_ptr_null(st_find(file, "three"));
    ck_assert_str_eq(st_find_metadata(file, "model"), "gan");
    ck_assert_str_eq(st_find_metadata(file, "json"), "{\"a\": 1}");
    ck_assert_ptr_null(st_find_metadata(file, "seed"));
    safetensors_free(file);
    safetensors_free(NULL);
}
END_TEST

START_TEST(test_header_is_padded_and_data_aligned) {
    for (int length = 1; length <= 9; length++) { // of a name, so that every padding occurs
        char name[] = "123456789";
        name[length] = '\0';
        st_tensor tensors[] = {st_tensor_of("byte", ST_U8, shape_of(1, 1, 0), bytes),
                               st_tensor_of("float", ST_F32, shape_of(0, 0, 0), floats),
                               st_tensor_of(name, ST_F64, shape_of(1, 3, 0), doubles)};
        const char *path = in_scratch("aligned.safetensors");
        ck_assert(safetensors_write(path, tensors, 3, NULL, 0));
        FILE *stream = fopen(path, "rb");
        uint64_t header_size;
        ck_assert_uint_eq(fread(&header_size, 8, 1, stream), 1);
        ck_assert_uint_eq(header_size % 8, 0);
        double first;
        fseek(stream, (long)header_size, SEEK_CUR);
        ck_assert_uint_eq(fread(&first, 8, 1, stream), 1);
        ck_assert(first == doubles[0]); // the doubles lie first
        fclose(stream);
    }
}
END_TEST

START_TEST(test_conversions) {
    const char *path = in_scratch("a.safetensors");
    write_example(path);
    safetensors *file = read_or_fail(path);
    float f32[6];
    double f64[6];
    int32_t i32[5];
    uint8_t u8[5];

    st_read_f32(st_find(file, "generator.model.0.weight"), f32);
    ck_assert_mem_eq(f32, floats, sizeof(floats));
    st_read_f64(st_find(file, "generator.model.0.weight"), f64);
    for (int i = 0; i < 6; i++)
        ck_assert(f64[i] == floats[i]);
    st_read_f32(st_find(file, "d_loss"), f32);
    ck_assert(f32[0] == 0.1f && isnan(f32[1]) && isinf(f32[2]));
    st_read_f64(st_find(file, "ints \"quoted\"\n\xc3\xa9"), f64);
    ck_assert(f64[0] == INT32_MIN && f64[1] == INT32_MAX && f64[2] == 0);
    ck_assert(st_read_i32(st_find(file, "two"), i32) && i32[0] == 7 && i32[1] == -2);
    ck_assert(st_read_i32(st_find(file, "bytes"), i32) && i32[2] == 255 && i32[4] == 2);
    ck_assert(st_read_u8(st_find(file, "bytes"), u8));
    ck_assert_mem_eq(u8, bytes, sizeof(bytes));

    ck_assert(!st_read_u8(st_find(file, "two"), u8));
    assert_error(path, "\"two\" holds -2");
    ck_assert(!st_read_i32(st_find(file, "d_loss"), i32));
    assert_error("\"d_loss\"", "0.1");
    safetensors_free(file);
}
END_TEST

START_TEST(test_need) {
    const char *path = in_scratch("a.safetensors");
    write_example(path);
    safetensors *file = read_or_fail(path);
    ck_assert_ptr_nonnull(st_need(file, "generator.model.0.weight", shape_of(2, 2, 3)));
    ck_assert_ptr_nonnull(st_need(file, "generator.model.0.weight", shape_of(2, -1, 3)));
    ck_assert_ptr_nonnull(st_need(file, "one", shape_of(0, 0, 0)));
    ck_assert_ptr_nonnull(st_need(file, "one", shape_of(1, 1, 0)));

    ck_assert_ptr_null(st_need(file, "generator.model.0.weight", shape_of(2, -1, 4)));
    assert_error(path, "\"generator.model.0.weight\" has the shape (2, 3); (?, 4) is needed");
    ck_assert_ptr_null(st_need(file, "generator.model.0.weight", shape_of(1, 6, 0)));
    ck_assert_ptr_null(st_need(file, "two", shape_of(0, 0, 0)));
    ck_assert_ptr_null(st_need(file, "z", shape_of(2, 64, 100)));
    assert_error(path, "\"z\" is missing; one of shape (64, 100) is needed");
    safetensors_free(file);
}
END_TEST

// Writes header and data as they are, with a length of the header that may be another.
static void write_raw(const char *path, uint64_t header_size, const char *header, size_t data_size) {
    char raw[1024] = {0};
    size_t length = strlen(header);
    memcpy(raw, &header_size, 8);
    memcpy(raw + 8, header, length);
    put_file(path, raw, 8 + length + data_size);
}

static const struct {
    const char *header;
    size_t data_size;
    const char *error;
} broken[] = {
    {"", 0, "JSON"},
    {"{", 0, "JSON"},
    {"[]", 0, "no JSON object"},
    {"{} x", 0, "JSON"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[99999999999999999999],\"data_offsets\":[0,1]}}", 1, "JSON"},
    {"{\"\xff\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "JSON"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
     "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[1,2]}}",
     2, "duplicate"},
    {"{\"a\":3}", 0, "\"a\" has no dtype"},
    {"{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", 1, "\"a\" has no dtype"},
    {"{\"a\":{\"dtype\":\"BF16\",\"shape\":[1],\"data_offsets\":[0,2]}}", 2, "\"a\" has a dtype other than"},
    {"{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, "\"a\" has no shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1.5],\"data_offsets\":[0,4]}}", 4, "\"a\" has a shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, "\"a\" has a shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4,
     "\"a\" has 9 dim"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],\"data_offsets\":[0,0]}}", 0,
     "\"a\" has a shape"},
    {"{\"a\":{\"dtype\":\"F64\",\"shape\":[2305843009213693952],\"data_offsets\":[0,0]}}", 0,
     "\"a\" has a shape"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, "\"a\" has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0]}}", 4, "\"a\" has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4,8]}}", 4, "\"a\" has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,\"4\"]}}", 4, "\"a\" has no data_offsets"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[-4,0]}}", 4, "\"a\" would lie"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, "\"a\" would lie"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 4, "\"a\" would lie"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,9223372036854775807]}}", 4,
     "\"a\" would lie"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,8]}}", 8, "\"a\" takes 4 bytes"},
    {"{\"a\\nb\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 8, "\"a\\nb\" takes 8 bytes"},
    {"{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8, "damaged"},
    {"{\"__metadata__\":[]}", 0, "__metadata__"},
    {"{\"__metadata__\":{\"seed\":1}}", 0, "__metadata__"},
};

START_TEST(test_broken_files) {
    const char *path = in_scratch("broken.safetensors");
    write_raw(path, strlen(broken[_i].header), broken[_i].header, broken[_i].data_size);
    ck_assert_msg(!safetensors_read(path), "this was read: %s", broken[_i].header);
    assert_error(path, broken[_i].error);
}
END_TEST

START_TEST(test_broken_lengths) {
    const char *path = in_scratch("broken.safetensors");
    const uint64_t sizes[] = {3, 1000, 100 * 1000 * 1000, INT64_MAX, UINT64_MAX, UINT64_MAX - 7};
    for (int i = 0; i < 6; i++) {
        write_raw(path, sizes[i], "{}", 0);
        ck_assert(!safetensors_read(path));
        assert_error(path, "header would have");
    }
    put_file(path, "", 0);
    ck_assert(!safetensors_read(path));
    assert_error(path, "no safetensors file");
    ck_assert(!safetensors_read(in_scratch("missing.safetensors")));
    assert_error("missing.safetensors", "No such file");
    ck_assert(!safetensors_read(scratch));
    assert_error(scratch, "no regular file");
    ck_assert(!safetensors_read("/dev/zero"));
    assert_error("/dev/zero", "no regular file");

    write_raw(path, 2, "{}", 0); // and the smallest good file
    safetensors_free(read_or_fail(path));
}
END_TEST

// A good file, its bytes on the heap so that a sanitizer sees a read beyond their end.
static uint8_t *example_bytes(size_t *size) {
    const char *path = in_scratch("whole.safetensors");
    write_example(path);
    struct stat status;
    ck_assert_int_eq(stat(path, &status), 0);
    *size = (size_t)status.st_size;
    uint8_t *whole = malloc(*size);
    FILE *stream = fopen(path, "rb");
    ck_assert_uint_eq(fread(whole, 1, *size, stream), *size);
    fclose(stream);
    return whole;
}

START_TEST(test_truncated_anywhere) {
    size_t size;
    uint8_t *whole = example_bytes(&size);
    const char *path = in_scratch("cut.safetensors");
    for (size_t length = 0; length < size; length++) {
        put_file(path, whole, length);
        ck_assert_msg(!safetensors_read(path), "read with %zu of %zu bytes", length, size);
        assert_error(path, "");
    }
    printf("safetensors: refused at each of %zu lengths\n", size);
    free(whole);
}
END_TEST

// Single bytes changed: refused, or read into tensors that can all be walked through.
START_TEST(test_damaged_anywhere) {
    size_t size;
    uint8_t *whole = example_bytes(&size);
    const char *path = in_scratch("damaged.safetensors");
    const uint8_t values[] = {0, ' ', '"', '0', '9', '-', '}', 0xff};
    int read = 0, refused = 0;
    for (size_t at = 0; at < size; at++) {
        uint8_t kept = whole[at];
        whole[at] = values[at % sizeof(values)];
        put_file(path, whole, size);
        whole[at] = kept;
        safetensors *file = safetensors_read(path);
        if (!file) {
            refused++;
            assert_error(path, "");
            continue;
        }
        read++;
        for (const st_tensor *tensor = NULL; (tensor = st_next(file, tensor));) {
            double *values_read = calloc(st_count(tensor) + 1, sizeof(double));
            st_read_f64(tensor, values_read);
            free(values_read);
        }
        safetensors_free(file);
    }
    printf("safetensors: of %zu files with one changed byte %d were read, %d refused\n", size, read, refused);
    ck_assert(read > 0 && refused > 0);
    free(whole);
}
END_TEST

START_TEST(test_failed_write_keeps_the_old_file) {
    const char *path = in_scratch("old.safetensors");
    put_file(path, "old", 3);
    static float many[10000];
    st_tensor tensor = st_tensor_of("many", ST_F32, shape_of(1, 10000, 0), many);
    limit_file_size(4096);
    bool written = safetensors_write(path, &tensor, 1, NULL, 0);
    lift_file_size();
    ck_assert(!written);
    assert_error(path, "File too large");
    assert_holds(path, "old");
    ck_assert(!is_there(in_scratch("old.safetensors.tmp")));

    ck_assert(!safetensors_write("/dev/full", &tensor, 1, NULL, 0));
    assert_error("/dev/full", "No space left");
    ck_assert(safetensors_write("/dev/null", &tensor, 1, NULL, 0)); // and it is a device still
    struct stat status;
    ck_assert(stat("/dev/null", &status) == 0 && S_ISCHR(status.st_mode));
    ck_assert(!safetensors_write(in_scratch("no/such/folder.safetensors"), &tensor, 1, NULL, 0));
    assert_error("no/such/folder.safetensors", "No such file");
    ck_assert(!safetensors_write(scratch, &tensor, 1, NULL, 0));
    assert_error(scratch, "directory");
}
END_TEST

Suite *test_suite(void) {
    Suite *suite = suite_create("safetensors");
    TCase *tests = tcase_create("files");
    tcase_add_unchecked_fixture(tests, scratch_make, scratch_remove);
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, test_round_trip);
    tcase_add_test(tests, test_header_is_padded_and_data_aligned);
    tcase_add_test(tests, test_conversions);
    tcase_add_test(tests, test_need);
    tcase_add_loop_test(tests, test_broken_files, 0, sizeof(broken) / sizeof(broken[0]));
    tcase_add_test(tests, test_broken_lengths);
    tcase_add_test(tests, test_truncated_anywhere);
    tcase_add_test(tests, test_damaged_anywhere);
    tcase_add_test(tests, test_failed_write_keeps_the_old_file);
    suite_add_tcase(suite, tests);
    return suite;
}
