// Devices: selectors and cards shown twice, on lists made by hand; errors; kernels that do not compile.
//
// Nothing here needs a GPU. What needs a device runs where the machine has one, and says so where not.
#include "base/error.h"
#include "cl/device.h"
#include "cl/kernels.h"
#include "ganc.h"
#include "test.h"

#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_DEVICES = 8 };

// A list whose rows lie on the heap, as device_list_settle() expects; freed by device_list_free().
static device_list new_list(void) {
    return (device_list){.devices = gn_calloc(MAX_DEVICES, sizeof(device_info))};
}

// Appends a device; platforms are told apart by their name's address.
static void add(device_list *list, const char *platform, const char *name, const char *vendor, cl_uint id,
                cl_device_type type, const char *bus) {
    device_info *device = &list->devices[list->count++];
    device->platform = (cl_platform_id)platform;
    snprintf(device->platform_name, sizeof device->platform_name, "%s", platform);
    snprintf(device->name, sizeof device->name, "%s", name);
    snprintf(device->vendor, sizeof device->vendor, "%s", vendor);
    snprintf(device->bus, sizeof device->bus, "%s", bus);
    device->vendor_id = id;
    device->type = type;
}

static const char pocl[] = "Portable Computing Language", cuda[] = "NVIDIA CUDA", rusticl[] = "rusticl",
                  rocm[] = "AMD Accelerated Parallel Processing", neo[] = "Intel(R) OpenCL Graphics",
                  intel_cpu[] = "Intel(R) OpenCL", fpga[] = "Intel(R) FPGA Emulation Platform";

// CPUs come first from the loader, as they often do; PoCL's carries Intel's id and AMD's name.
static device_list full_machine(void) {
    device_list list = new_list();
    add(&list, pocl, "pthread-znver4", "AuthenticAMD", 0x8086, CL_DEVICE_TYPE_CPU, "");
    add(&list, intel_cpu, "Intel(R) Xeon(R)", "Intel(R) Corporation", 0x8086, CL_DEVICE_TYPE_CPU, "");
    add(&list, fpga, "FPGA Emulation", "Intel(R) Corporation", 0x8086, CL_DEVICE_TYPE_ACCELERATOR, "");
    add(&list, rocm, "AMD Radeon RX 6800 (gfx1030)", "Advanced Micro Devices, Inc.", 0x1002,
        CL_DEVICE_TYPE_GPU, "0000:03:00.0");
    add(&list, rocm, "AMD Radeon VII (gfx906)", "Advanced Micro Devices, Inc.", 0x1002, CL_DEVICE_TYPE_GPU,
        "0000:43:00.0");
    add(&list, neo, "Intel(R) Arc(TM) A770 Graphics", "Intel(R) Corporation", 0x8086, CL_DEVICE_TYPE_GPU,
        "0000:08:00.0");
    add(&list, "Mali", "Mali-G78", "ARM", 0x92020010, CL_DEVICE_TYPE_GPU, "");
    device_list_settle(&list);
    return list;
}

// ---- Settling ----------------------------------------------------------------------------------------

START_TEST(rows_and_selectors) {
    device_list list = full_machine();
    static const char *const expected[] = {"amd:0", "amd:1", "intel:0", "gpu:3", "cpu:0", "cpu:1", "6"};
    ck_assert_int_eq(list.count, 7);
    for (int i = 0; i < list.count; i++) {
        ck_assert_str_eq(list.devices[i].selector, expected[i]);
        // A selector means the device that bears it.
        ck_assert_ptr_eq(device_list_choose(&list, list.devices[i].selector), &list.devices[i]);
    }
    ck_assert_int_eq(list.skipped_count, 0);
    device_list_free(&list);
}
END_TEST

