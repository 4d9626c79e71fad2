"""Every architecture learns as it did: the losses of its first 20 steps.

`recorded_losses.json` holds them: of small models on adult, and of those that need a funnel on the
synthetic one. Other losses come of other models, tables, losses, optimizers, rows or orders of
them; where that is meant, say so in CHANGELOG.md and record anew:

    python -m pytest tests/invariants/test_recorded_losses.py --record-golden
"""

import json
import pathlib

import numpy as np
import pytest
from small_runs import NEEDS, small

from dtn_jax.data.epochs.batches import CHUNK_STEPS
from dtn_jax.data.sets.synthetic import known_answer
from dtn_jax.models.architectures import ARCHITECTURES
from dtn_jax.run.run import build_run
from dtn_jax.run.step import make_train_chunk, make_train_step
from dtn_jax.run.train import training_data

RECORDED = pathlib.Path(__file__).parent / "recorded_losses.json"
STEPS, TOLERANCE = 20, 1e-5
QUICK = ("dtn",)
FUNNELS = ("esmm", "escm2")
TRUNKS = ("rankmixer", "infnet", "uniformer", "mdl", "onetrans")  # at the usual rate, losses jump
EXACT = ("uniformer",)  # in float32, rounding differs by CPU and grows beyond TOLERANCE
SMALL = {"model__experts": "mlp+gdcn", "model__normalisation": "none", "model__dropout": 0.1}
SMALL |= {"train__max_steps": STEPS, "data__batch_size": 128}


@pytest.fixture
def config(request, prepared_dir, tmp_path, monkeypatch):
    architecture = request.param
    if architecture not in FUNNELS:
        needs = dict(NEEDS.get(architecture, {}))
        needs |= {"optim__learning_rate": 1e-4} if architecture in TRUNKS else {}
        if architecture in EXACT:
            request.getfixturevalue("float64")
            needs |= {"model__dtype": "float64"}
        return small(prepared_dir, **SMALL, **needs, model__architecture=architecture)
    monkeypatch.setattr(known_answer, "truth", lambda spec: {})  # which takes long
    funnel = {"data__dataset": "synthetic", "data__options": "rows=4000,ids=20000"}
    return small(str(tmp_path), **SMALL, **funnel, model__architecture=architecture)


def losses(config):
    """{task: its loss at each step}"""
    run = build_run(config)
    state, rows = run.new_state(), training_data(run)
    step = make_train_step(run.config, run.model, run.plan, STEPS, run.at.table_mesh, run.first)
    train_chunk, found = run.at.compile(make_train_chunk(step, CHUNK_STEPS), state), []
    for start in range(0, STEPS, CHUNK_STEPS):
        count = min(CHUNK_STEPS, STEPS - start)
        chunk = rows.chunk(config.seed, 0, start, count, config.data.batch_size)
        state, metrics = train_chunk(state, run.at.put(chunk, run.at.chunk()), count)
        found.extend(np.asarray(metrics["losses"])[:count])
    return dict(zip(run.schema.task_names, np.transpose(found).tolist()))


@pytest.mark.parametrize(
    "config",
    [pytest.param(a, marks=[] if a in QUICK else pytest.mark.slow) for a in ARCHITECTURES],
    indirect=True,
)
def test_the_losses_are_those_that_were_recorded(config, request):
    found, name = losses(config), config.model.architecture
    recorded = json.loads(RECORDED.read_text()) if RECORDED.exists() else {}
    if request.config.getoption("--record-golden"):
        recorded[name] = {
            task: [float(f"{loss:.8g}") for loss in values] for task, values in found.items()
        }
        lines = ",\n".join(f' "{name}": {json.dumps(tasks)}' for name, tasks in recorded.items())
        RECORDED.write_text(f"{{\n{lines}\n}}\n")
        return
    assert list(found) == list(recorded[name])
    for task, values in recorded[name].items():
        wrong = np.abs(np.divide(found[task], values) - 1) > TOLERANCE
        assert not wrong.any(), f"{task} from step {wrong.argmax() + 1} on: {found[task]}, {values}"
