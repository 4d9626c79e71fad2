"""Random access to a split's records; what cannot be read is told with its file."""

from __future__ import annotations

import contextlib
import itertools
import pathlib
from collections.abc import Iterator, Sequence

import tensorflow_datasets as tfds

from dtn_jax.datasets.preparation.checked_files import remedy
from dtn_jax.errors import UserError

SHOWN = 200  # characters of array_record's messages
UNREADABLE = (OSError, RuntimeError, ValueError, KeyError)  # of array_record, TFDS and protobuf


class RecordSource(Sequence):
    """A split's records: `source[i]` is a dict of arrays, one block.

    array_record has a hash of each record, and raises where it does not fit.

    Raises:
      UserError: the set's own description, or a record, cannot be read.
    """

    def __init__(self, folder: pathlib.Path, split: str):
        self.folder, self.split = folder, split
        with self._told(()):
            builder = tfds.builder_from_directory(str(folder))
            self.info = builder.info.splits[split]
            self.records = builder.as_data_source(split=split)

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> dict:
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._told((index,)):
            return self.records[index]

    def __getitems__(self, indices: Sequence[int]) -> Sequence[dict]:
        with self._told(indices):
            return self.records.__getitems__(indices)

    @contextlib.contextmanager
    def _told(self, indices: Sequence[int]) -> Iterator[None]:
        try:
            yield
        except UNREADABLE as error:
            where = self._damaged(indices) or f"the records of {self.split} in {self.folder}"
            why = " ".join(str(error).split())[:SHOWN]
            raise UserError(f"{where} cannot be read ({why}); {remedy(self.folder)}") from error

    def _damaged(self, indices: Sequence[int]) -> str:
        """The file of the first of these records that cannot be read."""
        if not indices:
            return ""
        ends = list(itertools.accumulate(self.info.shard_lengths))
        for index in indices:
            try:
                _ = self.records[index]
            except UNREADABLE:
                file = next(n for n, end in enumerate(ends) if index < end)
                return f"record {index} of {self.split}, in {self.info.filepaths[file]},"
        return ""