// Two platforms, one card: the vendor's platform keeps it, though the loader names it last.
START_TEST(one_card_by_address) {
    device_list list = new_list();
    add(&list, rusticl, "AMD Radeon RX 6800 (navi21)", "AMD", 0x1002, CL_DEVICE_TYPE_GPU, "0000:03:00.0");
    add(&list, rocm, "gfx1030", "Advanced Micro Devices, Inc.", 0x1002, CL_DEVICE_TYPE_GPU, "0000:03:00.0");
    device_list_settle(&list);
    ck_assert_int_eq(list.count, 1);
    ck_assert_str_eq(list.devices[0].platform_name, rocm);
    ck_assert_str_eq(list.devices[0].selector, "amd:0");
    ck_assert_int_eq(list.skipped_count, 1);
    ck_assert_str_eq(list.skipped[0], "rusticl: AMD Radeon RX 6800 (navi21) is the same card as gfx1030 of "
                                      "AMD Accelerated Parallel Processing");
    device_list_free(&list);
}
END_TEST

// Equal names are two cards where the addresses differ.
START_TEST(two_cards_by_address) {
    device_list list = new_list();
    add(&list, rocm, "gfx906", "AMD", 0x1002, CL_DEVICE_TYPE_GPU, "0000:03:00.0");
    add(&list, rusticl, "gfx906", "AMD", 0x1002, CL_DEVICE_TYPE_GPU, "0000:43:00.0");
    device_list_settle(&list);
    ck_assert_int_eq(list.count, 2);
    ck_assert_str_eq(list.devices[1].selector, "amd:1");
    device_list_free(&list);
}
END_TEST

// Without addresses names and counts decide: two cards here, two of the three there are the same, in whatever
// words their drivers add.
START_TEST(same_cards_by_name) {
    device_list list = new_list();
    for (int i = 0; i < 3; i++) {
        add(&list, rusticl, "Mesa Intel(R) Arc(tm) A770 Graphics (DG2)", "Intel", 0x8086, CL_DEVICE_TYPE_GPU,
            "");
    }
    add(&list, neo, "Intel(R) Arc(TM) A770 Graphics [0x56a0]", "Intel(R) Corporation", 0x8086,
        CL_DEVICE_TYPE_GPU, "0000:03:00.0");
    add(&list, neo, "Intel(R) Arc(TM) A770 Graphics [0x56a0]", "Intel(R) Corporation", 0x8086,
        CL_DEVICE_TYPE_GPU, "0000:04:00.0");
    device_list_settle(&list);
    ck_assert_int_eq(list.count, 3);
    ck_assert_str_eq(list.devices[0].platform_name, neo);
    ck_assert_str_eq(list.devices[1].platform_name, neo);
    ck_assert_str_eq(list.devices[2].platform_name, rusticl);
    ck_assert_int_eq(list.skipped_count, 2);
    device_list_free(&list);
}
END_TEST

// What must stay: a card with a longer name, equal cards of one platform, a CPU shown by two platforms.
START_TEST(different_devices_stay) {
    device_list list = new_list();
    add(&list, rocm, "AMD Radeon RX 6800", "AMD", 0x1002, CL_DEVICE_TYPE_GPU, "0000:03:00.0");
    add(&list, rusticl, "AMD Radeon RX 6800 XT", "AMD", 0x1002, CL_DEVICE_TYPE_GPU, "");
    add(&list, rocm, "AMD Radeon (TM) RX 480 Graphics (polaris10)", "AMD", 0x1002, CL_DEVICE_TYPE_GPU, "");
    add(&list, rusticl, "AMD Radeon (TM) Pro WX 7100 (polaris10)", "AMD", 0x1002, CL_DEVICE_TYPE_GPU, "");
    add(&list, cuda, "NVIDIA H200", "NVIDIA Corporation", 0x10de, CL_DEVICE_TYPE_GPU, "");
    add(&list, cuda, "NVIDIA H200", "NVIDIA Corporation", 0x10de, CL_DEVICE_TYPE_GPU, "");
    add(&list, pocl, "Intel(R) Xeon(R)", "GenuineIntel", 0x8086, CL_DEVICE_TYPE_CPU, "");
    add(&list, intel_cpu, "Intel(R) Xeon(R)", "Intel(R) Corporation", 0x8086, CL_DEVICE_TYPE_CPU, "");
    device_list_settle(&list);
    ck_assert_int_eq(list.count, 8);
    ck_assert_int_eq(list.skipped_count, 0);
    device_list_free(&list);
}
END_TEST

