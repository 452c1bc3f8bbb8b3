// Which devices there are: every platform's, put in order, each card once.
//
// One card can appear on two platforms (the vendor's and Mesa's), so devices are settled: GPUs on their
// vendor's own platform first, other GPUs, CPUs, the rest; and a card that was seen already is dropped. The
// row after that is the row of `ganc devices`. Whatever cannot be used leaves a line that says why, and where
// no platform is found, the error says what the loader looked at.
//
// What a user calls a device is left to device_select.c.
#include "cl/device_list.h"
#include "base/error.h"
#include "cl/kernels.h"

#include <CL/cl_ext.h>
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

// cl_nv_device_attribute_query; not every cl_ext.h has them.
#define PCI_BUS_ID_NV    0x4008
#define PCI_SLOT_ID_NV   0x4009
#define PCI_DOMAIN_ID_NV 0x400A
// cl_amd_device_attribute_query
#define TOPOLOGY_AMD   0x4037
#define BOARD_NAME_AMD 0x4038
// cl_khr_pci_bus_info
#define PCI_BUS_INFO_KHR 0x410F

// ---- Text --------------------------------------------------------------------------------------------

bool text_contains(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++) {
        if (!strncasecmp(text, part, length)) {
            return true;
        }
    }
    return length == 0;
}

// Copies a driver's text: what is not printable ASCII becomes '?', and runs of spaces (CPU names are padded
// with them) become one.
static void tidy(char *out, size_t size, const char *in) {
    size_t length = 0;
    for (; *in && length + 1 < size; in++) {
        if (*in != ' ') {
            out[length++] = *in > ' ' && *in <= '~' ? *in : '?';
        } else if (length && out[length - 1] != ' ') {
            out[length++] = ' ';
        }
    }
    while (length && out[length - 1] == ' ') {
        length--;
    }
    out[length] = 0;
}

// Adds a line to `skipped`; takes the text.
static void skip(device_list *list, char *reason) {
    list->skipped = gn_realloc(list->skipped, (size_t)(list->skipped_count + 1) * sizeof *list->skipped);
    list->skipped[list->skipped_count++] = reason;
}

// ---- What a device is --------------------------------------------------------------------------------

const char *device_class_name(device_class class) {
    return class == CLASS_CPU ? "cpu" : "gpu";
}

bool device_is_cpu(const device_info *device) {
    return device->type & CL_DEVICE_TYPE_CPU;
}

bool device_is_gpu(const device_info *device) {
    return (device->type & CL_DEVICE_TYPE_GPU) && !device_is_cpu(device);
}

bool device_is_pocl(const device_info *device) {
    return text_contains(device->platform_name, "Portable Computing Language") ||
           text_contains(device->platform_name, "PoCL");
}

const char *device_vendor(const device_info *device) {
    static const struct {
        const char *word;
        cl_uint id;
        const char *names[2]; // in the vendor's name, where the id is of somebody else (Mesa, Apple)
    } vendors[] = {
        {"amd", 0x1002, {"AMD", "Advanced Micro Devices"}},
        {"nvidia", 0x10de, {"NVIDIA", "NVIDIA"}},
        {"intel", 0x8086, {"Intel", "Intel"}},
    };
    enum { VENDORS = sizeof vendors / sizeof *vendors };
    if (!device_is_gpu(device)) {
        return NULL;
    }
    for (int i = 0; i < VENDORS; i++) {
        if (device->vendor_id == vendors[i].id) {
            return vendors[i].word;
        }
    }
    for (int i = 0; i < VENDORS; i++) {
        if (text_contains(device->vendor, vendors[i].names[0]) ||
            text_contains(device->vendor, vendors[i].names[1])) {
            return vendors[i].word;
        }
    }
    return NULL;
}

// ---- Settling a list ---------------------------------------------------------------------------------

