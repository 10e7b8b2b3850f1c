#!/bin/bash
# In the place of Python on a cluster's nodes: cells that end in every way, without training.
# What the batch script itself runs afterwards is the real thing.
[ "$4" = fit ] || [ "$3" != benchmark ] || exit 0
[ "$4" = fit ] || exec "$REAL_PYTHON" "$@"
out=$(sed 's/.*--out \([^ ]*\).*/\1/' <<< "$*")
case "$out" in
    */raises/*)
        [ "$SLURM_PROCID" = 0 ] && sleep 60
        echo "lungbench: ValueError: planted fault"
        exit 1 ;;
    */dies/*)
        [ "$SLURM_PROCID" = 1 ] && kill -KILL $$
        sleep 60 ;;
    */begins/*) sleep 60 ;;
    */trains/*)
        mkdir -p "$out/checkpoints"
        sleep 1.1 # a checkpoint is newer than the job, also where clocks are coarse
        touch "$out/checkpoints/epoch-00001.ckpt"
        sleep 60 ;;
esac
