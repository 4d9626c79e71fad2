"""Ali-CCP (Alibaba Click and Conversion Prediction): impressions of a shop, click → conversion.

Reads, from `<manual_dir>/ali_ccp`, the published `sample_skeleton_{train,test}.csv` and
`common_features_{train,test}.csv`, or else the `train_data.csv` and `test_data.csv` that the
reader released with DTN writes from them; each plain or `.gz`. See text.py for the
formats and for what counts as damage, join.py for the join.

Six fields hold several values and are bags; their first `max_values` values are kept, in the
order of the file. Three more, crosses of a user's behaviours with the item, hold one value whose
weight says how much of that behaviour there was: bags of one. The other fields hold one value: the
first is kept, and weights are not used. What finds no slot is counted. A missing field of one value
is the unknown id 0, which has a row like any other; a missing bag is the zero vector, where the
released run trains one row for missing and unknown values alike.
"""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import tensorflow_datasets as tfds

from dtn_jax.datasets.ali_ccp import join as ali_ccp_join
from dtn_jax.datasets.ali_ccp.join import NOBODY, Common, Impressions, nothing, read_common
from dtn_jax.datasets.ali_ccp.raw_files import COMMON, HOME, RELEASED, SKELETON, locate
from dtn_jax.datasets.ali_ccp.text import (
    FIELDS,
    NO_INDEX,
    NOT_FOUND,
    USER,
    held_out,
    keep,
    released_rows,
    sample_ids,
    skeleton_rows,
)
from dtn_jax.datasets.preparation.blocks import Layout
from dtn_jax.datasets.preparation.builder import BlockBuilder
from dtn_jax.datasets.preparation.encoders import Bag, Vocabulary
from dtn_jax.datasets.preparation.ragged import pad
from dtn_jax.datasets.preparation.text_lines import Damage, by_file, read_lines, too_many
from dtn_jax.errors import UserError
from dtn_jax.options import Option
from dtn_jax.schema import Task

BAGS = ("109_14", "110_14", "127_14", "150_14", "210", "853")
CROSSES = ("508", "509", "702")
POOLINGS = ("sum", "mean", "max", "unweighted")
WITHOUT_CLICK = ("drop", "keep", "click")