// The place of a device in the list: the smaller, the earlier.
static int rank(const device_info *device) {
    const char *vendor = device_vendor(device);
    if (vendor && text_contains(device->platform_name, vendor)) {
        return 0; // "AMD Accelerated Parallel Processing", "NVIDIA CUDA", "Intel(R) OpenCL Graphics"
    }
    return device_is_gpu(device) ? 1 : device_is_cpu(device) ? 2 : 3;
}

// Copies a GPU's name without what drivers add behind it: " (gfx1030)", " (navi21, LLVM 15.0.6)",
// " [0x4680]".
static void plain_name(char *out, size_t size, const char *name) {
    size_t length = strlen(name), i = length;
    bool ends = length > 0 && (name[length - 1] == ')' || name[length - 1] == ']');
    while (ends && i > 0 && name[i] != '(' && name[i] != '[') {
        i--;
    }
    if (ends && i > 1 && name[i - 1] == ' ') {
        length = i - 1;
    }
    snprintf(out, size, "%.*s", (int)length, name);
}

// Whether one name ends with the other, in any case: "Intel(R) Iris(R)", "Mesa Intel(R) Iris(R)". A common
// beginning would not do: a "Radeon RX 6800 XT" is no "Radeon RX 6800".
static bool names_agree(const char *a, const char *b) {
    size_t length_a = strlen(a), length_b = strlen(b), shorter = length_a < length_b ? length_a : length_b;
    return shorter && !strcasecmp(a + length_a - shorter, b + length_b - shorter);
}

// Whether two GPUs of different platforms may be one card. Their PCI addresses decide where both have one,
// else vendor and name. Where two names for a card do not agree it is listed twice, on its vendor's own
// platform first; that is better than to hide a card.
static bool may_be_same_card(const device_info *a, const device_info *b) {
    if (!device_is_gpu(a) || !device_is_gpu(b) || a->platform == b->platform) {
        return false;
    }
    if (a->bus[0] && b->bus[0]) {
        return !strcmp(a->bus, b->bus);
    }
    char name_a[sizeof a->name], name_b[sizeof b->name];
    plain_name(name_a, sizeof name_a, a->name);
    plain_name(name_b, sizeof name_b, b->name);
    const char *vendor_a = device_vendor(a), *vendor_b = device_vendor(b);
    return vendor_a && vendor_b && !strcmp(vendor_a, vendor_b) && names_agree(name_a, name_b);
}

// For each device the index of the earlier one that is the same card, else its own. Two cards with one name
// are told apart by counting: a card stands for at most one device of each other platform.
static void find_twins(const device_list *list, int *twin) {
    for (int i = 0; i < list->count; i++) {
        twin[i] = i;
        for (int k = 0; k < i && twin[i] == i; k++) {
            bool same = twin[k] == k && may_be_same_card(&list->devices[k], &list->devices[i]);
            for (int j = 0; j < i && same; j++) {
                same = twin[j] != k || list->devices[j].platform != list->devices[i].platform;
            }
            twin[i] = same ? k : i;
        }
    }
}

void device_list_settle(device_list *list) {
    // Insertion sort: stable, so that equals stay in the loader's order.
    for (int i = 1; i < list->count; i++) {
        for (int j = i; j > 0 && rank(&list->devices[j]) < rank(&list->devices[j - 1]); j--) {
            device_info earlier = list->devices[j];
            list->devices[j] = list->devices[j - 1];
            list->devices[j - 1] = earlier;
        }
    }

    int *twin = gn_calloc((size_t)list->count, sizeof *twin);
    find_twins(list, twin);
    int kept = 0;
    for (int i = 0; i < list->count; i++) {
        const device_info *device = &list->devices[i], *first = &list->devices[twin[i]];
        if (twin[i] != i) {
            skip(list, gn_format("%s: %s is the same card as %s of %s", device->platform_name, device->name,
                                 first->name, first->platform_name));
        }
    }
    for (int i = 0; i < list->count; i++) {
        if (twin[i] == i) {
            list->devices[kept++] = list->devices[i];
        }
    }
    free(twin);
    list->count = kept;
    device_list_assign_selectors(list);
}

