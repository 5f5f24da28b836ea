#!/usr/bin/env bash
# The whole pipeline on a small model: fetches SmolLM2-135M, writes the demo's rows, trains the base adapter and the
# experts, and ends with held-out exact match of backbone, base and ensemble. A second call goes on where the first was
# stopped. Called by `make demo`; PYTHON is the interpreter of the virtual environment.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

elrea="${ELREA:-build/release/elrea}"
python="${PYTHON:-build/venv/bin/python}"
out="${1:-build/demo}"
begun=$SECONDS

"$elrea" model fetch smollm2 --python "$python"
if [[ ! -f build/demo-data/test.jsonl ]]; then
  "$python" tools/make_demo_data.py --output build/demo-data.partial --train-rows 600 --valid-rows 50 --test-rows 400
  mv build/demo-data.partial build/demo-data
fi
"$elrea" run --config configs/demo.yaml --out "$out"

echo
echo "Report: $out/eval/report.txt   ($(((SECONDS - begun) / 60)) min $(((SECONDS - begun) % 60)) s)"
echo "Talk to it: $elrea chat --run $out"
