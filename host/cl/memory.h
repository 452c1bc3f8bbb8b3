// Buffers on a device.
#ifndef GANC_CL_MEMORY_H
#define GANC_CL_MEMORY_H

#include "cl/device.h"
#include "graph/graph.h"

// A new buffer, filled from `values` unless that is NULL. NULL on failure; `what` is for the message.
cl_mem memory_buffer(const gn_device *device, size_t bytes, const char *what, void *values);

// The buffer of a variable, which moves to the device with its value the first time. NULL on failure.
cl_mem memory_of_variable(const gn_device *device, gn_variable *variable);

size_t memory_variable_bytes(const gn_variable *variable);

// What helps where memory is short, for messages.
#define MEMORY_ADVICE "a smaller data set (--data synthetic), a smaller --batch or another --device helps"

#endif