class AliCCP(BlockBuilder):
    """Ali-CCP: 23 fields of users, items and their history; click → conversion.

    The group of a row, for GAUC, is its user.
    """

    VERSION = tfds.core.Version("2.0.0")  # raised whenever its files would give other rows
    name = "ali_ccp"
    group = FIELDS[USER]
    OPTIONS: ClassVar = {
        "min_count": Option(2, "times that train must show a value of a vocabulary", least=1),
        "max_values": Option(20, "values of a bag that are kept, the first ones", least=1),
        "pooling": Option(
            "sum",
            "of bags: by their weights (sum, mean) or without them (max; unweighted, the released "
            "run's sum)",
            choices=POOLINGS,
        ),
        "conversion_without_click": Option(
            "drop",
            "rows with one but not the other: drop them, as the released reader does, keep them as "
            "they are, or count them as clicks",
            choices=WITHOUT_CLICK,
        ),
        "damaged": Option(
            20,
            "percentage of a file's lines that may be left out, or lack their common features",
            least=0,
            most=100,
        ),
    }
    FIELD_OPTIONS: ClassVar = ("min_count", "max_values", "pooling")

    def __init__(self, **kwargs):
        self.damage: dict[str, Damage] = {}  # by split, and of files of common features by name
        self.odd: dict[str, int] = {}  # conversions without a click, by split
        self._held: tuple[str, Common] = ("", nothing())  # the part whose common features are held
        super().__init__(**kwargs)

    def variant(self):
        own = self.own
        counts = f"min_count{own.min_count}", f"max_values{own.max_values}"
        return "_".join((own.pooling, *counts, own.conversion_without_click))

    def encoders(self):
        weighted = self.own.pooling in ("sum", "mean")
        made = {}
        for name in FIELDS:
            if name in (*BAGS, *CROSSES):
                made[name] = Bag(
                    max_values=self.own.max_values if name in BAGS else 1,
                    min_count=self.own.min_count,
                    pooling="sum" if self.own.pooling == "unweighted" else self.own.pooling,
                    weights=f"{name}_weights" if weighted else "",
                )
            else:
                made[name] = Vocabulary(min_count=self.own.min_count)
        return made

    def tasks(self):
        conversion = Task("conversion", upstream=("click",), also_report=("click",))
        return (Task("click"), conversion)

    def layout(self):
        return Layout(lanes=32, block_rows=128)

    @functools.cached_property
    def files(self) -> dict[str, pathlib.Path]:
        """The files, by their published names without `.gz`."""
        if not self.manual_dir:
            raise UserError(
                f"ali_ccp is not downloaded: get it from {HOME} and give data.manual_dir (or "
                "$DTN_MANUAL_DIR), a folder whose folder ali_ccp holds its four files"
            )
        return locate(self.manual_dir / "ali_ccp")

    def raw_files(self):
        return list(self.files.values())

    def raw(self, dl_manager):
        self.published = SKELETON.format("train") in self.files
        return {s: functools.partial(self.frames, s) for s in ("train", "validation", "test")}

    def frames(self, split: str) -> Iterator[Impressions]:
        """The impressions of a split, a chunk of lines at a time."""
        part = "test" if split == "test" else "train"
        common = self.common(part) if self.published else nothing()
        path = self.files[(SKELETON if self.published else RELEASED).format(part)]
        damage = self.damage[split] = Damage(path, split)
        self.odd[split] = 0
        wanted = {
            "train": lambda lines: ~held_out(sample_ids(lines)),
            "validation": lambda lines: held_out(sample_ids(lines)),
            "test": None,
        }[split]
        for lines in read_lines(path, damage, wanted):
            if self.published:
                rows, own = skeleton_rows(lines, damage)
                at = common.find(rows["common_index"])
                named = pc.not_equal(rows["common_index"], "").to_numpy(zero_copy_only=False)
                keep(rows, named, NO_INDEX, damage)
                keep(rows, (at >= 0) | ~named, NOT_FOUND, damage)
            else:
                rows, own = released_rows(lines, damage)
                at = np.full(len(rows), -1)
            user = pad(own[USER].ids.astype(np.int64), own[USER].lengths, 1, NOBODY)[:, 0]
            user = np.where(user == NOBODY, common.users[at], user)
            nobody = NOBODY - rows["sample_id"].cast(pa.int64()).to_numpy()  # a group of its own
            click, conversion = (
                pc.equal(rows[label], "1").to_numpy(zero_copy_only=False)
                for label in ("click", "conversion")
            )
            odd = conversion & ~click
            self.odd[split] += int(odd.sum())
            columns = {
                "click": click | odd if self.own.conversion_without_click == "click" else click,
                "conversion": conversion,
                self.group: np.where(user == NOBODY, nobody, user),
            }
            chunk = Impressions(columns, own, at, common)
            if self.own.conversion_without_click == "drop" and odd.any():
                chunk = chunk.filter(~odd)
            if len(chunk):
                yield chunk
        damage.check(self.own.damaged)
        rows = damage.lines - damage.left_out
        if self.own.conversion_without_click == "drop" and self.odd[split] == rows:
            raise UserError(
                f"{path}: each of the {rows:,} impressions of {split} is a conversion without a "
                "click, and conversion_without_click=drop leaves none"
            )

    def check_notes(self, notes):
        """A set that was prepared with a higher `damaged` is the same, and may be too poor."""
        for name, found in notes["lines"].items():
            problem = too_many(
                found.get("limited", found["left_out"]), found["lines"], self.own.damaged
            )
            if problem:
                raise UserError(
                    f"when {name} was prepared, {problem}. {' '.join(notes.get('account', ()))}"
                )
        lines = sum(found["left_out"] for found in notes["lines"].values())
        return f"{lines:,} damaged lines were left out when it was prepared" if lines else ""

    def common(self, part: str) -> Common:
        """The common features of a part; held until another part's are asked for."""
        if self._held[0] != part:
            self._held = ("", nothing())  # before the next are read
            name = COMMON.format(part)
            damage = self.damage[name] = Damage(self.files[name])
            self._held = (part, read_common(self.files[name], self.encoders(), damage))
            damage.check(self.own.damaged)
        return self._held[1]

    def check(self, frame: Impressions, where: str, first_row: int) -> None:
        """Lines were checked when they were read."""

    def fit(self, frames):
        return ali_ccp_join.fit(self.encoders(), frames)

    def encode(self, frame: Impressions):
        return ali_ccp_join.encode(self.fitted, frame)

    def notes(self):
        return {
            "lines": {name: damage.facts() for name, damage in self.damage.items()},
            "conversions_without_click": self.odd,
            "values_that_found_no_slot": self.counts.cut,
        }

    def account(self):
        lines = [line for damage in by_file(self.damage.values()) for line in damage.account()]
        done = {"drop": "left out", "keep": "kept", "click": "counted as clicks"}
        done = done[self.own.conversion_without_click]
        if any(self.odd.values()):
            counts = ", ".join(f"{n:,} of {split}" for split, n in self.odd.items())
            lines.append(f"conversions without a click {done}: {counts}")
        for split, fields in self.counts.cut.items():
            counts = ", ".join(f"{n:,} of {field}" for field, n in fields.items() if n)
            if counts:
                lines.append(f"values of {split} that found no slot: {counts}")
        return lines
