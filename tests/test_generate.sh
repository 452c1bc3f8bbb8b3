#!/usr/bin/env bash
# `ganc generate`, as its users meet it: the same images from a run, its generator and its checkpoint; in grids, single
# files, frames and numbers; and every wrong argument.
#
# test_generate.sh GANC: the program to test.
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"

# makes ARGUMENT...: ganc generate works.
makes() {
    run generate "$@" --gemm native
    check "exit status $status: ganc generate $*" test "$status" -eq 0
}

# fails STATUS TEXT ARGUMENT...: one line on stderr with TEXT, nothing on stdout, and no new file.
fails() {
    local before
    before=$(find . -type f | sort)
    run generate "${@:3}"
    check "exit status $status, not $1: ganc generate ${*:3}" test "$status" -eq "$1"
    check "not the line with '$2' alone: ganc generate ${*:3}" \
        test "$(grep -cF -- "$2" err)/$(wc -l <err)/$(wc -c <out)" == 1/1/0
    check "files were made: ganc generate ${*:3}" test "$before" == "$(find . -type f | sort)"
}

# Where the numbers of an .npy file begin, and the bytes of COUNT of its images from the FIRST on.
header=128 image=$((28 * 28 * 4))
part() { tail -c +$((header + $2 * image + 1)) "$1" | head -c $(($3 * image)) | cksum; }
same_part() { [[ $(part "$1" "$2" "$5") == "$(part "$3" "$4" "$5")" ]]; }

for model in gan cgan; do
    run --model $model --data "$images" --batch 16 --epochs 1 --seed 5 --gemm native --out $model
    check "$model: exit status $status" test "$status" -eq 0
done

# ---- What the file may be ------------------------------------------------------------------------------

for model in gan cgan; do
    last=$model/images/epoch-000001.png
    makes $model --seed 5 --out $model.png
    check "$model: the run's seed does not give its last grid" cmp $model.png $last
    makes $model/generator.safetensors --seed 5 --out $model.png --overwrite
    check "$model: its generator gives another grid" cmp $model.png $last
    makes $model/checkpoint.safetensors --seed 5 --out $model.png --overwrite
    check "$model: its checkpoint gives another grid" cmp $model.png $last
    # As PyTorch would write it, the file does not say its model.
    LC_ALL=C sed "s/\"model\":\"$model\"/\"nodel\":\"$model\"/" $model/generator.safetensors >unsaid.safetensors
    makes unsaid.safetensors --seed 5 --out $model.png --overwrite
    check "$model: it was not recognised" cmp $model.png $last
    mkdir -p checkpoint-only
    cp $model/checkpoint.safetensors checkpoint-only
    makes checkpoint-only --seed 5 --out $model.png --overwrite
    check "$model: a folder without a generator gives another grid" cmp $model.png $last
done
run --model gan --data "$images" --batch 16 --steps 2 --z-dim 7 --gemm native --out short
makes short --out short.png
LC_ALL=C sed 's/"model":"gan"/"nodel":"gan"/' short/generator.safetensors >short.safetensors
fails 1 "give --model M" short.safetensors --out no.png
makes short.safetensors --model gan --out short2.png
check "noise of another length" cmp short.png short2.png

# ---- What is written -----------------------------------------------------------------------------------

makes gan
check "the default is not samples.png" test -s samples.png
makes cgan --npy hundred.npy --json
check "the JSON object lacks something" grep -q \
    '{"model": "cgan", "z_dim": 100, "images": 100, "size": 28, "class": null, .*"written": \["hundred.npy"\]}' out
check "the size of an .npy file" test "$(wc -c <hundred.npy)" -eq $((header + 100 * image))
check "the header of an .npy file" grep -aqF \
    "NUMPY$(printf '\001')" hundred.npy
check "the dictionary of an .npy file" grep -aqF \
    "{'descr': '<f4', 'fortran_order': False, 'shape': (100, 1, 28, 28), }" hundred.npy
makes cgan --npy more.npy --count 205
check "the first images depend on the count" same_part hundred.npy 0 more.npy 0 100
check "the size of 205 images" test "$(wc -c <more.npy)" -eq $((header + 205 * image))
makes cgan --npy other.npy --seed 1
check "the seed changes nothing" test "$(part hundred.npy 0 1)" != "$(part other.npy 0 1)"
makes cgan --npy sevens.npy --class 7
check "--class 7 does not draw class 7" same_part hundred.npy 17 sevens.npy 17 1
check "--class 7 draws other classes" test "$(part hundred.npy 18 1)" != "$(part sevens.npy 18 1)"
makes cgan --single one/by/one --count 11
check "11 single images" test "$(find one/by/one -name 'sample-0000*.png' | wc -l)" -eq 11
makes cgan --npy walk.npy --interpolate 4 --count 25
check "4 frames" test "$(find frames -name 'frame-00000[0-3].png' | wc -l)" -eq 4
check "an interpolation does not begin at the seed's noise" same_part walk.npy 0 hundred.npy 0 5
check "an interpolation stands still" test "$(part walk.npy 0 25)" != "$(part walk.npy 25 25)"
makes cgan --class 7 --class gpu --count 1 --npy seven.npy --json
check "--class gpu hides --class 7" grep -q '"class": 7' out
makes cgan --class gpu --npy gpu.npy
check "--class gpu draws nothing" test "$(wc -c <gpu.npy)" -eq $((header + 100 * image))

# ---- What is refused -----------------------------------------------------------------------------------

before=$(find . -type f ! -name out ! -name err -exec cksum {} + | sort)
fails 1 "samples.png exists already: --overwrite" gan
fails 1 "hundred.npy exists already" gan --npy hundred.npy --out new.png
fails 1 "one/by/one/sample-000000.png exists already" gan --single one/by/one --count 4
makes gan --overwrite
check "--overwrite changed other files" test "$(diff <(echo "$before") \
    <(find . -type f ! -name out ! -name err -exec cksum {} + | sort) | grep -c '^>')" -le 1
mkdir empty
head -c 5000 gan/generator.safetensors >cut.safetensors
fails 1 "nowhere" nowhere --out new.png
fails 1 "empty/checkpoint.safetensors" empty --out new.png
fails 1 "cut.safetensors" cut.safetensors --out new.png
fails 1 "samples.png" samples.png --out new.png
fails 1 "is of gan; --model cgan contradicts" gan --model cgan --out new.png
fails 1 "gan draws no classes" gan --class 3 --out new.png
LC_ALL=C sed 's/"model":"gan"/"nodel":"gan"/; s/"model.5.bias"/"model.5.bios"/' gan/generator.safetensors >odd.safetensors
fails 1 "\"model.5.bias\" is missing" odd.safetensors --model gan --out new.png
fails 1 "cannot make the folder samples.png/x" gan --single samples.png/x
fails 1 "amd:7" gan --device amd:7 --out new.png
fails 2 "a FILE is missing"
fails 2 "--count '0'" gan --count 0
fails 2 "--class '10' is unknown" gan --class 10
fails 2 "--interpolate '1'" gan --interpolate 1
fails 2 "give one of them" gan --interpolate 3 --single frames
fails 2 "are more than 200000 images" gan --interpolate 3000

finish
