#!/usr/bin/env bash
# The suite beside AutoAttack, and what a pilot spares, on ten networks of different training, on one GPU.
#
#     benchmarks/gpu_contest.sh DATA_DIR OUT [holdfast] [python]
#
# DATA_DIR holds MNIST, and cifar10-jpeg, a folder of train and test with one folder for each class, or where
# CIFAR says. Networks are trained side by side into RUNS; into OUT come the rows of suite_tradeoff.py, attack by
# attack, of suite_parts.py, optimality.py and `holdfast evaluate`, small files all, and at the end rows.tar.gz of
# them. It ends within LIMIT seconds, what says most first: run again, it goes on where it stopped.
set -u
data=$1 out=$2 holdfast=${3:-holdfast} python=${4:-python3}
cifar=${CIFAR:-$data/cifar10-jpeg}
runs=${RUNS:-$out-runs}
limit=${LIMIT:-480} at_once=${AT_ONCE:-5}
device=${DEVICE:-cuda}
train_images=${TRAIN_IMAGES:-} epochs=${EPOCHS:-}          # for a trial; all, and what is written below
mnist_images=${MNIST_IMAGES:-1000} cifar_images=${CIFAR_IMAGES:-500} near_images=${NEAR_IMAGES:-100}
budgets=${BUDGETS:-1500 8000 500 100}                      # a tenth and a half of AutoAttack's passes, and less
here=$(dirname "$0")
export OMP_NUM_THREADS=1 NVIDIA_TF32_OVERRIDE=0            # rows are of float32 throughout
mkdir -p "$out" "$runs"

# NAME; DATA MODEL EPOCHS BATCH, then the rest of `holdfast train`
mnist="--data mnist --data-dir $data"
subset="--data $cifar"
declare -A network=(
    [mnist-pgd]="$mnist --model madry-mnist --objective pgd(steps=7) --norm linf --eps 0.3 --epochs 16"
    [cifar-pgd]="$subset --model torchvision/resnet18 --objective pgd(steps=7) --norm linf --eps 8/255 --epochs 30"
    [mnist-trades]="$mnist --model small --objective trades(steps=7,beta=6) --norm linf --eps 0.2 --epochs 14"
    [mnist-alp]="$mnist --model small --objective alp(steps=7) --norm linf --eps 0.2 --epochs 14"
    [mnist-ibp]="$mnist --model small --objective ibp --norm linf --eps 0.2 --epochs 25"
    [mnist-pgd-l2]="$mnist --model small --objective pgd(steps=7) --norm l2 --eps 1.5 --epochs 14"
    [mnist-stn]="$mnist --model small --objective stability(sigma=0.3) --epochs 15"
    [cifar-trades]="$subset --model madry-mnist --objective trades(steps=7,beta=6) --norm linf --eps 8/255 --epochs 25"
    [mnist-plain]="$mnist --model small --objective standard --epochs 10"
    [cifar-plain]="$subset --model torchvision/resnet18 --objective standard --epochs 15"
)
# CONTEST NETWORK NORM EPS TITLE: at the size of the training or a little beyond, where many images are near
contests=(
    "mnist-pgd mnist-pgd linf 0.3 MNIST, PGD"
    "cifar-pgd cifar-pgd linf 0.0314 CIFAR-10 subset, PGD"
    "mnist-trades mnist-trades linf 0.25 MNIST, TRADES"
    "mnist-alp mnist-alp linf 0.25 MNIST, ALP"
    "mnist-pgd-l2 mnist-pgd-l2 l2 2.0 MNIST, PGD in l2"
    "mnist-ibp mnist-ibp linf 0.2 MNIST, IBP"
    "cifar-trades cifar-trades linf 0.0314 CIFAR-10 subset, TRADES"
    "mnist-stn mnist-stn l2 1.5 MNIST, STN"
    "mnist-plain mnist-plain linf 0.06 MNIST, plain"
    "cifar-plain cifar-plain linf 0.0039 CIFAR-10 subset, plain"
    "mnist-pgd-in-l2 mnist-pgd l2 2.0 MNIST, PGD in linf"
)

left() { echo $((limit - SECONDS)); }
within() { # COMMAND ..., for as long as there is time
    local seconds; seconds=$(left)
    [ "$seconds" -gt 5 ] && timeout "$seconds" "$@"
}
of_data() { case $1 in cifar*) echo "$subset" ;; *) echo "$mnist" ;; esac; }
images_of() { case $1 in cifar*) echo "$cifar_images" ;; *) echo "$mnist_images" ;; esac; }
after() { # COMMAND ..., when fewer than AT_ONCE run
    while [ "$(jobs -rp | wc -l)" -ge "$at_once" ]; do wait -n; done
    "$@" &
}