// ---- Finding -----------------------------------------------------------------------------------------

// A text that a platform or device reports; the caller frees. NULL on failure, with the code in *status.
static char *query_text(cl_platform_id platform, cl_device_id device, cl_uint what, cl_int *status) {
    size_t size = 0;
    *status = device ? clGetDeviceInfo(device, what, 0, NULL, &size)
                     : clGetPlatformInfo(platform, what, 0, NULL, &size);
    if (*status != CL_SUCCESS) {
        return NULL;
    }
    char *text = gn_calloc(size + 1, 1);
    *status = device ? clGetDeviceInfo(device, what, size, text, NULL)
                     : clGetPlatformInfo(platform, what, size, text, NULL);
    if (*status != CL_SUCCESS) {
        free(text);
        return NULL;
    }
    return text;
}

// The same, tidied, into a field; true on success.
static bool query_field(cl_platform_id platform, cl_device_id device, cl_uint what, char *out, size_t size,
                        cl_int *status) {
    char *text = query_text(platform, device, what, status);
    tidy(out, size, text ? text : "");
    free(text);
    return *status == CL_SUCCESS;
}

static bool query(cl_device_id device, cl_device_info what, void *out, size_t size, cl_int *status) {
    *status = clGetDeviceInfo(device, what, size, out, NULL);
    return *status == CL_SUCCESS;
}

// Where a GPU sits, by whichever extension tells; empty where none does.
static void query_bus(cl_device_id device, const char *extensions, char *out, size_t size) {
    cl_int status;
    cl_uint khr[4], bus, slot, domain = 0;
    union {
        struct {
            cl_uint type; // 1: PCIe
            cl_uchar unused[17], bus, device, function;
        } pcie;
        cl_uint raw[6];
    } amd;
    out[0] = 0;
    if (strstr(extensions, "cl_khr_pci_bus_info") &&
        query(device, PCI_BUS_INFO_KHR, khr, sizeof khr, &status)) {
        snprintf(out, size, "%04x:%02x:%02x.%x", khr[0], khr[1], khr[2], khr[3]);
    } else if (strstr(extensions, "cl_nv_device_attribute_query") &&
               query(device, PCI_BUS_ID_NV, &bus, sizeof bus, &status) &&
               query(device, PCI_SLOT_ID_NV, &slot, sizeof slot, &status)) {
        query(device, PCI_DOMAIN_ID_NV, &domain, sizeof domain, &status);
        snprintf(out, size, "%04x:%02x:%02x.%x", domain, bus, slot >> 3, slot & 7);
    } else if (strstr(extensions, "cl_amd_device_attribute_query") &&
               query(device, TOPOLOGY_AMD, &amd, sizeof amd, &status) && amd.pcie.type == 1) {
        snprintf(out, size, "0000:%02x:%02x.%x", amd.pcie.bus, amd.pcie.device, amd.pcie.function);
    }
}

// AMD names its devices "gfx1030"; the card's name, which is on its box, is elsewhere.
static void query_board(cl_device_id device, const char *extensions, char *name, size_t size) {
    cl_int status;
    char board[64], chip[48];
    if (strstr(extensions, "cl_amd_device_attribute_query") &&
        query_field(NULL, device, BOARD_NAME_AMD, board, sizeof board, &status) && board[0]) {
        snprintf(chip, sizeof chip, "%.47s", name);
        snprintf(name, size, "%s (%s)", board, chip);
    }
}

// Why a device that reports itself well cannot be used; NULL where it can.
static const char *unusable(const device_info *device, cl_bool available, cl_bool compiler) {
    int major = 0, minor = 0;
    if (!available) {
        return "not available, says its driver";
    }
    if (!compiler) {
        return "its driver has no compiler for OpenCL C, which ganc's kernels need";
    }
    if (sscanf(device->version, "OpenCL %d.%d", &major, &minor) != 2 || major * 10 + minor < 12) {
        return "its driver is older than OpenCL 1.2";
    }
    return NULL;
}

