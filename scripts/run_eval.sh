#!/bin/bash
# Measures a checkpoint on the official test set.
# usage: bash scripts/run_eval.sh DEVICE_ID DATAPATH CKPTPATH BATCHSIZE [test.py options]
#   DATAPATH holds mnist_test_seq.npy.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/python.sh"
if [ $# -lt 4 ]; then usage; fi
exec "$python" "$root/test.py" --device_id "$1" --workroot "$2" --pretrained_model "$3" \
    --batch_size "$4" "${@:5}"
