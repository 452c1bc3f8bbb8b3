// random.c: random numbers on the host, with the device's bits.
//
// The functions are the kernels' own, included from kernels_cl/random.cl; below, OpenCL C's names are given
// to their equals in C. That the bits agree rests on fmaf being exact and on -ffp-contract=off. The generator
// and its streams are described there.
#include "graph/random.h"
#include "base/error.h"
#include "ganc.h"

#include <math.h>
#include <string.h>

static uint32_t as_uint(float x) {
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

static float as_float(uint32_t bits) {
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint32_t mul_hi(uint32_t a, uint32_t b) {
    return (uint32_t)((uint64_t)a * b >> 32);
}

#define uint uint32_t
#define fma  fmaf
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunknown-pragmas" // unroll: gcc has another name for it
#include "kernels_cl/random.cl"
#pragma GCC diagnostic pop
#undef uint
#undef fma

uint32_t random_stream(const char *name) {
    uint32_t hash = 2166136261u;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    return hash;
}

void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]) {
    random_words block;
    memcpy(block.w, counter, sizeof block.w);
    block = philox(block, key[0], key[1]);
    memcpy(words, block.w, sizeof block.w);
}

// The words of block number `block` of a stream at a step.
static random_words words_at(uint64_t seed, uint32_t stream, uint32_t step, size_t block) {
    return random_block((uint32_t)seed, (uint32_t)(seed >> 32), stream, step, (uint32_t)block);
}

void gn_draw_uniform(uint64_t seed, const char *stream, uint32_t step, float *out, size_t count) {
    const uint32_t number = random_stream(stream);
    random_words words = {{0}};
    for (size_t i = 0; i < count; i++) {
        if (i % 4 == 0)
            words = words_at(seed, number, step, i / 4);
        out[i] = uniform_of(words.w[i % 4]);
    }
}

void gn_draw_normal(uint64_t seed, const char *stream, uint32_t step, float *out, size_t count) {
    const uint32_t number = random_stream(stream);
    random_words words = {{0}};
    for (size_t i = 0; i < count; i += 2) {
        if (i % 4 == 0)
            words = words_at(seed, number, step, i / 4);
        const normal_pair pair = normals_of(words.w[i % 4], words.w[i % 4 + 1]);
        out[i] = pair.even;
        if (i + 1 < count)
            out[i + 1] = pair.odd;
    }
}

void gn_draw_below(uint64_t seed, const char *stream, uint32_t step, int32_t *out, size_t count, int bound) {
    GN_ASSERT(bound > 0, "gn_draw_below: bound %d is not positive", bound);
    const uint32_t number = random_stream(stream);
    random_words words = {{0}};
    for (size_t i = 0; i < count; i++) {
        if (i % 4 == 0)
            words = words_at(seed, number, step, i / 4);
        out[i] = (int32_t)mul_hi(words.w[i % 4], (uint32_t)bound);
    }
}

// Fisher and Yates's shuffle: position i, from the last down to 1, is exchanged with one at or before it,
// which word number count - 1 - i of the stream chooses.
void gn_draw_permutation(uint64_t seed, const char *stream, uint32_t step, int32_t *out, size_t count) {
    const uint32_t number = random_stream(stream);
    random_words words = {{0}};
    for (size_t i = 0; i < count; i++)
        out[i] = (int32_t)i;
    for (size_t drawn = 0; drawn + 1 < count; drawn++) {
        if (drawn % 4 == 0)
            words = words_at(seed, number, step, drawn / 4);
        const size_t i = count - 1 - drawn, j = mul_hi(words.w[drawn % 4], (uint32_t)(i + 1));
        const int32_t kept = out[i];
        out[i] = out[j];
        out[j] = kept;
    }
}
