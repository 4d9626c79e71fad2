"""Where a run's numbers go beside its folder: trackers, and the option that names them.

A tracker has three methods, and is made when a run begins or goes on:

    Tracker(folder, config, step)    the run's workdir, its flat config, the steps that are done
    log(record)                      a record of metrics.jsonl: kind, step, epoch and numbers
    finish(results, files)           results.json, and the files that are worth keeping
    close()

The run's folder is the truth: a tracker that fails warns once, and the run goes on without it. A
new tracker is a class here and a line in TRACKERS.
"""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import pathlib
import queue
import re
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence

from dtn_jax.errors import UserError, choose
from dtn_jax.files import write_whole
from dtn_jax.options import option

NOT_NUMBERS = ("kind", "step", "epoch", "day")
PROJECT = "dtn_jax"  # unless MLFLOW_EXPERIMENT_NAME or WANDB_PROJECT names one
MOST = 10_000  # records that wait for a slow tracker; more are dropped
WAIT = 60.0  # seconds for a tracker to end, when the run has
INTERRUPTED_WAIT = 1.0  # when it was interrupted or failed
BATCH, LONGEST = 100, 500  # parameters in one call to MLflow, characters of one
# Nothing is sent anywhere but to the server that is named, and one that does not answer is given
# up soon.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_SILENT": "true",
}


def numbers(record: Mapping) -> dict[str, float]:
    """The numbers of a record by their full names, such as 'train/loss/click'."""
    return {
        f"{record['kind']}/{name}": value
        for name, value in record.items()
        if name not in NOT_NUMBERS and value is not None
    }


