"""Ali-CCP: click → conversion; the published files, or generated ones of their form.

    dtn-jax train --config=configs/ali_ccp.py:dtn --workdir=runs/ali_ccp_dtn

Without flags all architectures have the same settings: one embedding width, one kind of table
optimizer, one dropout. `released` is the run of DTN's authors as far as options express it, with
its unequal baselines (dtn reads embeddings of 64, mmoe and ple of 16). What it cannot express: no
shuffling, TensorFlow's place of Adam's epsilon, AUC by 200 thresholds, codebooks that start
equal, batch normalisation that never leaves its start (an affine map), mmoe's dropout in its
experts alone (here in the towers too), and its own defects.
`quick` is a minute's work for a look at generated files.
"""

from dtn_jax.config import base_config, variant

# The fields whose pairs the released run hashes: those of one value, but 853.
PAIRED = (
    *("101", "121", "122", "124", "125", "126", "127", "128", "129", "205", "206", "207", "216"),
    *("508", "509", "702", "301"),
)


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "ali_ccp"
    # 0.9 kB a row; behaviours are often longer: `prepare` counts what is cut.
    config.data.options = "max_values=20"
    config.model.embedding_dim = 16
    return variant(config, argument, flags={"quick": quick, "released": released})


def quick(config):
    config.data.options = "max_values=10"
    config.train.epochs = 2
    config.model.embedding_dim = 8
    config.model.masknet.mask_hidden = config.model.masknet.block_dim = 64


def released(config):
    config.data.options = "min_count=1,max_values=1000,pooling=unweighted"
    config.train.epochs = 10
    config.loss.positive_weights = "click=200,conversion=3000"
    config.optim.learning_rate = config.optim.table_learning_rate = 1e-4
    config.optim.tables = "dense"  # Adam on every row
    config.optim.table_init = 0.0625
    model = config.model
    model.tower_hidden = (128, 64)
    model.mlp.hidden, model.expert_dim = (128,), 64
    if model.architecture == "dtn":
        model.experts = "masknet+hcnet+gdcn"
        model.embedding_dim, model.expert_dim, model.fusion = 64, 256, "released"
        model.masknet.hidden = (256,)
        model.hcnet.codebook_rows, model.hcnet.fields = 100_000, PAIRED
    elif model.architecture == "mmoe":
        model.experts, model.dropout = "mlp*8", 0.5
    elif model.architecture == "ple":
        model.experts, model.group_experts = "mlp*3", "shared=mlp*2"
    else:
        model.experts = "mlp"
