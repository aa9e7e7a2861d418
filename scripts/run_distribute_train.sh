#!/bin/bash
# Data-parallel training on the devices of one host, or of several.
# usage: bash scripts/run_distribute_train.sh DEVICE_NUM BATCHSIZE EPOCHS DATAPATH SAVEPATH [msrun and train.py options]
#   DEVICE_NUM devices of this host, each with batches of BATCHSIZE; DATAPATH holds
#   train-images-idx3-ubyte.gz; SAVEPATH receives checkpoints, metrics.csv, and every rank's log.
#   On several hosts: run the same command on each, followed by --worker_num DEVICES_OF_ALL
#   --master_addr HOST0 --node_rank 0, 1, ...; SAVEPATH is then a folder that all hosts share.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/python.sh"
if [ $# -lt 5 ]; then usage; fi
exec "$python" "$root/scripts/launch.py" --local_worker_num "$1" --log_dir "$5/log" \
    "$root/train.py" --distribute --batch_size "$2" --epochs "$3" --data_path "$4" \
    --train_path "$5" "${@:6}"
