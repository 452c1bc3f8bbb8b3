// Kernel sources and their compilation.
//
// When a kernel does not build, the compiler's log alone is of little use: the source may have been generated
// a moment ago and lie in no file. So the error carries the log and, with line numbers, those lines of the
// source that the log names. Both are bounded, since some compilers write megabytes.
//
// What is compiled, and when, is left to the callers.
#include "cl/kernels.h"
#include "base/error.h"

#include <ctype.h>
#include <errno.h>
#include <string.h>

enum {
    LOG_BYTES = 8192,  // of the log in an error
    AROUND = 2,        // source lines before and after one that the log names
    SOURCE_LINES = 60, // in all
    LINE_LENGTH = 200, // characters of a source line; generated ones can be long
    NAMED_MAX = 64     // lines that a log can name
};

// ---- Sources -----------------------------------------------------------------------------------------

static char *read_file(const char *path) {
    FILE *in = fopen(path, "rb");
    if (!in) {
        gn_fail("%s: cannot be read: %s", path, strerror(errno));
        return NULL;
    }
    char *text = gn_calloc(1, 1), chunk[4096];
    size_t length = 0, got;
    while ((got = fread(chunk, 1, sizeof chunk, in)) > 0) {
        text = gn_realloc(text, length + got + 1);
        memcpy(text + length, chunk, got);
        length += got;
        text[length] = 0;
    }
    bool failed = ferror(in);
    int code = errno;
    fclose(in);
    if (failed) {
        free(text);
        gn_fail("%s: cannot be read: %s", path, strerror(code));
        return NULL;
    }
    return text;
}

char *kernels_source(const gn_device *device, const char *name) {
    if (device->kernels_folder) {
        char *path = gn_format("%s/%s", device->kernels_folder, name);
        char *text = read_file(path);
        free(path);
        return text;
    }
    for (const embedded_kernel *kernel = embedded_kernels; kernel->name; kernel++) {
        if (!strcmp(kernel->name, name)) {
            return gn_strdup(kernel->text);
        }
    }
    gn_fail("kernels_cl/%s: this program holds no such file; --kernels DIR reads it from a folder", name);
    return NULL;
}

// ---- The error of a build ----------------------------------------------------------------------------

// A text that grows; what is written is freed.
typedef struct {
    char *text;
    size_t length;
} writer;

static void write_owned(writer *out, char *more) {
    size_t count = strlen(more);
    out->text = gn_realloc(out->text, out->length + count + 1);
    memcpy(out->text + out->length, more, count + 1);
    out->length += count;
    free(more);
}

static size_t line_length(const char *line) {
    return strcspn(line, "\n");
}

static const char *next_line(const char *line) {
    line += line_length(line);
    return *line ? line + 1 : line;
}

// Reads digits; the place behind them, or NULL where there are none. A number too large for a line is 0.
static const char *read_digits(const char *at, int *number) {
    size_t digits = strspn(at, "0123456789");
    *number = digits && digits < 8 ? atoi(at) : 0;
    return digits ? at + digits : NULL;
}

// The source line that a place in the log names, in the forms of the compilers there are: ":12:5:" (Clang and
// all that are built on it), "(12):" or "(12,5):" and "line 12" (older ones). 0 for none.
static int line_named_at(const char *at) {
    int line, column;
    const char *behind;
    if (*at == ':' && (behind = read_digits(at + 1, &line)) && *behind == ':' &&
        (behind = read_digits(behind + 1, &column)) && *behind == ':') {
        return line;
    }
    if (*at == '(' && (behind = read_digits(at + 1, &line))) {
        if (*behind == ',' && !(behind = read_digits(behind + 1, &column))) {
            return 0;
        }
        behind += behind[0] == ')' ? 1 : 0;
        behind += behind[0] == ' ' ? 1 : 0;
        return behind[0] == ':' ? line : 0;
    }
    if (!strncmp(at, "line ", 5) && read_digits(at + 5, &line)) {
        return line;
    }
    return 0;
}

// Collects the source lines that `log` names, each once. Returns how many.
static int named_lines(const char *log, int *named) {
    int count = 0;
    for (; *log && count < NAMED_MAX; log++) {
        int number = line_named_at(log);
        bool known = number == 0;
        for (int k = 0; k < count; k++) {
            known = known || named[k] == number;
        }
        if (!known) {
            named[count++] = number;
        }
    }
    return count;
}

