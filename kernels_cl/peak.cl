// peak.cl: the most that a device does of one thing, for `ganc bench` to hold the other kernels against.
//
// Built once for each WIDTH (floats in a vector: 1, 2, 4, 8, 16) and CHAINS that host/cl/peak.c tries: no
// shape is best everywhere. Few chains leave the multipliers waiting for each other's results, many chains of
// wide vectors spill out of the registers.
//
// All are 1-D, any local size; vectors lie at multiples of their size. No result is of use to anybody; each
// is written so that its computation is not optimised away.

#ifndef WIDTH
#define WIDTH 4
#endif
#ifndef CHAINS // accumulators that depend on themselves only
#define CHAINS 8
#endif
#ifndef RUN // vectors that a work-item of peak_read sums up, a multiple of 4
#define RUN 64
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b)  JOIN_(a, b)
#if WIDTH == 1
#define VECTOR float
#else
#define VECTOR JOIN(float, WIDTH)
#endif

// What a launch costs.
kernel void peak_empty(global float *out) {}

// 2 * WIDTH * CHAINS * steps operations a work-item; the accumulators tend to 1, where nothing is subnormal.
kernel void peak_fma(global VECTOR *out, const uint steps) {
    VECTOR acc[CHAINS];
#pragma unroll
    for (int i = 0; i < CHAINS; i++)
        acc[i] = (VECTOR)(0.5f + 0.001f * (float)i);
    for (uint s = 0; s < steps; s++) {
#pragma unroll
        for (int i = 0; i < CHAINS; i++)
            acc[i] = fma(acc[i], (VECTOR)(0.99f), (VECTOR)(0.01f));
    }
    VECTOR sum = acc[0];
#pragma unroll
    for (int i = 1; i < CHAINS; i++)
        sum += acc[i];
    out[get_global_id(0)] = sum;
}

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
