// Engines of matrix products: what gemm.c asks of each, and what it tells them. Only gemm*.c look in here.
#ifndef GANC_CL_GEMM_ENGINES_H
#define GANC_CL_GEMM_ENGINES_H

#include "cl/gemm.h"
#include "cl/gemm_record.h"

// Ways to make a product, which differ in speed and not in a bit. An id is the engine's own, and stands for
// the same kernel for all shapes with the same letters; a name is one kernel with its tile: "gemm_nn 6x64".
typedef struct {
    int ids[MAX_WAYS];
    char names[MAX_WAYS][GEMM_WAY];
    int count;
} gemm_ways;

// An engine knows nothing of the others, nor whether its products are right. What fails says why with
// gn_fail(), without the shape: gemm.c adds it.
typedef struct {
    const char *name; // for people, and in the cache file
    // Makes the engine ready on a device and gives what it keeps there; NULL on failure. `source` is gemm.cl.
    void *(*start)(gn_device *device, const char *source);
    void (*stop)(void *state);
    // As gemm_compile(), by these ways; or for no plan. As gemm_forget_plans(). NULL: has no kernels of ours.
    void (*compile)(void *state, const gemm_product *products, const int *ways, int count, bool of_plan);
    void (*forget_plans)(void *state);
    // Makes call->prepared, or what else an enqueue needs. release() follows, even after a failure.
    bool (*prepare)(gemm_call *call);
    bool (*enqueue)(const gemm_call *call, const launch_order *order);
    void (*release)(void *prepared);          // accepts NULL
    gemm_limits (*limits)(const void *state); // NULL: takes no epilogues
    bool takes_order;                         // else enqueue() knows the in-order queue alone
    // Lists how a product of this shape may be made, the engine's own choice first. NULL: in one way, id 0.
    void (*ways)(const void *state, gemm_shape shape, gemm_ways *ways);
} gemm_engine;

extern const gemm_engine gemm_native;        // kernels_cl/gemm.cl
extern const gemm_engine gemm_clblast;       // with CLBlast's own parameters
extern const gemm_engine gemm_clblast_tuned; // with parameters of ours for CPU devices

struct gemm {
    gn_device *device;
    const gemm_engine *engine;
    void *state; // of start()
    gemm_record record;
    gemm_shape *shapes; // of the calls that were made, each once
    int shape_count;
};

struct gemm_call {
    const gemm *products;
    gemm_shape shape;
    int way; // its id
    cl_mem a, b, c;
    const gemm_epilogue *epilogue; // while the call is made
    int slices;                    // 1, unless prepare() says otherwise
    void *prepared;                // the engine's own
};

gemm_ways gemm_ways_of(const gemm *products, gemm_shape shape);

// The id of the way for a new call: what $GANC_TILE names, else what was found fastest, else the engine's own
// choice, which is also what GANC_OFF=tune asks for.
int gemm_chosen_way(const gemm *products, gemm_shape shape);

// Is there another way that was not tried on this device, and nobody who says which to take?
bool gemm_wants_tuning(const gemm *products, gemm_shape shape);

// gemm_call_new() by this way, which nobody has verified.
gemm_call *gemm_call_by(gemm *products, gemm_shape shape, int way, cl_mem a, cl_mem b, cl_mem c,
                        const gemm_epilogue *epilogue);

// To be called where other ways are chosen: what is compiled for plans from now on has the text that it will
// have at the next start, whatever was compiled so far.
void gemm_forget_plans(gemm *products);

// Was this way of making products of such a shape found right, or is it now? False where it is not, or cannot
// be tried.
bool gemm_is_right(gemm *products, gemm_shape shape, int way);

// Notes that the way of this name was found right; the record is not written.
void gemm_way_is_right(gemm *products, const char *name);

// Numbers in -1 .. 1. The caller frees.
float *gemm_random_values(size_t count, uint32_t seed);

// The compiler options that the user gives to CLBlast, on which its results depend; "" for none.
const char *gemm_clblast_options(void);

#endif