// Writes the source around each named line, "> 12 | text" for the line itself, in the source's order.
static void write_source(writer *out, const char *source, const int *named, int count) {
    int number = 1, last = 0, written = 0;
    for (const char *line = source; *line && written < SOURCE_LINES; line = next_line(line), number++) {
        bool near = false, exact = false;
        for (int i = 0; i < count; i++) {
            near = near || (number >= named[i] - AROUND && number <= named[i] + AROUND);
            exact = exact || number == named[i];
        }
        if (!near) {
            continue;
        }
        size_t length = line_length(line);
        length = length < LINE_LENGTH ? length : LINE_LENGTH;
        const char *gap = written == 0 ? "\n" : number != last + 1 ? "\n  ..." : "";
        write_owned(out, gn_format("%s\n%s%5d | %.*s", gap, exact ? "> " : "  ", number, (int)length, line));
        last = number;
        written++;
    }
}

// Makes the error of a failed build of `source`; see kernels_build().
static void fail_to_build(const gn_device *device, const char *name, const char *source, const char *log,
                          cl_int status) {
    size_t length = strlen(log), shown = length < LOG_BYTES ? length : LOG_BYTES;
    while (shown < length && shown > LOG_BYTES / 2 && log[shown] != '\n') {
        shown--; // to the end of a line, where one is near
    }
    while (shown && isspace((unsigned char)log[shown - 1])) {
        shown--;
    }
    char *excerpt = gn_calloc(shown + 1, 1);
    memcpy(excerpt, log, shown);

    writer out = {0};
    const char *folder = device->kernels_folder ? device->kernels_folder : "kernels_cl";
    write_owned(&out, gn_format("%s/%s does not compile on %s: %s", folder, name, device->info.name,
                                cl_error_name(status)));
    if (shown) {
        write_owned(&out, gn_format("\n%s", excerpt));
    }
    if (length > LOG_BYTES) {
        write_owned(&out, gn_format("\n... (%zu more bytes)", length - shown));
    }
    int named[NAMED_MAX];
    write_source(&out, source, named, named_lines(excerpt, named));
    gn_fail("%s", out.text);
    free(out.text);
    free(excerpt);
}

// The compiler's log, on the heap; empty where there is none.
static char *build_log(const gn_device *device, cl_program program) {
    size_t size = 0;
    cl_device_id id = device->info.id;
    if (clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, 0, NULL, &size) != CL_SUCCESS) {
        size = 0;
    }
    char *log = gn_calloc(size + 1, 1);
    if (size && clGetProgramBuildInfo(program, id, CL_PROGRAM_BUILD_LOG, size, log, NULL) != CL_SUCCESS) {
        log[0] = 0;
    }
    return log;
}

cl_program kernels_build(const gn_device *device, const char *name, const char *source, const char *options) {
    cl_int status;
    cl_program program = clCreateProgramWithSource(device->context, 1, &source, NULL, &status);
    if (status != CL_SUCCESS) {
        gn_fail("%s: clCreateProgramWithSource of %s: %s", device->info.name, name, cl_error_name(status));
        return NULL;
    }
    // -w, since PoCL writes "1 warning generated." on stderr by itself.
    char *all = gn_format("-cl-std=CL1.2 -w -D%s %s", device->class == CLASS_CPU ? "GANC_CPU" : "GANC_GPU",
                          options ? options : "");
    status = clBuildProgram(program, 1, &device->info.id, all, NULL, NULL);
    free(all);
    if (status != CL_SUCCESS) {
        char *log = build_log(device, program);
        fail_to_build(device, name, source, log, status);
        free(log);
        clReleaseProgram(program);
        return NULL;
    }
    return program;
}

// ---- Names -------------------------------------------------------------------------------------------

