// Makes MKL, where PyTorch's matrix products come from, take the kernels that it keeps for the processors of
// Intel. On others it goes by the name of the vendor, and takes some for AVX2 even where there is AVX-512
// (seen on a Zen 5). Preloaded, this answers in the place of the functions by which MKL asks:
//
//   cc -O1 -shared -fPIC bench/mkl_as_on_intel.c -o mkl_as_on_intel.so
//   LD_PRELOAD=$PWD/mkl_as_on_intel.so python bench/pytorch.py --ganc build/ganc
//
// Seen to work with PyTorch 2.15: `perf report` names mkl_blas_avx2_sgemm_kernel_0 in the place of
// mkl_blas_def_sgemm_kernel_0_zen.

int mkl_serv_intel_cpu(void);
int mkl_serv_intel_cpu_true(void);

int mkl_serv_intel_cpu(void) {
    return 1;
}

int mkl_serv_intel_cpu_true(void) {
    return 1;
}
