#!/usr/bin/env bash
# STN on MNIST at the paper's size, on one GPU: network A at three σ, all 10,000 test images.
#
#     recipes/gpu.sh DATA_DIR OUT [holdfast]
#
# Trains 13 networks side by side, which took about 5 minutes on an H200 with 16 cores, certifies them,
# and leaves one JSON line a certification in OUT/certified.jsonl. Run again, it goes on where it stopped.
set -u
data=$1 out=$2 holdfast=${3:-holdfast}
epochs=${EPOCHS:-12}      # ours: the paper does not say how long it trained
images=${IMAGES:-}        # of training and test, for a trial; all by default
limit=${LIMIT:-400}       # seconds for the trainings, which go on when this is run again
accelerator=${ACCELERATOR:-cuda}
mkdir -p "$out"

train() { # NAME, then options
    local name=$1; shift
    OMP_NUM_THREADS=1 timeout "$limit" $holdfast train --data mnist --data-dir "$data" --model A \
        --batch-size 64 --epochs "$epochs" ${images:+--images $images} --accelerator "$accelerator" \
        --quiet --out "$out/$name" "$@" > "$out/$name.log" 2>&1 &
}
certify() { # NAME SIGMA VOTES IMAGES INTERVALS
    [ -e "$out/$1/model.safetensors" ] || { echo "$1 was not trained" >&2; return; }
    OMP_NUM_THREADS=1 $holdfast certify --data mnist --data-dir "$data" --model "$out/$1" --sigma "$2" \
        --votes "$3" --images "${images:-$4}" --confidence 0.95 --bounds renyi,cohen,pixeldp \
        --intervals "$5" --radii 0.25,0.5,0.75,1,1.25,1.4,1.5,1.58,1.75 --accelerator "$accelerator" \
        --json --quiet --out "$out/$1-$3" > "$out/$1-$3.json" 2> "$out/$1-$3.log" &
}

for sigma in 0.4 0.7 1.0; do
    for seed in 0 1 2; do
        train "stability-$sigma-$seed" --objective "stability(sigma=$sigma)" --seed $seed # STN 5.1, γ = 1
    done
    train "noise-$sigma-0" --objective "noise(sigma=$sigma)" --seed 0 # the noise alone
done
train plain-0 --objective standard --seed 0
wait
for sigma in 0.4 0.7 1.0; do
    for network in stability-$sigma-0 stability-$sigma-1 stability-$sigma-2 noise-$sigma-0; do
        certify $network $sigma 100 10000 clopper-pearson,sison-glaz # the papers' n and confidence
    done
done
wait
for sigma in 0.4 0.7 1.0; do
    certify stability-$sigma-0 $sigma 1000 2000 clopper-pearson,sison-glaz
    certify stability-$sigma-0 $sigma 10000 1000 clopper-pearson # whose ceiling is far above the radii
    certify noise-$sigma-0 $sigma 1000 2000 clopper-pearson
done
certify plain-0 0.7 1000 2000 clopper-pearson
wait
for file in "$out"/*-*00.json; do
    [ -s "$file" ] && cat "$file"
done > "$out/certified.jsonl"
grep -l . "$out"/*.log 2>/dev/null | while read -r log; do echo "== $log"; tail -n 3 "$log"; done