// Whose id is not the vendor's is known by the vendor's name.
START_TEST(vendors_by_name) {
    device_list list = new_list();
    add(&list, "Apple", "AMD Radeon Pro 560", "AMD", 0x1021c00, CL_DEVICE_TYPE_GPU, "");
    add(&list, "Apple", "HD Graphics 630", "Intel Inc.", 0x1024500, CL_DEVICE_TYPE_GPU, "");
    device_list_settle(&list);
    ck_assert_str_eq(list.devices[0].selector, "amd:0");
    ck_assert_str_eq(list.devices[1].selector, "intel:0");
    device_list_free(&list);
}
END_TEST

// ---- Choosing ----------------------------------------------------------------------------------------

START_TEST(selectors) {
    // clang-format off
    static const struct { const char *selector; int row; } cases[] = {
        {"amd", 0}, {"amd:0", 0}, {"amd:1", 1}, {"AMD:1", 1}, {"intel", 2}, {"intel:0", 2},
        {"gpu", 0}, {"gpu:2", 2}, {"gpu:3", 3}, {"cpu", 4}, {"cpu:1", 5}, {"CPU:01", 5},
        {"pocl", 4}, {"PoCL", 4}, {"pocl:0", 4}, {"0", 0}, {"3", 3}, {"6", 6},
        {"radeon", 0}, {"radeon vii", 1}, {"xeon", 5}, {"fpga", 6},
        {"accelerated parallel", 0}, {"mali-g", 3},
    };
    // clang-format on
    device_list list = full_machine();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const device_info *device = device_list_choose(&list, cases[i].selector);
        ck_assert_msg(device == &list.devices[cases[i].row], "%s means row %d, not %d: %s", cases[i].selector,
                      cases[i].row, device ? (int)(device - list.devices) : -1, device ? "" : gn_error());
    }
    device_list_free(&list);
}
END_TEST

START_TEST(selectors_of_nothing) {
    static const struct {
        const char *selector, *problem;
    } cases[] = {
        {"amd:2", "device \"amd:2\" matches nothing; there is amd:0 (AMD Radeon RX 6800 (gfx1030)), amd:1 ("},
        {"nvidia", "matches nothing"},
        {"cpu:2", "matches nothing"},
        {"gpu:99999999999999999999", "matches nothing"},
        {"7", "is no row"},
        {"99999999999999999999", "is no row"},
        {"cpu:x", "a number after the colon"},
        {"gpu:-1", "a number after the colon"},
        {"gpu:", "a number after the colon"},
        {"amd:0 ", "a number after the colon"},
        {"pocl:+0", "a number after the colon"},
        {"-1", "is no selector"},
        {"", "is no selector"},
        {"  ", "is no selector"},
        {"cpu0", "matches nothing"},
        {"radeon:0", "matches nothing"},
        {"geforce", "matches nothing"},
    };
    device_list list = full_machine();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        ck_assert_msg(!device_list_choose(&list, cases[i].selector), "\"%s\" means a device",
                      cases[i].selector);
        const char *error = gn_error();
        ck_assert_msg(strstr(error, cases[i].problem), "\"%s\": %s", cases[i].selector, error);
        ck_assert_ptr_null(strchr(error, '\n'));
        for (int k = 0; k < list.count; k++) { // the error lists every device
            char *entry = gn_format("%s (%s)", list.devices[k].selector, list.devices[k].name);
            ck_assert_msg(strstr(error, entry), "\"%s\" lacks %s: %s", cases[i].selector, entry, error);
            free(entry);
        }
    }
    device_list_free(&list);
}
END_TEST

