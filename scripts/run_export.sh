#!/bin/bash
# Exports a checkpoint; FORMAT is MINDIR, ONNX or, on an Ascend, AIR.
# usage: bash scripts/run_export.sh DEVICE_ID CKPTPATH BATCHSIZE FORMAT [export.py options]
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/python.sh"
if [ $# -lt 4 ]; then usage; fi
exec "$python" "$root/export.py" --device_id "$1" --pretrained_model "$2" --batch_size "$3" \
    --file_format "$4" "${@:5}"
