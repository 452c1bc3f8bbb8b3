// Devices: finding them, understanding a selector, opening one.
//
// What a user means by `amd:0` is not what OpenCL reports. PoCL gives a CPU the vendor name "AuthenticAMD"
// and the vendor id of Intel, so a vendor's word means GPUs only. One card can appear on two platforms (the
// vendor's and Mesa's), so devices are settled first: GPUs on their vendor's own platform, other GPUs, CPUs,
// the rest; and a card that was seen already is dropped. The row after that is the row of `ganc devices`.
// Nothing is ever chosen in place of what was asked for.
//
// Kernels are left to kernels.c, matrix products to gemm.c.
#include "cl/device.h"
#include "cl/gemm.h"
#include "cl/kernels.h"
#include "error.h"

#include <CL/cl_ext.h>
#include <dirent.h>
#include <dlfcn.h>
#include <limits.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

// cl_nv_device_attribute_query; not every cl_ext.h has them.
#define PCI_BUS_ID_NV    0x4008
#define PCI_SLOT_ID_NV   0x4009
#define PCI_DOMAIN_ID_NV 0x400A
// cl_amd_device_attribute_query
#define TOPOLOGY_AMD   0x4037
#define BOARD_NAME_AMD 0x4038
// cl_khr_pci_bus_info
#define PCI_BUS_INFO_KHR 0x410F

enum { MIN_ALIGNMENT = 64 }; // bytes: a cache line and a float16; some drivers report less, or nothing

// ---- Text --------------------------------------------------------------------------------------------

// Whether `part` occurs in `text`, in any case.
static bool contains(const char *text, const char *part) {
    size_t length = strlen(part);
    for (; *text; text++) {
        if (!strncasecmp(text, part, length)) {
            return true;
        }
    }
    return length == 0;
}