const char *cl_error_name(cl_int code) {
    // By number, since which of them a header defines depends on its version.
    static const struct {
        cl_int code;
        const char *name;
    } names[] = {
        {0, "CL_SUCCESS"},
        {-1, "CL_DEVICE_NOT_FOUND"},
        {-2, "CL_DEVICE_NOT_AVAILABLE"},
        {-3, "CL_COMPILER_NOT_AVAILABLE"},
        {-4, "CL_MEM_OBJECT_ALLOCATION_FAILURE"},
        {-5, "CL_OUT_OF_RESOURCES"},
        {-6, "CL_OUT_OF_HOST_MEMORY"},
        {-7, "CL_PROFILING_INFO_NOT_AVAILABLE"},
        {-8, "CL_MEM_COPY_OVERLAP"},
        {-9, "CL_IMAGE_FORMAT_MISMATCH"},
        {-10, "CL_IMAGE_FORMAT_NOT_SUPPORTED"},
        {-11, "CL_BUILD_PROGRAM_FAILURE"},
        {-12, "CL_MAP_FAILURE"},
        {-13, "CL_MISALIGNED_SUB_BUFFER_OFFSET"},
        {-14, "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST"},
        {-15, "CL_COMPILE_PROGRAM_FAILURE"},
        {-16, "CL_LINKER_NOT_AVAILABLE"},
        {-17, "CL_LINK_PROGRAM_FAILURE"},
        {-18, "CL_DEVICE_PARTITION_FAILED"},
        {-19, "CL_KERNEL_ARG_INFO_NOT_AVAILABLE"},
        {-30, "CL_INVALID_VALUE"},
        {-31, "CL_INVALID_DEVICE_TYPE"},
        {-32, "CL_INVALID_PLATFORM"},
        {-33, "CL_INVALID_DEVICE"},
        {-34, "CL_INVALID_CONTEXT"},
        {-35, "CL_INVALID_QUEUE_PROPERTIES"},
        {-36, "CL_INVALID_COMMAND_QUEUE"},
        {-37, "CL_INVALID_HOST_PTR"},
        {-38, "CL_INVALID_MEM_OBJECT"},
        {-39, "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR"},
        {-40, "CL_INVALID_IMAGE_SIZE"},
        {-41, "CL_INVALID_SAMPLER"},
        {-42, "CL_INVALID_BINARY"},
        {-43, "CL_INVALID_BUILD_OPTIONS"},
        {-44, "CL_INVALID_PROGRAM"},
        {-45, "CL_INVALID_PROGRAM_EXECUTABLE"},
        {-46, "CL_INVALID_KERNEL_NAME"},
        {-47, "CL_INVALID_KERNEL_DEFINITION"},
        {-48, "CL_INVALID_KERNEL"},
        {-49, "CL_INVALID_ARG_INDEX"},
        {-50, "CL_INVALID_ARG_VALUE"},
        {-51, "CL_INVALID_ARG_SIZE"},
        {-52, "CL_INVALID_KERNEL_ARGS"},
        {-53, "CL_INVALID_WORK_DIMENSION"},
        {-54, "CL_INVALID_WORK_GROUP_SIZE"},
        {-55, "CL_INVALID_WORK_ITEM_SIZE"},
        {-56, "CL_INVALID_GLOBAL_OFFSET"},
        {-57, "CL_INVALID_EVENT_WAIT_LIST"},
        {-58, "CL_INVALID_EVENT"},
        {-59, "CL_INVALID_OPERATION"},
        {-60, "CL_INVALID_GL_OBJECT"},
        {-61, "CL_INVALID_BUFFER_SIZE"},
        {-62, "CL_INVALID_MIP_LEVEL"},
        {-63, "CL_INVALID_GLOBAL_WORK_SIZE"},
        {-64, "CL_INVALID_PROPERTY"},
        {-65, "CL_INVALID_IMAGE_DESCRIPTOR"},
        {-66, "CL_INVALID_COMPILER_OPTIONS"},
        {-67, "CL_INVALID_LINKER_OPTIONS"},
        {-68, "CL_INVALID_DEVICE_PARTITION_COUNT"},
        {-69, "CL_INVALID_PIPE_SIZE"},
        {-70, "CL_INVALID_DEVICE_QUEUE"},
        {-71, "CL_INVALID_SPEC_ID"},
        {-72, "CL_MAX_SIZE_RESTRICTION_EXCEEDED"},
        {-1000, "CL_INVALID_GL_SHAREGROUP_REFERENCE_KHR"},
        {-1001, "CL_PLATFORM_NOT_FOUND_KHR"},
        {-1057, "CL_DEVICE_PARTITION_FAILED_EXT"},
        {-1058, "CL_INVALID_PARTITION_COUNT_EXT"},
        {-1059, "CL_INVALID_PARTITION_NAME_EXT"},
        {-1108, "CL_COMMAND_TERMINATED_ITSELF_WITH_FAILURE_ARM"},
        {-1121, "CL_CONTEXT_TERMINATED_KHR"},
    };
    static _Thread_local char other[32];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (names[i].code == code) {
            return names[i].name;
        }
    }
    snprintf(other, sizeof other, "OpenCL error %d", code);
    return other;
}
