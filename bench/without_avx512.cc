// Makes PoCL 3.1 take this CPU for one that has AVX2 and no AVX-512, to measure ganc as on such a machine where
// there is none. Preloaded, it answers in the place of LLVM's two functions that PoCL asks:
//
//   g++ -O1 -shared -fPIC -fno-rtti -I/usr/lib/llvm-15/include bench/without_avx512.cc -o without_avx512.so
//   export LD_PRELOAD=$PWD/without_avx512.so
//   export POCL_CACHE_DIR=/tmp/avx2 XDG_CACHE_HOME=/tmp/avx2    # kernels for it, and what is found out about it
//   export ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2    # PyTorch likewise
//
// Then `ganc devices` shows a haswell, and bench/pytorch.py compares. Needs llvm-15-dev. JAX 0.12 cannot be told:
// --xla_cpu_max_isa=AVX2 leaves alone the products of its YNNPACK, which go by the processor.
#include <dlfcn.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/ADT/StringRef.h>

namespace llvm::sys {

StringRef getHostCPUName() { return "haswell"; }

bool getHostCPUFeatures(StringMap<bool> &features) {
    void *llvm = dlopen("libLLVM-15.so.1", RTLD_LAZY | RTLD_NOLOAD);
    auto ask = (bool (*)(StringMap<bool> &))dlsym(
        llvm, "_ZN4llvm3sys18getHostCPUFeaturesERNS_9StringMapIbNS_15MallocAllocatorEEE");
    if (!ask || !ask(features))
        return false;
    for (auto &feature : features)
        if (feature.first().startswith("avx512") || feature.first().startswith("amx"))
            feature.second = false;
    return true;
}

} // namespace llvm::sys
