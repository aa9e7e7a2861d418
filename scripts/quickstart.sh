#!/bin/bash
# Installs everything, then trains, evaluates and exports a model: makes .venv, trains `two_scale`
# on the embedded MNIST digits, evaluates it on held-out sequences, exports a MINDIR.
# usage: [MINUTES=5] bash scripts/quickstart.sh
#   MINUTES of training, not counting compilation; all results are in runs/quickstart.
set -euo pipefail
source "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/python.sh"
if [ $# -gt 0 ]; then usage; fi
run=$root/runs/quickstart
make_venv requirements.txt
"$python" "$root/train.py" --preset two_scale --max_minutes "${MINUTES:-5}" --eval_size 200 \
    --train_path "$run" --overwrite
"$python" "$root/test.py" --pretrained_model "$run/best.ckpt" --limit 500 --baselines \
    --json "$run/result.json"
for name in trained_here weights_in_the_box; do
    weights=()
    if [ $name = trained_here ]; then weights=(--pretrained_model "$run/best.ckpt"); fi
    "$python" "$root/predict.py" "${weights[@]}" --output "$run/$name" --limit 2 --overwrite
done
"$python" "$root/export.py" --pretrained_model "$run/best.ckpt" --file_name "$run/convlstm.mindir"
cat <<EOF

checkpoint        $run/best.ckpt
learning curve    $run/metrics.csv
forecasts drawn   $run/pictures
configuration     $run/config.json
measured result   $run/result.json
exported model    $run/convlstm.mindir
the same two test sequences, forecast by that checkpoint and by the weights that come with the project:
                  $run/trained_here/sequence_0000.png
                  $run/weights_in_the_box/sequence_0000.png
EOF