// On a machine with a CPU alone no vendor's word means it, whatever PoCL calls it.
START_TEST(vendors_are_no_cpus) {
    static const char *const words[] = {"amd", "amd:0", "intel", "intel:0", "nvidia", "gpu", "gpu:0"};
    device_list list = new_list();
    add(&list, pocl, "pthread-znver4", "AuthenticAMD", 0x8086, CL_DEVICE_TYPE_CPU, "");
    add(&list, pocl, "pthread-skylake", "GenuineIntel", 0x8086, CL_DEVICE_TYPE_CPU, "");
    device_list_settle(&list);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        ck_assert_msg(!device_list_choose(&list, words[i]), "%s means a CPU", words[i]);
        ck_assert_ptr_nonnull(strstr(gn_error(), "cpu:0 (pthread-znver4), cpu:1 (pthread-skylake)"));
    }
    device_list_free(&list);
}
END_TEST

START_TEST(default_device) {
    device_list list = full_machine();
    unsetenv("GANC_DEVICE");
    ck_assert_ptr_eq(device_list_choose(&list, NULL), &list.devices[0]);
    setenv("GANC_DEVICE", "", 1);
    ck_assert_ptr_eq(device_list_choose(&list, NULL), &list.devices[0]);
    setenv("GANC_DEVICE", "cpu:1", 1);
    ck_assert_ptr_eq(device_list_choose(&list, NULL), &list.devices[5]);
    ck_assert_ptr_eq(device_list_choose(&list, "amd:1"), &list.devices[1]); // the option prevails
    setenv("GANC_DEVICE", "nvidia:0", 1);
    ck_assert_ptr_null(device_list_choose(&list, NULL));
    ck_assert_ptr_nonnull(
        strstr(gn_error(), "device \"nvidia:0\" (from GANC_DEVICE) matches nothing; there"));
    device_list_free(&list);

    unsetenv("GANC_DEVICE");
    list = new_list(); // no GPU: the first CPU, not the emulator before it
    add(&list, fpga, "FPGA Emulation", "Intel(R) Corporation", 0x8086, CL_DEVICE_TYPE_ACCELERATOR, "");
    add(&list, pocl, "pthread", "GenuineIntel", 0x8086, CL_DEVICE_TYPE_CPU, "");
    device_list_settle(&list);
    ck_assert_str_eq(device_list_choose(&list, NULL)->selector, "cpu:0");
    device_list_free(&list);

    list = new_list(); // neither: an error, not the emulator
    add(&list, fpga, "FPGA Emulation", "Intel(R) Corporation", 0x8086, CL_DEVICE_TYPE_ACCELERATOR, "");
    device_list_settle(&list);
    ck_assert_ptr_null(device_list_choose(&list, NULL));
    ck_assert_ptr_nonnull(strstr(gn_error(), "0 (FPGA Emulation)"));
    device_list_free(&list);
}
END_TEST

START_TEST(no_devices) {
    device_list list = {.skipped = gn_calloc(2, sizeof(char *)), .skipped_count = 2};
    list.skipped[0] = gn_strdup("Clover: no device");
    list.skipped[1] = gn_strdup("rusticl: no device");
    ck_assert_ptr_null(device_list_choose(&list, "cpu"));
    ck_assert_str_eq(gn_error(), "OpenCL has no usable device here: Clover: no device; rusticl: no device");
    device_list_free(&list);
}
END_TEST

// ---- No platform -------------------------------------------------------------------------------------

// Whether OpenCL has no platform in this environment, as a test wants it. The loader reads its folder once,
// at the first call, and Check runs each test in a process of its own; where it does not, or where OpenCL
// comes without a loader (Oclgrind), there are platforms, and the test is skipped.
static bool without_platforms(void) {
    cl_uint count = 0;
    if (clGetPlatformIDs(0, NULL, &count) != CL_SUCCESS || count == 0) {
        return true;
    }
    printf("skipped: %u platforms, whatever OCL_ICD_VENDORS says\n", count);
    return false;
}

