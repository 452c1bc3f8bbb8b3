// operations.cl: what happens element by element: a macro op_NAME for each pointwise operation of the graph. They
// work on a scalar as on a vector: T is the type of the elements in hand, float or float2 .. float16.
//
// host/cl/codegen.c puts this text before the kernels that it generates.

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

// PoCL makes three copies of a kernel with all that is inlined in it, and compiles each. So what a work-item of a CPU
// does is a function that is not: a start of dcgan compiles for 20 s and not for 29.
#if defined POCL_DEVICE_ADDRESS_BITS && defined GANC_CPU
#define APART __attribute__((noinline))
#else
#define APART
#endif
#endif
