#!/usr/bin/env bash
# `ganc bench`: that it covers every kernel, that its JSON is as CLI.md says, that shares are shares, and what
# it says of wrong input. Times are measured once and looked at by no check.
#
# test_bench.sh GANC CC: the program to test, and a C compiler, which knows the kernels of a class by its
# preprocessor.
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
share_products
cc=$2
kernels=$images/../../kernels_cl

# fails STATUS TEXT ARGUMENT...: one line on stderr, with TEXT in it, and nothing on stdout.
fails() {
    "$ganc" bench "${@:3}" >out 2>err </dev/null
    local status=$?
    check "'bench ${*:3}' exits with $status, not $1" test "$status" -eq "$1"
    check "'bench ${*:3}' does not say '$2' but '$(<err)'" grep -qF -- "$2" err
    check "'bench ${*:3}': not one line on stderr alone" test "$(wc -l <err) $(wc -c <out)" = "1 0"
}

# ---- Every kernel --------------------------------------------------------------------------------------

# The kernels that a file defines for a class of device.
kernels_of() { # kernels_of FILE MACRO...
    "$cc" -E -P -x c "${@:2}" "$kernels/$1" | tr '\n' ' ' |
        grep -oE 'kernel (__attribute__ *\(\([^;{]*\)\)\) )?void +[a-z_0-9]+' | grep -oE '[a-z_0-9]+$' |
        sed 's/_copy_0$//'
}

all_kernels() { # all_kernels CLASS
    local file macro=-DGANC_${1^^}
    for file in "$kernels"/*.cl; do
        file=${file##*/}
        [[ $file == peak.cl ]] || kernels_of "$file" "$macro" -D__OPENCL_VERSION__=120
    done
    mapfile -t only < <(grep -oE '\bONLY_gemm_[a-z_]+' "$kernels/gemm.cl" | sort -u)
    kernels_of gemm.cl "$macro" "${only[@]/#/-D}"
    kernels_of conv.cl "$macro" -DNAME=col2im # the template's other half
}

for class in cpu gpu; do
    "$ganc" bench --class $class --gemm native --batch 16 --rounds 1 --json >$class.json 2>err
    status=$?
    check "bench of class $class exits with $status: $(<err)" test $status -eq 0
    all_kernels $class | sort -u >expected
    grep -o '"name": "[a-z_0-9]*"' $class.json | cut -d'"' -f4 | sort -u >measured
    check "hardly any kernels were found in $kernels" test "$(wc -l <expected)" -gt 15
    for kernel in $(comm -23 expected measured); do
        check "class $class, $kernel is not measured: it needs a case in host/train/bench_cases.c" false
    done
done

# ---- JSON ----------------------------------------------------------------------------------------------

# count PATTERN FILE: how often it occurs.
count() { grep -o -- "$1" "$2" | wc -l; }
for key in peak_gflops peak_gbs driver; do
    check "no device.$key" test "$(count "\"$key\": " cpu.json)" -eq 1
done
rows=$(count '"name": "[^"]*", "shape": ' cpu.json)
models=$(count '"ms_per_step": ' cpu.json)
check "$models models" test "$models" -eq 5
check "$rows kernels" test "$rows" -gt 100
for key in gflops gbs; do
    found=$(count "{[^{}]*\"name\": [^{}]*\"$key\": " cpu.json)
    check "$key is in $found of $rows kernels" test "$found" -ge "$rows"
done
for key in images_per_second mflop_per_step launches_per_step arena_bytes; do
    found=$(count "\"$key\": [0-9]" cpu.json)
    check "$key is in $found of $models models" test "$found" -eq "$models"
done
for key in ms share model; do
    check "$key is not in each kernel" test "$(count "\"$key\": " cpu.json)" -ge "$rows"
done
check "a share is not above 0 and at most 1" test -z "$(
    grep -oh '"share": [^,}]*' cpu.json gpu.json | awk '!($2 > 0 && $2 <= 1)'
)"
shares=$(count '"share": ' cpu.json)
check "there are $shares shares of $rows kernels and $models models" test "$shares" -eq $((rows + models))
"$ganc" bench --model gan --kernel gemm --batch 16 --rounds 1 --json >some.json 2>err
all=$(count '"model": "' some.json) gan=$(count '"model": "gan"' some.json)
check "--model gan measured others" test "$all" -eq "$gan"
all=$(count '"shape": ' some.json) gemm=$(count '"name": "gemm' some.json)
check "--kernel gemm measured $gemm products among $all kernels" test "$gemm" -gt 0 -a "$all" -eq "$gemm"
"$ganc" bench --model gan --batch 16 --rounds 1 >table 2>err
check "the table has no row of the generator's last layer" grep -q ' gemm_nn NN 16x784x512, add, tanh' table
check "the table does not name the step" grep -q '^gan: .* a step of 16 images' table

# ---- Comparing -----------------------------------------------------------------------------------------

cp cpu.json old.json
"$ganc" bench --compare old.json --with old.json >out 2>err
check "a record differs from itself: $(<out)" grep -qxF "Nothing changed beyond the noise." out
# As if the first kernel had taken a second more.
times='"ms": [^,]*, "ms_low": [^,]*, "ms_high": [^,]*,'
sed -E "0,/$times/s//\"ms\": 1000.0, \"ms_low\": 1000.0, \"ms_high\": 1000.0,/" old.json >new.json
"$ganc" bench --compare old.json --with new.json >out 2>err
check "one slower kernel: $(<out)" test "$(grep -c ' slower ' out) $(grep -c ' faster ' out)" = "1 0"
"$ganc" bench --compare new.json --with old.json >out 2>err
check "one faster kernel: $(<out)" test "$(grep -c ' slower ' out) $(grep -c ' faster ' out)" = "0 1"
"$ganc" bench --compare old.json --with new.json --json >out 2>err
check "no changes in the JSON" grep -q '"changes": \[{.*"new_ms": 1000.0' out
"$ganc" bench --compare gpu.json --with old.json >out 2>err
check "another class of kernels is not said" grep -q "Not the same class: was gpu, is cpu" out

# ---- Wrong input ---------------------------------------------------------------------------------------

echo '{"loss": 1}' >other.json
echo 'ganc' >text.json
fails 2 "--model 'gna' is unknown; did you mean gan?" --model gna
fails 1 "--kernel 'gemn': no kernel's name has that in it; there are batch_rows, " \
    --model gan --batch 16 --kernel gemn
fails 1 "nowhere.json" --compare nowhere.json
fails 1 "text.json" --compare text.json
fails 1 "other.json: is JSON, but not what 'ganc bench --json' writes" --compare other.json
fails 1 "other.json" --compare old.json --with other.json
fails 2 "--compare OLD.json" --with old.json
fails 2 "--rounds '0'" --rounds 0
fails 2 "batch norm needs a variance" --batch 1
fails 1 'device "amd:7" matches nothing' --device amd:7

finish
