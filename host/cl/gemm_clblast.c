// Matrix products by CLBlast, which nothing else calls.
//
// CLBlast's tuning database does not know the makers of CPU devices, and what it takes for the unknown is
// slow there. Hence two engines: CLBlast as it is, and CLBlast with parameters of ours for CPUs, which it is
// told at the start. Such an override holds for the device in the whole process, and no call undoes it: plain
// CLBlast after the tuned one overrides once more.
//
// Which of the two to use, and whether their results are right, is left to gemm.c.
#include "base/error.h"
#include "cl/gemm_engines.h"
#include "cl/kernels.h"

#include <clblast_c.h>
#include <string.h>

typedef struct {
    gn_device *device;
    cl_mem temp; // for all calls: the queue runs them one by one
    size_t temp_bytes;
} clblast;

static const char *status_name(int status) {
    switch (status) { // those of CLBlast's own that a product can give
    case CLBlastInvalidMatrixA:
        return "CLBlastInvalidMatrixA";
    case CLBlastInvalidMatrixB:
        return "CLBlastInvalidMatrixB";
    case CLBlastInvalidMatrixC:
        return "CLBlastInvalidMatrixC";
    case CLBlastInsufficientMemoryA:
        return "CLBlastInsufficientMemoryA";
    case CLBlastInsufficientMemoryB:
        return "CLBlastInsufficientMemoryB";
    case CLBlastInsufficientMemoryC:
        return "CLBlastInsufficientMemoryC";
    case CLBlastInsufficientMemoryTemp:
        return "CLBlastInsufficientMemoryTemp";
    case CLBlastInvalidOverrideKernel:
        return "CLBlastInvalidOverrideKernel";
    case CLBlastMissingOverrideParameter:
        return "CLBlastMissingOverrideParameter";
    case CLBlastInvalidLocalMemUsage:
        return "CLBlastInvalidLocalMemUsage";
    case CLBlastDatabaseError:
        return "CLBlastDatabaseError";
    case CLBlastUnknownError:
        return "CLBlastUnknownError";
    case CLBlastUnexpectedError:
        return "CLBlastUnexpectedError";
    default:
        return cl_error_name(status);
    }
}

static bool check(int status, const char *call) {
    return status == CLBlastSuccess || gn_fail("%s: %s", call, status_name(status));
}

// ---- Parameters --------------------------------------------------------------------------------------

typedef struct {
    const char *name;
    size_t value;
} parameter;

enum { SETS = 3, PARAMETERS = 16 };

typedef struct {
    const char *kernel;
    parameter parameters[PARAMETERS]; // fewer end with a NULL name
} parameter_set;

// For CPUs: the tile in registers, no local memory ("SA", "SB"), no direct kernel, which is slow there.
static const parameter_set tuned_sets[SETS] = {
    {"GemmRoutine", {{"XGEMM_MIN_INDIRECT_SIZE", 0}}},
    {"Transpose", {{"TRA_DIM", 16}, {"TRA_PAD", 0}, {"TRA_SHUFFLE", 0}, {"TRA_WPT", 4}}},
    {"Xgemm",
     {{"GEMMK", 0},
      {"KREG", 1},
      {"KWG", 16},
      {"KWI", 2},
      {"MDIMA", 4},
      {"MDIMC", 4},
      {"MWG", 128},
      {"NDIMB", 4},
      {"NDIMC", 4},
      {"NWG", 32},
      {"SA", 0},
      {"SB", 0},
      {"STRM", 0},
      {"STRN", 0},
      {"VWM", 16},
      {"VWN", 8}}},
};

// What CLBlast takes for a device that it does not know.
static const parameter_set plain_sets[SETS] = {
    {"GemmRoutine", {{"XGEMM_MIN_INDIRECT_SIZE", 896}}},
    {"Transpose", {{"TRA_DIM", 4}, {"TRA_PAD", 0}, {"TRA_SHUFFLE", 1}, {"TRA_WPT", 4}}},
    {"Xgemm",
     {{"GEMMK", 0},
      {"KREG", 1},
      {"KWG", 32},
      {"KWI", 2},
      {"MDIMA", 8},
      {"MDIMC", 8},
      {"MWG", 32},
      {"NDIMB", 8},
      {"NDIMC", 8},
      {"NWG", 32},
      {"SA", 1},
      {"SB", 1},
      {"STRM", 0},
      {"STRN", 0},
      {"VWM", 4},
      {"VWN", 4}}},
};

static bool override_parameters(const gn_device *device, const parameter_set *sets) {
    for (int s = 0; s < SETS; s++) {
        const char *names[PARAMETERS];
        size_t values[PARAMETERS], count = 0;
        for (; count < PARAMETERS && sets[s].parameters[count].name; count++) {
            names[count] = sets[s].parameters[count].name;
            values[count] = sets[s].parameters[count].value;
        }
        int status = CLBlastOverrideParameters(device->info.id, sets[s].kernel, CLBlastPrecisionSingle, count,
                                               names, values);
        if (status != CLBlastSuccess) {
            return gn_fail("CLBlastOverrideParameters of %s: %s", sets[s].kernel, status_name(status));
        }
    }
    return true;
}

static const char options_name[] = "CLBLAST_BUILD_OPTIONS";
static const char tuned_options[] = "-DUSE_VECTOR_MAD=1 "; // CLBlast appends its own without a space

const char *gemm_clblast_options(void) {
    const char *options = getenv(options_name);
    return options && strcmp(options, tuned_options) ? options : "";
}

// ---- Starting and stopping ---------------------------------------------------------------------------

// The device that has the tuned parameters in this process.
static cl_device_id tuned_device;

