#!/usr/bin/env bash
# Tables and figures of the papers on one GPU with 16 cores, in ten minutes.
#
#     recipes/gpu.sh DATA_DIR OUT [holdfast]
#
# At the papers' sizes Madry's network of MNIST with 40 steps, A with STN at three σ, EAT's networks,
# MALADE's sDAE and Deep Defense's networks, and at the cpu scale what takes two cores an hour each.
# Pages go to OUT/pages, run folders to OUT/SCALE/GROUP. Run again, it goes on where it stopped: what
# LIMIT seconds were too short for, such as Madry's 100,000 steps, is begun, and on no page yet.
set -u
data=$1 out=$2 holdfast=${3:-holdfast}
limit=${LIMIT:-480} # seconds, before the pages are written
only=${ONLY:-}      # a regular expression of groups, such as eat|dd

# Scale, steps at once (16 in all, a core each), items. What is worth most is begun first.
groups='
madry paper 1 so/figure-5
stn paper 2 stn/figure-3
eat paper 5 eat/table-8 eat/table-7 eat/table-6 eat/section-5 eat/definition-4 eat/figure-5 eat/appendix-c-1 eat/nips-2017
malade paper 1 malade/figure-2
dd paper 2 dd/table-1-lenet dd/figure-7 dd/figure-2 dd/table-1-mlp
so cpu 1 so/figure-2-middle stn/figure-2 stn/figure-1
lenet cpu 2 dd/figure-4 dd/figure-3 dd/figure-6 dd/table-2
cifar cpu 2 malade/table-3 stn/figure-7 eat/table-4 dd/table-1-convnet dd/figure-8 stn/figure-5 dd/table-1-imagenet dd/table-1-nin
'
export OMP_NUM_THREADS=1 # beside each other
export NVIDIA_TF32_OVERRIDE=0 # float32 throughout, as on the CPU whose rows stand beside
mkdir -p "$out/pages"
each() { # COMMAND, for every group, beside each other
    while read -r name scale at_once items; do
        [[ $name =~ ^(${only:-.+})$ ]] && "$1" "$name" "$scale" "$at_once" "$items" &
    done < <(grep . <<< "$groups")
    wait
}
run() {
    # shellcheck disable=SC2086 - the items are words
    timeout "$limit" $holdfast reproduce $4 --scale "$2" --at-once "$3" --data-dir "$data" \
        --out "$out/$2/$1" --pages "$out/pages" > "$out/$1.log" 2>&1
}
pages() { # also of what is not whole
    # shellcheck disable=SC2086
    $holdfast reproduce $4 --scale "$2" --finished --out "$out/$2/$1" --pages "$out/pages" \
        > "$out/$1-pages.log" 2>&1
}
each run
each pages
tail -n 3 "$out"/*.log
