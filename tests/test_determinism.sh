#!/usr/bin/env bash
# The same seed on the same device gives the same bits: two processes train each model, by the kernels of each class,
# and leave the same weights, moments, grids and log.
#
# test_determinism.sh GANC: the program to test.
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
share_products

# Of the tests' digits the first 48: an epoch, and with it the second grid, is after three steps of 16, for which other
# suites have compiled all kernels.
mkdir digits
{
    printf '\0\0\10\3\0\0\0\60\0\0\0\34\0\0\0\34'
    zcat "$images/train-images-idx3-ubyte.gz" | tail -c +17 | head -c $((48 * 28 * 28))
} >digits/train-images-idx3-ubyte
{
    printf '\0\0\10\1\0\0\0\60'
    zcat "$images/train-labels-idx1-ubyte.gz" | tail -c +9 | head -c 48
} >digits/train-labels-idx1-ubyte

for model in gan cgan dcgan wgan wgan-gp; do
    for class in cpu gpu; do
        name=$model-$class
        for folder_of in "$name-1" "$name-2"; do
            run --model $model --class $class --gemm native --data digits --batch 16 --epochs 1 --seed 6 \
                --out "$folder_of"
            check "$name: exit status $status" test "$status" -eq 0
        done
        compare "$name, twice" "$name-1" "$name-2"
        check "$name: three steps changed no picture" \
            test "$(cksum <"$name-1/images/epoch-000000.png")" != "$(cksum <"$name-1/images/epoch-000001.png")"
    done
done

finish
