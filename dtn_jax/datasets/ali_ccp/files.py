"""Generated impressions as files in Ali-CCP's published format; see generator.py."""

from __future__ import annotations

import gzip
import pathlib
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dtn_jax.datasets.ali_ccp.generator import (
    EFFECTS,
    PARTS,
    PairSpec,
    common_blocks,
    random,
    skeleton_blocks,
)
from dtn_jax.datasets.ali_ccp.text import FIELDS
from dtn_jax.datasets.preparation.ragged import Ragged
from dtn_jax.errors import UserError


def index_texts(spec: PairSpec, part: str) -> list[str]:
    """The common_index of each line of common features."""
    numbers = random(spec, "index", part).integers(0, 2**64, spec.lines[part], np.uint64)
    return [f"{number:016x}" for number in numbers.tolist()]


def write(spec: PairSpec, folder: pathlib.Path, compressed: bool = False) -> list[pathlib.Path]:
    """Writes the four files, as `.gz` if `compressed`; returns their paths.

    They appear only when all are written, so that nobody takes unfinished files for them.

    Raises:
      UserError: one of them exists already, plain or as `.gz`; it may be the data set's own.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("common_features", "sample_skeleton"):
        there = sorted(folder.glob(f"{name}_*.csv*"))
        if there:
            raise UserError(f"{there[0]} exists and will not be overwritten; give another folder")
    unfinished = folder / "unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    try:
        written = _write(spec, unfinished, compressed)
        return [path.rename(folder / path.name) for path in written]
    finally:
        shutil.rmtree(unfinished)


def _write(spec: PairSpec, folder: pathlib.Path, compressed: bool) -> list[pathlib.Path]:
    paths = []
    for part in PARTS:
        index = pa.array(index_texts(spec, part))
        logits: dict[str, list[np.ndarray]] = {task: [] for task in EFFECTS}

        def common_lines(part=part, index=index, logits=logits):
            start = 0
            for block in common_blocks(spec, part):
                texts, counts = feature_texts(block.features)
                yield _joined(index[start : start + len(texts)], counts, texts)
                start += len(texts)
                for task, found in block.logits.items():
                    logits[task].append(found)

        def skeleton_lines(part=part, index=index, logits=logits):
            common = {task: np.concatenate(found) for task, found in logits.items()}
            for rows in skeleton_blocks(spec, part, common):
                texts, counts = feature_texts(rows.own)
                labels = (_text(label.astype(np.int8)) for label in (rows.click, rows.conversion))
                at = index.take(pa.array(rows.at))
                yield _joined(_text(rows.numbers), *labels, at, counts, texts)

        files = {"common_features": common_lines, "sample_skeleton": skeleton_lines}
        for name, lines in files.items():  # the logits of the first are used by the second
            paths.append(folder / f"{name}_{part}.csv{'.gz' if compressed else ''}")
            with gzip.open(paths[-1], "wb") if compressed else paths[-1].open("wb") as file:
                for piece in lines():
                    file.write(piece)
    return paths


def feature_texts(features: list[Ragged]) -> tuple[pa.Array, pa.Array]:
    """The columns of features, in the order of FIELDS, and of their number: texts `[n]`."""
    rows = np.arange(len(features[0]))
    owner = np.concatenate([np.repeat(rows, values.lengths) for values in features])
    field = np.repeat(np.arange(len(features), dtype=np.uint8), [len(v.ids) for v in features])
    order = np.argsort(owner, kind="stable")
    ids = np.concatenate([values.ids for values in features])[order]
    weights, which = np.unique(
        np.concatenate([values.weights for values in features])[order], return_inverse=True
    )
    weights = pa.array([str(float(str(weight))) for weight in weights])  # a float32's short text
    texts = pc.binary_join_element_wise(
        pa.array(FIELDS).take(pa.array(field[order])), _text(ids), "\x02"
    )
    texts = pc.binary_join_element_wise(texts, weights.take(pa.array(which)), "\x03")
    counts = np.bincount(owner, minlength=len(rows))
    ends = pa.array(np.cumsum([0, *counts]))
    return pc.binary_join(pa.LargeListArray.from_arrays(ends, texts), "\x01"), _text(counts)


def _text(numbers: np.ndarray) -> pa.Array:
    return pa.array(numbers).cast(pa.string())


def _joined(*columns: pa.Array) -> bytes:
    """Columns of text to the bytes of lines."""
    lines = pc.binary_join_element_wise(*(c.cast(pa.string()) for c in columns), ",")
    lists = pa.LargeListArray.from_arrays(pa.array([0, len(lines)]), lines)
    return pc.binary_join(lists, "\n")[0].as_py().encode() + b"\n"
