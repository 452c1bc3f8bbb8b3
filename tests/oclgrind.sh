#!/usr/bin/env bash
# Runs the kernels under Oclgrind, an OpenCL device that watches every access to memory: fails when one is out
# of bounds, when two work-items race, or when a barrier is not reached by all.
#
#   tests/oclgrind.sh BUILD_FOLDER
#
# Every kernel runs at small sizes, and a training step of each model as it is, for both classes of devices. The
# steps go without the search for races, which takes three times as long; what could race is in kernels that were
# searched. MODELS="gan dcgan" names the models whose steps to run, which take one to two minutes each, SIZES="17 65"
# the sizes, which take one each.
set -euo pipefail

build=${1:?usage: tests/oclgrind.sh BUILD_FOLDER}
scratch=$(mktemp -d)
trap 'rm -r "$scratch"' EXIT
unset GANC_DEVICE
export GANC_OFF=reuse # each tensor has a buffer of its exact size, whose end Oclgrind watches

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

for size in ${SIZES:-17 65}; do
    GANC_TEST_SIZE=$size CK_RUN_CASE=values \
        under "all operations, size $size" --data-races "$build/tests/test_operations"
done
CK_RUN_CASE=columns under "sums in columns" --data-races "$build/tests/test_operations"
CK_RUN_CASE=state under "updates of state" --data-races "$build/tests/test_operations"

for model in ${MODELS:-gan cgan dcgan wgan wgan-gp}; do
    GANC_TEST_SIZE=4 CK_RUN_CASE="step of $model" under "a step of $model" "$build/tests/test_training"
    grep -q "^$model, one step" "$scratch/out"
done
echo "Oclgrind has nothing to report."
