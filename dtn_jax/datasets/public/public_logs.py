"""The common part of the public sets whose schema file lies in this folder."""

from __future__ import annotations

import pathlib

from dtn_jax.datasets.data_set import DataSet, Files

__all__ = ["Files", "PublicLogs"]

SCHEMAS = pathlib.Path(__file__).parent


class PublicLogs(DataSet):
    """A public set: its class says which raw files it has, where they are, and its schema file."""

    def schema_name(self) -> str:
        """The schema file's name, without `.yaml`."""
        return self.name

    def schema_text(self) -> str:
        return (SCHEMAS / f"{self.schema_name()}.yaml").read_text()
