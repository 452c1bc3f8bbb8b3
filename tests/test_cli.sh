#!/usr/bin/env bash
# The command line, as its users meet it: every wrong argument, and what fails while running.
#
# test_cli.sh GANC: the program to test. Each case is a line below: the expected exit status, a part of the
# expected text, and the arguments. Data goes to stdout, all else to stderr; an error is one line there.
kernels=$(realpath "$(dirname "$0")/../kernels_cl")
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"

pass() { passed=$((passed + 1)); }

# What went wrong, and the case's arguments; its output is in the files out and err.
fail() {
    failed=$((failed + 1))
    printf 'FAILED: %s: ganc' "$1"
    printf ' %q' "${@:2}"
    printf '\n'
    sed 's/^/  stdout: /' out
    sed 's/^/  stderr: /' err
}

# fails STATUS TEXT ARGUMENT...: nothing on stdout, one line on stderr, with TEXT in it.
fails() {
    run "${@:3}"
    if [[ $status -ne $1 ]]; then
        fail "exit status $status, not $1" "${@:3}"
    elif [[ -s out || $(wc -l <err) -ne 1 || $(<err) != "ganc: "* ]]; then
        fail "not one line on stderr alone" "${@:3}"
    elif ! grep -qF -- "$2" err; then
        fail "the error does not say '$2'" "${@:3}"
    else
        pass
    fi
}

# breaks STATUS TEXT ARGUMENT...: stderr has TEXT, among as many other lines as it likes.
breaks() {
    run "${@:3}"
    if [[ $status -ne $1 ]]; then
        fail "exit status $status, not $1" "${@:3}"
    elif ! grep -qF -- "$2" err; then
        fail "stderr does not say '$2'" "${@:3}"
    else
        pass
    fi
}

# works TEXT ARGUMENT...: exit status 0, TEXT on stdout.
works() {
    run "${@:2}"
    if [[ $status -ne 0 ]]; then
        fail "exit status $status, not 0" "${@:2}"
    elif [[ -n $1 ]] && ! grep -qF -- "$1" out; then
        fail "stdout does not say '$1'" "${@:2}"
    else
        pass
    fi
}

# prints_json KEYS ARGUMENT...: stdout is one line, an object that has all the keys.
prints_json() {
    local key
    run "${@:2}"
    if [[ $status -ne 0 || $(wc -l <out) -ne 1 || $(<out) != "{"*"}" ]]; then
        fail "exit status $status, or stdout is not one JSON object" "${@:2}"
        return
    fi
    for key in $1; do
        if ! grep -q "\"$key\":" out; then
            fail "the object has no '$key'" "${@:2}"
            return
        fi
    done
    pass
}

# expect WHAT CONDITION...: a condition about what the calls before left behind.
expect() {
    if "${@:2}"; then
        pass
    else
        fail "$1" "(after that)"
    fi
}

contents() { find "$1" -type f -exec cksum {} + | sort; }
same_contents() { [[ $(contents "$1") == "$2" ]]; }

# ---- Help ------------------------------------------------------------------------------------------------

works "ganc devices" --help
works "ganc 0." --version
works "usage: ganc train" train --help
works "usage: ganc train" --model gan --help
works "usage: ganc devices" devices --help
works "usage: ganc models" models -h
works "usage: ganc replay TRACE" replay --help
fails 2 "ganc --model cgan"
fails 2 "--model takes gan" train
fails 2 "--model takes gan" --batch 64

# ---- Wrong arguments -------------------------------------------------------------------------------------

