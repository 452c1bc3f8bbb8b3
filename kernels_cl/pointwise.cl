// pointwise.cl: the template of fused kernels, whose body is given from outside. host/cl/codegen.c puts this
// text into the program once for each fused step, every time with other values of
//     NAME        the kernel's name
//     PARAMETERS  its buffers
//     ELEMENT(i)  a statement that computes the elements i .. i + VECTOR - 1 and stores them
//     VECTOR      how many elements a work-item takes
// so that several operations (operations.cl) share one trip through memory. VECTOR divides the number of elements
// n: no element needs a guard and no buffer needs padding.
//
// Kernel: 1-D, any local size, n / VECTOR work-items; more do nothing.

#ifndef NAME // alone: y = tanh(x)
#define NAME       pointwise
#define PARAMETERS global const float *x, global float *y
#define ELEMENT(i) y[i] = tanh(x[i])
#define VECTOR     1
#endif

kernel void NAME(PARAMETERS, const uint n) {
    const uint i = get_global_id(0) * VECTOR;
    if (i < n) {
        ELEMENT(i);
    }
}