// Appends to a text on the heap and gives it back; `text` may be NULL, `more` is freed.
static char *append(char *text, char *more) {
    if (!text) {
        return more;
    }
    char *both = gn_format("%s%s", text, more);
    free(text);
    free(more);
    return both;
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

static bool is_cpu(const device_info *device) {
    return device->type & CL_DEVICE_TYPE_CPU;
}

// Not an accelerator: Intel's FPGA emulator bears Intel's id and would be the first "GPU". Not a simulator
// that claims to be everything at once (Oclgrind): that is a CPU.
static bool is_gpu(const device_info *device) {
    return (device->type & CL_DEVICE_TYPE_GPU) && !is_cpu(device);
}

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

// Who made a GPU: an index into vendors[], -1 for anybody else and for whatever is no GPU.
static int vendor_of(const device_info *device) {
    if (!is_gpu(device)) {
        return -1;
    }
    for (int i = 0; i < VENDORS; i++) {
        if (device->vendor_id == vendors[i].id) {
            return i;
        }
    }
    for (int i = 0; i < VENDORS; i++) {
        if (contains(device->vendor, vendors[i].names[0]) || contains(device->vendor, vendors[i].names[1])) {
            return i;
        }
    }
    return -1;
}

// ---- Settling a list ---------------------------------------------------------------------------------

// The place of a device in the list: the smaller, the earlier.
static int rank(const device_info *device) {
    int vendor = vendor_of(device);
    if (vendor >= 0 && contains(device->platform_name, vendors[vendor].word)) {
        return 0; // "AMD Accelerated Parallel Processing", "NVIDIA CUDA", "Intel(R) OpenCL Graphics"
    }
    return is_gpu(device) ? 1 : is_cpu(device) ? 2 : 3;
}

// Copies a GPU's name without what drivers add behind it: " (gfx1030)", " (navi21, LLVM 15.0.6)", "
// [0x4680]".
static void plain_name(char *out, size_t size, const char *name) {
    size_t length = strlen(name);
    for (size_t i = 1; i < length; i++) {
        if (name[i - 1] == ' ' && (name[i] == '(' || name[i] == '[')) {
            length = i - 1;
        }
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
    if (!is_gpu(a) || !is_gpu(b) || a->platform == b->platform) {
        return false;
    }
    if (a->bus[0] && b->bus[0]) {
        return !strcmp(a->bus, b->bus);
    }
    char name_a[sizeof a->name], name_b[sizeof b->name];
    plain_name(name_a, sizeof name_a, a->name);
    plain_name(name_b, sizeof name_b, b->name);
    return vendor_of(a) >= 0 && vendor_of(a) == vendor_of(b) && names_agree(name_a, name_b);
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

    int cpus = 0, gpus = 0, by_vendor[VENDORS] = {0};
    for (int i = 0; i < list->count; i++) {
        device_info *device = &list->devices[i];
        int vendor = vendor_of(device), gpu = is_gpu(device) ? gpus++ : 0;
        if (vendor >= 0) {
            snprintf(device->selector, sizeof device->selector, "%s:%d", vendors[vendor].word,
                     by_vendor[vendor]++);
        } else if (is_gpu(device)) {
            snprintf(device->selector, sizeof device->selector, "gpu:%d", gpu);
        } else if (is_cpu(device)) {
            snprintf(device->selector, sizeof device->selector, "cpu:%d", cpus++);
        } else {
            snprintf(device->selector, sizeof device->selector, "%d", i); // an accelerator: its row
        }
    }
}

// ---- Choosing ----------------------------------------------------------------------------------------

// Whether a device is one of those that a word of --device counts.
static bool word_means(const char *word, const device_info *device) {
    if (!strcmp(word, "cpu")) {
        return is_cpu(device);
    }
    if (!strcmp(word, "gpu")) {
        return is_gpu(device);
    }
    if (!strcmp(word, "pocl")) {
        return contains(device->platform_name, "Portable Computing Language") ||
               contains(device->platform_name, "PoCL");
    }
    int vendor = vendor_of(device);
    return vendor >= 0 && !strcmp(word, vendors[vendor].word);
}

// The word that a selector is or begins with, up to a colon; NULL where it is none.
static const char *word_of(const char *selector) {
    static const char *const words[] = {"cpu", "gpu", "pocl", "amd", "nvidia", "intel"};
    size_t length = strcspn(selector, ":");
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (length == strlen(words[i]) && !strncasecmp(selector, words[i], length)) {
            return words[i];
        }
    }
    return NULL;
}

// Reads a number of digits alone; what exceeds an int becomes INT_MAX, a row that does not exist.
static bool read_number(const char *text, int *number) {
    if (!*text || text[strspn(text, "0123456789")]) {
        return false;
    }
    unsigned long value = strtoul(text, NULL, 10);
    *number = value > INT_MAX ? INT_MAX : (int)value;
    return true;
}

// The device of that number among those that the word counts; NULL where there are not so many.
static const device_info *nth(const device_list *list, const char *word, int number) {
    for (int i = 0; i < list->count; i++) {
        if (word_means(word, &list->devices[i]) && number-- == 0) {
            return &list->devices[i];
        }
    }
    return NULL;
}

static const device_info *first_named(const device_list *list, const char *part) {
    for (int i = 0; i < list->count; i++) {
        if (contains(list->devices[i].name, part) || contains(list->devices[i].platform_name, part)) {
            return &list->devices[i];
        }
    }
    return NULL;
}

// "cpu:0 (name), amd:0 (name)", on the heap.
static char *what_exists(const device_list *list) {
    char *text = NULL;
    for (int i = 0; i < list->count; i++) {
        const device_info *device = &list->devices[i];
        text = append(text, gn_format("%s%s (%s)", i ? ", " : "", device->selector, device->name));
    }
    if (list->skipped_count) {
        text = append(text, gn_strdup("; `ganc devices` says what was skipped"));
    }
    return text;
}

// The error of a list without devices: why each platform has none.
static void fail_without_devices(const device_list *list) {
    char *reasons = gn_strdup(list->skipped_count ? "" : "its platforms have none");
    for (int i = 0; i < list->skipped_count; i++) {
        reasons = append(reasons, gn_format("%s%s", i ? "; " : "", list->skipped[i]));
    }
    gn_fail("OpenCL has no usable device here: %s", reasons);
    free(reasons);
}

// The device that a selector means, or NULL with the reason in *problem.
static const device_info *match(const device_list *list, const char *selector, const char **problem) {
    int number = 0;
    const char *word = word_of(selector), *colon = strchr(selector, ':');
    if (word && colon && !read_number(colon + 1, &number)) {
        *problem = "needs a number after the colon, counted from 0";
        return NULL;
    }
    if (word) {
        *problem = "matches nothing";
        return nth(list, word, number);
    }
    if (read_number(selector, &number)) {
        *problem = "is no row of `ganc devices`, which counts from 0";
        return number < list->count ? &list->devices[number] : NULL;
    }
    // Nothing at all is part of every name, and "-1" of many a processor's; nobody means these by that.
    if (selector[0] == '-' || selector[strspn(selector, " ")] == 0) {
        *problem = "is no selector";
        return NULL;
    }
    *problem = "matches nothing";
    return first_named(list, selector);
}

const device_info *device_list_choose(const device_list *list, const char *selector) {
    if (list->count == 0) {
        fail_without_devices(list);
        return NULL;
    }
    const char *from = getenv("GANC_DEVICE"); // empty counts as unset, so that a script can take it back
    bool from_environment = !selector && from && *from;
    selector = from_environment ? from : selector;

    const char *problem = "must be chosen, since there is neither a GPU nor a CPU device";
    const device_info *chosen;
    if (selector) {
        chosen = match(list, selector, &problem);
    } else {
        chosen = nth(list, "gpu", 0);
        chosen = chosen ? chosen : nth(list, "cpu", 0);
    }
    if (!chosen) {
        char *devices = what_exists(list);
        gn_fail("device %s%s%s%s %s; there is %s", selector ? "\"" : "", selector ? selector : "",
                selector ? "\"" : "", from_environment ? " (from GANC_DEVICE)" : "", problem, devices);
        free(devices);
    }
    return chosen;
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
             gn_format("%s: %s: clGetDeviceInfo: %s", platform_name, device.name, cl_error_name(status)));
        return;
    }
    const char *reason = unusable(&device, available, compiler);
    if (reason) {
        skip(list, gn_format("%s: %s: %s", platform_name, device.name, reason));
        return;
    }
    device.class = is_cpu(&device) ? CLASS_CPU : CLASS_GPU;
    if (is_gpu(&device)) {
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
    if (contains(platform_name, "rusticl")) {
        return "set RUSTICL_ENABLE to Mesa's driver of the GPU (radeonsi, iris, nouveau), or to llvmpipe";
    }
    if (contains(platform_name, "Clover")) {
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

// "pocl.icd (libpocl.so.2: why it does not load)": one registered driver, on the heap.
static char *describe_icd(const char *folder, const char *file) {
    char *path = gn_format("%s/%s", folder, file), library[PATH_MAX] = "";
    FILE *in = fopen(path, "r");
    if (in) {
        if (fgets(library, sizeof library, in)) {
            library[strcspn(library, "\r\n")] = 0;
        }
        fclose(in);
    }
    free(path);
    void *handle = library[0] ? dlopen(library, RTLD_LAZY | RTLD_LOCAL) : NULL;
    char *text = !in           ? gn_format("%s (not readable)", file)
                 : !library[0] ? gn_format("%s (names no library)", file)
                 : handle      ? gn_format("%s (%s loads, and offers no platform)", file, library)
                               : gn_format("%s (%s)", file, dlerror());
    if (handle) {
        dlclose(handle);
    }
    return text;
}

// Where the loader looked and what it found there, on the heap.
static char *describe_vendors(void) {
    const char *folder = getenv("OCL_ICD_VENDORS"), *files = getenv("OCL_ICD_FILENAMES");
    const char *from = folder ? " (OCL_ICD_VENDORS)" : "";
    folder = folder ? folder : "/etc/OpenCL/vendors";

    char *text, *found = NULL;
    struct stat is;
    DIR *directory = opendir(folder);
    struct dirent *entry;
    while (directory && (entry = readdir(directory))) {
        const char *suffix = strrchr(entry->d_name, '.');
        if (suffix && !strcmp(suffix, ".icd")) {
            char *icd = describe_icd(folder, entry->d_name);
            found = append(found, found ? gn_format(", %s", icd) : gn_strdup(icd));
            free(icd);
        }
    }
    if (found) {
        text = gn_format("%s%s holds %s", folder, from, found);
    } else if (directory) {
        text = gn_format("%s%s holds no .icd file", folder, from);
    } else if (stat(folder, &is)) {
        text = gn_format("%s%s does not exist", folder, from);
    } else {
        text = gn_format("%s%s is no folder that can be read", folder, from);
    }
    if (directory) {
        closedir(directory);
    }
    free(found);
    return files ? append(text, gn_format(", and OCL_ICD_FILENAMES is %s", files)) : text;
}

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

// ---- Opening -----------------------------------------------------------------------------------------

static bool choose_class(gn_device *device, const char *name) {
    device->class = device->info.class;
    if (!name) {
        return true;
    }
    if (strcmp(name, "cpu") && strcmp(name, "gpu")) {
        return gn_fail("class \"%s\" is neither cpu nor gpu", name);
    }
    device->class = name[0] == 'c' ? CLASS_CPU : CLASS_GPU;
    return true;
}

static bool choose_kernels(gn_device *device, const char *folder) {
    struct stat is;
    if (!folder) {
        return true;
    }
    if (stat(folder, &is) || !S_ISDIR(is.st_mode)) {
        return gn_fail("%s is no folder; kernels are read from a folder like kernels_cl", folder);
    }
    device->kernels_folder = gn_strdup(folder);
    return true;
}

static bool query_limits(gn_device *device) {
    cl_device_id id = device->info.id;
    cl_ulong allocation, local;
    cl_uint align_bits;
    cl_int status;
    if (!query(id, CL_DEVICE_MAX_MEM_ALLOC_SIZE, &allocation, sizeof allocation, &status) ||
        !query(id, CL_DEVICE_LOCAL_MEM_SIZE, &local, sizeof local, &status) ||
        !query(id, CL_DEVICE_MEM_BASE_ADDR_ALIGN, &align_bits, sizeof align_bits, &status) ||
        !query(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, &device->max_group, sizeof device->max_group, &status)) {
        return gn_fail("%s: clGetDeviceInfo: %s", device->info.name, cl_error_name(status));
    }
    device->max_allocation = (size_t)allocation;
    device->local_memory = (size_t)local;
    device->alignment = align_bits / 8 > MIN_ALIGNMENT ? align_bits / 8 : MIN_ALIGNMENT;
    return true;
}

static bool create_queue(gn_device *device) {
    cl_context_properties properties[] = {CL_CONTEXT_PLATFORM, (cl_context_properties)device->info.platform,
                                          0};
    cl_int status;
    device->context = clCreateContext(properties, 1, &device->info.id, NULL, NULL, &status);
    if (status != CL_SUCCESS) {
        return gn_fail("%s: clCreateContext: %s", device->info.name, cl_error_name(status));
    }
    device->queue = clCreateCommandQueue(device->context, device->info.id, 0, &status);
    if (status != CL_SUCCESS) {
        return gn_fail("%s: clCreateCommandQueue: %s", device->info.name, cl_error_name(status));
    }
    return true;
}

gn_device *gn_device_open(const char *selector, const gn_device_options *options) {
    gn_device_options given = options ? *options : (gn_device_options){0};
    device_list list;
    if (!device_list_find(&list)) {
        return NULL;
    }
    gn_device *device = NULL;
    const device_info *chosen = device_list_choose(&list, selector);
    if (!chosen) {
        goto cleanup;
    }
    device = gn_calloc(1, sizeof *device);
    device->info = *chosen;
    if (!choose_class(device, given.device_class) || !choose_kernels(device, given.kernels) ||
        !query_limits(device) || !create_queue(device) || !(device->gemm = gemm_new(device, given.gemm))) {
        gn_device_free(device);
        device = NULL;
    }

cleanup:
    device_list_free(&list);
    return device;
}

void gn_device_free(gn_device *device) {
    if (!device) {
        return;
    }
    if (device->queue) {
        clFinish(device->queue);
    }
    gemm_free(device->gemm);
    if (device->queue) {
        clReleaseCommandQueue(device->queue);
    }
    if (device->context) {
        clReleaseContext(device->context);
    }
    free(device->kernels_folder);
    free(device);
}

const char *gn_device_name(const gn_device *device) {
    return device->info.name;
}

bool gn_device_wait(gn_device *device) {
    cl_int status = clFinish(device->queue);
    return status == CL_SUCCESS || gn_fail("%s: clFinish: %s", device->info.name, cl_error_name(status));
}
