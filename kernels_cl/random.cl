// random.cl: random numbers as a function of where they stand, the same bits on every device and on the host.
//
// The generator is counter-based: nothing is carried from one number to the next, each follows from
//     key     = (low 32 bits of the seed, high 32 bits)
//     counter = (block, step, stream, 0)
// by Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011).
// A stream is what the numbers are for, "z" or "generator.model.0.weight": the FNV-1a 32-bit hash of that
// name. One counter gives four words w0..w3, which serve the elements 4 * block .. 4 * block + 3:
//     uniform  (w >> 8) * 2^-24, in [0, 1)
//     below    the high 32 bits of w * bound, in [0, bound)
//     normal   Box and Muller 1958: (w0, w1) serves lanes 0 and 1, (w2, w3) lanes 2 and 3. Of a pair (a, b),
//              u = ((a >> 8) + 1) * 2^-24 in (0, 1], v = (b >> 8) * 2^-24, r = sqrt(-2 ln u);
//              r cos(2 pi v) for the even lane, r sin(2 pi v) for the odd one
//
// OpenCL lets log, sqrt, sin and cos differ between devices, but rounds +, -, * and fma correctly everywhere.
// So the normals use nothing but these, and contraction is off. No intermediate value is subnormal, which a
// device may flush. The polynomials are minimax fits with float coefficients, made for this file.
//
// host/graph/random.c includes this file for the host's half: what is above the kernels is C as well.
//
// Kernels: 1-D, any local size, one work-item a block; at least (first % 4 + n + 3) / 4 work-items, more do
// nothing. out[e] gets the element first + e, so that a tensor drawn in parts is the tensor drawn at once.
// `step` is read on the device. n is at most 2^31; no alignment beyond the type's. The loops are unrolled
// because CPU compilers put neighbouring work-items into one vector only where no loop is left in them:
// normals are three times faster on PoCL. Where a vector's stores take no mask (AVX2), no condition may be
// left either: for the kernels named _whole first and n are multiples of 4, and there are exactly n / 4 work-items.

#ifdef __OPENCL_VERSION__
#pragma OPENCL FP_CONTRACT OFF
#endif

typedef struct {
    uint w[4];
} random_words;

static random_words philox(random_words c, uint key_low, uint key_high) {
#pragma unroll
    for (int i = 0; i < 10; i++) {
        const random_words next = {{mul_hi(0xcd9e8d57u, c.w[2]) ^ c.w[1] ^ key_low, 0xcd9e8d57u * c.w[2],
                                    mul_hi(0xd2511f53u, c.w[0]) ^ c.w[3] ^ key_high, 0xd2511f53u * c.w[0]}};
        c = next;
        key_low += 0x9e3779b9u;
        key_high += 0xbb67ae85u;
    }
    return c;
}

static random_words random_block(uint seed_low, uint seed_high, uint stream, uint step, uint block) {
    const random_words counter = {{block, step, stream, 0}};
    return philox(counter, seed_low, seed_high);
}

static float uniform_of(uint word) {
    return (float)(word >> 8) * 0x1p-24f;
}

// -2 ln(k * 2^-24) for k in 1 .. 2^24. With k = m * 2^e, m in [sqrt(1/2), sqrt(2)) and f = m - 1, this is
// 2 ln(2) (24 - e) - 2 ln(1 + f), and ln(1 + f) = f - f^2 / 2 + f^3 p(f). Near k = 2^24 both parts shrink
// together, so that the relative error stays small.
static float minus_two_log(uint k) {
    const uint bits = as_uint((float)k);
    const uint e = (bits - as_uint(0.70710678f)) >> 23;
    const float f = as_float(bits - (e << 23)) - 1.0f;
    float p = -0.0763694048f;
    p = fma(p, f, 0.1276248544f);
    p = fma(p, f, -0.1315955073f);
    p = fma(p, f, 0.1420153975f);
    p = fma(p, f, -0.1662341058f);
    p = fma(p, f, 0.2000124305f);
    p = fma(p, f, -0.2500081956f);
    p = fma(p, f, 0.3333333135f);
    const float log1p_f = fma(f * f, fma(p, f, -0.5f), f);
    return fma((float)(24 - (int)e), 1.3862943611f, -2.0f * log1p_f);
}

