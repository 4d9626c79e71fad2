"""The space that experiments.sweep searches unless a config or a file of yours has its own.

A `sweep(trial)` takes an Optuna trial and returns {option: value}, options as in base.py.
"""


def sweep(trial) -> dict[str, object]:
    return {
        "optim.learning_rate": trial.suggest_float("optim.learning_rate", 3e-4, 1e-2, log=True),
        "optim.table_l2": trial.suggest_float("optim.table_l2", 1e-7, 1e-3, log=True),
        "model.dropout": trial.suggest_float("model.dropout", 0.0, 0.5),
        "model.embedding_dropout": trial.suggest_float("model.embedding_dropout", 0.0, 0.3),
    }


def with_table_rate(trial) -> dict[str, object]:
    """For data whose ids are seen a few times: there it matters how fast tables move."""
    table_rate = trial.suggest_float("optim.table_learning_rate", 1e-3, 3e-2, log=True)
    return sweep(trial) | {"optim.table_learning_rate": table_rate}
