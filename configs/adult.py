"""UCI Adult, the embedded data set: income above 50K, never married.

    dtn-jax train --config=configs/adult.py:dtn --workdir=runs/adult_dtn

configs/tuned/adult.json has what `paper_tables --dataset=adult --table=overall` chose on
validation, for the architecture that the argument names. With it, dtn trains in 8 to 18 seconds
(cpu x 1, 2 cores) to these test AUCs, mean ± sd of 5 seeds: income@all 0.9251 ± 0.0005,
never_married@all 0.9641 ± 0.0002.

The argument names an architecture (dtn, shared_bottom, mmoe, ...), flags (`quick`: a minute's work
for a look) and key=value pairs.
"""

from dtn_jax.config import base_config, variant


def get_config(argument: str = ""):
    config = base_config()
    config.data.dataset = "adult"
    config.data.batch_size = 256
    config.train.epochs = 5
    config.optim.schedule = "cosine"
    # The tables count each row once, as the literature does; weights are of a survey.
    config.loss.sample_weights = config.evaluate.sample_weights = False
    return variant(config, argument, flags={"quick": quick}, tuned="adult")


def quick(config):
    config.train.epochs = 1
    config.model.embedding_dim = 8
