// peak.cl: the most that a device does of one thing, for `ganc bench` to hold the other kernels against.
//
// All are 1-D, any local size; vectors lie at multiples of their size. No result is of use to anybody; each
// is written so that its computation is not optimised away.

#ifndef RUN // vectors that a work-item of peak_read sums up, a multiple of 4
#define RUN 64
#endif
#ifndef VECTOR // of the kernels that move memory
#define VECTOR float4
#endif

// What a launch costs.
kernel void peak_empty(global float *out) {}

// peak_fma_16x8 and so on, by floats in a vector and accumulators that depend on themselves only: 2 * width * chains *
// steps operations a work-item. The accumulators tend to 1, where nothing is subnormal.
#define FMA(width, chains)                                                                                             \
    kernel void peak_fma_##width##x##chains(global float##width *out, const uint steps) {                              \
        float##width acc[chains];                                                                                      \
        UNROLL                                                                                                         \
        for (int i = 0; i < chains; i++)                                                                               \
            acc[i] = (float##width)(0.5f + 0.001f * (float)i);                                                         \
        for (uint s = 0; s < steps; s++) {                                                                             \
            UNROLL                                                                                                     \
            for (int i = 0; i < chains; i++)                                                                           \
                acc[i] = fma(acc[i], (float##width)(0.99f), (float##width)(0.01f));                                    \
        }                                                                                                              \
        float##width sum = acc[0];                                                                                     \
        UNROLL                                                                                                         \
        for (int i = 1; i < chains; i++)                                                                               \
            sum += acc[i];                                                                                             \
        out[get_global_id(0)] = sum;                                                                                   \
    }
#define UNROLL _Pragma("unroll")

// No shape is best everywhere: few chains leave the multipliers waiting for each other's results, many chains of wide
// vectors spill out of the registers, which on a CPU are 16 or 32 of 4, 8 or 16 floats.
#ifdef GANC_GPU
typedef float float1;
FMA(1, 4)
FMA(1, 8)
FMA(2, 4)
FMA(2, 8)
FMA(4, 4)
FMA(4, 8)
#else
FMA(16, 4)
FMA(16, 6)
FMA(16, 8)
FMA(16, 12)
FMA(8, 8)
FMA(8, 10)
FMA(8, 12)
FMA(8, 14)
FMA(4, 8)
FMA(4, 12)
#endif

// A vector for each work-item.
kernel void peak_copy(global VECTOR *restrict to, global const VECTOR *restrict from) {
    to[get_global_id(0)] = from[get_global_id(0)];
}

kernel void peak_write(global VECTOR *to, const float value) {
    to[get_global_id(0)] = (VECTOR)(value);
}

// RUN vectors for each work-item, side by side on CPU devices, as far apart as there are work-items on GPUs.
kernel void peak_read(global VECTOR *restrict out, global const VECTOR *restrict from) {
    const uint i = get_global_id(0);
#ifdef GANC_GPU
    const uint first = i, apart = get_global_size(0);
#else
    const uint first = i * RUN, apart = 1;
#endif
    VECTOR sum[4] = {(VECTOR)(0.0f), (VECTOR)(0.0f), (VECTOR)(0.0f), (VECTOR)(0.0f)};
    for (uint r = 0; r < RUN; r += 4) {
#pragma unroll
        for (uint j = 0; j < 4; j++)
            sum[j] += from[first + (r + j) * apart];
    }
    out[i] = (sum[0] + sum[1]) + (sum[2] + sum[3]);
}
