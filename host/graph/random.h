// Random numbers on the host: what the graph and the tests need beyond ganc.h's gn_draw_ functions. The
// generator is described in kernels_cl/random.cl.
#ifndef GANC_GRAPH_RANDOM_H
#define GANC_GRAPH_RANDOM_H

#include <stdint.h>

// The number of the stream of that name, as the kernels take it: its FNV-1a hash (Fowler, Noll and Vo).
uint32_t random_stream(const char *name);

// Philox4x32-10: the four words of one counter under one key.
void random_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t words[4]);

#endif
