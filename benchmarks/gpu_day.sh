#!/usr/bin/env bash
# All tests and measurements for a CUDA GPU, in at most 8 minutes:
#
#     benchmarks/gpu_day.sh OUT [WHEELS]
#
# OUT is the output folder: summary.txt, and a log of each part. WHEELS is a folder of packages to
# install first, offline. A part that fails or takes too long does not stop the next ones.
# REHEARSE=1 runs the same on the CPU with tiny networks. PYTHON names the interpreter (default: python3).
set -u
cd "$(dirname "$0")/.."
out=$(mkdir -p "${1:?give a folder for the results}" && cd "$1" && pwd)
wheels=${2:-}
python=${PYTHON:-python3}
work=$out/work
mkdir -p "$work"
total=${TOTAL:-465}  # seconds after which all parts are stopped; the rest of the script fits into 8 minutes
tiny=${REHEARSE:+--rehearse}
export PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH} PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 COLUMNS=140

part() {  # NAME SECONDS COMMAND...
    local name=$1 limit=$2 began=$SECONDS left=$((total - SECONDS)) status
    shift 2
    [ "$left" -lt "$limit" ] && limit=$left
    if [ "$limit" -lt 5 ]; then
        echo "$name: not started, no time left" | tee -a "$out/summary.txt"
        return
    fi
    timeout -k 5 "$limit" "$@" >"$out/$name.txt" 2>&1
    status=$?
    [ $status -eq 124 ] && status="124 (stopped after $limit s)"
    echo "$name: exit $status, $((SECONDS - began)) s" | tee -a "$out/summary.txt"
}

: >"$out/summary.txt"
if [ -n "$wheels" ]; then
    part install 40 "$python" -m pip install -q --no-index --no-deps --no-compile --target "$work/site" "$wheels"/*.whl
    export PYTHONPATH=$PYTHONPATH:$work/site
fi
part environment 25 "$python" -m tdpn_cli doctor
part tests 110 "$python" -m pytest tests/gpu -m cuda -o filterwarnings=default -o addopts= -v --durations=5
part table 105 "$python" benchmarks/gpu.py --seconds 90 $tiny
part profile 45 "$python" benchmarks/gpu_step.py profile $tiny
part data 45 "$python" benchmarks/gpu_step.py data "$work" $tiny
part waiting 60 "$python" benchmarks/gpu_step.py waiting "$work/data" $tiny
part finetune 75 "$python" benchmarks/gpu_step.py finetune "$work" $tiny
[ -f "$work/run/metrics.csv" ] && cp "$work/run/metrics.csv" "$out/finetune-metrics.csv"
rm -rf "$work"
cat "$out/summary.txt"
