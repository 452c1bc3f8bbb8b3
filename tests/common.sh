# What the tests in shell share: they source it, with the program to test as their first argument, and are then in
# a folder of their own. No test by itself.
# shellcheck shell=bash
set -uo pipefail

ganc=$(realpath "$1")
# shellcheck disable=SC2034 # for those who source this
images=$(dirname "$(realpath "${BASH_SOURCE[0]}")")/data # 320 digits
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
mkdir "$folder/cache" "$folder/work"
cd "$folder/work" || exit 1
unset GANC_DEVICE GANC_TILE
export GANC_OFF=ahead # all cores are busy with tests

# For suites of many plans: these share the kernels of products, which other suites have compiled. Elsewhere a plan has
# its own, as users have.
share_products() { GANC_OFF+=,one-program; }

# A cache folder of its own: what is measured while other tests run is not for the user's runs. PoCL's, with its
# compiled kernels, stays where it is.
export POCL_CACHE_DIR=${POCL_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/pocl/kcache}
export XDG_CACHE_HOME=$folder/cache

passed=0 failed=0

# check PROBLEM COMMAND...: counts whether the command succeeds; where not, says the problem and what ganc said last.
check() {
    if "${@:2}"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $1"
        tail -n 3 err
    fi
}

# run ARGUMENT...: ganc; leaves its output in the files out and err, and its exit status in `status`.
run() {
    "$ganc" "$@" >out 2>err </dev/null
    # shellcheck disable=SC2034
    status=$?
}

# wait_for PROCESS COMMAND...: until the command succeeds or the process has ended, however long a device takes to
# compile.
wait_for() {
    until "${@:2}" || ! kill -0 "$1" 2>/dev/null; do
        sleep 0.05
    done
}

# The log but for what a clock says.
timeless() { sed 's/,"seconds".*//' "$1/log.jsonl"; }
same_log() { [[ $(timeless "$1") == "$(timeless "$2")" ]]; }

# The tensors of a checkpoint: all behind the header, whose length the first eight bytes give.
tensors() { tail -c +$((9 + $(od -An -t u8 -N 8 "$1"))) "$1" | cksum; }
same_tensors() { [[ $(tensors "$1/checkpoint.safetensors") == "$(tensors "$2/checkpoint.safetensors")" ]]; }

same_images() { diff -r "$1/images" "$2/images"; }

# compare WHAT RUN WHOLE: two folders hold the same run, byte for byte.
compare() {
    check "$1: the generator differs" cmp "$2/generator.safetensors" "$3/generator.safetensors"
    check "$1: the checkpoint's tensors differ" same_tensors "$2" "$3"
    check "$1: the grids differ" same_images "$2" "$3"
    check "$1: the log differs" same_log "$2" "$3"
    check "$1: something half-written is left" test -z "$(find "$2" -name '*.tmp')"
}

# The last line of a test: its exit status is the test's.
finish() {
    echo "$passed passed, $failed failed"
    [[ $failed -eq 0 ]]
}
