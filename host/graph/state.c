// State: the named tensors that outlive a step.
//
// A variable's values lie on the host until a device takes them into a buffer of its own (../cl/memory.c);
// from then on that buffer holds the truth. Names are looked up by walking the list: it is done while
// building only.
#include "graph/graph.h"

#include <stdarg.h>
#include <stdint.h>
#include <string.h>

struct gn_state {
    uint64_t seed;
    gn_variable *first, *last;
};

gn_shape gn_shape_of(int dims, ...) {
    GN_ASSERT(dims >= 0 && dims <= GN_MAX_DIMS, "a shape of %d dimensions", dims);
    gn_shape shape = {.dims = dims};
    va_list list;
    va_start(list, dims);
    for (int i = 0; i < dims; i++) {
        shape.size[i] = va_arg(list, int);
        GN_ASSERT(shape.size[i] > 0, "axis %d of a shape has size %d", i, shape.size[i]);
    }
    va_end(list);
    // Kernels count elements in 32 bits.
    GN_ASSERT(gn_shape_count(shape) <= INT32_MAX, "a tensor of %zu elements", gn_shape_count(shape));
    return shape;
}

size_t gn_shape_count(gn_shape shape) {
    size_t count = 1;
    for (int i = 0; i < shape.dims; i++)
        count *= (size_t)shape.size[i];
    return count;
}

bool gn_shape_equal(gn_shape a, gn_shape b) {
    if (a.dims != b.dims)
        return false;
    for (int i = 0; i < a.dims; i++)
        if (a.size[i] != b.size[i])
            return false;
    return true;
}

gn_shape shape_with(gn_shape shape, int axis, int size) {
    GN_ASSERT(axis >= 0 && axis < shape.dims, "axis %d of a shape with %d", axis, shape.dims);
    shape.size[axis] = size;
    return shape;
}

const char *shape_text(gn_shape shape, char text[SHAPE_TEXT]) {
    int at = snprintf(text, SHAPE_TEXT, "(");
    for (int i = 0; i < shape.dims; i++)
        at += snprintf(text + at, SHAPE_TEXT - (size_t)at, i ? ", %d" : "%d", shape.size[i]);
    snprintf(text + at, SHAPE_TEXT - (size_t)at, ")");
    return text;
}

size_t gn_type_size(gn_type type) {
    return type == GN_U8 ? 1 : 4;
}

gn_state *gn_state_new(uint64_t seed) {
    gn_state *state = gn_calloc(1, sizeof *state);
    state->seed = seed;
    return state;
}

void gn_state_free(gn_state *state) {
    if (!state)
        return;
    for (gn_variable *v = state->first, *next; v; v = next) {
        next = v->next;
        if (v->buffer)
            v->release(v->buffer);
        free(v->values);
        free(v->name);
        free(v);
    }
    free(state);
}

gn_variable *gn_state_add(gn_state *state, const char *name, gn_type type, gn_shape shape,
                          const void *initial) {
    GN_ASSERT(!gn_state_find(state, name), "two variables are called '%s'", name);
    gn_variable *v = gn_calloc(1, sizeof *v);
    *v = (gn_variable){.state = state, .name = gn_strdup(name), .type = type, .shape = shape};
    v->layout = (gn_layout){.file = shape, .view = shape, .order = {0, 1, 2, 3}};
    size_t bytes = gn_shape_count(shape) * gn_type_size(type);
    v->values = gn_calloc(bytes, 1);
    if (initial)
        memcpy(v->values, initial, bytes);
    *(state->last ? &state->last->next : &state->first) = v;
    state->last = v;
    return v;
}

gn_variable *gn_state_find(const gn_state *state, const char *name) {
    gn_variable *v = state->first;
    while (v && strcmp(v->name, name) != 0)
        v = v->next;
    return v;
}

uint64_t gn_state_seed(const gn_state *state) {
    return state->seed;
}

gn_variable *gn_state_next(const gn_state *state, const gn_variable *previous) {
    return previous ? previous->next : state->first;
}

const char *gn_variable_name(const gn_variable *variable) {
    return variable->name;
}

gn_type gn_variable_type(const gn_variable *variable) {
    return variable->type;
}

gn_shape gn_variable_shape(const gn_variable *variable) {
    return variable->shape;
}

// ---- Layouts in files --------------------------------------------------------------------------------

void gn_variable_set_layout(gn_variable *variable, gn_layout layout) {
    size_t count = gn_shape_count(variable->shape);
    GN_ASSERT(gn_shape_count(layout.file) == count && gn_shape_count(layout.view) == count,
              "the layout of '%s' has another size", variable->name);
    variable->layout = layout;
}

gn_shape gn_variable_file_shape(const gn_variable *variable) {
    return variable->layout.file;
}

// Copies all elements from the order here to that of the file, or back. In blocks, because most layouts
// exchange the last two axes: either order's lines of memory are then still in a cache when their next
// element is due.
static void reorder(const gn_layout *layout, const float *from, float *to, bool to_file) {
    enum { BLOCK = 16 };
    const gn_shape *view = &layout->view;
    size_t stride[GN_MAX_DIMS], below = 1; // of the view's axes, in the file
    for (int i = view->dims - 1; i >= 0; below *= (size_t)view->size[i--])
        stride[i] = below;
    int size[GN_MAX_DIMS] = {1, 1, 1, 1}; // of the axes here; those that there are come last
    size_t step[GN_MAX_DIMS] = {0};       // in the file, from an element to the next along an axis here
    for (int i = 0, missing = GN_MAX_DIMS - view->dims; i < view->dims; i++) {
        size[missing + i] = view->size[layout->order[i]];
        step[missing + i] = stride[layout->order[i]];
    }
    size_t outer = (size_t)size[0] * (size_t)size[1], inner = (size_t)size[2], width = (size_t)size[3];
    for (size_t row = 0; row < outer; row++) { // of the two outermost axes together
        size_t first = row / (size_t)size[1] * step[0] + row % (size_t)size[1] * step[1];
        for (size_t begin = 0; begin < width; begin += BLOCK)
            for (size_t c = 0; c < inner; c++)
                for (size_t d = begin; d < width && d < begin + BLOCK; d++) {
                    size_t here = (row * inner + c) * width + d, file = first + c * step[2] + d * step[3];
                    if (to_file)
                        to[file] = from[here];
                    else
                        to[here] = from[file];
                }
    }
}

void gn_variable_to_file(const gn_variable *variable, const float *values, float *file) {
    reorder(&variable->layout, values, file, true);
}

void gn_variable_from_file(const gn_variable *variable, const float *file, float *values) {
    reorder(&variable->layout, file, values, false);
}