fails 2 "unknown command 'trian'; did you mean train?" trian
fails 2 "unknown command 'frobnicate'; 'ganc --help'" frobnicate
fails 2 "unknown command ''" ""
fails 2 "'--bacth'; did you mean --batch? 'ganc train --help'" --model gan --bacth 64
fails 2 "'--bacth=64'; did you mean --batch?" --model gan --bacth=64
fails 2 "'--overwrit'; did you mean --overwrite?" --model gan --overwrit
fails 2 "'-batch'; did you mean --batch?" --model gan -batch 64
fails 2 "unknown option '--frobnicate'; 'ganc train --help'" --model gan --frobnicate
fails 2 "unknown option '-x'" devices -x
fails 2 "did you mean --json?" models --jsno
fails 2 "--model 'gann' is unknown; did you mean gan?" --model gann
fails 2 "--model 'frobnicate' is unknown; it takes gan" --model frobnicate
fails 2 "--gemm 'clblas' is unknown; did you mean clblast?" --model gan --gemm clblas
fails 2 "it takes cpu or gpu" --model gan --class quantum
fails 2 "--model needs a value: --model M" --model
fails 2 "--out needs a value" --model gan --out --json
fails 2 "--out ''" --model gan --out=
fails 2 "--json takes no value" --model gan --json=yes
fails 2 "unexpected argument 'cgan'" train cgan
fails 2 "unexpected argument 'all'" models all
fails 2 "unexpected argument '--json'" devices -- --json
fails 2 "a TRACE is missing" replay
fails 2 "unexpected argument 'b'" replay a b

for value in abc '' 1e 5x 0 1 -64 64.0 1e3 0x40 ' 64' 1000001 99999999999999999999 nan inf; do
    fails 2 "--batch '$value': not a whole number from 2 to 32768" --model gan "--batch=$value"
done
for value in abc '' 1e 5x 0 -0.1 ' 0.1' nan inf -inf 1e999 1001; do
    fails 2 "--lr '$value': not a number from 1e-12 to 1000" --model gan "--lr=$value"
done
for value in abc '' -1 1.5 18446744073709551616 99999999999999999999; do
    fails 2 "--seed '$value': not a whole number from 0 to 18446744073709551615" --model gan "--seed=$value"
done
fails 2 "batch norm needs a variance" --model gan --batch 1
fails 2 "--lr '-1'" --model gan --lr -1
fails 2 "--beta1 '1': not a number from 0 to" --model gan --beta1 1
fails 2 "--beta2 '-0.5'" --model gan --beta2 -0.5
fails 2 "--z-dim '0': not a whole number from 1 to 10000" --model gan --z-dim 0
fails 2 "--z-dim '10001'" --model gan --z-dim 10001
fails 2 "--epochs '0'" --model gan --epochs 0
fails 2 "--steps '0'" --model gan --steps 0
fails 2 "--log-interval '0'" --model gan --log-interval 0
fails 2 "--tolerance '-1'" replay nowhere.safetensors --tolerance -1

# ---- Lists -----------------------------------------------------------------------------------------------

works "--batch 64" models
prints_json "models name paper networks parameters mflop_per_step defaults" models --json
works "cpu" devices
prints_json "devices selector name vendor driver class memory units" devices --json

# ---- What fails while running ----------------------------------------------------------------------------

quick=(--data synthetic --steps 2 --batch 16) # compiled once, by whichever suite comes first
mkdir empty
touch file
fails 1 'device "amd:7" matches nothing; there is' --model gan "${quick[@]}" --device amd:7
GANC_DEVICE=amd:7 fails 1 "from GANC_DEVICE" --model gan "${quick[@]}"
OCL_ICD_VENDORS=$PWD/empty fails 1 "pocl-opencl-icd" --model gan "${quick[@]}"
OCL_ICD_VENDORS=$PWD/empty fails 1 "pocl-opencl-icd" devices
fails 1 "nowhere" --model gan --steps 2 --data nowhere
fails 1 "'empty': the folder holds neither" --model gan --steps 2 --data empty
fails 1 "'file': is a file" --model gan --steps 2 --data file
fails 1 "file/run" --model gan "${quick[@]}" --out file/run --device amd:7 # said before a device is looked for
fails 1 "20000" --model gan "${quick[@]}" --batch 20000
for command in bench tune; do
    fails 2 "--batch '50000': not a whole number from 2 to 32768" "$command" --batch 50000
done
fails 1 "nowhere is no folder" --model gan "${quick[@]}" --kernels nowhere
fails 1 "nowhere.safetensors" replay nowhere.safetensors
fails 1 "file" replay file
expect "a run that did not start left a folder" test ! -e runs

