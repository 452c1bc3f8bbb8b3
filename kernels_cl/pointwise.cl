// pointwise.cl: what happens element by element, and the template of fused kernels.
//
// The first part has one macro op_NAME for each pointwise operation of the graph. They work on a scalar as on
// a vector: T is the type of the elements in hand, float or float2 .. float16.
//
// The second part is a kernel whose body is given from outside. host/cl/codegen.c puts this text into the
// program once for each fused step, every time with other values of
//     NAME        the kernel's name
//     PARAMETERS  its buffers
//     ELEMENT(i)  a statement that computes the elements i .. i + VECTOR - 1 and stores them
//     VECTOR      how many elements a work-item takes
// so that several operations share one trip through memory. VECTOR divides the number of elements n: no
// element needs a guard and no buffer needs padding.
//
// Kernel: 1-D, any local size, n / VECTOR work-items; more do nothing.

#ifndef op_add
#define op_add(a, b)          ((a) + (b))
#define op_sub(a, b)          ((a) - (b))
#define op_mul(a, b)          ((a) * (b))
#define op_div(a, b)          ((a) / (b))
#define op_neg(x)             (-(x))
#define op_exp(x)             exp(x)
#define op_expm1(x)           expm1(x)
#define op_log(x)             log(x)
#define op_sqrt(x)            sqrt(x)
#define op_tanh(x)            tanh(x)
#define op_sigmoid(x)         (1.0f / (1.0f + exp(-(x))))
#define op_leaky_slope(x, a)  ((x) > 0.0f ? (T)(1.0f) : (T)(a))
// By comparisons, not fmin and fmax: a NaN must stay one, so that it is seen.
#define op_clamp(x, low, high) ((x) < (low) ? (T)(low) : (x) > (high) ? (T)(high) : (x))
#define op_within(x, low, high) (((x) >= (low)) & ((x) <= (high)) ? (T)(1.0f) : (T)(0.0f))
#define op_bounded_log(y)     ((y) < -100.0f ? (T)(-100.0f) : (y))
#define op_bce(p, t)          (-((t) * op_bounded_log(log(p)) + (1.0f - (t)) * op_bounded_log(log1p(-(p)))))
#define op_to_f32(x)          CONVERT(x)
#define op_copy(x)            (x)
#define op_assign(x)          (x)
// These differ in where x is read:
#define op_broadcast(x)       (x)
#define op_slice(x)           (x)
#define op_pad(x)             (x)

// Stores n elements at p, a multiple of n of them behind the beginning of a tensor. STREAM does it past the caches,
// for tensors that those would not hold until they are read (host/cl/device.c). What comes after the kernel sees
// them nevertheless: with them behind it, a thread takes a lock before it says that it is done.
#define KEEP(n, v, p) vstore##n(v, 0, p)
#ifdef POCL_DEVICE_ADDRESS_BITS
#define STREAM(n, v, p) __builtin_nontemporal_store(v, (global float##n *)(p))
#else
#define STREAM KEEP
#endif
#endif

#ifndef NAME // alone: y = tanh(x)
#define T          float
#define NAME       pointwise
#define PARAMETERS global const float *x, global float *y
#define ELEMENT(i) y[i] = op_tanh(x[i])
#define VECTOR     1
#endif

kernel void NAME(PARAMETERS, const uint n) {
    const uint i = get_global_id(0) * VECTOR;
    if (i < n) {
        ELEMENT(i);
    }
}
