#!/usr/bin/env bash
# Runs the kernels under Oclgrind, an OpenCL device that watches every access to memory: fails when one is out
# of bounds, when two work-items race, or when a barrier is not reached by all.
#
#   tests/oclgrind.sh BUILD_FOLDER
#
# Every kernel runs at small sizes for both classes of devices, and a training step as it is for class cpu.
# That one goes without the search for races, which takes three times as long; what could race is in kernels
# that were searched.
set -euo pipefail

build=${1:?usage: tests/oclgrind.sh BUILD_FOLDER}
data=$(cd "$(dirname "$0")" && pwd)/data
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
unset GANC_DEVICE GANC_OFF

# under NAME [OPTION]... COMMAND...: runs the command under Oclgrind; ends the script where it fails or
# something is reported. An overrun does not make the command itself fail.
under() {
    local name=$1 log="$scratch/log"
    shift
    echo "Oclgrind: $name"
    if ! oclgrind --log "$log" "$@" >"$scratch/out" 2>&1; then
        cat "$scratch/out" "$log"
        echo "oclgrind.sh: $name: failed" >&2
        exit 1
    fi
    if [[ -s $log ]]; then
        head -n 60 "$log"
        echo "oclgrind.sh: $name: Oclgrind reports an error in a kernel" >&2
        exit 1
    fi
}

under "is the only device" "$build/ganc" devices
grep -q "Oclgrind Simulator" "$scratch/out"
[[ $(grep -c "cpu:" "$scratch/out") == 1 ]]

for size in 17 65; do
    GANC_TEST_SIZE=$size CK_RUN_CASE=values \
        under "all operations, size $size" --data-races "$build/tests/test_operations"
done
CK_RUN_CASE=state under "updates of state" --data-races "$build/tests/test_operations"

for model in gan cgan; do
    under "two steps of $model" "$build/ganc" --model "$model" --data "$data" --steps 2 --batch 4 \
        --gemm native --class cpu --out "$scratch/$model"
done
echo "Oclgrind has nothing to report."
