// Of the planner's seventh pass: concatenations, and their opposite, that are no work.
//
// One by rows, of tensors that steps of the plan compute, is nothing but these two, one behind the other in
// memory: they become parts of its place, and the step that would copy them goes. A part may have parts. So
// are rows of such a tensor: what reads them reads in its place.
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

// Does the tensor have a place in the arena, its own or a part of another?
static bool has_place(const planner *p, const gn_node *node) {
    return p->group[node->id] >= 0 && node->type == GN_F32 && node->op != OP_ASSIGN && node->op != OP_RECORD;
}

// planner_may_place_parts(), and which tensors these are.
static bool find_parts(const planner *p, const gn_node *node, gn_node **first, gn_node **second) {
    return planner_has_parts(p) && planner_is_concatenation(node, first, second) && *first != *second &&
           has_place(p, *first) && has_place(p, *second) && node_bytes(*first) % p->options.alignment == 0;
}

bool planner_may_place_parts(const planner *p, const gn_node *node) {
    gn_node *first, *second;
    return find_parts(p, node, &first, &second);
}

// The two lie where the step's concatenation would.
static bool place_parts(planner *p, const plan_step *step) {
    gn_node *whole = step->nodes[step->count - 1], *first, *second;
    part *parts = p->plan->parts;
    if (step->count != 3 || step->constant || !find_parts(p, whole, &first, &second) ||
        parts[first->id].whole || parts[second->id].whole)
        return false;
    parts[first->id] = (part){whole, 0};
    parts[second->id] = (part){whole, node_bytes(first)};
    return true;
}

// The step's rows lie where they are in another tensor.
static bool place_rows(planner *p, const plan_step *step) {
    gn_node *rows = step->nodes[0];
    if (step->count != 1 || rows->op != OP_SLICE || step->constant || p->plan->parts[rows->id].whole)
        return false;
    gn_node *whole = plan_base(rows->input[0]);
    size_t offset = (size_t)rows->integer[0] * gn_type_size(rows->type);
    bool in_one_row = (size_t)rows->shape.size[rows->shape.dims - 1] == gn_shape_count(rows->shape);
    if (!in_one_row || !has_place(p, whole) || offset % p->options.alignment != 0)
        return false;
    p->plan->parts[rows->id] = (part){whole, offset};
    return true;
}

void planner_place_parts(planner *p) {
    plan *plan = p->plan;
    int kept = 0;
    for (int s = 0; s < plan->count; s++) {
        if (place_parts(p, &plan->steps[s]) || place_rows(p, &plan->steps[s]))
            free(plan->steps[s].nodes);
        else
            plan->steps[kept++] = plan->steps[s];
    }
    plan->count = kept;
}
