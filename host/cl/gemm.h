// Matrix products: the one place that chooses between CLBlast and the native kernel, and the one caller of
// CLBlast.
#ifndef GANC_CL_GEMM_H
#define GANC_CL_GEMM_H

#include "cl/device.h"

// C = op(A) op(B), all row-major and dense, f32; op(X) is X or its transpose.
// op(A) is (m, k), op(B) is (k, n), C is (m, n); A is stored (k, m) when transpose_a, B (n, k) when
// transpose_b.
typedef struct {
    bool transpose_a, transpose_b;
    int m, n, k;
} gemm_shape;

// "TN 784x512x64"
typedef struct {
    char text[64];
} shape_words;
shape_words gemm_shape_words(gemm_shape shape);

typedef struct gemm gemm;

// Prepares products on an opened device. `choice` is "auto", "clblast" or "native"; NULL means auto.
// Checks products against the host on the first use of a device and driver, and keeps what was found in the
// user's cache folder. An engine that is wrong is said on stderr, and the next best is used; a kernel of it
// that is not needed before and is found wrong then makes gemm_call_new() fail. Read when a product is made:
// GANC_OFF=tune goes by the built-in table of tiles alone, GANC_OFF=split makes no product in slices;
// GANC_TILE=RxC takes that tile of C for all products that have it.
gemm *gemm_new(gn_device *device, const char *choice);
void gemm_free(gemm *gemm);

// What products run on: "clblast", "clblast with ganc's CPU parameters", "native".
const char *gemm_description(const gemm *gemm);

// What these products take of an epilogue, which is elementwise work on C before it is stored.
typedef struct {
    int columns;  // finished at once: n must be a multiple of it; 0: no epilogues
    int depth;    // of a sum in registers: longer ones pass through C before they are complete
    bool updates; // are epilogues that assign to variables worth it?
} gemm_limits;
gemm_limits gemm_epilogue_limits(const gemm *gemm);

typedef struct {
    const char *source; // OpenCL C that defines gemm.cl's FINISH, PARAMETERS and ARGUMENTS
    const cl_mem *buffers;
    int count; // what the PARAMETERS stand for
} gemm_epilogue;

typedef struct {
    gemm_shape shape;
    const char *epilogue; // its source, or NULL
} gemm_product;

// Compiles the kernels of a plan's products in one program, where calls made later find them. What does not
// compile is compiled by the call that needs it, which says why it fails.
void gemm_compile(gemm *gemm, const gemm_product *products, int count);

// Makes one product ready to be enqueued again and again on the same buffers (which the caller keeps alive).
// With an epilogue, which may be NULL, C holds unfinished sums and what the epilogue stores there.
typedef struct gemm_call gemm_call;
gemm_call *gemm_call_new(gemm *gemm, gemm_shape shape, cl_mem a, cl_mem b, cl_mem c,
                         const gemm_epilogue *epilogue);
void gemm_call_free(gemm_call *call);
bool gemm_call_enqueue(gemm_call *call, const launch_order *order); // NULL: in the in-order queue

// In how many slices a call's sums are made, by one kernel, which a second one adds up; 1: by one.
int gemm_call_slices(const gemm_call *call);

// May calls be enqueued with an order?
bool gemm_takes_order(const gemm *gemm);

// Do products in the device's concurrent queue, one waiting for the other, take no longer than in order?
// Measured at the first use of a device and driver, and kept in the user's cache folder. False on failure.
bool gemm_order_is_cheap(gemm *gemm, bool *cheap);

// The shapes of all products that were prepared so far, each once; valid until the next one.
const gemm_shape *gemm_shapes(const gemm *gemm, int *count);

// ---- Tuning ------------------------------------------------------------------------------------------

enum { MAX_WAYS = 16, GEMM_WAY = 48 };

// A way to make a product: a kernel and its tile.
typedef struct {
    char name[GEMM_WAY]; // "gemm_nn 6x64"
    bool right;          // does it run, and give the host's results?
    double gflops;       // the median; 0 where it is not right
    double gain;         // 0.1: a tenth faster than the first candidate, the median over rounds; -1 likewise
} gemm_candidate;

typedef struct {
    gemm_shape shape;
    gemm_candidate candidates[MAX_WAYS]; // that of the built-in table first
    int count, chosen;
    bool kept; // in the user's cache folder? If not, gn_error() says why
} gemm_tuning;

// Measures all ways of the products' engine to make a product, interleaved, at most `rounds` times, and keeps
// the fastest in the user's cache folder, for calls made from then on; the built-in one where nothing else is
// faster beyond the noise. False on failure.
bool gemm_tune(gemm *gemm, gemm_shape shape, int rounds, gemm_tuning *out);

// Was any product that was prepared so far not tuned on this device, although there is something to choose?
bool gemm_find_untuned(const gemm *gemm, gemm_shape *shape);

#endif
