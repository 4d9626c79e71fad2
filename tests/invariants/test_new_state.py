"""How a run's first state is drawn: by one program for all trials of a search."""

import chex
import jax
from small_runs import small

from dtn_jax.run.run import build_run
from dtn_jax.run.state import create_state

OTHER = {
    "seed": 7,
    "optim__table_init": 0.3,
    "optim__learning_rate": 0.02,
    "optim__table_learning_rate": 0.5,
    "optim__table_l2": 1e-3,
    "model__dropout": 0.4,
    "model__embedding_dropout": 0.1,
}


def program(run) -> str:
    return jax.jit(run.create_state).lower(run.numbers).as_text()


def test_runs_that_differ_in_numbers_share_the_program(prepared_dir):
    runs = [build_run(small(prepared_dir, **given)) for given in ({}, OTHER)]
    assert program(runs[0]) == program(runs[1])


def test_its_numbers_are_the_configs(prepared_dir):
    """As arguments they give the state that they give as constants."""
    run = build_run(small(prepared_dir, **OTHER))
    drawn, found = jax.jit(lambda: create_state(run.config, run.model, run.plan))(), run.new_state()
    assert (jax.random.key_data(drawn.key) == jax.random.key_data(found.key)).all()
    chex.assert_trees_all_equal(drawn.replace(key=None), found.replace(key=None))
    other = build_run(small(prepared_dir, **OTHER | {"seed": 8})).new_state()
    assert not (other.tables["embedding"] == found.tables["embedding"]).all()
