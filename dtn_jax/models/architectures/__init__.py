"""Architectures: routings of experts to tasks.

A new one is a file here, with its options, groups, views and checks (architecture.py says how), and
a line in ARCHITECTURES.
"""

from __future__ import annotations

from dtn_jax.models.architectures.adatt import AdaTT
from dtn_jax.models.architectures.aitm import AITM
from dtn_jax.models.architectures.architecture import Architecture
from dtn_jax.models.architectures.cross_stitch import CrossStitch
from dtn_jax.models.architectures.dbmtl import DBMTL
from dtn_jax.models.architectures.dselect_k import DSelectK
from dtn_jax.models.architectures.dtn import DTN
from dtn_jax.models.architectures.escm2 import ESCM2
from dtn_jax.models.architectures.esmm import ESMM
from dtn_jax.models.architectures.fdn import FDN
from dtn_jax.models.architectures.hmoe import HMoE
from dtn_jax.models.architectures.infnet import INFNet
from dtn_jax.models.architectures.m3oe import M3oE
from dtn_jax.models.architectures.mdl import MDL
from dtn_jax.models.architectures.metaheac import MetaHeac
from dtn_jax.models.architectures.mmoe import MMoE
from dtn_jax.models.architectures.omoe import OMoE
from dtn_jax.models.architectures.onetrans import OneTrans
from dtn_jax.models.architectures.pepnet import PEPNet
from dtn_jax.models.architectures.ple import PLE
from dtn_jax.models.architectures.rankmixer import RankMixer
from dtn_jax.models.architectures.shared_bottom import SharedBottom
from dtn_jax.models.architectures.single_task import SingleTask
from dtn_jax.models.architectures.snr import SNR
from dtn_jax.models.architectures.star import STAR
from dtn_jax.models.architectures.stem import STEM
from dtn_jax.models.architectures.uniformer import UniFormer

ARCHITECTURES: dict[str, type[Architecture]] = {
    "dtn": DTN,
    "shared_bottom": SharedBottom,
    "single_task": SingleTask,
    "mmoe": MMoE,
    "ple": PLE,
    "esmm": ESMM,
    "aitm": AITM,
    "stem": STEM,
    "adatt": AdaTT,
    "omoe": OMoE,
    "cross_stitch": CrossStitch,
    "snr": SNR,
    "dbmtl": DBMTL,
    "dselect_k": DSelectK,
    "metaheac": MetaHeac,
    "fdn": FDN,
    "escm2": ESCM2,
    "rankmixer": RankMixer,
    "infnet": INFNet,
    "uniformer": UniFormer,
    "pepnet": PEPNet,
    "star": STAR,
    "hmoe": HMoE,
    "mdl": MDL,
    "m3oe": M3oE,
    "onetrans": OneTrans,
}
