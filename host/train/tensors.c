#include "train/tensors.h"
#include "base/error.h"

#include <string.h>

bool is_optimizer_key(const char *key) {
    return strstr(key, ".adam.") || strstr(key, ".rmsprop.");
}

bool is_network_variable(const gn_variable *variable) {
    const char *name = gn_variable_name(variable);
    return !is_optimizer_key(name) &&
           (!strncmp(name, "generator.", 10) || !strncmp(name, "discriminator.", 14));
}

void tensor_list_add(tensor_list *list, char *name, st_dtype type, gn_shape shape, void *values) {
    list->tensors = gn_realloc(list->tensors, (size_t)(list->count + 1) * sizeof *list->tensors);
    list->tensors[list->count++] = st_tensor_of(name, type, shape, values);
}

bool tensor_list_add_variable(tensor_list *list, char *name, gn_device *device, gn_variable *variable) {
    size_t count = gn_shape_count(gn_variable_shape(variable));
    gn_shape shape = gn_variable_file_shape(variable);
    void *values = gn_calloc(count, sizeof(float));
    bool done = gn_state_get(device, variable, values);
    if (!done) {
        free(name);
    } else if (gn_variable_type(variable) == GN_F32) {
        float *file = gn_calloc(count, sizeof *file);
        gn_variable_to_file(variable, values, file);
        tensor_list_add(list, name, ST_F32, shape, file);
    } else {
        GN_ASSERT(gn_variable_type(variable) == GN_I32, "'%s' is no tensor of a file", name);
        int64_t *file = gn_calloc(count, sizeof *file);
        for (size_t i = 0; i < count; i++)
            file[i] = ((const int32_t *)values)[i];
        tensor_list_add(list, name, ST_I64, shape, file);
    }
    free(values);
    return done;
}

void tensor_list_free(tensor_list *list) {
    for (int i = 0; i < list->count; i++) {
        free((void *)list->tensors[i].name);
        free((void *)list->tensors[i].data);
    }
    free(list->tensors);
    *list = (tensor_list){0};
}

bool tensor_load(const safetensors *file, const char *name, gn_device *device, gn_variable *variable) {
    const st_tensor *tensor = st_need(file, name, gn_variable_file_shape(variable));
    if (!tensor)
        return false;
    size_t count = st_count(tensor);
    void *values = gn_calloc(count, sizeof(float));
    bool done = true;
    if (gn_variable_type(variable) == GN_F32) {
        float *in_file = gn_calloc(count, sizeof *in_file);
        st_read_f32(tensor, in_file);
        gn_variable_from_file(variable, in_file, values);
        free(in_file);
    } else {
        done = st_read_i32(tensor, values);
    }
    done = done && gn_state_set(device, variable, values);
    free(values);
    return done;
}
