// Variables as tensors of a safetensors file: under PyTorch's names, in its layouts and types. What replay,
// checkpoints and `ganc generate` share.
#ifndef GANC_TRAIN_TENSORS_H
#define GANC_TRAIN_TENSORS_H

#include "io/safetensors.h"

// Is it a parameter or a running statistic, as torch's state_dict() lists them ("generator.model.3.weight")?
// Else it is the optimiser's, or the session's own.
bool is_network_variable(const gn_variable *variable);

// Does a variable's or tensor's name belong to an optimiser's state?
bool is_optimizer_key(const char *key);

// Tensors to write, which own their names and values.
typedef struct {
    st_tensor *tensors;
    int count;
} tensor_list;

// Takes over `name` and `values`.
void tensor_list_add(tensor_list *list, char *name, st_dtype type, gn_shape shape, void *values);
// A copy of a variable, after all that runs: F32 in PyTorch's layout, or I64, as torch counts, for i32. Takes
// over `name`. False where the device cannot be read.
bool tensor_list_add_variable(tensor_list *list, char *name, gn_device *device, gn_variable *variable);
void tensor_list_free(tensor_list *list);

// Gives a variable the value of the tensor `name`, which must have PyTorch's shape of it.
bool tensor_load(const safetensors *file, const char *name, gn_device *device, gn_variable *variable);

#endif
