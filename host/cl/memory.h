// Buffers on a device.
#ifndef GANC_CL_MEMORY_H
#define GANC_CL_MEMORY_H

#include "cl/device.h"
#include "graph/graph.h"

// A new buffer, filled from `values` unless that is NULL. NULL on failure; `what` is for the message.
cl_mem memory_buffer(const gn_device *device, size_t bytes, const char *what, void *values);

// The buffer of a variable, which moves to the device with its value the first time. NULL on failure.
cl_mem memory_of_variable(const gn_device *device, gn_variable *variable);

#endif
