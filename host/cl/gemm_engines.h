// Engines of matrix products: what gemm.c asks of each, and what it tells them. Only gemm*.c look in here.
#ifndef GANC_CL_GEMM_ENGINES_H
#define GANC_CL_GEMM_ENGINES_H

#include "cl/gemm.h"

// An engine knows nothing of the others, nor whether its products are right. What fails says why with
// gn_fail(), without the shape: gemm.c adds it.
typedef struct {
    const char *name; // for people, and in the cache file
    // Makes the engine ready on a device and gives what it keeps there; NULL on failure. `source` is gemm.cl.
    void *(*start)(gn_device *device, const char *source);
    void (*stop)(void *state);
    // Makes call->prepared, or what else an enqueue needs. release() follows, even after a failure.
    bool (*prepare)(gemm_call *call);
    bool (*enqueue)(const gemm_call *call);
    void (*release)(void *prepared);          // accepts NULL
    gemm_limits (*limits)(const void *state); // NULL: takes no epilogues
} gemm_engine;

extern const gemm_engine gemm_native;        // kernels_cl/gemm.cl
extern const gemm_engine gemm_clblast;       // with CLBlast's own parameters
extern const gemm_engine gemm_clblast_tuned; // with parameters of ours for CPU devices

struct gemm {
    gn_device *device;
    const gemm_engine *engine;
    void *state; // of start()
};

struct gemm_call {
    const gemm *products;
    gemm_shape shape;
    cl_mem a, b, c;
    const gemm_epilogue *epilogue; // while the call is made
    void *prepared;                // the engine's own
};

// The compiler options that the user gives to CLBlast, on which its results depend; "" for none.
const char *gemm_clblast_options(void);

#endif