// The error of device_list_find() when the loader searches a new folder with this .icd file, or none.
static void expect_no_platform(const char *library, const char *expected) {
    char folder[] = "/tmp/ganc-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    char *file = gn_format("%s/stale.icd", folder);
    if (library) {
        FILE *out = fopen(file, "w");
        ck_assert_ptr_nonnull(out);
        fprintf(out, "%s\n", library);
        fclose(out);
    }
    setenv("OCL_ICD_VENDORS", folder, 1);
    unsetenv("OCL_ICD_FILENAMES");
    bool suitable = without_platforms();
    device_list list;
    bool found = suitable && device_list_find(&list);
    remove(file);
    rmdir(folder);
    free(file);
    if (!suitable) {
        return;
    }
    ck_assert(!found);
    const char *error = gn_error();
    ck_assert_msg(strstr(error, folder) && strstr(error, expected) && strstr(error, "pocl-opencl-icd"), "%s",
                  error);
    ck_assert_ptr_null(strchr(error, '\n'));
    ck_assert_int_eq(list.count, 0);
    device_list_free(&list);
}

START_TEST(no_platform) {
    expect_no_platform(NULL, " (OCL_ICD_VENDORS) holds no .icd file");
}
END_TEST

START_TEST(stale_driver) {
    expect_no_platform("/nonexistent/libgone.so", "holds stale.icd (/nonexistent/libgone.so: cannot open");
}
END_TEST

START_TEST(no_folder) {
    setenv("OCL_ICD_VENDORS", "/nonexistent/vendors", 1);
    unsetenv("OCL_ICD_FILENAMES");
    if (without_platforms()) {
        device_list list;
        ck_assert(!device_list_find(&list));
        ck_assert_msg(strstr(gn_error(), "/nonexistent/vendors (OCL_ICD_VENDORS) does not exist"), "%s",
                      gn_error());
    }
}
END_TEST

// ---- This machine ------------------------------------------------------------------------------------

// A device with what kernels_build() needs, opened without products. False, said, where there is none.
static bool open_device(gn_device *device) {
    device_list list;
    *device = (gn_device){0};
    if (!device_list_find(&list)) {
        printf("skipped: %s\n", gn_error());
        return false;
    }
    const device_info *chosen = device_list_choose(&list, NULL);
    ck_assert_msg(chosen != NULL, "%s", gn_error());
    cl_int status;
    device->info = *chosen;
    device->class = chosen->class;
    device_list_free(&list);
    device->context = clCreateContext(NULL, 1, &device->info.id, NULL, NULL, &status);
    ck_assert_int_eq(status, CL_SUCCESS);
    return true;
}

START_TEST(this_machine) {
    device_list list;
    if (!device_list_find(&list)) {
        printf("skipped: %s\n", gn_error());
        return;
    }
    ck_assert_msg(list.count > 0, "platforms, but no device");
    for (int i = 0; i < list.count; i++) {
        const device_info *device = &list.devices[i];
        printf("%d %s %s, %s, %u units\n", i, device->selector, device->name, device->driver, device->units);
        ck_assert_ptr_eq(device_list_choose(&list, device->selector), device);
        ck_assert_uint_gt(device->units, 0);
        ck_assert_uint_gt(device->memory, 0);
    }
    device_list_free(&list);
}
END_TEST

START_TEST(class_macro) {
    static const char source[] = "#if defined(GANC_CPU) == defined(GANC_GPU) || __OPENCL_VERSION__ < 120\n"
                                 "#error macros\n"
                                 "#endif\n"
                                 "#ifdef GANC_CPU\nkernel void on_cpu(global int *x) { *x = VALUE; }\n"
                                 "#else\nkernel void on_gpu(global int *x) { *x = VALUE; }\n#endif\n";
    gn_device device;
    if (!open_device(&device)) {
        return;
    }
    static const char *const names[] = {"on_cpu", "on_gpu"};
    for (int class = CLASS_CPU; class <= CLASS_GPU; class ++) {
        device.class = class;
        cl_program program = kernels_build(&device, "x.cl", source, "-DVALUE=3");
        ck_assert_msg(program != NULL, "%s", gn_error());
        cl_int status;
        cl_kernel kernel = clCreateKernel(program, names[class], &status);
        ck_assert_msg(status == CL_SUCCESS, "%s: %s", names[class], cl_error_name(status));
        clReleaseKernel(kernel);
        clReleaseProgram(program);
    }
    clReleaseContext(device.context);
}
END_TEST

