#!/usr/bin/env bash
# Runs ganc on implementations of OpenCL other than the one at hand. What it prints is meant for the README's table
# "Run, not believed": the implementation with its version, what ran, and how far from PyTorch it was.
#
#   tests/implementations.sh BUILD_FOLDER loops [SUITES]     PoCL, with its work-item loops in place of its default
#   tests/implementations.sh BUILD_FOLDER intel [SUITES]     Intel's CPU runtime
#   tests/implementations.sh BUILD_FOLDER rusticl [CLASS]    Mesa's rusticl over llvmpipe
#
# loops: the suites. intel: the suites and, with GANC_TRACES a folder of PyTorch's runs (see tests/reference), `ganc
# replay` of each. SUITES is a regular expression of their names; all, the default, take six minutes on two cores
# with loops, and more than an hour on Intel's runtime, which compiles slowly and keeps nothing. rusticl: a few steps
# of each model by the kernels of CLASS (default: cpu), with losses close to those of the default device.
#
# Intel's runtime is not in Debian. INTEL_OPENCL names the folder where its three Python packages lie:
#   python3 -m venv DIR && DIR/bin/pip install intel-opencl-rt intel-cmplr-lib-rt tbb
#   INTEL_OPENCL=DIR tests/implementations.sh BUILD_FOLDER intel
# rusticl is Debian's mesa-opencl-icd. All that an implementation fails in is reported, then the script fails.
set -euo pipefail

usage="usage: tests/implementations.sh BUILD_FOLDER loops|intel [SUITES] | rusticl [CLASS]"
build=$(realpath "${1:?$usage}")
which=${2:?$usage}
only=${3:-}
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
unset GANC_DEVICE GANC_OFF
# Ten times the limits of Check and, below, of ctest, which are for what hangs and not for what is slow.
export CK_TIMEOUT_MULTIPLIER=10
failed=0

# try NAME COMMAND...: says whether it succeeded, and what it printed where not.
try() {
    local start=$SECONDS
    if "${@:2}" >"$scratch/out" 2>&1; then
        echo "passed: $1 ($((SECONDS - start)) s)"
    else
        echo "FAILED: $1, exit status $?"
        tail -n 40 "$scratch/out" | sed 's/^/    /'
        failed=1
    fi
}

# use_only LIBRARY: the driver that the loader finds, alone.
use_only() {
    mkdir "$scratch/vendors"
    echo "$1" >"$scratch/vendors/only.icd"
    export OCL_ICD_VENDORS=$scratch/vendors XDG_CACHE_HOME=$scratch
}

suites() {
    ctest --test-dir "$build" --tests-regex "${only:-.}" --timeout 15000 --output-on-failure --no-tests=error \
        --parallel "$(nproc)" || failed=1
}

# The largest ratio of ganc's distance from float64 to PyTorch's own, of each recorded run and class of kernels.
replays() {
    local trace class
    for trace in "${GANC_TRACES:-}"/*.safetensors; do
        [[ -e $trace ]] || continue
        for class in cpu gpu; do
            try "replay of $(basename "$trace" .safetensors), class $class" \
                "$build/ganc" replay "$trace" --class "$class"
            grep 'largest ratio' "$scratch/out" | sed 's/^/    /'
        done
    done
}

models=$("$build/ganc" models --json | grep -o '"name": *"[^"]*"' | sed 's/.*"\([^"]*\)"$/\1/')

# last_losses MODEL STEPS FOLDER [OPTION]...: trains, and prints the last discriminator's and generator's loss.
last_losses() {
    "$build/ganc" --model "$1" --data synthetic --batch 8 --steps "$2" --gemm native --json --out "$3" "${@:4}" \
        2>"$scratch/err" | sed -n 's/.*"d_loss": \([^,]*\), "g_loss": \([^,]*\),.*/\1 \2/p'
}

close_to() { # close_to "A B" "C D": both are there, and pairwise within 1e-3 of size or 1
    awk -v a="$1" -v b="$2" 'BEGIN {
        if (split(a, x) != 2 || split(b, y) != 2) exit 1
        for (i = 1; i <= 2; i++) {
            if (x[i] !~ /^-?[0-9]/ || y[i] !~ /^-?[0-9]/) exit 1
            size = y[i] < 0 ? -y[i] : y[i]
            off = x[i] < y[i] ? y[i] - x[i] : x[i] - y[i]
            if (off > 1e-3 * (size > 1 ? size : 1)) exit 1
        }
    }'
}

device() {
    "$build/ganc" devices | sed '/^$/,$d'
}

case $which in
loops)
    # ganc remembers which products a driver computes rightly, and the driver has another compiler now.
    export POCL_WORK_GROUP_METHOD=loops POCL_CACHE_DIR=$scratch/pocl XDG_CACHE_HOME=$scratch
    mkdir "$POCL_CACHE_DIR"
    device
    suites
    ;;
intel)
    folder=${INTEL_OPENCL:?set INTEL_OPENCL to the folder with Intel\'s runtime; the head of this script says how to get it}
    library=$(find "$(realpath "$folder")" -name libintelocl.so -print -quit)
    [[ -n $library ]] || { echo "implementations.sh: there is no libintelocl.so in $folder" >&2 && exit 1; }
    use_only "$library"
    export LD_LIBRARY_PATH=${library%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
    device
    replays
    suites
    ;;
rusticl)
    declare -A expected
    for model in $models; do
        expected[$model]=$(last_losses "$model" 3 "$scratch/here-$model")
    done
    library=$(ldconfig -p | awk '/libRusticlOpenCL/ { print $NF; exit }')
    [[ -n $library ]] || { echo "implementations.sh: rusticl is missing; install mesa-opencl-icd" >&2 && exit 1; }
    use_only "$library"
    export RUSTICL_ENABLE=llvmpipe
    device
    for model in $models; do
        start=$SECONDS
        losses=$(last_losses "$model" 3 "$scratch/$model" --class "${only:-cpu}") ||
            losses="none; $(tail -n 1 "$scratch/err")"
        verdict=passed
        close_to "$losses" "${expected[$model]}" || verdict=FAILED failed=1
        echo "$verdict: 3 steps of $model: losses $losses; on the default device ${expected[$model]}" \
            "($((SECONDS - start)) s)"
    done
    ;;
*)
    echo "$usage" >&2
    exit 2
    ;;
esac
[[ $failed -eq 0 ]]