static void add_device(device_list *list, const char *platform_name, cl_platform_id platform,
                       cl_device_id id) {
    device_info device = {.platform = platform, .id = id};
    cl_bool available = CL_FALSE, compiler = CL_FALSE;
    cl_int status;
    snprintf(device.platform_name, sizeof device.platform_name, "%s", platform_name);
    bool known = query_field(NULL, id, CL_DEVICE_NAME, device.name, sizeof device.name, &status) &&
                 query_field(NULL, id, CL_DEVICE_VENDOR, device.vendor, sizeof device.vendor, &status) &&
                 query_field(NULL, id, CL_DRIVER_VERSION, device.driver, sizeof device.driver, &status) &&
                 query_field(NULL, id, CL_DEVICE_VERSION, device.version, sizeof device.version, &status) &&
                 query(id, CL_DEVICE_VENDOR_ID, &device.vendor_id, sizeof device.vendor_id, &status) &&
                 query(id, CL_DEVICE_TYPE, &device.type, sizeof device.type, &status) &&
                 query(id, CL_DEVICE_MAX_COMPUTE_UNITS, &device.units, sizeof device.units, &status) &&
                 query(id, CL_DEVICE_GLOBAL_MEM_SIZE, &device.memory, sizeof device.memory, &status) &&
                 query(id, CL_DEVICE_AVAILABLE, &available, sizeof available, &status) &&
                 query(id, CL_DEVICE_COMPILER_AVAILABLE, &compiler, sizeof compiler, &status);
    if (!known) {
        skip(list,
             gn_format("%s: %s: clGetDeviceInfo: %s", platform_name,
                       device.name[0] ? device.name : "a device without a name", cl_error_name(status)));
        return;
    }
    const char *reason = unusable(&device, available, compiler);
    if (reason) {
        skip(list, gn_format("%s: %s: %s", platform_name, device.name, reason));
        return;
    }
    device.class = device_is_cpu(&device) ? CLASS_CPU : CLASS_GPU;
    if (device_is_gpu(&device)) {
        char *extensions = query_text(NULL, id, CL_DEVICE_EXTENSIONS, &status);
        if (extensions) {
            query_bus(id, extensions, device.bus, sizeof device.bus);
            query_board(id, extensions, device.name, sizeof device.name);
        }
        free(extensions);
    }
    list->devices = gn_realloc(list->devices, (size_t)(list->count + 1) * sizeof *list->devices);
    list->devices[list->count++] = device;
}

// What to try where a platform is there and shows no device.
static const char *hint(const char *platform_name) {
    if (text_contains(platform_name, "rusticl")) {
        return "set RUSTICL_ENABLE to Mesa's driver of the GPU (radeonsi, iris, nouveau), or to llvmpipe";
    }
    if (text_contains(platform_name, "Clover")) {
        return "it drives older AMD GPUs only; Mesa's rusticl or the vendor's own driver serve others";
    }
    return "is the GPU's kernel driver loaded, and may this user open /dev/dri/render* and /dev/kfd "
           "(groups render and video) or /dev/nvidia*?";
}

static void add_platform(device_list *list, cl_platform_id platform) {
    char name[128];
    cl_int status;
    if (!query_field(platform, NULL, CL_PLATFORM_NAME, name, sizeof name, &status)) {
        skip(list, gn_format("a platform without a name: clGetPlatformInfo: %s", cl_error_name(status)));
        return;
    }
    cl_uint count = 0;
    status = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, 0, NULL, &count);
    if (status == CL_DEVICE_NOT_FOUND || (status == CL_SUCCESS && count == 0)) {
        skip(list, gn_format("%s: no device; %s", name, hint(name)));
        return;
    }
    cl_device_id *ids = gn_calloc(count, sizeof *ids);
    if (status == CL_SUCCESS) {
        status = clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, count, ids, NULL);
    }
    if (status != CL_SUCCESS) {
        skip(list, gn_format("%s: clGetDeviceIDs: %s", name, cl_error_name(status)));
        count = 0;
    }
    for (cl_uint i = 0; i < count; i++) {
        add_device(list, name, platform, ids[i]);
    }
    free(ids);
}

