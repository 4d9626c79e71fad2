"""What peers' models and layers make of drawn fields and weights, in the peers' environment: writes
an .npz with `CASE/fields`, `CASE/output` and `CASE/weights/NAME`."""

import sys

import numpy as np
import torch
from fuxictr.pytorch.layers import (
    BilinearInteractionV2,
    CompressedInteractionNet,
    CrossNetV2,
    InnerProductInteraction,
    MLP_Block,
    SqueezeExcitation,
)
from model_zoo.LongCTR.FinalMLP.FinalMLP import FeatureSelection, InteractionAggregation
from torch import nn
from torch_rechub.basic.features import SparseFeature
from torch_rechub.basic.layers import InteractingLayer
from torch_rechub.models.multi_task import AITM, ESMM, MMOE, PLE, SharedBottom
from torch_rechub.models.ranking import DeepFM

B, F, D, H = 6, 4, 6, 5
W, P = F * D, F * (F - 1) // 2
FEATURES = [SparseFeature(f"field_{i}", vocab_size=B, embed_dim=D) for i in range(F)]
EXPERT, TOWER, TYPES = {"dims": [7, H]}, {"dims": [8]}, ["classification"] * 2
PAPERS_HAVE_NONE = {  # biases, which are set to 0
    "mmoe": ("gates",),
    "ple": ("gate",),
    "cin": ("cin_layer",),
    "transformer": ("in_proj_bias", "out_proj.bias"),
}


class Beside(nn.Module):
    """A head that reads the flat fields and what a layer makes of them."""

    def __init__(self, layer, head):
        super().__init__()
        self.layer, self.head = layer, head

    def forward(self, e):
        return self.head(torch.cat([e.flatten(1), self.layer(e).flatten(1)], dim=1))


class FiBiNET(nn.Module):
    """FuxiCTR's parts of it."""

    def __init__(self, kind):
        super().__init__()
        self.senet = SqueezeExcitation(F, reduction_ratio=2)
        self.first, self.second = (BilinearInteractionV2(F, D, kind) for _ in range(2))
        self.linear, self.dnn = nn.Linear(W, H), MLP_Block(2 * P * D, [7], output_dim=H)

    def forward(self, e):
        crossed = torch.cat([self.first(e), self.second(self.senet(e))], dim=1)
        return self.linear(e.flatten(1)) + self.dnn(crossed.flatten(1))


class FinalMLP(nn.Module):
    """FuxiCTR's parts of it."""

    def __init__(self):
        super().__init__()
        self.select = FeatureSelection(None, W, D, [3])
        self.first, self.second = MLP_Block(W, [8, 6]), MLP_Block(W, [4])
        self.fuse = InteractionAggregation(6, 4, output_dim=H, num_heads=2)

    def forward(self, e):
        one, two = self.select(None, e.flatten(1))
        return self.fuse(self.first(one), self.second(two))


def inner(output):
    return InnerProductInteraction(F, output=output)


def flat_then(*layers):
    return nn.Sequential(nn.Flatten(), *layers)


def encoder(layers):
    usual = {"dim_feedforward": 7, "dropout": 0.0, "batch_first": True, "layer_norm_eps": 1e-6}
    return nn.Sequential(*(nn.TransformerEncoderLayer(D, 2, **usual) for _ in range(layers)))


MODELS = {  # of torch-rechub, with tables of their own
    "shared_bottom": SharedBottom(FEATURES, TYPES, EXPERT, [TOWER] * 2),
    "mmoe": MMOE(FEATURES, TYPES, 2, EXPERT, [TOWER] * 2),
    "ple": PLE(FEATURES, TYPES, 2, 2, 1, EXPERT, [TOWER] * 2),
    "esmm": ESMM(FEATURES[:2], FEATURES[2:], {"dims": [H, 8]}, {"dims": [H, 8]}),
    "aitm": AITM(FEATURES, 3, EXPERT, [TOWER] * 3),
    "deepfm": DeepFM(FEATURES, FEATURES, TOWER),
}
LAYERS = {  # which read fields `[B, F, D]`
    "autoint": nn.Sequential(*(InteractingLayer(D) for _ in range(3)), flat_then(nn.Linear(W, H))),
    "cin": CompressedInteractionNet(F, [3, 4], output_dim=H),
    "dcnv2": flat_then(CrossNetV2(W, 3), nn.Linear(W, H)),
    "fibinet, all": FiBiNET("field_all"),
    "fibinet, each": FiBiNET("field_each"),
    "fibinet, interaction": FiBiNET("field_interaction"),
    "finalmlp": FinalMLP(),
    "fm": Beside(inner("bi_interaction"), nn.Linear(W + D, H)),
    "fwfm": Beside(inner("inner_product"), nn.Linear(W + P, H)),
    "pnn": Beside(inner("inner_product"), MLP_Block(W + P, [7], "ReLU", H, "relu")),
    "transformer": nn.Sequential(encoder(2), flat_then(nn.Linear(W, H))),
}


def draw(model, without):
    """Random weights, but for biases that papers do not have; no normalisation over the batch."""
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d):
                setattr(parent, name, nn.Identity())
    for name, weight in model.named_parameters():
        bias = name.endswith("bias") and any(part in name for part in without)
        if weight.is_floating_point():
            weight.copy_(torch.zeros_like(weight) if bias else 0.5 * torch.randn(weight.shape))


def outputs(case):
    """{name: array} of a case."""
    model = (MODELS | LAYERS)[case].eval().double()
    draw(model, PAPERS_HAVE_NONE.get(case, ()))
    weights = {name: w.numpy() for name, w in model.named_parameters()}
    if case in LAYERS:
        fields = torch.randn(B, F, D)
        output = model(fields)
    else:  # row b reads row b of each table
        tables = [model.embedding.embed_dict[feature.name].weight for feature in FEATURES]
        fields = torch.stack(tables, dim=1)
        output = model({feature.name: torch.arange(B) for feature in FEATURES})
    arrays = {"fields": fields.numpy(), "output": output.numpy()}
    arrays |= {f"weights/{name}": w for name, w in weights.items()}
    return {f"{case}/{name}": array for name, array in arrays.items()}


torch.set_default_dtype(torch.float64)
torch.manual_seed(0)
with torch.no_grad():
    every = {name: a for case in MODELS | LAYERS for name, a in outputs(case).items()}
np.savez(sys.argv[1], **every)
