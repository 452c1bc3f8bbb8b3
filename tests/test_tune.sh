#!/usr/bin/env bash
# `ganc tune`: that it knows every product of a model, that what it keeps is used and changes no result, that a bad
# cache is no error, and what it says of wrong input. No check looks at how long anything took.
#
# test_tune.sh GANC: the program to test.
# shellcheck source=tests/common.sh
source "$(dirname "$0")/common.sh"
share_products
XDG_CACHE_HOME+=/new/nested # as for who never had such a folder

here=(--model gan --batch 16 --class cpu --gemm native)

# The kernel that `ganc bench` sees for the generator's last layer.
kernel_of_last_layer() {
    "$ganc" bench "${here[@]}" --kernel gemm --rounds 1 --json 2>err |
        grep -oE '"name": "[a-z_]*", "shape": "NN 16x784x512' | cut -d'"' -f4 | sort -u
}

train() { # train FOLDER
    "$ganc" --model gan --class cpu --gemm native --data "$images" --steps 12 --out "$1" >out 2>err
    check "training into $1 failed" test $? -eq 0
}

# The record, and what of it is of interest.
record() { echo "$XDG_CACHE_HOME"/ganc/gemm-*.json; }
kept() { sed -n '/"chosen"/,/}/p' "$(record)" | grep -oE '"(NN|NT|TN|TT) [0-9x]*": "[^"]*"'; }

# ---- Every product -------------------------------------------------------------------------------------

run tune "${here[@]}" --rounds 1 --json
cp out tuned.json
check "tune exits with $status: $(<err)" test "$status" -eq 0
check "no folder is made for what is kept" compgen -G "$XDG_CACHE_HOME/ganc/gemm-*.json" >/dev/null
check "tune --json does not write one line alone" test "$(wc -l <tuned.json) $(wc -c <err)" = "1 0"
grep -oE '"shape": "[^"]*"' tuned.json | cut -d'"' -f4 | sort >shapes
"$ganc" bench "${here[@]}" --kernel gemm --rounds 1 --json 2>err |
    grep -oE '"shape": "[^,"]*' | cut -d'"' -f4 | sort -u >wanted
check "bench has hardly any products" test "$(wc -l <wanted)" -gt 10
check "tune left out: $(comm -23 wanted shapes)" test -z "$(comm -23 wanted shapes)"
check "a shape is there twice: $(uniq -d shapes)" test -z "$(uniq -d shapes)"
check "a way is wrong" test "$(grep -c '"right": false' tuned.json)" -eq 0
check "a product has no second way" test "$(grep -o '"way": ' tuned.json | wc -l)" -gt $((2 * $(wc -l <shapes)))
for key in chosen built_in gain share ways; do
    check "not every product has its $key" test "$(grep -o "\"$key\": " tuned.json | wc -l)" -eq "$(wc -l <shapes)"
done
kept | cut -d'"' -f2 | sort >remembered
check "the cache does not hold each product" cmp -s shapes remembered
paste -d' ' <(grep -oE '"shape": "[^"]*"' tuned.json | cut -d'"' -f4) \
    <(grep -oE '"chosen": "[^"]*"' tuned.json | cut -d'"' -f4) | sort >said
check "the cache holds other ways than were chosen" cmp -s said <(kept | sed -E 's/"([^"]*)": "([^"]*)"/\1 \2/' | sort)

# ---- Wrong input ---------------------------------------------------------------------------------------

# fails STATUS TEXT ARGUMENT...: one line on stderr, with TEXT in it, and nothing on stdout.
fails() {
    run tune "${@:3}"
    check "'tune ${*:3}' exits with $status, not $1" test "$status" -eq "$1"
    check "'tune ${*:3}' does not say '$2' but '$(<err)'" grep -qF -- "$2" err
    check "'tune ${*:3}': not one line on stderr alone" test "$(wc -l <err) $(wc -c <out)" = "1 0"
}
fails 2 "--model 'gna' is unknown; did you mean gan?" --model gna
fails 2 "--rounds '0'" --rounds 0
fails 1 'device "amd:7" matches nothing' --device amd:7
mkdir cupboard
: >cupboard/ganc # no folder can be made there
XDG_CACHE_HOME=$PWD/cupboard fails 1 "what is measured cannot be kept: cannot write $PWD/cupboard/ganc/" "${here[@]:0:4}" \
    --rounds 1 --class cpu