def final(results: Mapping, path: str = "final") -> Iterator[tuple[str, float]]:
    """The numbers of results.json by their full names, such as 'final/test/click@all/auc'."""
    for name, value in results.items():
        if isinstance(value, Mapping):
            yield from final(value, f"{path}/{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}/{name}", float(value)


class TensorBoard:
    """Events in the workdir's folder `tensorboard`; a resumed run hides those after its
    checkpoint, which come again."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        from tensorboardX import SummaryWriter

        self.writer = SummaryWriter(str(folder / "tensorboard"), purge_step=step + 1)
        if not step:
            self.writer.add_text("config", f"    {json.dumps(config, indent=1, default=str)}")

    def log(self, record: Mapping) -> None:
        for name, value in numbers(record).items():
            self.writer.add_scalar(name, value, record["step"])

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None:
        for name, value in final(results):
            self.writer.add_scalar(name, value, results["steps"])

    def close(self) -> None:
        self.writer.close()


class MLflow:
    """A run of MLflow: its database and files in the workdir's folder `mlflow`, or the server that
    MLFLOW_TRACKING_URI names; a resumed run goes on with it, by the id that is kept there."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        import mlflow
        from mlflow import entities

        self.entities, own, self.status = entities, folder / "mlflow", "KILLED"
        own.mkdir(exist_ok=True)
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self.client = mlflow.MlflowClient(server or f"sqlite:///{own / 'mlflow.db'}")
        kept = own / "run_id"
        if kept.exists():
            self.run = kept.read_text().strip()
            self.client.update_run(self.run, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
        if known := self.client.get_experiment_by_name(name):
            experiment = known.experiment_id
        else:
            where = None if server else (own / "artifacts").as_uri()
            experiment = self.client.create_experiment(name, artifact_location=where)
        self.run = self.client.create_run(experiment, run_name=folder.name).info.run_id
        write_whole(kept, self.run)
        params = [entities.Param(self._name(k), str(v)[:LONGEST]) for k, v in config.items()]
        for start in range(0, len(params), BATCH):
            self.client.log_batch(self.run, params=params[start : start + BATCH])

    def log(self, record: Mapping) -> None:
        self._metrics(numbers(record), record["step"])

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None:
        self._metrics(dict(final(results)), results["steps"])
        for path in files:
            self.client.log_artifact(self.run, str(path))
        self.status = "FINISHED"

    def close(self) -> None:
        self.client.set_terminated(self.run, self.status)

    def _metrics(self, values: Mapping[str, float], step: int) -> None:
        now, metric = int(1000 * time.time()), self.entities.Metric
        metrics = [metric(self._name(name), v, now, step) for name, v in values.items()]
        self.client.log_batch(self.run, metrics=metrics)

    @staticmethod
    def _name(text: str) -> str:
        """A name of the letters that MLflow takes."""
        return re.sub(r"[^\w\-. :/]", "_", text)


class WandB:
    """A run of W&B: offline, in the workdir's folder `wandb`, unless WANDB_MODE says otherwise; a
    resumed run goes on with it, by the id that is kept there."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        import wandb

        own = folder / "wandb"
        own.mkdir(exist_ok=True)
        kept = own / "run_id"
        known = kept.exists()
        identifier = kept.read_text().strip() if known else uuid.uuid4().hex[:16]
        mode = os.environ.get("WANDB_MODE", "offline")
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(folder),
            id=identifier,
            name=folder.name,
            config=dict(config),
            mode=mode,
            resume="allow" if known and mode == "online" else None,
            reinit="create_new",
            settings=wandb.Settings(console="off", disable_git=True, disable_code=True),
        )
        # A resumed run logs some steps again, which W&B's own counter would refuse.
        self.run.define_metric("*", step_metric="step")
        if not known:
            write_whole(kept, identifier)

    def log(self, record: Mapping) -> None:
        self.run.log({**numbers(record), "step": record["step"]})

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None:
        self.run.summary.update(dict(final(results)))
        for path in files:
            self.run.save(str(path), base_path=str(path.parent), policy="now")

    def close(self) -> None:
        self.run.finish()


TRACKERS = {  # with the package that each needs
    "tensorboard": (TensorBoard, "tensorboardX"),
    "mlflow": (MLflow, "mlflow"),
    "wandb": (WandB, "wandb"),
}


@dataclasses.dataclass(frozen=True)
class TrackerOptions:
    """Section `train`: trackers."""

    trackers: str = option(
        "tensorboard",
        "where numbers go beside the folder, by comma: tensorboard, mlflow, wandb; both of these "
        "write below the workdir, unless their own variables (MLFLOW_TRACKING_URI, WANDB_MODE) "
        "name a server; empty is nowhere",
        runtime=True,
    )


class Background:
    """A tracker in a thread of its own, where it can neither end a run nor hold it up.

    What the tracker raises becomes one warning, after which it is left alone.
    """

    def __init__(self, name: str, make: type, *given: object):
        self.name, self.failed = name, False
        self.calls: queue.Queue = queue.Queue(MOST)
        self.thread = threading.Thread(target=self._work, args=(make, given), daemon=True)
        self.thread.start()

    def log(self, record: Mapping) -> None:
        self._call("log", record)

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None:
        self._call("finish", results, files)

    def close(self) -> None:
        """Waits for it, not for long."""
        self._call()
        self.thread.join(WAIT if sys.exc_info()[0] is None else INTERRUPTED_WAIT)
        if self.thread.is_alive():
            self._fail("it did not end in time")

    def _call(self, *what: object) -> None:
        try:
            if not self.failed:
                self.calls.put_nowait(what)
        except queue.Full:
            self._fail(f"{MOST:,} records wait for it")

    def _work(self, make: type, given: Sequence[object]) -> None:
        try:
            tracker = make(*given)
            while what := self.calls.get():
                if self.failed:
                    break
                getattr(tracker, what[0])(*what[1:])
            tracker.close()
        except Exception as error:  # whatever a tracker's package raises
            self._fail(f"{type(error).__name__}: {str(error)[:300]}")

    def _fail(self, why: str) -> None:
        if not self.failed:
            self.failed = True
            print(
                f"warning: tracker {self.name} failed, and the run goes on without it ({why}). All "
                "numbers are in the run's metrics.jsonl and results.json",
                file=sys.stderr,
            )


def read_trackers(text: str) -> list[str]:
    """The names in `train.trackers`.

    Raises:
      UserError: an unknown one, or one whose package is not installed; names the extra.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        _, package = TRACKERS[choose("tracker in train.trackers", name, TRACKERS)]
        if importlib.util.find_spec(package) is None:
            raise UserError(
                f"train.trackers={name} needs the package {package}, which is not installed: "
                f"pip install -e '.[{name}]'"
            )
    return names


def started(text: str, folder: pathlib.Path, config: Mapping, step: int) -> list[Background]:
    """The trackers that `train.trackers` names, for a run that has done `step` steps."""
    names = read_trackers(text)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    return [Background(name, TRACKERS[name][0], folder, config, step) for name in names]
