"""Where a run's numbers go beside its folder: trackers, and the option that names them.

A tracker has two methods, and is made when a run begins or goes on:

    Tracker(folder, config, step)    the run's workdir, its flat config, the steps that are done
    log(numbers, step)               {name: number}, as `numbers` names them
    close(finished)                  whether the run is

The run's folder is the truth: a tracker that fails warns once, and the run goes on without it. A
new tracker is a class here and a line in TRACKERS.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import importlib.util
import os
import pathlib
import re
import struct
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Mapping

from dtn_jax.errors import UserError, choose
from dtn_jax.files import write_whole
from dtn_jax.options import option

NOT_NUMBERS = ("kind", "step", "epoch", "day")
PROJECT = "dtn_jax"  # unless MLFLOW_EXPERIMENT_NAME or WANDB_PROJECT names one
# Nothing is sent anywhere but to the server that is named, and one that does not answer is given
# up soon.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "WANDB_CONSOLE": "off",
    "WANDB_DISABLE_GIT": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_FINISH_TIMEOUT": "60",
    "WANDB_INIT_TIMEOUT": "60",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}


def numbers(facts: Mapping, path: str) -> Iterator[tuple[str, float]]:
    """The numbers of a record of metrics.jsonl or of results.json by their full names, such as
    'train/loss/click' and 'final/test/click@all/auc'."""
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from numbers(value, f"{path}/{name}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            yield f"{path}/{name}", float(value)


def kept_id(folder: pathlib.Path, make: Callable[[], str]) -> str:
    """The id of a tracker's run, by which a resumed run goes on with it."""
    kept = folder / "run_id"
    if not kept.exists():
        write_whole(kept, make())
    return kept.read_text()


class TensorBoard:
    """Events in the workdir's folder `tensorboard`; a resumed run hides those after its
    checkpoint, which come again."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        from tensorboardX.proto.event_pb2 import Event, SessionLog
        from tensorboardX.record_writer import masked_crc32c
        from tensorboardX.summary import scalar

        # Not its SummaryWriter: where the disk is full, that one's thread shows a traceback, and so
        # does a file with a buffer as the program ends.
        self.event, self.scalar, self.checksum = Event, scalar, masked_crc32c
        place = folder / "tensorboard"
        place.mkdir(exist_ok=True)
        self.file = (place / f"events.out.tfevents.{time.time_ns()}").open("wb", buffering=0)
        self._write(0, file_version="brain.Event:2")
        self._write(step + 1, session_log=SessionLog(status=SessionLog.START))

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        for name, value in numbers.items():
            self._write(step, summary=self.scalar(name, value))

    def close(self, finished: bool) -> None:
        self.file.close()

    def _write(self, step: int, **what: object) -> None:
        """Adds a record: its length and itself, each with a checksum."""
        event = self.event(wall_time=time.time(), step=step, **what).SerializeToString()
        parts = (struct.pack("<Q", len(event)), event)
        summed = (part + struct.pack("<I", self.checksum(part)) for part in parts)
        self.file.write(b"".join(summed))


class MLflow:
    """A run of MLflow: its database and files in the workdir's folder `mlflow`, or the server that
    MLFLOW_TRACKING_URI names."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        import mlflow

        self.metric, place = mlflow.entities.Metric, folder / "mlflow"
        place.mkdir(exist_ok=True)
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self.client = mlflow.MlflowClient(server or f"sqlite:///{place / 'mlflow.db'}")

        def new_run() -> str:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", PROJECT)
            if known := self.client.get_experiment_by_name(name):
                experiment = known.experiment_id
            else:
                files = None if server else (place / "artifacts").as_uri()
                experiment = self.client.create_experiment(name, artifact_location=files)
            run = self.client.create_run(experiment, run_name=folder.name).info.run_id
            for key, value in config.items():
                self.client.log_param(run, mlflow_name(key), value)
            return run

        self.run = kept_id(place, new_run)
        self.client.update_run(self.run, status="RUNNING")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [self.metric(mlflow_name(name), v, now, step) for name, v in numbers.items()]
        self.client.log_batch(self.run, metrics=metrics)

    def close(self, finished: bool) -> None:
        self.client.set_terminated(self.run, "FINISHED" if finished else "KILLED")


def mlflow_name(text: str) -> str:
    """A name of the letters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", text)


class WandB:
    """A run of W&B: offline, in the workdir's folder `wandb`, unless WANDB_MODE says otherwise."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        import wandb

        place = folder / "wandb"
        place.mkdir(exist_ok=True)
        self.run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            dir=str(folder),
            id=kept_id(place, lambda: uuid.uuid4().hex[:16]),
            name=folder.name,
            config=dict(config),
            resume="allow",
            reinit="create_new",
        )
        # A resumed run logs some steps again, which W&B's own counter would refuse.
        self.run.define_metric("*", step_metric="step")

    def log(self, numbers: Mapping[str, float], step: int) -> None:
        self.run.log({**numbers, "step": step})

    def close(self, finished: bool) -> None:
        self.run.finish()


TRACKERS = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


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
    """A tracker in a thread of its own, where it can neither end a run nor hold up its steps.

    What the tracker raises becomes one warning, after which it is left alone.
    """

    def __init__(self, name: str, make: Callable, *given: object):
        self.name, self.tracker, self.failed, self.finished = name, None, False, False
        self.thread = concurrent.futures.ThreadPoolExecutor(1)
        self.thread.submit(self._try, lambda: setattr(self, "tracker", make(*given)))

    def log(self, record: Mapping) -> None:
        """Takes a record of metrics.jsonl: kind, step, epoch and numbers; or, as one of the kind
        'final', results.json."""
        facts = {name: value for name, value in record.items() if name not in NOT_NUMBERS}
        self._call("log", dict(numbers(facts, record["kind"])), record["step"])
        self.finished |= record["kind"] == "final"

    def close(self) -> None:
        """Waits until it has all."""
        self._call("close", self.finished)
        self.thread.shutdown()

    def _call(self, method: str, *given: object) -> None:
        self.thread.submit(self._try, lambda: getattr(self.tracker, method)(*given))

    def _try(self, call: Callable[[], object]) -> None:
        if self.failed:
            return
        try:
            call()
        except Exception as error:  # whatever a tracker's package raises
            self.failed = True
            print(
                f"warning: tracker {self.name} failed, and the run goes on without it "
                f"({type(error).__name__}: {str(error)[:300]}). All numbers are in the run's "
                "metrics.jsonl and results.json",
                file=sys.stderr,
            )


def read_trackers(text: str) -> list[str]:
    """The names in `train.trackers`.

    Raises:
      UserError: an unknown one, or one whose package is not installed; names the extra.
    """
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    for name in names:
        choose("tracker in train.trackers", name, TRACKERS)
        if name != "tensorboard" and importlib.util.find_spec(name) is None:
            raise UserError(
                f"train.trackers={name} needs the package {name}, which is not installed: "
                f"pip install -e '.[{name}]'"
            )
    return names


def started(text: str, folder: pathlib.Path, config: Mapping, step: int) -> list[Background]:
    """The trackers that `train.trackers` names, for a run that has done `step` steps."""
    names = read_trackers(text)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    return [Background(name, TRACKERS[name], folder, config, step) for name in names]
