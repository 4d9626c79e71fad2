"""Experts: feature interactions from field embeddings `[B, F, D]` to a vector `[B, H]`.

An expert is a linen module `expert(fields, codewords, train)` with the attributes `width` (H) and
`dtype` (of the computation; parameters have at least float32). `fields` may also be `[B, 1, W]`, a
plain vector. Its options are fields declared by `options.option`; they stand under
`model.<expert>`. With an attribute `dropout` it is given `model.dropout`; with an attribute
`codebook` it has one of HCNet's codebooks. A new expert is a file here and a line in EXPERTS.
"""

from __future__ import annotations

import dataclasses

from flax import linen as nn

from dtn_jax.errors import UserError, choose
from dtn_jax.models.experts.afn import AFN
from dtn_jax.models.experts.autoint import AutoInt
from dtn_jax.models.experts.cin import CIN
from dtn_jax.models.experts.dcnv2 import DCNv2
from dtn_jax.models.experts.deepfm import DeepFM
from dtn_jax.models.experts.fibinet import FiBiNET
from dtn_jax.models.experts.final import FINAL
from dtn_jax.models.experts.finalmlp import FinalMLP
from dtn_jax.models.experts.fm import FM
from dtn_jax.models.experts.fwfm import FwFM
from dtn_jax.models.experts.gdcn import GDCN
from dtn_jax.models.experts.hcnet import HCNet
from dtn_jax.models.experts.masknet import MaskNet
from dtn_jax.models.experts.mlp import MLP
from dtn_jax.models.experts.pnn import PNN
from dtn_jax.models.experts.token_mixing import TokenMixing
from dtn_jax.models.experts.transformer import Transformer
from dtn_jax.models.experts.wukong import Wukong

MOST = 1000  # experts in a group: each has a trace of its own
SHOWN = 60  # letters of a list of experts, in messages

EXPERTS: dict[str, type[nn.Module]] = {
    "mlp": MLP,
    "gdcn": GDCN,
    "masknet": MaskNet,
    "hcnet": HCNet,
    "dcnv2": DCNv2,
    "fm": FM,
    "deepfm": DeepFM,
    "fwfm": FwFM,
    "pnn": PNN,
    "fibinet": FiBiNET,
    "cin": CIN,
    "afn": AFN,
    "final": FINAL,
    "finalmlp": FinalMLP,
    "autoint": AutoInt,
    "transformer": Transformer,
    "token_mixing": TokenMixing,
    "wukong": Wukong,
}


def parse_experts(text: str) -> tuple[str, ...]:
    """Reads 'gdcn+masknet*2' into ('gdcn', 'masknet', 'masknet')."""
    kinds = []
    if "," in text:
        raise UserError(f"experts {text[:SHOWN]!r}: join them with +, as in gdcn+masknet*2")
    for part in text.split("+"):
        kind, star, count = (piece.strip() for piece in part.partition("*"))
        choose("expert", kind, EXPERTS)
        if star and not (count.isdecimal() and int(count) > 0):
            raise UserError(f"experts {text!r}: expected a count >= 1 after '*', got {count!r}")
        if len(kinds) + int(count or 1) > MOST:
            raise UserError(f"experts {text[:SHOWN]!r}: expected at most {MOST:,} in a group")
        kinds += [kind] * int(count or 1)
    return tuple(kinds)


def takes(expert: type[nn.Module], attribute: str) -> bool:
    """Whether an expert has an attribute of this name."""
    return any(field.name == attribute for field in dataclasses.fields(expert))
