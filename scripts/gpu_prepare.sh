#!/usr/bin/env bash
# Fill a folder with what a GPU machine without a network lacks, and print the one command that measures there:
#
#   scripts/gpu_prepare.sh [--check] [--warp] [FOLDER]
#
# Such a machine has Python 3.12, torch 2.11 with CUDA 13, NumPy, SciPy and JAX. FOLDER, gpu_wheels unless given, takes
# the wheels of the rest for it, a wheel of this tree, and Omniglot from METARL_DATA. With --check the wheels are also
# installed into a Python 3.12 that has no more than torch, NumPy and SciPy, and used there; METARL_PYTHON312 names one,
# else an empty environment is made, for which torch is downloaded: gigabytes.
#
# With --warp FOLDER-warp takes what the warp engine needs beyond that, for a second command: its largest wheel, of 149
# MB, is more than one transfer takes, so it is cut into parts of at most 60 MiB, each in a folder that is moved alone
# beside the tree, and joined there.
set -euo pipefail
cd "$(dirname "$0")/.."

most_mib=64 # that the tree and the folder may have together
check=no warp=no folder=gpu_wheels
for argument in "$@"; do
    case $argument in
        --check) check=yes ;;
        --warp) warp=yes ;;
        -*) echo "error: $argument is unknown; there are --check, --warp and a folder" >&2; exit 2 ;;
        /* | *..*) echo "error: $argument is outside of the tree; name a folder in it" >&2; exit 2 ;;
        *) folder=$argument ;;
    esac
done
python=.venv/bin/python
[ -x $python ] || { echo "error: there is no $python; run make install first" >&2; exit 2; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

download() { # into a folder, the wheels of what the package named after it needs, of our own unless named
    local platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64) to=$1
    for minor in $(seq 5 39); do platforms+=(--platform "manylinux_2_${minor}_x86_64"); done
    PYTHONPATH=scripts $python -m gpu.needs "${@:2}" > "$scratch/needs.txt"
    $python -m pip download --quiet --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
        --implementation cp "${platforms[@]}" --dest "$to" --requirement "$scratch/needs.txt"
}

wheels() { # into a new folder, so that no older version of a package stays
    download "$scratch/wheels"
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

tree_bytes() { # without results/, which no row reads
    git ls-files -z --cached --others --exclude-standard -- . ':!results' \
        | du --files0-from=- --bytes --total 2> /dev/null | tail -n 1 | cut -f 1
}

sizes() {
    local tree carried
    tree=$(tree_bytes)
    carried=$(du --bytes --summarize "$folder" | cut -f 1)
    echo "$(ls "$folder"/*.whl | wc -l) wheels and data in $folder: $((carried >> 20)) MiB; the tree without results: $((tree >> 20)) MiB"
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
    python_there=$there
    "$there" scripts/gpu_rows.py --device cpu --scale 0.01 --only tests --only trpo --output "$scratch/output" \
        || { tail -n 40 "$scratch/output/log.txt" >&2; exit 1; }
}

parts() { # the folders small, part-1, part-2, ... of FOLDER-warp
    local to=$folder-warp each part_mib=$((most_mib - 1 - ($(tree_bytes) >> 20)))
    if [ $part_mib -gt 60 ]; then part_mib=60; fi
    download "$scratch/warp" mujoco-warp
    big=$(basename "$scratch"/warp/warp_lang-*.whl)
    rm -rf "$to"
    mkdir -p "$to/small" "$scratch/parts"
    split --bytes="${part_mib}M" --numeric-suffixes=1 --suffix-length=1 "$scratch/warp/$big" "$scratch/parts/$big.part-"
    for each in "$scratch"/parts/*; do
        mkdir "$to/part-${each##*-}"
        mv "$each" "$to/part-${each##*-}"
    done
    (cd "$scratch/warp" && sha256sum "$big") > "$to/small/warp.sha256"
    find "$scratch/warp" -name '*.whl' ! -name "$big" -exec cp {} "$to/small" \;
}

join_parts() { # what is said at the end, for this machine or for that one
    echo "(cd $1 && cat $big.part-* > $big && sha256sum --quiet --check warp.sha256 && rm $big.part-*)"
}

joined() { # as it is done there, in the place of parts that were moved one by one
    mkdir "$scratch/there"
    cp "$folder"-warp/*/* "$scratch/there"
    bash -c "$(join_parts "$scratch/there")"
    cmp "$scratch/there/$big" "$scratch/warp/$big"
    echo "$(ls -d "$folder"-warp/part-* | wc -l) parts, joined, are $big"
}

checked_warp() {
    [ -n "${python_there:-}" ] || return 0
    "$python_there" -m pip install --quiet --disable-pip-version-check --no-index --no-deps --no-compile --target "$scratch/site" "$scratch/there"/*.whl
    "$python_there" scripts/gpu_rows.py --device cpu --scale 0.01 --only warp --output "$scratch/output-warp" \
        || { tail -n 40 "$scratch/output-warp/log.txt" >&2; exit 1; }
}

wheels
omniglot
sizes
if [ $check = yes ]; then checked; fi
if [ $warp = yes ]; then parts; joined; fi
if [ $warp$check = yesyes ]; then checked_warp; fi
cat << COMMAND

With this tree, without results/, and $folder there, from the tree's root:

python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/metarl-site $folder/*.whl && PYTHONUNBUFFERED=1 PYTHONPATH=/tmp/metarl-site METARL_DATA=\$PWD/$folder/data python3 scripts/gpu_rows.py --minutes 9 --output gpu_output

Then here, with gpu_output brought back: $python scripts/gpu_rows.py --publish gpu_output
COMMAND
if [ $warp = yes ]; then
    at=/tmp/metarl-warp
    echo
    echo "For the warp engine, on the same machine: with each of these folders there, one after the other,"
    echo
    for each in "$folder"-warp/*; do echo "mkdir -p $at && cp $each/* $at"; done
    echo
    echo "and then, with the first command's package still in /tmp/metarl-site:"
    echo
    echo "$(join_parts $at) && python3 -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target /tmp/metarl-site $at/*.whl && PYTHONUNBUFFERED=1 PYTHONPATH=/tmp/metarl-site python3 scripts/gpu_rows.py --minutes 9 --only warp --output gpu_output_warp"
fi
