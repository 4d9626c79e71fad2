"""KuaiRand-Pure's standard log, split at fixed dates; kuairand_pure.yaml says how.

The set `kuairand` takes any version of KuaiRand, and the first 14 days that it finds.
"""

from __future__ import annotations

from dtn_jax.datasets.public.public_logs import PublicLogs


class KuaiRandPure(PublicLogs):
    """KuaiRand-Pure: click → long view, profile enter, comment, forward, follow."""

    name = "kuairand_pure"
    weight = ""
    url = "https://zenodo.org/records/10439422/files/KuaiRand-Pure.tar.gz"

    def raw_names(self) -> tuple[str, ...]:
        spans = ("4_08_to_4_21", "4_22_to_5_08")
        return tuple(f"KuaiRand-Pure/data/log_standard_{span}_pure.csv" for span in spans)
