// pointwise.cl: the template of fused kernels, whose body is given from outside. host/cl/codegen.c puts this
// text into the program once for each fused step, every time with other values of
//     NAME, WORK  the names of the kernel and, CPU devices, of what a work-item does
//     PARAMETERS, ARGUMENTS  its buffers
//     ELEMENT(i)  a statement that computes the elements i .. i + VECTOR - 1 and stores them
//     VECTOR      how many elements are computed at a time
// so that several operations (operations.cl) share one trip through memory. VECTOR divides the number of elements
// n: no element needs a guard and no buffer needs padding.
//
// Kernel: 1-D, any local size. CPU devices: any number of work-items, which share the vectors; GPU devices:
// n / VECTOR work-items, one for each; more do nothing.

#ifndef NAME // alone: y = tanh(x)
#define NAME       pointwise
#define WORK       tanh_of_some
#define APART
#define PARAMETERS global const float *x, global float *y
#define ARGUMENTS  , x, y
#define ELEMENT(i) y[i] = tanh(x[i])
#define VECTOR     1
#endif

#ifdef GANC_CPU

static APART void WORK(const uint first, const uint end, PARAMETERS) {
    for (uint i = first; i < end; i += VECTOR)
        ELEMENT(i);
}

kernel void NAME(PARAMETERS, const uint n) {
    const uint items = get_global_size(0), most = (n / VECTOR + items - 1) / items * VECTOR;
    const uint first = get_global_id(0) * most;
    WORK(first, min(first + most, n) ARGUMENTS);
}

#else

kernel void NAME(PARAMETERS, const uint n) {
    const uint i = get_global_id(0) * VECTOR;
    if (i < n) {
        ELEMENT(i);
    }
}

#endif
