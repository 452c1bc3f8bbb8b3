#!/usr/bin/env bash
# Runs that are stopped and go on, as their users do it: the result is that of the run that never stopped.
#
# test_resume.sh GANC: the program to test. Runs are ended by SIGINT, SIGTERM and SIGKILL, each several times at
# moments that differ from run to run (SEED repeats them), resumed, and compared with an uninterrupted one:
# weights, grids and log are equal, byte for byte. MODELS="gan dcgan" names the models to stop.
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"

seed=${SEED:-$$}
RANDOM=$seed
echo "seed $seed"

# run_until SIGNAL DIR ARGUMENT...: starts `ganc` on the run in DIR and ends it at some moment in the next 0.7 seconds:
# after the first line of progress or, by SIGKILL, now in a later epoch, now as soon as there is a checkpoint.
run_until() {
    : >err
    env --default-signal=INT "$ganc" "${@:3}" --out "$2" >out 2>err </dev/null &
    local process=$! line='Epoch' early=0
    if [[ $1 == KILL ]]; then
        line='Epoch [1-9]' early=$((RANDOM % 2))
    fi
    is_under_way() { grep -q "$line" err || [[ $early == 1 && -e $1/checkpoint.safetensors ]]; }
    wait_for $process is_under_way "$2"
    sleep "0.$(printf %03d $((RANDOM % 700)))"
    kill "-$1" $process 2>>err
    wait $process 2>>err
    status=$?
}

# Small, quick to start, and with several epochs: 20 steps each of the 320 digits of the tests.
quick=(--data "$images" --batch 16 --gemm native --log-interval 3)

# ---- Signals -------------------------------------------------------------------------------------------

declare -A statuses=([INT]=130 [TERM]=130 [KILL]=137)
for model in ${MODELS:-gan wgan-gp}; do
    length=(--epochs 8)
    run --model "$model" "${quick[@]}" "${length[@]}" --out "$model-whole"
    check "$model: exit status $status" test "$status" -eq 0
    for signal in INT TERM KILL; do
        name=$model-$signal
        run_until $signal "$name" --model "$model" "${quick[@]}" "${length[@]}"
        stops=$(($(wc -l <"$name/log.jsonl") - 1))
        for ((again = 0; again < 2 && status != 0; again++)); do
            check "$name: exit status $status" test "$status" -eq "${statuses[$signal]}"
            [[ $signal == KILL ]] || check "$name: it does not say how to go on" \
                grep -q -- "ganc --model $model --out $name --resume" err
            run_until $signal "$name" --resume
            stops="$stops, $(($(wc -l <"$name/log.jsonl") - 1))"
        done
        [[ $status -eq 0 ]] || run --resume --out "$name"
        check "$name: exit status $status" test "$status" -eq 0
        echo "$name: stopped after about $stops of $(($(wc -l <"$model-whole"/log.jsonl) - 1)) lines of the log"
        compare "$name" "$name" "$model-whole"
    done
done

# ---- Lengths -------------------------------------------------------------------------------------------

share_products
run --model cgan "${quick[@]}" --steps 47 --out whole
run --model cgan "${quick[@]}" --steps 5 --out longer # logs its step 4, which no longer is the last
run --model cgan --resume --steps 26 --out longer
check "more steps: exit status $status" test "$status" -eq 0
run --resume --out longer --steps 47 --log-interval 3 --seed 0
check "more steps: exit status $status" test "$status" -eq 0
compare "more steps" longer whole

run --model gan "${quick[@]}" --epochs 1 --out one
before=$(find one -type f -exec cksum {} + | sort)
run --resume --out one --json
check "a complete run: exit status $status" test "$status" -eq 0
check "a complete run does not say so" grep -q "one is complete" err
check "a complete run's result is missing" grep -q '"images_per_second"' out
check "a complete run was changed" test "$before" == "$(find one -type f -exec cksum {} + | sort)"
run --resume --out one --epochs 2
run --model gan "${quick[@]}" --epochs 2 --out two
compare "more epochs" one two

# On other kernels it is another run, which is said.
run --resume --out one --epochs 3 --class gpu --steps 50
check "another class: exit status $status" test "$status" -eq 0
check "another class of kernels is not said" grep -q "goes on on .*class gpu" err
check "the log does not say it" grep -q '"continued_on":\[{"step":' one/log.jsonl

# So it is with an optimisation off.
cp -r two switched
GANC_OFF=$GANC_OFF,linear run --resume --out switched --epochs 3 --steps 41
check "an optimisation off: exit status $status" test "$status" -eq 0
check "an optimisation off is not said" grep -q "goes on on .* without $GANC_OFF,linear: its last bits will differ" err

# ---- By time -------------------------------------------------------------------------------------------

# Epochs of 625 steps, and a checkpoint every 60 milliseconds. The run is ended when one is newer than the
# third step.
: >err
"$ganc" --model gan "${quick[@]}" --data synthetic --checkpoint-minutes 0.001 --out timed >out 2>err &
wait_for $! grep -q 'Batch 3/' err
: >third
wait_for $! test timed/checkpoint.safetensors -nt third
kill -KILL $! 2>>err
wait $! 2>>err
run --resume --out timed --steps 1
steps=$(sed -n 's/.*timed is complete, with \([0-9]*\) steps.*/\1/p' err)
check "no checkpoint was written soon, but after '$steps' steps" test "${steps:-5000}" -lt 5000
check "no checkpoint was written within an epoch, but after '$steps' steps" test $((${steps:-0} % 625)) -ne 0

# ---- What is refused -----------------------------------------------------------------------------------

# refuses STATUS TEXT ARGUMENT...
refuses() {
    run "${@:3}"
    check "exit status $status, not $1: ganc ${*:3}" test "$status" -eq "$1"
    check "not one line with '$2': ganc ${*:3}" grep -qF -- "$2" err
    check "more than one line: ganc ${*:3}" test "$(wc -l <err)" -eq 1
}
before=$(find two -type f -exec cksum {} + | sort)
refuses 2 "--resume which run?" --resume
refuses 2 "give one of them" --resume --overwrite --out two
refuses 1 "--batch 16; --batch 32 contradicts" --resume --out two --epochs 3 --batch 32
refuses 1 "--model gan; --model wgan contradicts" --resume --out two --epochs 3 --model wgan
refuses 1 "--seed 0; --seed 1 contradicts" --resume --out two --epochs 3 --seed 1
refuses 1 "give the --data that it began with" --resume --out two --epochs 3 --data synthetic
refuses 1 "nowhere holds no run" --resume --out nowhere
refuses 1 "runs/gan holds no run" --resume --model gan
mkdir broken
head -c 100000 two/checkpoint.safetensors >broken/checkpoint.safetensors
refuses 1 "broken/checkpoint.safetensors" --resume --out broken
cp two/generator.safetensors broken/checkpoint.safetensors
refuses 1 "is no checkpoint" --resume --out broken
refuses 1 "--resume goes on with it" --model gan "${quick[@]}" --out two
check "a refused run was changed" test "$before" == "$(find two -type f -exec cksum {} + | sort)"

finish
