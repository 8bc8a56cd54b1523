#!/usr/bin/env bash
# Fill a folder with what a GPU machine without a network lacks, and print the one command that measures there:
#
#   scripts/gpu_prepare.sh [--check] [FOLDER]
#
# Such a machine has Python 3.12, torch 2.11 with CUDA 13, NumPy, SciPy and JAX. FOLDER, gpu_wheels unless given, takes
# the wheels of the rest for it, a wheel of this tree, and Omniglot from METARL_DATA. With --check the wheels are also
# installed into a Python 3.12 that has no more than torch, NumPy and SciPy, and used there; METARL_PYTHON312 names one,
# else an empty environment is made, for which torch is downloaded: gigabytes.
set -euo pipefail
cd "$(dirname "$0")/.."

most_mib=64 # that the tree and the folder may have together
check=no folder=gpu_wheels
for argument in "$@"; do
    case $argument in
        --check) check=yes ;;
        -*) echo "error: $argument is unknown; there are --check and a folder" >&2; exit 2 ;;
        /* | *..*) echo "error: $argument is outside of the tree; name a folder in it" >&2; exit 2 ;;
        *) folder=$argument ;;
    esac
done
python=.venv/bin/python
[ -x $python ] || { echo "error: there is no $python; run make install first" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

wheels() { # into a new folder, so that no older version of a package stays
    local platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
    for minor in $(seq 5 39); do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
    PYTHONPATH=scripts $python -m gpu.needs > "$scratch/needs.txt"
    $python -m pip download --quiet --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp "${platforms[@]}" --dest "$scratch/wheels" --requirement "$scratch/needs.txt"
    # Of a copy: a build folder left in the tree would put deleted modules into the wheel.
    mkdir "$scratch/tree"
    git ls-files -z --cached --others --exclude-standard -- metarl envs agents pyproject.toml README.md LICENSE \
        | tar --null --ignore-failed-read -T - -c 2> /dev/null | tar -x -C "$scratch/tree"
    $python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation \
        --wheel-dir "$scratch/wheels" "$scratch/tree"
    mkdir -p "$folder"
    rm -f "$folder"/*.whl
    cp "$scratch"/wheels/*.whl "$folder"
}

omniglot() {
    local from=${METARL_DATA:-}/omniglot to=$folder/data/omniglot
    if [ ! -f "$from/omniglot_28_nearest.npz" ]; then
        echo "Omniglot is left out: METARL_DATA holds no omniglot/omniglot_28_nearest.npz" >&2
        return
    fi
    mkdir -p "$to/splits_vinyals"
    cp -f "$from/omniglot_28_nearest.npz" "$to"
    cp -f "$from"/splits_vinyals/{train,val,test}.txt "$to/splits_vinyals"
    chmod -R u+w "$folder/data"
}

sizes() {
    local tree carried
    tree=$(git ls-files -z --cached --others --exclude-standard | du --files0-from=- --bytes --total 2> /dev/null | tail -n 1 | cut -f 1)
    carried=$(du --bytes --summarize "$folder" | cut -f 1)
    echo "$(ls "$folder"/*.whl | wc -l) wheels and data in $folder: $((carried >> 20)) MiB; the tree: $((tree >> 20)) MiB"
    if [ $(((tree + carried) >> 20)) -ge $most_mib ]; then
        echo "error: together they are more than $most_mib MiB" >&2
        exit 1
    fi
}

python312() { # one with torch, or an empty one that is given torch
    if [ -n "${METARL_PYTHON312:-}" ]; then
        echo "$METARL_PYTHON312"
        return
    fi
    local found=
    for each in python3.12 "$HOME"/.pyenv/versions/3.12*/bin/python; do
        if "$each" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2> /dev/null; then found=$each; fi
    done
    [ -n "$found" ] || return 0
    "$found" -m venv "$scratch/empty"
    # Another index or constraint of this machine may hold other versions of torch.
    PIP_CONFIG_FILE=/dev/null "$scratch/empty/bin/python" -m pip install --quiet --disable-pip-version-check --no-compile \
        'torch==2.11.*' numpy scipy 1>&2
    echo "$scratch/empty/bin/python"
}

checked() {
    local there
    there=$(python312)
    if [ -z "$there" ]; then
        echo "not checked: this machine has no Python 3.12; name one by METARL_PYTHON312" >&2
        return
    fi
    "$there" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$scratch/site" "$folder"/*.whl
    export PYTHONPATH=$scratch/site METARL_DATA=$PWD/$folder/data OMP_NUM_THREADS=1
    "$there" -P -W error - <<'CODE'
import importlib, sys
import torch
from metarl.agents import AGENTS
from metarl.envs import FAMILIES
from metarl.family import make_family
for name in ("metarl.cli.main", "metarl.fewshot.model", "metarl.evaluation.driver", "pytest"):
    importlib.import_module(name)
families = [make_family(name) for name in FAMILIES]
print(f"Python {sys.version.split()[0]}, torch {torch.__version__}: {len(families)} families, {len(AGENTS)} agents")
CODE
    "$there" scripts/gpu_rows.py --device cpu --scale 0.01 --only tests --only trpo --output "$scratch/output" \
        || { tail -n 40 "$scratch/output/log.txt" >&2; exit 1; }
}

wheels
omniglot
sizes
if [ $check = yes ]; then checked; fi
cat << COMMAND

With this tree and $folder there, from the tree's root:

python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/metarl-site $folder/*.whl && PYTHONUNBUFFERED=1 PYTHONPATH=/tmp/metarl-site METARL_DATA=\$PWD/$folder/data python3 scripts/gpu_rows.py --minutes 9 --output gpu_output

Then here, with gpu_output brought back: $python scripts/gpu_rows.py --publish gpu_output
COMMAND
