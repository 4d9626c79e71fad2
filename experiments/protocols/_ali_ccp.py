"""What Ali-CCP's protocols share: how large the published files are."""

from dtn_jax.data.sets.synthetic.funnel import ALI_CCP_IDS
from dtn_jax.papertables.protocol import FullSize

FULL_SIZE = FullSize(
    rows={"train": 42_300_135, "test": 43_016_840},
    ids={name.removeprefix("f"): count for name, count in ALI_CCP_IDS.items()},
    source="the published files, as others counted their lines, with the ids of the vocabularies "
    "released with DTN (of 205 and 110_14, which lack theirs, 0.7 of their span)",
)
