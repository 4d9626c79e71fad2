"""When does DTN help? The synthetic funnel, at every divergence of its tasks.

The table answers two questions, at equal FLOPs:

- Is DTN ahead of the published models? Rivals have MLP experts, as their papers define them.
- If so, is it the routing? The rivals after them have DTN's experts, as many as it has, and so has
  DTN without task groups, whose experts are all shared.

Entries are tuned at the middle divergence alone, and try each other's settings there: searches of
DTN without task groups and of MMoE with as many experts, one model but for the gates' biases, ended
0.003 apart. Widths make FLOPs equal to 1 %, as `matched` finds them, in the trials too.
"""

from dtn_jax.papertables.protocol import RIVALS, Dial, Protocol, entry

EACH = "gdcn+masknet+mlp"  # of each of DTN's four groups
ALL = "gdcn*4+masknet*4+mlp*4"  # as many in one group


def wide(options, hidden: int):
    return options | {"model.mlp.hidden": (hidden,)}


DTN = entry("dtn", EACH)
SHARED = "dtn_without_task_groups"
FEW = ("dtn", SHARED, "shared_bottom", "stem")

PROTOCOL = Protocol(
    config="configs/synthetic.py",
    common={
        "data.options": "rows=200000,divergence=0.5,interactions=0.35,sparsity=0",
        "data.batch_size": 1024,
        "train.epochs": 3,
        "model.embedding_dim": 6,
        "model.expert_dim": 32,
        "model.tower_hidden": (32,),
        "model.mlp.hidden": (64,),
        "model.gdcn.layers": 1,
        "model.masknet.mask_hidden": 32,
        "model.masknet.block_dim": 32,
    },
    entries={
        "dtn": DTN,
        SHARED: wide(entry("dtn", ALL) | {"model.dtn.task_groups": False}, 69),
        "dtn_without_tsn": DTN | {"model.dtn.tsn": False},
        "shared_bottom": wide(RIVALS["shared_bottom"], 2071),
        "mmoe": wide(RIVALS["mmoe"], 256),
        "ple": wide(RIVALS["ple"], 186),
        "stem": wide(RIVALS["stem"], 256),
        "adatt": wide(RIVALS["adatt"], 185),
        "shared_bottom_dtns_experts": wide(entry("shared_bottom", ALL), 26),
        "mmoe_dtns_experts": wide(entry("mmoe", ALL), 69),
        "ple_dtns_experts": wide(entry("ple", EACH) | {"model.ple.levels": 1}, 72),
        "stem_dtns_experts": wide(entry("stem", EACH), 69),
    },
    trials=6,
    finalist_seeds=2,
    transfer=True,
    seeds=3,
    dials=(
        Dial("divergence", (0, 0.25, 0.5, 0.75, 1)),
        Dial("interactions", (0.1, 0.35, 0.6), FEW, {"divergence": 0.5}),
        Dial("rows", (50_000, 100_000, 200_000), FEW, {"divergence": 0.5}),
        Dial("sparsity", (0, 1, 2), FEW, {"divergence": 0.5}),
    ),
    note="Entries were tuned at divergence 0.5 alone, at the size that they have here: all within "
    "1 % of DTN's FLOPs. Those without `dtns_experts` in their name are as their papers define "
    "them; those with it have DTN's experts, as many as it has.",
)