// x >= 0, 0 or far above the subnormal numbers. Newton steps towards 1 / sqrt(x) from a start made of x's
// bits (half the exponent, negated), then one correction of the root itself by its exact remainder.
static float square_root(float x) {
    float y = as_float(0x5f3759dfu - (as_uint(x) >> 1));
#pragma unroll
    for (int i = 0; i < 3; i++)
        y = y * fma(-0.5f * x * y, y, 1.5f);
    const float root = x * y;
    return fma(fma(-root, root, x), 0.5f * y, root);
}

// Both lanes of a pair of words.
typedef struct {
    float even, odd;
} normal_pair;

static normal_pair normals_of(uint a, uint b) {
    const float r = square_root(minus_two_log((a >> 8) + 1));
    // v is k / 2^24 turns: q quarter turns, to the nearest, and a rest t in [-1/8, 1/8); nothing is rounded.
    const uint k = b >> 8, q = (k + (1u << 21)) >> 22;
    const float t = (float)((int)k - (int)(q << 22)) * 0x1p-24f, t2 = t * t;
    float sine = -75.4074172974f;
    sine = fma(sine, t2, 81.5926818848f);
    sine = fma(sine, t2, -41.3416633606f);
    sine = fma(sine, t2, -1.9415793417e-7f); // what the next line's 2 pi lacks, and the fit's
    sine = fma(6.2831854820f, t, sine * t);
    float cosine = 58.5568847656f;
    cosine = fma(cosine, t2, -85.4230651855f);
    cosine = fma(cosine, t2, 64.9391403198f);
    cosine = fma(cosine, t2, -19.7392082214f);
    cosine = fma(cosine, t2, 1.0f);
    const float x = q & 1 ? sine : cosine, y = q & 1 ? cosine : sine;
    const normal_pair pair = {r * ((q + 1) & 2 ? -x : x), r * (q & 2 ? -y : y)};
    return pair;
}

#ifdef __OPENCL_VERSION__

// What all kernels take beside `out`, and hand on.
#define DRAW                                                                                                 \
    global const int *step, const uint seed_low, const uint seed_high, const uint stream, const uint first,  \
        const uint n
#define DRAWN step, seed_low, seed_high, stream, first, n

#define INLINED __attribute__((always_inline))

// For a lane before the tensor's start e wraps round to a huge number: one comparison guards both ends.
#define IN_TENSOR(e) (whole || (e) < n)

INLINED static void draw_uniform(const bool whole, global float *out, DRAW) {
    const uint i = get_global_id(0);
    const random_words words = random_block(seed_low, seed_high, stream, step[0], first / 4 + i);
#pragma unroll
    for (uint lane = 0; lane < 4; lane++) {
        const uint e = 4 * i + lane - first % 4;
        if (IN_TENSOR(e))
            out[e] = uniform_of(words.w[lane]);
    }
}

INLINED static void draw_normal(const bool whole, global float *out, DRAW) {
    const uint i = get_global_id(0);
    const random_words words = random_block(seed_low, seed_high, stream, step[0], first / 4 + i);
#pragma unroll
    for (uint lane = 0; lane < 4; lane += 2) {
        const normal_pair pair = normals_of(words.w[lane], words.w[lane + 1]);
        const uint e = 4 * i + lane - first % 4;
        if (IN_TENSOR(e))
            out[e] = pair.even;
        if (IN_TENSOR(e + 1))
            out[e + 1] = pair.odd;
    }
}

INLINED static void draw_below(const bool whole, global int *out, DRAW, const uint bound) {
    const uint i = get_global_id(0);
    const random_words words = random_block(seed_low, seed_high, stream, step[0], first / 4 + i);
#pragma unroll
    for (uint lane = 0; lane < 4; lane++) {
        const uint e = 4 * i + lane - first % 4;
        if (IN_TENSOR(e))
            out[e] = (int)mul_hi(words.w[lane], bound);
    }
}

kernel void random_uniform(global float *out, DRAW) {
    draw_uniform(false, out, DRAWN);
}

kernel void random_normal(global float *out, DRAW) {
    draw_normal(false, out, DRAWN);
}

kernel void random_below(global int *out, DRAW, const uint bound) {
    draw_below(false, out, DRAWN, bound);
}

#ifdef GANC_CPU

kernel void random_uniform_whole(global float *out, DRAW) {
    draw_uniform(true, out, DRAWN);
}

kernel void random_normal_whole(global float *out, DRAW) {
    draw_normal(true, out, DRAWN);
}

kernel void random_below_whole(global int *out, DRAW, const uint bound) {
    draw_below(true, out, DRAWN, bound);
}

#endif
#endif
