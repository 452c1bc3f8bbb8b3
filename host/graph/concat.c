// Of the planner's sixth pass: concatenations that are no work.
//
// One by rows, of tensors that steps of the plan compute, is nothing but these two, one behind the other in
// memory: they become parts of its place, and the step that would copy them goes. A part may have parts.
#include "graph/planner.h"

bool planner_is_concatenation(const gn_node *node, gn_node **first, gn_node **second) {
    const gn_node *sum = plan_base((gn_node *)node);
    if (sum->op != OP_ADD || sum->input[0]->op != OP_PAD || sum->input[1]->op != OP_PAD)
        return false;
    const gn_node *top = sum->input[0], *bottom = sum->input[1];
    size_t above = gn_shape_count(top->input[0]->shape), below = gn_shape_count(bottom->input[0]->shape);
    bool in_one_row = (size_t)sum->shape.size[sum->shape.dims - 1] == gn_shape_count(sum->shape);
    if (!in_one_row || top->integer[0] != 0 || bottom->integer[1] != 0 ||
        above + below != gn_shape_count(sum->shape))
        return false;
    *first = plan_base(top->input[0]);
    *second = plan_base(bottom->input[0]);
    return true;
}

// Does the tensor have a place in the arena, all of which may be part of another?
static bool may_be_part(const planner *p, const gn_node *node) {
    return p->group[node->id] >= 0 && !p->plan->parts[node->id].whole && node->type == GN_F32 &&
           node->op != OP_ASSIGN && node->op != OP_RECORD;
}

static bool place_parts(planner *p, const plan_step *step) {
    gn_node *whole = step->nodes[step->count - 1], *first, *second;
    part *parts = p->plan->parts;
    size_t bytes;
    if (step->count != 3 || step->constant || !planner_is_concatenation(whole, &first, &second) ||
        first == second || !may_be_part(p, first) || !may_be_part(p, second))
        return false;
    bytes = node_bytes(first);
    if (bytes % p->options.alignment != 0)
        return false;
    parts[first->id] = (part){whole, 0};
    parts[second->id] = (part){whole, bytes};
    return true;
}

void planner_place_parts(planner *p) {
    plan *plan = p->plan;
    int kept = 0;
    for (int s = 0; s < plan->count; s++) {
        if (place_parts(p, &plan->steps[s]))
            free(plan->steps[s].nodes);
        else
            plan->steps[kept++] = plan->steps[s];
    }
    plan->count = kept;
}