// The error gives file, device, the compiler's words, and the wrong line with its neighbours, not the rest.
START_TEST(broken_kernel) {
    static const char source[] = "// line 1\n// line 2\n// line 3\n// line 4\n"
                                 "kernel void broken(global float *x) {\n"
                                 "    x[0] = no_such_name;\n"
                                 "}\n// line 8\n// line 9\n// line 10\n";
    gn_device device;
    if (!open_device(&device)) {
        return;
    }
    ck_assert_ptr_null(kernels_build(&device, "broken.cl", source, NULL));
    char *head = gn_format("kernels_cl/broken.cl does not compile on %s: CL_BUILD_PROGRAM_FAILURE\n",
                           device.info.name);
    const char *error = gn_error();
    printf("%s\n", error);
    ck_assert_msg(!strncmp(error, head, strlen(head)), "%s", error);
    ck_assert_ptr_nonnull(strstr(error, "undeclared"));
    ck_assert_ptr_nonnull(strstr(error, "\n      4 | // line 4\n"));
    ck_assert_ptr_nonnull(strstr(error, "\n>     6 |     x[0] = no_such_name;\n"));
    ck_assert_ptr_nonnull(strstr(error, "\n      8 | // line 8"));
    ck_assert_ptr_null(strstr(error, "line 9"));
    ck_assert_ptr_null(strstr(error, "line 3"));

    device.kernels_folder = "/some/folder";
    ck_assert_ptr_null(kernels_build(&device, "broken.cl", source, NULL));
    ck_assert_msg(!strncmp(gn_error(), "/some/folder/broken.cl does not", 31), "%s", gn_error());
    free(head);
    clReleaseContext(device.context);
}
END_TEST

// Thousands of errors, in lines of a thousand characters: still a short error, which has the first of them.
START_TEST(huge_log) {
    enum { LINES = 3000, WIDTH = 1000 };
    gn_device device;
    if (!open_device(&device)) {
        return;
    }
    char *source = gn_calloc(LINES, WIDTH + 64), *at = source;
    for (int i = 1; i < LINES; i++) {
        at += sprintf(at, "int wrong%d = missing; // %*d\n", i, WIDTH, i);
    }
    ck_assert_ptr_null(kernels_build(&device, "huge.cl", source, NULL));
    size_t length = strlen(gn_error());
    printf("an error of %zu bytes\n", length);
    ck_assert_ptr_nonnull(strstr(gn_error(), "missing"));
    ck_assert_msg(strstr(gn_error(), "\n>     1 | int wrong1 = "), "%s", gn_error());
    ck_assert_uint_lt(length, 32 * 1024);
    free(source);
    clReleaseContext(device.context);
}
END_TEST

START_TEST(sources) {
    gn_device device = {.kernels_folder = "/nonexistent"};
    ck_assert_ptr_null(kernels_source(&device, "gemm.cl"));
    ck_assert_str_eq(gn_error(), "/nonexistent/gemm.cl: cannot be read: No such file or directory");

    char folder[] = "/tmp/ganc-test-XXXXXX";
    ck_assert_ptr_nonnull(mkdtemp(folder));
    char *path = gn_format("%s/x.cl", folder);
    FILE *out = fopen(path, "w");
    ck_assert_ptr_nonnull(out);
    for (int i = 0; i < 2000; i++) { // more than one read's worth
        fputs("line\n", out);
    }
    fclose(out);
    device.kernels_folder = folder;
    char *text = kernels_source(&device, "x.cl");
    remove(path);
    rmdir(folder);
    ck_assert_ptr_nonnull(text);
    ck_assert_uint_eq(strlen(text), 10000);
    free(text);
    free(path);

    device.kernels_folder = NULL;
    ck_assert_ptr_null(kernels_source(&device, "no_such.cl"));
    ck_assert_ptr_nonnull(strstr(gn_error(), "kernels_cl/no_such.cl"));
    for (const embedded_kernel *kernel = embedded_kernels; kernel->name; kernel++) {
        text = kernels_source(&device, kernel->name);
        ck_assert_str_eq(text, kernel->text);
        free(text);
    }
}
END_TEST

