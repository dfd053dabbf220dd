#!/usr/bin/env bash
# Compare model families on equal terms, on rendered motions and on folders of own clips:
#
#     benchmarks/results.sh OUT [NAME=FOLDER ...]
#
# FOLDER has a folder of videos per class. All families get the same frames, size, width, epochs and seeds, and each the
# learning rate that is best on held-out training clips. Tables and plots are in OUT/NAME; run again, it continues.
# Variables change the settings: SIZE, FRAMES, WIDTH, EPOCHS, SEEDS, RATES, FAMILIES, JOBS, and CLIPS, the rendered
# training clips of each class.
set -euo pipefail
out=${1:?give a folder for the results}
shift
families=${FAMILIES:-tdpn,tdpn+spatial_modulation=separable,tpn,tdn,tsm,tsn,slowfast,r2plus1d,i3d}
clips=${CLIPS:-48}

compare() {  # NAME FOLDER
    [ -f "$out/data/$1/manifest.json" ] || tdpn prep folder --root "$2" --out "$out/data/$1" --short-side "$((${SIZE:-64} * 9 / 8))"
    tdpn ablate --data "$out/data/$1" --out "$out/$1" --recipe small --vary "model=$families" --measure \
        --frames "${FRAMES:-8}" --size "${SIZE:-64}" --set "model.width=${WIDTH:-0.25}" --epochs "${EPOCHS:-12}" \
        --seeds "${SEEDS:-3}" --search-lr "${RATES:-0.0007,0.002,0.006}" --jobs "${JOBS:-1}" --workers 0
}

if [ ! -f "$out/data/motions/manifest.json" ]; then
    OUT=$out CLIPS=$clips python3 - <<'PYTHON'
import os
from pathlib import Path

from tdpn_core.demo.render import render_dataset

clips = int(os.environ["CLIPS"])
render_dataset(Path(os.environ["OUT"]) / "videos", train_per_class=clips, val_per_class=clips, seed=1)
PYTHON
fi
compare motions "$out/videos"
for set in "$@"; do
    compare "${set%%=*}" "${set#*=}"
done
