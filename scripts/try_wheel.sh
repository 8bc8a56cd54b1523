#!/usr/bin/env bash
# Install the wheel in dist/ with its dependencies in an environment of its own, outside the repository, and use it:
# scripts/try_wheel.sh PYTHON
set -euo pipefail
python=$(realpath --no-symlinks "$1") root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet --constraint "$root/constraints.txt" "$root"/dist/*.whl
cd "$folder"
export PATH="$folder/venv/bin:$PATH" OMP_NUM_THREADS=1
test "$(metarl --version)" = "$("$folder/venv/bin/python" -c 'from importlib.metadata import version; print(version("metarl-suite"))')"
metarl check metarl/GridNavi-v0
metarl train rl2 metarl/GridNavi-v0 --timesteps 240 --config.tasks 4 --name tried --quiet
metarl evaluate runs/tried --tasks 4 --quiet
metarl fewshot train prototypical --iterations 2 --config.tasks 1 --name few --quiet
metarl fewshot evaluate runs/few --episodes 20 --quiet
echo "$(metarl --version) works from its wheel, with $("$folder/venv/bin/python" --version)"