run tune --help
check "--help does not name its off switch" grep -q 'GANC_OFF=tune' out

if [[ -n ${GANC_TEST_BRIEF:-} ]]; then # what follows mostly compares runs with each other
    finish
    exit
fi

# ---- What is kept is used ------------------------------------------------------------------------------

# As if the other kernel had been fastest, in another tile.
other=$(grep -oE '"shape": "NN 16x784x512".*' tuned.json | grep -oE 'gemm_column_nn [0-9]+x[0-9]+' | sed -n 3p)
check "there are not three tiles" test -n "$other"
sed -i -E "s/\"(NN [0-9x]*)\": \"[^\"]*\"/\"\1\": \"$other\"/" "$(record)"
check "a tuned kernel is not used" test "$(kernel_of_last_layer)" = gemm_column_nn
check "GANC_OFF=tune uses another than the table's" test "$(GANC_OFF=$GANC_OFF,tune kernel_of_last_layer)" = gemm_nn
train tuned
GANC_OFF=$GANC_OFF,tune train table
check "the log does not name the switch" grep -q "\"off\":\"$GANC_OFF,tune\"" table/log.jsonl
sed -i "s/\"off\":\"$GANC_OFF,tune\"/\"off\":\"$GANC_OFF\"/" table/log.jsonl # else the logs are alike
compare "tuned or not" tuned table
GANC_TILE=${other#* } train tile
compare "a tile of one's own" tile table
check "a tile that there is not hides what was found" test "$(GANC_TILE=7x7 kernel_of_last_layer)" = gemm_column_nn

sed -i -E "s/\"(NN [0-9x]*)\": \"[^\"]*\"/\"\1\": \"abacus\"/" "$(record)"
check "a way that there is not is no reason for another than the table's" test "$(kernel_of_last_layer)" = gemm_nn
echo '{"products": ' >"$(record)"
check "with a broken cache there is no bench" test "$(kernel_of_last_layer)" = gemm_nn
sed -i 's/"chosen": {}/"chosen": 7/' "$(record)"
check "a number is taken for what was chosen" test "$(kernel_of_last_layer)" = gemm_nn
run tune "${here[@]}" --rounds 1
check "with a broken cache tune exits with $status" test "$status" -eq 0
check "the table has no row of the generator's last layer" grep -qE '^NN 16x784x512 .*gemm_nn [0-9]+x[0-9]+ ' out
kept | cut -d'"' -f2 | sort >remembered
check "a broken cache is not overwritten" cmp -s shapes remembered

# ---- Before a long run ---------------------------------------------------------------------------------

# long_run FOLDER OPTION...: one of many steps, ended after a few. What the run before printed goes first: taken for
# this one's, it would end the shell that is about to become ganc, and that removes the scratch folder.
long_run() {
    : >out
    : >err
    "$ganc" "${here[@]}" --data "$images" --epochs 100000 --out "$@" >out 2>err &
    local pid=$!
    wait_for $pid grep -q 'Batch' out err
    kill -INT $pid
    wait $pid
    check "the run into $1 exits with $?" test $? -eq 130
}
rm -r "$XDG_CACHE_HOME"/ganc
long_run first
check "a long run does not say that it tunes" grep -q 'fastest matrix products' err
"$ganc" bench "${here[@]}" --kernel gemm --rounds 1 --json 2>err |
    grep -oE '"shape": "[^,"]*' | cut -d'"' -f4 | grep -v x1x | sort -u >wanted
# ... but for products with one column, which are made in one way.
kept | cut -d'"' -f2 | sort >remembered
check "a long run left out: $(comm -23 wanted remembered)" test -z "$(comm -23 wanted remembered)"
long_run second
check "a second long run tunes again" test "$(grep -c 'fastest matrix products' err)" -eq 0
rm -r "$XDG_CACHE_HOME"/ganc
GANC_OFF=$GANC_OFF,tune long_run third
check "GANC_OFF=tune tunes" test "$(grep -c 'fastest matrix products' err)" -eq 0
train short
check "a short run tunes" test -z "$(kept)"
check "the picture before the first step is missing" test -s first/images/epoch-000000.png

finish