static void *new_state(gn_device *device) {
    clblast *state = gn_calloc(1, sizeof *state);
    state->device = device;
    return state;
}

static void *start_tuned(gn_device *device, const char *source) {
    tuned_device = device->info.id;
    setenv(options_name, tuned_options, 0); // a value of the user's own stays
    return override_parameters(device, tuned_sets) ? new_state(device) : NULL;
}

static void *start_plain(gn_device *device, const char *source) {
    if (tuned_device == device->info.id) {
        tuned_device = NULL;
        if (gemm_clblast_options()[0] == 0) {
            unsetenv(options_name);
        }
        if (!override_parameters(device, plain_sets)) {
            return NULL;
        }
    }
    return new_state(device);
}

static void stop(void *state) {
    clblast *stopped = state;
    if (stopped->temp) {
        clReleaseMemObject(stopped->temp);
    }
    free(stopped);
}

// ---- Calls -------------------------------------------------------------------------------------------

// CLBlast is called column-major, where our matrices are transposes: C' = op(B)' op(A)'. For row-major ones
// it would copy more.
typedef struct {
    CLBlastTranspose transpose_a, transpose_b;
    size_t lda, ldb, ldc; // elements of a row as it is stored
} arguments;

static arguments arguments_of(gemm_shape s) {
    return (arguments){
        .transpose_a = s.transpose_a ? CLBlastTransposeYes : CLBlastTransposeNo,
        .transpose_b = s.transpose_b ? CLBlastTransposeYes : CLBlastTransposeNo,
        .lda = (size_t)(s.transpose_a ? s.m : s.k),
        .ldb = (size_t)(s.transpose_b ? s.k : s.n),
        .ldc = (size_t)s.n,
    };
}

// CLBlast adds up the terms of a sum in a single float, which loses digits that training misses: of ten
// recorded runs of gan and cgan, three ended 7 to 57 times as far from float64 as PyTorch, and none more
// than 1.8 times with sums of 128, which is also what the native kernels take. So a long sum is made in
// pieces, each of which is added to C. They are launches, hence few.
enum { PIECE = 128, MOST_PIECES = 8 };

static int pieces_of(gemm_shape s) {
    int pieces = (s.k + PIECE - 1) / PIECE;
    return pieces < MOST_PIECES ? pieces : MOST_PIECES;
}

// Terms of all pieces but the last, which has what is left.
static int piece_length(gemm_shape s) {
    return (s.k + pieces_of(s) - 1) / pieces_of(s);
}

// Some terms of the sums: how many, and where they begin in A and B.
typedef struct {
    int length;
    size_t a, b;
} piece;

static piece piece_of(gemm_shape s, int i) {
    int length = piece_length(s), from = i * length, rest = s.k - from;
    return (piece){
        .length = rest < length ? rest : length,
        .a = (size_t)from * (size_t)(s.transpose_a ? s.m : 1),
        .b = (size_t)from * (size_t)(s.transpose_b ? 1 : s.n),
    };
}

// Makes CLBlast's temporary memory at least so large.
static bool reserve(clblast *state, size_t bytes) {
    if (bytes <= state->temp_bytes) {
        return true;
    }
    cl_int status;
    cl_mem larger = clCreateBuffer(state->device->context, CL_MEM_READ_WRITE, bytes, NULL, &status);
    if (!check(status, "clCreateBuffer of CLBlast's temporary memory")) {
        return false;
    }
    if (state->temp) {
        clReleaseMemObject(state->temp);
    }
    state->temp = larger;
    state->temp_bytes = bytes;
    return true;
}

static bool prepare(gemm_call *call) {
    clblast *state = call->products->state;
    gemm_shape s = call->shape;
    arguments with = arguments_of(s);
    for (int i = 0; i < pieces_of(s); i++) {
        piece p = piece_of(s, i);
        size_t bytes = 0;
        int status = CLBlastSGemmTempBufferSize(CLBlastLayoutColMajor, with.transpose_b, with.transpose_a,
                                                s.n, s.m, p.length, p.b, with.ldb, p.a, with.lda, 0, with.ldc,
                                                &state->device->queue, &bytes);
        if (!check(status, "CLBlastSGemmTempBufferSize") || !reserve(state, bytes)) {
            return false;
        }
    }
    return true;
}

static bool enqueue(const gemm_call *call, const launch_order *order) {
    const clblast *state = call->products->state;
    gemm_shape s = call->shape;
    arguments with = arguments_of(s);
    for (int i = 0; i < pieces_of(s); i++) {
        piece p = piece_of(s, i);
        float keep = i > 0 ? 1.0f : 0.0f; // of what C holds
        int status =
            CLBlastSgemmWithTempBuffer(CLBlastLayoutColMajor, with.transpose_b, with.transpose_a, s.n, s.m,
                                       p.length, 1.0f, call->b, p.b, with.ldb, call->a, p.a, with.lda, keep,
                                       call->c, 0, with.ldc, &state->device->queue, NULL, state->temp);
        if (!check(status, "CLBlastSgemmWithTempBuffer")) {
            return false;
        }
    }
    return true;
}

static void release(void *prepared) {} // a call holds nothing of its own

const gemm_engine gemm_clblast = {
    .name = "clblast",
    .start = start_plain,
    .stop = stop,
    .prepare = prepare,
    .enqueue = enqueue,
    .release = release,
};

const gemm_engine gemm_clblast_tuned = {
    .name = "clblast with ganc's CPU parameters",
    .start = start_tuned,
    .stop = stop,
    .prepare = prepare,
    .enqueue = enqueue,
    .release = release,
};