START_TEST(error_names) {
    ck_assert_str_eq(cl_error_name(CL_SUCCESS), "CL_SUCCESS");
    ck_assert_str_eq(cl_error_name(CL_OUT_OF_RESOURCES), "CL_OUT_OF_RESOURCES");
    ck_assert_str_eq(cl_error_name(CL_INVALID_DEVICE_PARTITION_COUNT), "CL_INVALID_DEVICE_PARTITION_COUNT");
    ck_assert_str_eq(cl_error_name(-1001), "CL_PLATFORM_NOT_FOUND_KHR");
    ck_assert_str_eq(cl_error_name(-9999), "OpenCL error -9999");
}
END_TEST

// What opening refuses before it touches the device.
START_TEST(open_refuses) {
    device_list list;
    if (!device_list_find(&list)) {
        printf("skipped: %s\n", gn_error());
        return;
    }
    device_list_free(&list);
    ck_assert_ptr_null(gn_device_open("no such device", NULL));
    ck_assert_ptr_nonnull(strstr(gn_error(), "device \"no such device\" matches nothing; there is "));
    ck_assert_ptr_null(gn_device_open(NULL, &(gn_device_options){.device_class = "tpu"}));
    ck_assert_str_eq(gn_error(), "class \"tpu\" is neither cpu nor gpu");
    ck_assert_ptr_null(gn_device_open(NULL, &(gn_device_options){.kernels = "/nonexistent"}));
    ck_assert_ptr_nonnull(strstr(gn_error(), "/nonexistent is no folder"));
    gn_device_free(NULL);
}
END_TEST

START_TEST(opens) {
    device_list list;
    if (!device_list_find(&list)) {
        printf("skipped: %s\n", gn_error());
        return;
    }
    device_list_free(&list);
    gn_device *device = gn_device_open(NULL, &(gn_device_options){.device_class = "gpu", .gemm = "native"});
    ck_assert_msg(device != NULL, "%s", gn_error());
    ck_assert_int_eq(device->class, CLASS_GPU); // also on a CPU
    ck_assert_uint_gt(strlen(gn_device_name(device)), 0);
    ck_assert_uint_eq(device->alignment & (device->alignment - 1), 0);
    ck_assert_uint_ge(device->max_allocation, 128 << 20); // the least that OpenCL 1.2 allows
    ck_assert_uint_gt(device->max_group, 0);
    ck_assert_uint_gt(device->local_memory, 0);
    ck_assert(gn_device_wait(device));
    gn_device_free(device);
}
END_TEST

Suite *test_suite(void) {
    const TTest *const tests[] = {
        rows_and_selectors,
        one_card_by_address,
        two_cards_by_address,
        same_cards_by_name,
        different_devices_stay,
        vendors_by_name,
        selectors,
        selectors_of_nothing,
        vendors_are_no_cpus,
        default_device,
        no_devices,
        no_platform,
        stale_driver,
        no_folder,
        this_machine,
        class_macro,
        broken_kernel,
        huge_log,
        sources,
        error_names,
        open_refuses,
        opens,
    };
    Suite *suite = suite_create("devices");
    TCase *cases = tcase_create("devices");
    tcase_set_timeout(cases, 120); // a driver's first compilation
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
        tcase_add_test(cases, tests[i]);
    }
    suite_add_tcase(suite, cases);
    return suite;
}
