"""KuaiRand's standard log with histories: each user's last 50 clicks and long views.

    dtn-jax train --config=configs/kuairand_histories.py:dtn --workdir=runs/histories

finds the log in $DTN_MANUAL_DIR, or where --manual_dir says.

They are pooled by DIN, which comes nearest to the best AUC on a generated log where clicks depend
on the history alone; KuaiRand's own results had no say. All else is as in configs/kuairand.py.

configs/tuned/kuairand_histories.json has what `paper_tables --dataset=kuairand_histories
--table=overall` chose on validation, for the architecture that the argument names. With it, dtn
trains in 16 seconds (cpu x 1, 2 cores) to these test AUCs, mean ± sd of 5 seeds: click@all 0.7459 ±
0.0062, long_view@all 0.7391 ± 0.0048, long_view@click 0.6813 ± 0.0039, profile_enter@all 0.6729 ±
0.0210, comment@all 0.6763 ± 0.0251.
"""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "kuairand_histories"
    config.data.batch_size = 256
    config.model.histories = "din"
    config.train.epochs = 3
    config.train.select = "click+long_view"  # the others have few positives
    config.optim.schedule = "cosine"
    config.optim.table_learning_rate = 5e-3  # most ids are seen a few times
    config.model.masknet.mask_hidden = 64
    config.model.masknet.block_dim = 64
    return variant(config, argument, tuned="kuairand_histories")
