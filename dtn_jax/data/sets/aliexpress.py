"""AliExpress' search logs of four countries, as distributed for multi-task learning.

Reads `AliExpress_NL/train.csv` and `AliExpress_NL/test.csv`, or those of another country. The
script of MTReclib (github.com/easezyc/Multitask-Recommendation-Library) makes them of the published
files; aliexpress.yaml has the rest.
"""

from __future__ import annotations

import pathlib
from typing import ClassVar

from dtn_jax.data.sets.data_set import DataSet
from dtn_jax.options import Option


class AliExpress(DataSet):
    """AliExpress' search: click → conversion, 16 categorical and 63 numeric fields."""

    name = "aliexpress"
    schema = pathlib.Path(__file__).with_suffix(".yaml")
    weight = ""
    OPTIONS: ClassVar[dict[str, Option]] = {
        "country": Option("NL", "whose searches", choices=("NL", "ES", "FR", "US"))
    }

    def raw_names(self) -> tuple[str, ...]:
        folder = f"AliExpress_{self.options.country}"
        return tuple(f"{folder}/{split}.csv" for split in ("train", "test"))
