"""MLflow: its database and files in the workdir's folder `mlflow`, or the server that
MLFLOW_TRACKING_URI names."""

from __future__ import annotations

import os
import pathlib
import re
import time
from collections.abc import Mapping, Sequence

from dtn_jax.report.trackers.tracker import final, numbers
from dtn_jax.shared_files import write_whole

EXPERIMENT = "dtn_jax"  # unless MLFLOW_EXPERIMENT_NAME names one
MOST = 100  # parameters in one call
LONGEST = 500  # characters of a parameter
# Nothing is sent anywhere but to the server that is named, and one that does not answer is given
# up soon.
QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}


class MLflow:
    """A run of MLflow; a resumed one goes on with it, by the id that is kept in the workdir."""

    def __init__(self, folder: pathlib.Path, config: Mapping, step: int):
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        import mlflow
        from mlflow import entities

        self.entities, own, self.finished = entities, folder / "mlflow", False
        own.mkdir(exist_ok=True)
        server = os.environ.get("MLFLOW_TRACKING_URI")
        self.client = mlflow.MlflowClient(server or f"sqlite:///{own / 'mlflow.db'}")
        kept = own / "run_id"
        if kept.exists():
            self.run = kept.read_text().strip()
            self.client.update_run(self.run, status="RUNNING")
            return
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
        found = self.client.get_experiment_by_name(name)
        if found:
            experiment = found.experiment_id
        else:
            where = None if server else (own / "artifacts").as_uri()
            experiment = self.client.create_experiment(name, artifact_location=where)
        made = self.client.create_run(experiment, run_name=folder.name)
        self.run = made.info.run_id
        write_whole(kept, self.run)
        params = [entities.Param(_name(k), str(v)[:LONGEST]) for k, v in config.items()]
        for start in range(0, len(params), MOST):
            self.client.log_batch(self.run, params=params[start : start + MOST])

    def log(self, record: Mapping) -> None:
        self._metrics(numbers(record), record["step"])

    def finish(self, results: Mapping, files: Sequence[pathlib.Path]) -> None:
        self._metrics(dict(final(results)), results["steps"])
        for path in files:
            self.client.log_artifact(self.run, str(path))
        self.client.set_terminated(self.run, "FINISHED")
        self.finished = True

    def close(self) -> None:
        if not self.finished:
            self.client.set_terminated(self.run, "KILLED")

    def _metrics(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        metrics = [self.entities.Metric(_name(k), v, now, step) for k, v in values.items()]
        self.client.log_batch(self.run, metrics=metrics)


def _name(text: str) -> str:
    """A name of the letters that MLflow takes."""
    return re.sub(r"[^\w\-. :/]", "_", text)
