"""The space that dtn-jax sweep searches unless a config or a file of yours has its own.

A `sweep(trial)` takes an Optuna trial and returns {option: value}, options as in base.py. The
ranges are wide, so that the best value of each option lies inside, whatever the data set and the
architecture: rates from far too low to far too high, and embeddings that start near 0 or far
apart. Of a rate or an L2 penalty the order of magnitude matters, so they are searched by logarithm.
The scale of the first embeddings changes nothing below about 0.01, where half of the draws by
logarithm would lie, so its fourth root is searched. Values are rounded to three digits.
"""

NO_L2 = 1e-7  # less changes nothing: it counts as none


def sweep(trial) -> dict[str, object]:
    logarithmic = {
        "optim.learning_rate": (1e-4, 1e-1),
        "optim.table_learning_rate": (1e-4, 1.0),
        "optim.table_l2": (1e-8, 1e-2),
    }
    linear = {"model.dropout": (0.0, 0.7), "model.embedding_dropout": (0.0, 0.8)}
    found = {key: trial.suggest_float(key, *ends, log=True) for key, ends in logarithmic.items()}
    found |= {key: trial.suggest_float(key, *ends) for key, ends in linear.items()}
    found["optim.table_init"] = trial.suggest_float("root of optim.table_init", 0.0, 1.3) ** 4
    if found["optim.table_l2"] < NO_L2:
        found["optim.table_l2"] = 0.0
    return {key: float(f"{value:.3g}") for key, value in found.items()}
