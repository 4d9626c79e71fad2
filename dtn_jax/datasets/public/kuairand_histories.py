"""KuaiRand's standard log with histories; kuairand_histories.yaml says how.

Reads the raw files of the data set `kuairand`, from the same folder, but for those of later days.
Rows, labels, days of the splits and the other fields are those of that set with `min_count=1`,
where its days begin on 8 April 2022, as in all versions of KuaiRand: so results on both differ by
histories alone.
"""

from __future__ import annotations

import pathlib
from typing import ClassVar

from dtn_jax.datasets.public.kuairand import KuaiRand
from dtn_jax.datasets.public.public_logs import PublicLogs
from dtn_jax.options import Option

LATER = "_4_22_to_5_08_"  # in the names of published files of which `kuairand` skips all rows


class KuaiRandHistories(PublicLogs):
    """KuaiRand: the fields and tasks of `kuairand`, and the user's last 50 clicks and long views.

    Histories list what is strictly earlier by `time_ms`, which the files must have, with all
    columns of `kuairand`.
    """

    name = "kuairand_histories"
    weight = ""
    OPTIONS: ClassVar[dict[str, Option]] = {
        "numbers": Option(
            "buckets",
            "how the duration is kept: in quantile buckets, or standardised for model.numbers",
            choices=("buckets", "standardise"),
        )
    }
    FIELD_OPTIONS = ("numbers",)

    def schema_text(self) -> str:
        kept = "" if self.own.numbers == "buckets" else ", encoder: standardise"
        return super().schema_text().replace("kind: numeric", f"kind: numeric{kept}")

    def variant(self) -> str:
        return "" if self.own.numbers == "buckets" else self.own.numbers

    def raw_files(self) -> dict[str, pathlib.Path]:
        """The raw files of the days that are read, by name.

        Raises:
          UserError: there are none; it says where to get them.
        """
        kuairand = KuaiRand(data_dir=str(self.root), manual_dir=self.manual_dir)
        return {name: path for name, path in kuairand.raw_files().items() if LATER not in name}
