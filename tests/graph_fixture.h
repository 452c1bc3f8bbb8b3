// A Check fixture: an empty graph over a new state, for every test of a case.
#ifndef GANC_TESTS_GRAPH_FIXTURE_H
#define GANC_TESTS_GRAPH_FIXTURE_H

#include "ganc.h"

static gn_state *state;
static gn_graph *graph;

static inline void start_graph(uint64_t seed) {
    state = gn_state_new(seed);
    graph = gn_graph_new(state);
}

static inline void teardown(void) {
    gn_graph_free(graph);
    gn_state_free(state);
}

#endif