// ---- Without a platform ------------------------------------------------------------------------------

// Prints one registered driver: "pocl.icd (libpocl.so.2: why it does not load)".
static void print_icd(FILE *out, const char *folder, const char *file) {
    char *path = gn_format("%s/%s", folder, file), library[PATH_MAX] = "";
    FILE *in = fopen(path, "r");
    free(path);
    if (!in) {
        fprintf(out, "%s (not readable)", file);
        return;
    }
    if (fgets(library, sizeof library, in)) {
        library[strcspn(library, "\r\n")] = 0;
    }
    fclose(in);
    if (!library[0]) {
        fprintf(out, "%s (names no library)", file);
        return;
    }
    void *handle = dlopen(library, RTLD_LAZY | RTLD_LOCAL);
    if (!handle) {
        fprintf(out, "%s (%s)", file, dlerror());
        return;
    }
    fprintf(out, "%s (%s loads, and offers no platform)", file, library);
    dlclose(handle);
}

// Where the loader looked and what it found there; the caller frees.
static char *describe_vendors(void) {
    const char *folder = getenv("OCL_ICD_VENDORS"), *files = getenv("OCL_ICD_FILENAMES");
    const char *from = folder ? " (OCL_ICD_VENDORS)" : "";
    folder = folder ? folder : "/etc/OpenCL/vendors";

    char *text = NULL;
    size_t length = 0;
    FILE *out = open_memstream(&text, &length);
    GN_ASSERT(out, "out of memory on the host");
    fprintf(out, "%s%s ", folder, from);
    DIR *directory = opendir(folder);
    const struct dirent *entry;
    int found = 0;
    while (directory && (entry = readdir(directory))) {
        const char *suffix = strrchr(entry->d_name, '.');
        if (suffix && !strcmp(suffix, ".icd")) {
            fputs(found++ ? ", " : "holds ", out);
            print_icd(out, folder, entry->d_name);
        }
    }
    if (directory) {
        fputs(found ? "" : "holds no .icd file", out);
        closedir(directory);
    } else {
        fputs(access(folder, F_OK) ? "does not exist" : "is no folder that can be read", out);
    }
    if (files) {
        fprintf(out, ", and OCL_ICD_FILENAMES is %s", files);
    }
    fclose(out);
    return text;
}

// ---- The list ----------------------------------------------------------------------------------------

bool device_list_find(device_list *list) {
    *list = (device_list){0};
    cl_uint count = 0;
    cl_int status = clGetPlatformIDs(0, NULL, &count);
    if (status == CL_PLATFORM_NOT_FOUND_KHR || (status == CL_SUCCESS && count == 0)) {
        char *vendors_folder = describe_vendors();
        gn_fail(
            "no OpenCL platform: %s; install pocl-opencl-icd (any CPU), intel-opencl-icd (Intel GPU), "
            "nvidia-opencl-icd (NVIDIA), ROCm's OpenCL or mesa-opencl-icd with RUSTICL_ENABLE=radeonsi (AMD)",
            vendors_folder);
        free(vendors_folder);
        return false;
    }
    cl_platform_id *platforms = gn_calloc(count, sizeof *platforms);
    if (status == CL_SUCCESS) {
        status = clGetPlatformIDs(count, platforms, NULL);
    }
    if (status != CL_SUCCESS) {
        free(platforms);
        return gn_fail("clGetPlatformIDs: %s", cl_error_name(status));
    }
    for (cl_uint i = 0; i < count; i++) {
        add_platform(list, platforms[i]);
    }
    free(platforms);
    device_list_settle(list);
    return true;
}

void device_list_free(device_list *list) {
    for (int i = 0; i < list->skipped_count; i++) {
        free(list->skipped[i]);
    }
    free(list->skipped);
    free(list->devices);
    *list = (device_list){0};
}
