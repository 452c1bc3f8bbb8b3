#!/usr/bin/env bash
# Runs the kernels under Oclgrind, an OpenCL device that watches every access to memory: fails when one is out
# of bounds, when two work-items race, or when a barrier is not reached by all.
#
#   tests/oclgrind.sh BUILD_FOLDER
#
# Every kernel runs at small sizes, and a training step of each model as it is, for both classes of devices. The
# steps go without the search for races, which takes three times as long; what could race is in kernels that were
# searched. MODELS="gan dcgan" names the models whose steps to run, which take one to two minutes each, SIZES="17 65"
# the sizes, which take one each; as many run at a time as there are cores.
set -euo pipefail

build=${1:?usage: tests/oclgrind.sh BUILD_FOLDER}
scratch=$(mktemp -d)
set -m # each job is a group of processes, which ends as a whole
trap 'jobs -pr | xargs -r -I GROUP kill -- -GROUP; wait; rm -r "$scratch"' EXIT
unset GANC_DEVICE
export GANC_OFF=reuse # each tensor has a buffer of its exact size, whose end Oclgrind watches

# under NAME TEXT [OPTION]... COMMAND...: runs the command under Oclgrind; fails where it does, where it does not print
# TEXT, or where something is reported. An overrun does not make the command itself fail.
under() {
    local name=$1 text=$2 folder
    folder=$(mktemp -d -p "$scratch")
    shift 2
    if ! oclgrind --log "$folder/log" "$@" >"$folder/out" 2>&1; then
        cat "$folder/out" "$folder/log"
        echo "oclgrind.sh: $name: failed" >&2
        return 1
    fi
    if ! grep -q "$text" "$folder/out"; then
        cat "$folder/out"
        echo "oclgrind.sh: $name: it did not print '$text'" >&2
        return 1
    fi
    if [[ -s $folder/log ]]; then
        head -n 60 "$folder/log"
        echo "oclgrind.sh: $name: Oclgrind reports an error in a kernel" >&2
        return 1
    fi
    echo "Oclgrind has nothing to report of $name ($SECONDS s)."
}

# start NAME TEXT [OPTION]... COMMAND...: the same in the background, as soon as a core is free.
start() {
    while [[ $(jobs -pr | wc -l) -ge $(nproc) ]]; do
        wait -n || true
    done
    under "$@" || touch "$scratch/failed" &
}

oclgrind "$build/ganc" devices >"$scratch/devices"
grep -q "Oclgrind Simulator" "$scratch/devices"
[[ $(grep -c "cpu:" "$scratch/devices") == 1 ]] # and no other

for model in ${MODELS-gan cgan dcgan wgan wgan-gp}; do
    GANC_TEST_SIZE=4 CK_RUN_CASE="step of $model" \
        start "a step of $model" "^$model, one step" "$build/tests/test_training"
done
for size in ${SIZES:-17 65}; do
    GANC_TEST_SIZE=$size CK_RUN_CASE=values \
        start "all operations, size $size" "^100%: Checks: [1-9]" --data-races "$build/tests/test_operations"
done
for some in columns state; do
    CK_RUN_CASE=$some start "$some" "^100%: Checks: [1-9]" --data-races "$build/tests/test_operations"
done
wait
[[ ! -e $scratch/failed ]]
