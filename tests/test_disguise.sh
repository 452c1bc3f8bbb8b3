#!/usr/bin/env bash
# Cards that are not here: each case disguises PoCL's device (disguise/disguise.c) as another machine's, with the
# limits that its driver would enforce, and says what ganc makes of that.
#
# test_disguise.sh GANC LAYER: the program to test, and the OpenCL layer. Exits with 77, for "skipped", where the
# ICD loader knows no layers or there is no PoCL to disguise.
layer=$(realpath "$2")
kernels=$(realpath "$(dirname "$0")/../kernels_cl")
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
share_products
unset OPENCL_LAYERS DISGUISE DISGUISE_2

loader=$(ldd "$ganc" | awk '/libOpenCL/ { print $3 }')
if ! grep -q OPENCL_LAYERS "$loader"; then
    echo "skipped: $loader knows no layers; ocl-icd does from 2.3, Khronos' loader from 2021.04.29"
    exit 77
elif ! "$ganc" devices --json 2>/dev/null | grep -q '"pthread-\|"cpu-'; then
    echo "skipped: there is no PoCL here to disguise"
    exit 77
fi

# machine NAME DISGUISE [DISGUISE_2]: what the checks after it run on.
machine() {
    name=$1
    # Prefixed to every call.
    call=(env "OPENCL_LAYERS=$layer" "DISGUISE=$2")
    [[ $# -lt 3 ]] || call+=("DISGUISE_2=$3")
}

verdict() { # verdict PROBLEM: an empty one is none
    if [[ -z $1 ]]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED: $name: $1"
        sed 's/^/  stdout: /' out
        sed 's/^/  stderr: /' err
    fi
}

# lists SELECTOR...: `ganc devices` has these rows and no other.
lists() {
    "${call[@]}" "$ganc" devices --json >out 2>err
    local found
    found=$(grep -o '"selector": *"[^"]*"' out | sed 's/.*"\([^"]*\)"$/\1/' | xargs)
    verdict "$([[ $found == "$*" ]] || echo "the devices are '$found', not '$*'")"
}

# says TEXT: `ganc devices` has it among what was skipped, or elsewhere.
says() {
    "${call[@]}" "$ganc" devices >out 2>err
    verdict "$(grep -qF -- "$1" out || echo "'ganc devices' does not say '$1'")"
}

# As for a GPU, PoCL takes three seconds to compile a product. They are half as many where what is computed with their
# results is left to other kernels, and those know no vendor either.
GANC_OFF+=,epilogue

trains=(--model gan --data synthetic --batch 16 --steps 2 --gemm native --json --overwrite)

# trains_on SELECTOR NAME [ARGUMENT]...: two steps, with losses as on any device.
trains_on() {
    "${call[@]}" "$ganc" "${trains[@]}" --out run --device "$1" "${@:3}" >out 2>err
    local status=$? losses problem=""
    losses=$(sed -n 's/.*"d_loss": \(1\.178[0-9]*\), "g_loss": \(0\.699[0-9]*\),.*/\1 \2/p' out)
    if [[ $status -ne 0 ]]; then
        problem="exit status $status"
    elif ! grep -qF "\"device\": \"$2\"" out; then
        problem="it did not train on $2"
    elif [[ -z $losses ]]; then
        problem="the losses are not 1.178 and 0.699, as elsewhere"
    fi
    echo "$name: losses $losses"
    verdict "$problem"
}

# refuses TEXT [ARGUMENT]...: training ends with one line that has TEXT, and leaves nothing behind.
refuses() {
    "${call[@]}" "$ganc" "${trains[@]}" --out refused "${@:2}" >out 2>err
    local status=$? problem=""
    if [[ $status -ne 1 ]]; then
        problem="exit status $status, not 1"
    elif [[ $(wc -l <err) -ne 1 || $(<err) != "ganc: "* ]]; then
        problem="not one line on stderr"
    elif ! grep -qF -- "$1" err; then
        problem="the error does not say '$1'"
    fi
    verdict "$problem"
}

mib=$((1 << 20))
amd="platform=AMD Accelerated Parallel Processing;vendor=Advanced Micro Devices, Inc.;id=0x1002;type=gpu;name=gfx1030"
nvidia="platform=NVIDIA CUDA;vendor=NVIDIA Corporation;id=0x10de;type=gpu;name=NVIDIA GeForce RTX 3060"
intel="platform=Intel(R) OpenCL Graphics;vendor=Intel(R) Corporation;id=0x8086;type=gpu;name=Intel(R) Arc(TM) A770"
mesa="platform=rusticl;type=gpu"

# ---- Which device is meant -------------------------------------------------------------------------------

machine "an AMD card" "$amd;group=256;local=32768"
lists amd:0
refuses 'device "nvidia:0" matches nothing; there is amd:0 (gfx1030)' --device nvidia:0
refuses 'device "amd:1" matches nothing' --device amd:1
trains_on amd:0 gfx1030
# With epilogues and all in one program, as a plan has them, the products at least build: PoCL makes machine code of a
# kernel when it is launched, which is after the run's folder. A name that leads nowhere looks free until it is made.
ln -s nowhere/at/all dangling
GANC_OFF=ahead refuses "cannot make the folder dangling" --out dangling

machine "an NVIDIA card" "$nvidia;group=1024;local=49152"
lists nvidia:0
trains_on nvidia:0 "NVIDIA GeForce RTX 3060"

machine "an Intel card" "$intel;group=512;local=65536"
lists intel:0
trains_on intel:0 "Intel(R) Arc(TM) A770"

machine "a card known by its vendor's name alone" "$mesa;vendor=AMD;id=0x10005;name=AMD Radeon RX 6800"
lists amd:0

machine "a card of nobody we know" "platform=Mali;vendor=ARM;id=0x13b5;type=gpu;name=Mali-G78"
lists gpu:0

machine "a CPU device with a GPU vendor's id" "type=cpu;id=0x1002;vendor=AuthenticAMD"
lists cpu:0
refuses 'device "amd:0" matches nothing; there is cpu:0' --device amd:0

machine "an accelerator with a GPU vendor's id" "type=accelerator;id=0x8086;vendor=Intel(R) Corporation"
lists 0
refuses 'device "intel:0" matches nothing' --device intel:0

# ---- Two platforms ---------------------------------------------------------------------------------------

machine "two platforms show one card" "$mesa;vendor=AMD;id=0x1002;name=Radeon (gfx1030);bus=3" "$amd;bus=3"
lists amd:0
says "rusticl: Radeon (gfx1030) is the same card as gfx1030 of AMD Accelerated Parallel Processing"

machine "the same without an address, by name" "$mesa;vendor=NVIDIA;id=0x10de;name=RTX 3060 (NV176)" \
    "$nvidia;name=NVIDIA GeForce RTX 3060"
lists nvidia:0
says "is the same card as NVIDIA GeForce RTX 3060 of NVIDIA CUDA"

machine "two cards of one name" "$mesa;vendor=AMD;id=0x1002;name=gfx1030;bus=4" "$amd;bus=3"
lists amd:0 amd:1

machine "cards of two vendors" "$intel" "$nvidia"
lists intel:0 nvidia:0

# ---- Nothing to run on -----------------------------------------------------------------------------------

machine "no platform" "platforms=0"
refuses "no OpenCL platform"

machine "a platform without a device" "$amd;devices=0"
says "AMD Accelerated Parallel Processing: no device"
refuses "OpenCL has no usable device here"

machine "a device without a compiler" "$amd;compiler=0"
says "gfx1030: its driver has no compiler for OpenCL C"
refuses "its driver has no compiler for OpenCL C"

machine "a device that is not available" "$amd;available=0"
refuses "gfx1030: not available"

machine "OpenCL 1.1" "$amd;version=OpenCL 1.1 AMD-APP"
refuses "its driver is older than OpenCL 1.2"

machine "a platform that has no name" "fails=clGetPlatformInfo" "$amd"
lists amd:0
says "clGetPlatformInfo: CL_OUT_OF_RESOURCES"

machine "a platform that fails" "$nvidia;fails=clGetDeviceIDs" "$amd"
lists amd:0
says "NVIDIA CUDA: clGetDeviceIDs: CL_OUT_OF_RESOURCES"

machine "a device that fails" "$nvidia;fails=clGetDeviceInfo" "$amd"
lists amd:0
says "NVIDIA CUDA: a device without a name: clGetDeviceInfo: CL_OUT_OF_RESOURCES"

machine "no context" "$amd;fails=clCreateContext"
refuses "gfx1030: clCreateContext: CL_OUT_OF_RESOURCES"

machine "no queue" "$amd;fails=clCreateCommandQueue"
refuses "gfx1030: clCreateCommandQueue: CL_OUT_OF_RESOURCES"

# ---- Limits ----------------------------------------------------------------------------------------------

# The products as a CPU gets them, their loops rolled up: PoCL would take a minute to compile each size of a group.
cp -r "$kernels" rolled
sed -i '1i #define ROLL' rolled/gemm.cl

machine "work-groups of 64" "$amd;group=64;local=32768"
trains_on amd:0 gfx1030 --kernels rolled

machine "a kernel's limit below the device's" "$amd;group=256;kernel=fused;kernel-group=48"
trains_on amd:0 gfx1030

machine "products with a limit below the device's" "$amd;group=256;kernel=gemm;kernel-group=100"
trains_on amd:0 gfx1030 --kernels rolled

machine "8 KiB of local memory, groups of one" "$amd;group=1;local=8192"
trains_on amd:0 gfx1030 --kernels rolled

machine "too little memory for the data set" "$amd;memory=$((6 * mib));alloc=$((6 * mib))"
refuses "gfx1030 has 6.0 MiB of memory, data set and weights need 20"
refuses "a smaller data set (--data synthetic), a smaller --batch or another --device helps"

machine "memory for the data set, not for the steps" "$amd;memory=$((21 * mib));alloc=$((21 * mib))"
refuses "gfx1030 has 21.0 MiB of memory"

machine "no buffer as large as the data set" "$amd;memory=$((100 * mib));alloc=$((6 * mib))"
refuses "data.images needs a buffer of 7.5 MiB, gfx1030 allows 6.0 MiB; a smaller data set"

machine "memory that is just enough, in several buffers" "$amd;memory=$((32 * mib));alloc=$((8 * mib))"
trains_on amd:0 gfx1030

echo "$passed passed, $failed failed"
[[ $failed -eq 0 ]]
