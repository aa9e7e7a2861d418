#!/bin/bash
# Trains on one device: the Ascend DEVICE_ID, or the CPU where there is no Ascend.
# usage: bash scripts/run_single_train.sh DEVICE_ID BATCHSIZE EPOCHS DATAPATH SAVEPATH [train.py options]
#   DATAPATH holds train-images-idx3-ubyte.gz; SAVEPATH receives checkpoints and metrics.csv.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/python.sh"
if [ $# -lt 5 ]; then usage; fi
exec "$python" "$root/train.py" --device_id "$1" --batch_size "$2" --epochs "$3" --data_path "$4" \
    --train_path "$5" "${@:6}"