trained() { # NETWORK: weights, and how many of its filters are alive
    local settings=${network[$1]}
    [ -n "$epochs" ] && settings="${settings% --epochs *} --epochs $epochs"
    # shellcheck disable=SC2086 # settings are words
    within $holdfast train $settings --batch-size 512 --optimizer "adam(lr=0.002)" \
        --schedule "one-cycle(peak=0.3)" ${train_images:+--images $train_images} \
        --accelerator "$device" --quiet --out "$runs/$1" > "$out/$1-train.log" 2>&1 || return
    cp "$runs/$1/metrics.csv" "$out/$1-train.csv"
    # shellcheck disable=SC2046,SC2086
    within $holdfast diagnose filters --model "$runs/$1" $(of_data "$1") --images 500 --accelerator "$device" \
        --json --quiet > "$out/$1-filters.json" 2> "$out/$1-filters.log"
}
contest() { # ATTACKS CONTEST NETWORK NORM EPS TITLE...
    local first=$1 name=$2 net=$3 norm=$4 eps=$5; shift 5
    [ -e "$runs/$net/model.safetensors" ] || return
    # shellcheck disable=SC2046,SC2086
    within $python "$here/suite_tradeoff.py" --name "$*" --model "$runs/$net" $(of_data "$net") --peer \
        --images "$(images_of "$net")" --norm "$norm" --eps "$eps" --budgets $budgets --first "$first" \
        --device "$device" --out "$out/$name" >> "$out/$name.log" 2>&1
}
pilot() { # CONTEST NETWORK NORM EPS ...: what is left with a pilot and without, and what it says of the difference
    [ -e "$runs/$2/model.safetensors" ] || return
    # shellcheck disable=SC2046,SC2086
    within $holdfast evaluate --model "$runs/$2" $(of_data "$2") --images "$(images_of "$2")" --audit off \
        --norm "$3" --eps "$4" --attacks "worst-case(budget=1500),worst-case(budget=1500, pilot=0)" \
        --batch-size 1000 --accelerator "$device" --json --quiet --out "$runs/pilot-$1" \
        > "$out/$1-pilot.json" 2> "$out/$1-pilot.log"
}
parts() { # CONTEST NETWORK NORM EPS ...: what breaks images that a tenth leaves
    [ -e "$runs/$2/model.safetensors" ] || return
    # shellcheck disable=SC2046,SC2086
    within $python "$here/suite_parts.py" --model "$runs/$2" $(of_data "$2") --images "$(images_of "$2")" \
        --norm "$3" --eps "$4" --device "$device" --out "$out/$1-parts" > "$out/$1-parts.log" 2>&1
}
near() { # NORM
    local networks; networks=$(ls -d "$runs"/mnist-{plain,pgd,trades} 2> /dev/null | paste -sd ,)
    # shellcheck disable=SC2086
    within $python "$here/optimality.py" --model "$networks" $mnist --images "$near_images" --norm "$1" \
        --device "$device" --out "$out/near-$1" > "$out/near-$1.log" 2>&1
}
begun() { # CONTEST NETWORK ...: its network, and the attacks that say most
    local line=$*
    [ -e "$out/$2-filters.json" ] || trained "$2"
    # shellcheck disable=SC2086
    contest 4 $line
}

robust=("${contests[0]}" "${contests[10]}" "${contests[1]}" "${contests[2]}" "${contests[3]}" "${contests[4]}")
for line in "${contests[@]:0:10}"; do after begun $line; done
wait
after contest 4 ${contests[10]}
for line in "${robust[@]}"; do after parts $line; done
for line in "${robust[@]}"; do after pilot $line; done
for line in "${contests[@]}"; do after contest 99 $line; done
for norm in linf l2 l1 l0; do after near $norm; done
wait
grep -L '"complete": *true' "$runs"/*/run.json 2> /dev/null
grep -il 'error' "$out"/*.log 2> /dev/null | while read -r log; do echo "== $log"; tail -n 2 "$log"; done
tar -czf "$runs/rows.tar.gz" -C "$out" --exclude rows.tar.gz . && mv "$runs/rows.tar.gz" "$out"
echo "$SECONDS s"
