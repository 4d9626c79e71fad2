"""Auxiliary losses by name: in metrics.jsonl, means over a batch, as added to the loss."""

import numpy as np
import pytest
from small_runs import logged, small

from dtn_jax.losses.rows import labels_of
from dtn_jax.run import train
from dtn_jax.run.run import build_run
from dtn_jax.run.train import training_data
from dtn_jax.tables import exchange, lookup


def of_fdn(prepared_dir, **changes):
    few = {"model__architecture": "fdn", "model__dropout": 0.0, "model__normalisation": "none"}
    few |= {"train__max_steps": 2, "train__log_every": 1}
    return small(prepared_dir, **few, **changes)


def records(config, workdir):
    train.train(config, str(workdir), test=False)
    return [r for r in logged(workdir) if r["kind"] == "train"]


@pytest.mark.parametrize("parts", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_auxiliary_losses_are_logged(parts, prepared_dir, tmp_path):
    config = of_fdn(prepared_dir, train__accumulate=parts)
    found = records(config, tmp_path / "run")
    names = ("aux/auxiliary", "aux/orthogonality")
    assert all({key for key in one if key.startswith("aux/")} == set(names) for one in found)
    run = build_run(config)
    state, rows = run.new_state(), training_data(run)
    chunk = rows.chunk(config.seed, 0, 0, 1, config.data.batch_size)
    batch = type(chunk)(**{k: None if v is None else v[0] for k, v in vars(chunk).items()})
    inputs = lookup.to_inputs(
        run.plan,
        lookup.gather(state.tables, lookup.row_ids(run.plan, batch), exchange.look_ups(run.plan)),
        batch,
    ).replace(labels=labels_of(batch, run.schema))
    aux = run.model.apply({"params": state.params}, inputs, train=True).aux
    for name, losses in aux.items():
        np.testing.assert_allclose(found[0][f"aux/{name}"], np.mean(losses), rtol=1e-5)
