// From a graph to what a device executes: which nodes share a kernel, in which order, where each tensor lies.
//
// Device-free: the plan of a graph can be looked at and tested without OpenCL.
#ifndef GANC_PLAN_H
#define GANC_PLAN_H

#include "graph/graph.h"

// Each optimisation can be switched off; the results stay the same, to rounding.
typedef struct {
    bool common;     // equal nodes are one
    bool split;      // a long sum in two stages
    bool linear;     // a product of rows between others' rows from their products
    bool fuse;       // several pointwise operations in one kernel
    bool recompute;  // what readers can compute from what they read, they do, and it is not stored
    bool passes;     // several sums, and what else is needed of their elements, in one pass over these
    bool columns;    // sums over rows in one kernel with what needs them
    bool epilogue;   // pointwise operations in the kernel of the matrix product that they read
    bool concat;     // the parts of a concatenation are computed where it lies
    bool reuse;      // one place in the arena for tensors that are never alive together
    bool in_place;   // an assignment writes into its variable at once
    bool concurrent; // a device may carry out several steps at the same time
    bool apart; // tensors that are alive together lie in chunks of their own, each at the beginning; no parts
    size_t alignment;      // bytes, of each tensor in the arena
    size_t piece_bytes;    // of a convolution's patches: those of more images are made a piece at a time
    size_t max_allocation; // bytes of the largest buffer; the arena is cut into chunks of at most this
    int product_columns;   // which a product's kernel finishes at once; 0: it takes no epilogue
    int product_depth;     // of a sum in its registers: longer ones pass through memory, unfinished
    bool product_updates;  // may its epilogue assign to variables?
} plan_options;

// All on, but for those named in the environment variable GANC_OFF, as in
// "split,linear,common,pieces,fuse,recompute,passes,columns,epilogue,concat,reuse,in-place,concurrent".
plan_options plan_options_default(void);

// One kernel launch or matrix product. FORM_POINTWISE: all nodes have the same number of elements, and an
// element of each is computed from the same index of the others. FORM_SUM: so too, but for the last nodes,
// which are sums over them with the same loops. FORM_COLUMNS: sums over the rows of matrices of one size, and
// what has an element a column or, like the sums' terms, one for each row of it; each column is computed from
// itself, and from what other steps have written. FORM_MATMUL: as FORM_POINTWISE, but for the first node,
// which is a matrix product; the others are its epilogue. Else one node alone.
typedef struct {
    op_form form;
    gn_node **nodes; // inputs before what uses them
    int count;
    bool constant; // needs to be carried out once: only constants go into it, and its memory is nobody else's
    gn_node *sums; // FORM_MATMUL: in whose memory the product's sums lie until they are complete
    int *waits;    // the steps that must have ended before this one may start, where no other of them says so
    int wait_count;
} plan_step;

typedef struct {
    int chunk; // of the arena; -1: the node has no place there
    size_t offset;
} placement;

// A tensor that lies in another's place.
typedef struct {
    gn_node *whole; // NULL: it is no part
    size_t offset;  // bytes
} part;

typedef struct {
    gn_graph *graph;  // a rewritten copy of what the assignments need
    plan_step *steps; // in order of execution
    int count;
    placement *places; // of each node, by id
    part *parts;       // of each node, by id
    bool *passing;  // by node id: an assignment that the same step replaces, so that it is in registers alone
    size_t *chunks; // bytes of each part of the arena
    int chunk_count;
    gn_node **commits; // assignments to copy into their variables at the end; none when in place
    int commit_count;
    size_t live_bytes; // the most that is alive at once
} plan;

plan *plan_new(const gn_graph *graph, plan_options options);
void plan_free(plan *plan);

// The node whose memory holds this node's value: behind all views.
gn_node *plan_base(gn_node *node);

// The loops of the sums of a step of FORM_SUM or FORM_COLUMNS.
sum_loops plan_step_loops(const plan_step *step);

// How many nodes of the step are sums.
int plan_step_sums(const plan_step *step);

// Does the step compute this node?
bool plan_step_has(const plan_step *step, const gn_node *node);

// Must the step write this node to memory (and not only hold it in a register)?
bool plan_is_stored(const plan *plan, const gn_node *node);

// Is the node's memory its variable's buffer?
bool plan_is_in_variable(const plan *plan, const gn_node *node);

// All of the arena, in bytes.
size_t plan_arena_bytes(const plan *plan);

#endif
