from dtn_jax.config import base_config, variant


def get_config(argument=""):
    config = base_config()
    config.plugins = "my_data.py"
    config.data.dataset = "visits"
    config.train.epochs = 2
    return variant(config, argument)  # an architecture and key=value pairs, as in dtn,seed=3
