"""Raw frames to a prepared data set: encoders fitted on train, rows written as blocks."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
from collections.abc import Iterator
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import tensorflow_datasets as tfds

from dtn_jax.datasets.preparation import checked_files, progress, records
from dtn_jax.datasets.preparation import encoders as enc
from dtn_jax.datasets.preparation.blocks import Layout, cut_blocks, pad
from dtn_jax.datasets.preparation.checks import check_frame
from dtn_jax.datasets.preparation.counts import Counts
from dtn_jax.datasets.preparation.dates import check_day
from dtn_jax.datasets.preparation.groups import check_group
from dtn_jax.datasets.preparation.record_writer import RecordWriter
from dtn_jax.datasets.preparation.records import Frame, Frames
from dtn_jax.errors import UserError
from dtn_jax.options import Option
from dtn_jax.schema import Schema, Task

RULES = 1  # raised whenever the same raw files would be prepared to other rows


class BlockBuilder(RecordWriter, skip_registration=True):
    """The common part of every data set; a data set's file fills in the four methods below."""

    def __init_subclass__(cls, **kwargs):  # TFDS would refuse a plug-in's class the second time
        super().__init_subclass__(**{"skip_registration": True} | kwargs)

    VERSION = tfds.core.Version("1.0.0")

    def encoders(self) -> dict[str, enc.Encoder]:
        """The unfitted encoder of each field, in field order."""
        raise NotImplementedError

    def tasks(self) -> tuple[Task, ...]:
        """The labels, in the order of `Batch.labels`."""
        raise NotImplementedError

    def raw(self, dl_manager) -> dict[str, Frames]:
        """The frames of `train`, `validation` and `test`: a column a field, task and weight."""
        raise NotImplementedError

    def layout(self) -> Layout:
        """How rows lie in records; `blocks.default_layout` gives the usual one."""
        raise NotImplementedError

    weight = ""  # the column stored as the example's weight
    group = ""  # the column stored as the example's group: see groups.py
    day = ""  # the column of dates stored as the example's day: see dates.py
    OPTIONS: ClassVar[dict[str, Option]] = {}  # `data.options`; their values are in `self.own`
    FIELD_OPTIONS: ClassVar[tuple[str, ...]] = ()  # those that leave rows and labels as they are
    SOURCE: ClassVar[str] = ""  # SHA-256 of the plug-in that it came with

    def notes(self) -> dict[str, object]:
        """Further facts to keep beside the data, JSON-able, written to notes.json."""
        return {}

    def account(self) -> list[str]:
        """What was not taken as it stood in the raw files: lines, also kept in notes.json."""
        return []

    def check_notes(self, notes: dict) -> str:
        """What to say of a set that was prepared earlier, of which these are the notes.

        Raises:
          UserError: it is not fit for use with the options of this builder.
        """
        return ""

    def raw_files(self) -> list[pathlib.Path]:
        """The user's own files that `raw` reads; what tells others from them is kept
        beside the data: their names, sizes and ends.

        Raises:
          UserError: they are not there.
        """
        return []

    def expected_rows(self) -> dict[str, int]:
        """Rows of the splits whose size is known beforehand; only shown."""
        return {}

    # What a data set may do in its own way where its frames are not tables of values.

    def check(self, frame: Frame, where: str, first_row: int) -> None:
        """Raises UserError where a frame is not as the encoders, tasks and weight want it."""
        check_frame(frame, self.encoders(), self.tasks(), self.weight, where, first_row)
        for name, check in ((self.group, check_group), (self.day, check_day)):
            if name:
                check(frame, name, where, first_row)

    def fit(self, frames: Iterator[Frame]) -> dict[str, enc.Encoder]:
        """The fitted encoders, from the frames of train."""
        return enc.fit(self.encoders(), frames)

    def encode(self, frame: Frame) -> dict[str, enc.Encoded]:
        """The slots of each field of a frame."""
        return {name: enc.encode(name, e, frame) for name, e in self.fitted.items()}

    # What follows is the same for every data set.

    def recipe(self) -> str:
        """SHA-256 of what prepared rows depend on beside the raw files; kept beside them.

        The rules of a builder or an encoder that changed without their options are not seen:
        such a change raises RULES.
        """
        return self.recipe_of(self.encoders(), self.tasks())

    def recipe_of(self, encoders: dict[str, enc.Encoder], tasks: tuple[Task, ...]) -> str:
        """The recipe with these; for a data set whose raw files decide which of them it has."""
        facts = (RULES, str(self.VERSION), enc.to_json(encoders), tasks, self.layout(), self.weight)
        facts += tuple(filter(None, (self.group, self.SOURCE)))  # sets without keep their recipe
        return hashlib.sha256(repr(facts).encode()).hexdigest()

    def outdated(self) -> str:
        """What to say of a set of another recipe."""
        rules = "other rules (encoders, tasks or layout) than those of this version"
        rules = "another version of its plug-in" if self.SOURCE else rules
        return f"{self.data_dir} was prepared by {rules}; delete it to prepare the data set again"

    def raw_sizes(self) -> dict[str, int]:
        """Bytes of the files that `raw` reads, by name."""
        return {path.name: path.stat().st_size for path in self.raw_files()}

    def raw_hashes(self) -> dict[str, str]:
        """A hash of the ends of the files that `raw` reads, by name."""
        return {path.name: checked_files.hash_ends(path) for path in self.raw_files()}

    def __init__(self, *, manual_dir: pathlib.Path | None = None, **kwargs):
        """`kwargs` are options by name, and TFDS's own."""
        self.manual_dir = manual_dir
        own = {name: kwargs.pop(name, found.default) for name, found in self.OPTIONS.items()}
        for name, value in own.items():
            self.OPTIONS[name].check(f"option {name} of data set {self.name}", value)
        self.own = SimpleNamespace(**own)
        if own and (variant := self.variant()):
            kwargs["config"] = tfds.core.BuilderConfig(name=variant, version=self.VERSION)
        super().__init__(**kwargs)

    def variant(self) -> str:
        """The folder of a set with these options; '' is that of the data set itself."""
        return "_".join(f"{name}{value}" for name, value in vars(self.own).items())

    def _info(self) -> tfds.core.DatasetInfo:
        return tfds.core.DatasetInfo(
            builder=self,
            description=self.__doc__,
            features=records.features(
                self.layout().block_rows,
                tuple(self.encoders().values()),
                len(self.tasks()),
                *map(bool, (self.weight, self.group, self.day)),
            ),
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager):
        raw = self.raw(dl_manager)
        frames = {s: functools.partial(self._checked, s, f) for s, f in raw.items()}
        self.rows = dict.fromkeys(frames, 0) | self.expected_rows()
        fitting = self.bars.count(frames["train"](), "fit on train", self.rows["train"])
        self.fitted = self.fit(fitting)
        self.counts = Counts(frames, self.fitted, [task.name for task in self.tasks()])
        self.digest = hashlib.sha256(self.schema().to_json().encode())
        self.digest.update(enc.to_json(self.fitted).encode())
        return {split: self._generate_examples(split, frames[split]) for split in frames}

    def _generate_examples(self, split: str, frames: Frames):
        expected = self.rows[split]  # train's are known once the encoders were fitted on it
        blocks = cut_blocks((self._encode(split, frame) for frame in frames()), self.layout())
        blocks = self.bars.count(blocks, split, expected, rows=lambda block: len(block["ids"]))
        for i, block in enumerate(blocks):
            for values in block.values():
                self.digest.update(values.tobytes())
            yield i, {k: pad(v, self.layout().block_rows) for k, v in block.items()}
        if not self.rows[split]:
            raise UserError(f"{self.name}: the {split} split is empty")

    def _checked(self, split: str, frames: Frames) -> Iterator[Frame]:
        """The split's frames, each checked before anything reads it; counts the rows."""
        self.rows[split] = 0
        for frame in frames():
            self.check(frame, f"{self.name}/{split}", self.rows[split])
            self.rows[split] += len(frame)
            yield frame

    def _encode(self, split: str, frame: Frame) -> dict[str, np.ndarray]:
        """Columns to arrays `[rows, ...]`; counts unknown values and labels on the way."""
        columns = self.encode(frame)
        own = self.weight, self.group, self.day
        block = records.arrays(frame, columns, self.fitted, self.tasks(), *own)
        self.counts.add(split, columns, block["label_mask"])
        return block

    def schema(self) -> Schema:
        """The schema that is written beside the rows; the encoders must be fitted."""
        fields = tuple(enc.field(name, encoder) for name, encoder in self.fitted.items())
        return Schema(self.name, fields, self.tasks(), self.weight, self.group, self.day)

    def _download_and_prepare(self, dl_manager, download_config):
        with progress.without_tfds_bars(), progress.Rows() as self.bars:
            super()._download_and_prepare(dl_manager, download_config)

    def _write_facts(self, folder: pathlib.Path) -> None:
        (folder / "schema.json").write_text(self.schema().to_json())
        (folder / "encoders.json").write_text(enc.to_json(self.fitted))
        account = [*self.account(), *self.counts.unlabelled(self.rows)]
        notes = self.notes() | ({"account": account} if account else {})
        (folder / "notes.json").write_text(json.dumps(notes, indent=1))
        written = [*sorted(folder.glob("*.array_record*")), folder / "encoders.json"]
        sizes = {p.name: p.stat().st_size for p in written}
        prepared = {
            "fingerprint": self.digest.hexdigest(),
            "recipe": self.recipe(),
            checked_files.SEALED: True,
            "layout": dataclasses.asdict(self.layout()),
            "rows": self.rows,
            "unknown_values": self.counts.unknown,
            "kept_values": self.counts.kept,
            "missing_labels": self.counts.missing,
            "files": sizes,
            "raw_files": self.raw_sizes(),
            "raw_hashes": self.raw_hashes(),
        }
        if any(self.counts.cut.values()):
            prepared["cut_values"] = self.counts.cut
        (folder / "prepared.json").write_text(json.dumps(prepared, indent=1))

    # What TFDS would say at these places speaks of its own folders, sizes and configs.

    def _log_download_bytes(self) -> None:
        progress.say(f"Preparing {self.name} in {self.data_dir}")

    def _log_download_done(self) -> None:
        made = self.counts
        found = (self.rows, made.unknown, made.missing, made.values, made.cut)
        progress.say(progress.summary(self.name, *found))
        for line in [*self.account(), *made.unlabelled(self.rows)]:
            progress.say(f"{self.name}: {line}")
