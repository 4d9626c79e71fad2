"""A paper's work on a built-in data set: the commands, in order, as a user types them."""

import json

import pytest
from page_shell import Shell

pytestmark = pytest.mark.slow
SMALL = (
    "--config.train.max_steps=20 --config.train.eval_every=10 --config.data.data_dir=data "
    "--config.model.experts=mlp --config.model.embedding_dim=4 --config.model.expert_dim=8"
)


@pytest.fixture
def shell(tmp_path, programs):
    """An empty folder, in which the story goes on from step to step."""
    with Shell(tmp_path, programs) as one:
        yield one


def prepare_makes_a_built_in_set(shell):
    assert "29,305 train" in shell.run("dtn-jax prepare --dataset=adult --data_dir=data")


def train_over_seeds_and_resume(shell):
    command = f"dtn-jax train --config=configs/adult.py:mmoe {SMALL} --workdir=runs/mmoe"
    said = shell.run(f"{command} --config.replicas=2")
    assert shell.run(f"{command} --config.replicas=2").splitlines()[-3:] == said.splitlines()[-3:]
    found = json.loads((shell.folder / "runs/mmoe/replica_1/results.json").read_text())
    assert found["seed"] == 1


def sweep_searches_and_goes_on(shell):
    command = f"dtn-jax sweep --config=configs/adult.py:shared_bottom {SMALL} --workdir=runs/sweep"
    for trials in (2, 3):
        shell.run(f"{command} --trials={trials} --storage=sqlite:///sweep.db")
        found = json.loads((shell.folder / "runs/sweep/sweep.json").read_text())
        assert found["budget"]["complete"] == trials
    assert (shell.folder / "sweep.db").exists()


def a_table_of_a_paper(shell):
    shell.run(
        "dtn-jax paper_tables --dataset=adult --table=overall --seeds=1 --trials=1 --quick "
        "--entries=shared_bottom,mmoe --workdir=runs/tables"
    )
    found = {path.suffix for path in (shell.folder / "runs/tables").rglob("overall.*")}
    assert {".md", ".tex", ".csv"} <= found


def test_the_story(shell):
    """From a built-in set to a table of a paper."""
    prepare_makes_a_built_in_set(shell)
    train_over_seeds_and_resume(shell)
    sweep_searches_and_goes_on(shell)
    a_table_of_a_paper(shell)
