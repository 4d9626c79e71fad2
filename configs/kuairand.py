"""KuaiRand's standard log: click → long view, profile enter, comment, forward, follow.

    dtn-jax train --config=configs/kuairand.py:dtn --workdir=runs/kuairand_dtn

finds the log in $DTN_MANUAL_DIR, or where --manual_dir says.

configs/tuned/kuairand.json has what `paper_tables --dataset=kuairand --table=overall` chose on
validation, for the architecture that the argument names. With it, dtn trains in 8 seconds (cpu x 1,
2 cores) to these test AUCs, mean ± sd of 5 seeds: click@all 0.7522 ± 0.0034, long_view@all 0.7414 ±
0.0040, long_view@click 0.6779 ± 0.0133, profile_enter@all 0.6856 ± 0.0129, comment@all 0.6821 ±
0.0170.
"""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "kuairand"
    # Else rare videos teach the unknown id what does not hold of tomorrow's new ones.
    config.data.options = "min_count=1"
    config.data.batch_size = 256
    config.train.epochs = 3
    config.train.select = "click+long_view"  # the others have few positives
    config.optim.schedule = "cosine"
    config.optim.table_learning_rate = 5e-3  # most ids are seen a few times
    config.model.masknet.mask_hidden = 64
    config.model.masknet.block_dim = 64
    return variant(config, argument, flags={"quick": quick}, tuned="kuairand")


def quick(config):
    config.train.epochs = 1
    config.model.embedding_dim = 8