cp -r "$kernels" kernels_cl
echo 'kernel void broken(global float *x) { x[0] = undeclared_name; }' >>kernels_cl/random.cl
line=$(cat kernels_cl/{moves,image,random}.cl | wc -l)
breaks 1 "moves.cl, image.cl and random.cl does not compile" --model gan "${quick[@]}" --out broken --kernels kernels_cl
expect "the compiler's log is missing" grep -q "undeclared identifier 'undeclared_name'" err
expect "the source's line is missing" grep -q "$line.*x\[0\] = undeclared_name" err

# ---- Training --------------------------------------------------------------------------------------------

prints_json "model device steps seconds images_per_second d_loss g_loss out" \
    --model gan "${quick[@]}" --out run --json
expect "not 2 steps" grep -q '"steps": 2,' out
expect "no picture" compgen -G 'run/images/*.png' >/dev/null
before=$(contents run)
fails 1 "--overwrite" --model gan "${quick[@]}" --out run --device amd:7 # said before a device is looked for
expect "the earlier run was changed" same_contents run "$before"
fails 1 "amd:7" --model gan "${quick[@]}" --out run --overwrite --device amd:7
expect "a run that could not start changed the earlier one" same_contents run "$before"
works "" --model gan "${quick[@]}" --out run --overwrite --seed 1
expect "--overwrite did not replace the run" test "$before" != "$(contents run)"

GANC_OFF=$GANC_OFF,one-program works "" --model gan "${quick[@]}" --n-critic 2 --out turns # one step is D's alone

# A loss that is no number is none in the log, whichever of them it is.
cp -r "$kernels" no_numbers
sed -i 's|= value\[0\];|= NAN;|' no_numbers/moves.cl # what is recorded
run --model gan "${quick[@]}" --log-interval 1 --kernels no_numbers --out diverged --json
expect "exit status $status after losses that are no numbers" test "$status" -eq 0
expect "it does not say that the loss is no number" grep -q 'no longer a number' err
expect "the last losses are not null" grep -q '"d_loss": null, "g_loss": null' out

# A name of a folder that is no UTF-8.
cp -r "$images" $'d\xe9'
works "" --model gan --data $'d\xe9' --steps 1 --batch 16 --out foreign
expect "the log does not name the data" grep -q '"data":"d?' foreign/log.jsonl

# The switches, which decide the last bits, are in the log.
GANC_OFF=reuse,in-place works "" --model gan "${quick[@]}" --out switched
expect "the log does not name the switches" grep -q '"off":"reuse,in-place"' switched/log.jsonl
root=$(dirname "$kernels")
sed -n '/ switches\[\] = {/,/^};/p' "$root/host/base/switches.c" | grep -o '"[a-z-]*"' | tr -d '"' | sort >switches
sed -n '/^| Switch /,/^$/s/^| [^A-Za-z ]\([a-z-]*\)[^A-Za-z ] .*/\1/p' "$root/README.md" | sort >explained
expect "the README explains other switches than there are" diff switches explained
GANC_OFF=fuse,linaer fails 1 "GANC_OFF: there is no switch 'linaer'" --model gan "${quick[@]}" --out unswitched
expect "a run that could not start left something" test ! -e unswitched

# Into a full disk: one of 64 KiB, which takes a namespace of our own to make.
mkdir disk
in_full_disk() {
    unshare --map-root-user --mount bash -c 'mount -t tmpfs -o size=64k tmpfs disk && "$@"' - "$@"
}
if in_full_disk true 2>/dev/null; then
    in_full_disk "$ganc" --model gan "${quick[@]}" --out disk/run >out 2>err </dev/null
    status=$?
    expect "exit status $status on a full disk" test "$status" -eq 1
    expect "a full disk was not named" grep -q "^ganc: .*No space left on device" err
else
    echo "skipped: a full disk, since no file system can be mounted here"
fi
"$ganc" models >/dev/full 2>err
status=$?
expect "exit status $status where stdout is full" test "$status" -eq 1

# Ctrl-C, once the first line of progress is there, which tuning would put off.
: >err
env --default-signal=INT GANC_OFF="$GANC_OFF,tune" "$ganc" --model gan --data synthetic --batch 16 --out interrupted \
    --log-interval 1 >out 2>err &
until grep -q 'Epoch' err || ! kill -0 $! 2>/dev/null; do
    sleep 0.1
done
kill -INT $!
wait $!
status=$?
expect "exit status $status after Ctrl-C" test "$status" -eq 130

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
