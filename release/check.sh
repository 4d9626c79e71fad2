#!/bin/bash
# What a release would ship, made and tried as a stranger would: `make release-check`.
#
# Everything happens in a new folder under $TMPDIR (/tmp), from the commit alone: no file of the working
# tree and no package of .venv is used. Packages come from the index that pip is set up for, newest
# first, as a user gets them; PIP_CONSTRAINT=constraints.txt takes the versions of `make test` instead.
set -euo pipefail

repository=$(cd "$(dirname "$0")/.." && pwd)
python=${PYTHON:-python3}
folder=$(mktemp -d "${TMPDIR:-/tmp}/dtn_jax_release.XXXXXX")
trap 'status=$?; if [ $status -ne 0 ]; then echo "failed, in $folder"; else rm -rf "$folder"; fi' EXIT
[ -z "${PIP_CONSTRAINT:-}" ] || export PIP_CONSTRAINT=$(realpath "$PIP_CONSTRAINT")

step() { echo; echo "== $1 ($((SECONDS)) s)"; }

step "1/6 the commit, in a folder of its own: $folder"
[ -z "$(git -C "$repository" status --porcelain)" ] || echo "warning: changes that are not committed are left out"
mkdir "$folder/source" "$folder/elsewhere"
git -C "$repository" archive HEAD | tar -x -C "$folder/source"

step "2/6 a source distribution, and a wheel made from it"
"$python" -m venv "$folder/tools"
"$folder/tools/bin/pip" install --quiet build twine cffconvert
"$folder/tools/bin/python" -m build --outdir "$folder/dist" "$folder/source" >"$folder/build.log" || { cat "$folder/build.log"; exit 1; }
ls -lh "$folder/dist" | awk 'NR > 1 {print $5, $9}'

step "3/6 their metadata, and CITATION.cff"
"$folder/tools/bin/twine" check --strict "$folder"/dist/*
"$folder/tools/bin/cffconvert" --validate --infile "$folder/source/CITATION.cff"

step "4/6 the wheel, installed in a new environment"
"$python" -m venv "$folder/user"
"$folder/user/bin/pip" install --quiet "$folder"/dist/*.whl
"$folder/user/bin/pip" check

step "5/6 a model, trained in another folder, and exported"
cd "$folder/elsewhere"
export DTN_DATA_DIR=$folder/elsewhere/prepared PYTHONPATH=
"$folder/user/bin/dtn-jax" train --config=configs/adult.py:dtn,quick --workdir=runs/adult_dtn --cache_dir=none --config.train.max_steps=10
"$folder/user/bin/dtn-jax" export --workdir=runs/adult_dtn --out=models/adult_dtn

step "6/6 the model, loaded, and a file scored"
"$folder/user/bin/python" - <<'PYTHON'
import importlib.metadata

import dtn_jax
import dtn_jax.export
import polars as pl
from dtn_jax.datasets import adult

rows = pl.read_parquet(adult.FILE).head(1000)
rows.write_parquet("rows.parquet")
model = dtn_jax.export.load("models/adult_dtn")
scores = model.score(rows)
assert scores.shape == (1000, len(model.outputs)), scores.shape
assert dtn_jax.__version__ == importlib.metadata.version("dtn_jax")
print(dtn_jax.__version__, scores.mean().to_dicts()[0])
PYTHON
"$folder/user/bin/dtn-jax" score --model=models/adult_dtn --input=rows.parquet --output=scores.parquet

step "done: this commit can be released"
