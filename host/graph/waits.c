// The planner's last pass: which steps must have ended before a step may start.
//
// Steps that use the same memory, at least one of which writes to it, keep the order of the plan; all others
// may run at the same time. It is memory that decides, not the graph's edges: a tensor's place in the arena
// is another's later, and a variable has one place for all of its versions.
#include "graph/planner.h"

// A piece of memory that a step uses.
typedef struct {
    const void *where; // a variable, or a chunk of the arena
    size_t begin, end; // bytes
    bool written;
} span;

typedef struct {
    span *spans;
    int count;
} span_list;

static void add_span(const plan *plan, span_list *list, const gn_node *node, bool written) {
    size_t bytes = node_bytes(node);
    placement place = plan->places[node->id];
    span s = {node->variable, 0, bytes, written};
    if (!plan_is_in_variable(plan, node)) {
        if (place.chunk < 0)
            return; // a constant, or in a register
        s = (span){&plan->chunks[place.chunk], place.offset, place.offset + bytes, written};
    }
    list->spans = gn_realloc(list->spans, ((size_t)list->count + 1) * sizeof *list->spans);
    list->spans[list->count++] = s;
}

static span_list spans_of(const plan *plan, const plan_step *step) {
    span_list list = {0};
    for (int i = 0; i < step->count; i++) {
        gn_node *node = step->nodes[i];
        for (int j = 0; j < input_count(node); j++) {
            const gn_node *base = plan_base(node->input[j]);
            if (!plan_step_has(step, base))
                add_span(plan, &list, base, false);
        }
        add_span(plan, &list, node, true);
    }
    if (step->sums)
        add_span(plan, &list, step->sums, true);
    return list;
}

static bool are_in_conflict(span_list a, span_list b) {
    for (int i = 0; i < a.count; i++)
        for (int j = 0; j < b.count; j++) {
            const span *x = &a.spans[i], *y = &b.spans[j];
            if (x->where == y->where && (x->written || y->written) && x->begin < y->end && y->begin < x->end)
                return true;
        }
    return false;
}

// From the step before backwards: what an earlier one is known to wait for need not be listed again.
static void find_waits(plan *plan, int s, const span_list *spans, bool *const *ended) {
    plan_step *step = &plan->steps[s];
    step->waits = gn_calloc((size_t)s + 1, sizeof *step->waits);
    for (int t = s - 1; t >= 0; t--) {
        if (ended[s][t] || !are_in_conflict(spans[s], spans[t]))
            continue;
        step->waits[step->wait_count++] = t;
        ended[s][t] = true;
        for (int u = 0; u < t; u++)
            ended[s][u] |= ended[t][u];
    }
}

void planner_find_waits(planner *p) {
    plan *plan = p->plan;
    size_t count = (size_t)plan->count;
    span_list *spans = gn_calloc(count, sizeof *spans);
    bool **ended = gn_calloc(count, sizeof *ended); // [s][t]: has t ended when s starts?
    for (int s = 0; s < plan->count; s++) {
        spans[s] = spans_of(plan, &plan->steps[s]);
        ended[s] = gn_calloc(count, sizeof **ended);
        find_waits(plan, s, spans, ended);
    }
    for (int s = 0; s < plan->count; s++) {
        free(spans[s].spans);
        free(ended[s]);
    }
    free(spans);
    free(ended);
}
