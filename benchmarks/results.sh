#!/usr/bin/env bash
# Compare model families on equal terms, on rendered motions and on folders of own clips:
#
#     benchmarks/results.sh OUT motions NAME=FOLDER ...
#
# `motions` is rendered; FOLDER has a folder of videos per class, or train/ and val/ of them. All families get the same
# frames, size, width, epochs and seeds, and each the learning rate that is best on held-out training clips. Tables and
# plots are in OUT/NAME; run again, it continues, and more FAMILIES become more rows. Variables change the settings:
# SIZE, FRAMES, WIDTH, EPOCHS, SEEDS, RATES, SEARCH_EPOCHS, FAMILIES, JOBS, CLIPS, the rendered training clips of each
# class, and MEASURE=yes, which adds speed and memory when all runs are done.
set -euo pipefail
out=${1:?give a folder for the results, then motions or NAME=FOLDER}
shift
: "${1:?name at least one data set: motions or NAME=FOLDER}"
epochs=${EPOCHS:-12}
families=${FAMILIES:-tdpn,tdpn+spatial_modulation=separable,tpn,tdn,tsm,tsn,slowfast,i3d,r2plus1d}

compare() {  # NAME FOLDER
    [ -f "$out/data/$1/manifest.json" ] || tdpn prep folder --root "$2" --out "$out/data/$1" --short-side "$((${SIZE:-48} * 9 / 8))"
    tdpn ablate --data "$out/data/$1" --out "$out/$1" --recipe small --vary "model=$families" ${MEASURE:+--measure} \
        --frames "${FRAMES:-8}" --size "${SIZE:-48}" --set "model.width=${WIDTH:-0.25}" --epochs "$epochs" \
        --seeds "${SEEDS:-3}" --search-lr "${RATES:-0.0007,0.002,0.006}" --search-epochs "${SEARCH_EPOCHS:-$((epochs / 2))}" \
        --jobs "${JOBS:-1}" --workers 0
}

for set in "$@"; do
    if [ "$set" != motions ]; then
        compare "${set%%=*}" "${set#*=}"
        continue
    fi
    OUT=$out CLIPS=${CLIPS:-48} python3 - <<'PYTHON'
import os
from pathlib import Path

from tdpn_core.demo.render import render_dataset

clips = int(os.environ["CLIPS"])
render_dataset(Path(os.environ["OUT"]) / "videos", train_per_class=clips, val_per_class=clips, seed=1)
PYTHON
    compare motions "$out/videos"
done
