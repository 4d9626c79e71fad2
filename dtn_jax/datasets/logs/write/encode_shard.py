"""Pass 2: encodes the rows of a shard and writes its records."""

from __future__ import annotations

import dataclasses
import json
import pathlib

import numpy as np
from tensorflow_datasets.core.example_serializer import ExampleSerializer

from dtn_jax.datasets import equal_rows
from dtn_jax.datasets.logs.fit import encoders, shards
from dtn_jax.datasets.logs.fit.merge import VOCABULARY
from dtn_jax.datasets.logs.rows.account import Account
from dtn_jax.datasets.logs.rows.checker import Rows
from dtn_jax.datasets.logs.rows.splits import SPLITS
from dtn_jax.datasets.logs.rows.unit_rows import split_rows
from dtn_jax.datasets.logs.work_folder import Work
from dtn_jax.datasets.logs.write.shard_files import Block, Output, arrays, features, file_of
from dtn_jax.datasets.logs.write.tally import Tally
from dtn_jax.datasets.preparation.blocks import Layout, pad
from dtn_jax.errors import UserError
from dtn_jax.shared_files import replacing, write_whole

TAIL_ROWS = 4096  # rows that are read at a time of units that only complete a record


def encode_shard(work: Work, shard: int) -> int:
    """Writes a shard's records into `set/`, and then what it did; returns how many rows it wrote.

    Raises:
      UserError: the raw files are not those of pass 1 any more.
    """
    writer = ShardWriter(work, shard)
    firsts = work.merged["shards"]
    own = range(firsts[shard], firsts[shard + 1])
    counts = work.merged["counts"]
    for unit in range(firsts[shard], len(work.units)):
        wanted = writer.wanted()
        if not any(wanted):
            break
        if unit not in own and not any(n and c for n, c in zip(wanted, counts[unit], strict=True)):
            continue
        for found in split_rows(work, unit, Account(), 0 if unit in own else TAIL_ROWS):
            writer.add(found.rows, found.split)
            if unit not in own and not any(writer.wanted()):
                break
    return writer.finish()


def hashes_of(work: Work, shard: int) -> pathlib.Path:
    """Where the hashes of a shard's rows are, by split."""
    return work.of("encode", shard).with_suffix(".npz")


class ShardWriter:
    """Takes rows in the order of the log, and writes those of its shard as records."""

    def __init__(self, work: Work, shard: int):
        merged = work.merged
        self.work, self.shard, self.spec = work, shard, work.spec
        self.layout = Layout(*merged["layout"])
        specs = {field.name: field for field in self.spec.fields}
        vocabularies = work.folder / "merged" / VOCABULARY
        self.fitted = encoders.fitted(specs, merged["encoders"], vocabularies)
        counts = np.array(merged["counts"])
        self.parts = shards.parts(self.layout, counts, merged["shards"], shard)
        self.at = {split: part.first_row for split, part in self.parts.items()}
        made = features(self.spec, self.fitted, self.layout.block_rows, work.time_unit)
        self.serializer = ExampleSerializer(made.get_serialized_info())
        self.features = made
        folder = work.folder / "set"
        folder.mkdir(exist_ok=True)
        self.outputs = {
            split: Output(file_of(folder, split, part), part.starts)
            for split, part in self.parts.items()
            if part.place >= 0
        }
        self.tally = Tally.of(self.fitted, [task.name for task in self.spec.tasks])
        self.rows = sum(merged["rows"].values())
        self.hashes: dict[str, list[np.ndarray]] = {split: [] for split in SPLITS}

    def wanted(self) -> list[int]:
        """How many rows of each split are still to come."""
        return [
            max(int(self.parts[split].starts[-1]) - self.at[split], 0)
            if split in self.outputs
            else 0
            for split in SPLITS
        ]

    def add(self, rows: Rows, split: np.ndarray) -> None:
        masks = {}
        for place, name in enumerate(SPLITS):
            mask = split == place
            count = int(mask.sum())
            start, self.at[name] = self.at[name], self.at[name] + count
            if name not in self.outputs or not count:
                continue
            starts = self.parts[name].starts
            number = np.arange(start, start + count)  # of the split's rows
            mask[mask] = (number >= starts[0]) & (number < starts[-1])
            if mask.any():
                masks[name] = mask
        if not masks:
            return
        columns = encoders.encode(self.fitted, rows)
        block = arrays(self.spec, columns, rows, self.work.time_unit)
        for name, mask in masks.items():
            self.tally.add(name, columns, block["label_mask"], mask)
            whole = mask.all()
            own = {k: v if whole else v[mask] for k, v in block.items()}
            self.outputs[name].add(own)
            if self.spec.split.by != "time":  # where copies of a row stay together
                self.hashes[name].append(equal_rows.of_block(own, self.rows))
            for record in self.outputs[name].records():
                self.outputs[name].write(self._serialized(record))

    def _serialized(self, block: Block) -> bytes:
        padded = {name: pad(v, self.layout.block_rows) for name, v in block.items()}
        example = self.serializer.get_tf_example(self.features.encode_example(padded))
        return example.SerializeToString(deterministic=True)  # else its arrays have any order

    def finish(self) -> int:
        written = {}
        for split, output in self.outputs.items():
            if self.wanted()[SPLITS.index(split)]:
                raise UserError(
                    f"the raw files have changed while {self.spec.name} was being prepared: "
                    f"{split} has fewer rows than before; prepare it again"
                )
            written[split] = output.close()
        facts = {"written": written} | dataclasses.asdict(self.tally)
        path = self.work.of("encode", self.shard)
        path.parent.mkdir(exist_ok=True)
        found = {split: np.concatenate(parts) for split, parts in self.hashes.items() if parts}
        with replacing(hashes_of(self.work, self.shard)) as temporary, temporary.open("wb") as file:
            np.savez(file, **found)
        write_whole(path, json.dumps(facts))
        return sum(found["rows"] for found in written.values())
