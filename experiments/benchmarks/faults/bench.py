"""What faults are injected into: a prepared set, a finished run of it, its exported model."""

from __future__ import annotations

import dataclasses
import functools
import pathlib

from dtn_jax.cli import command
from dtn_jax.run import build_run
from experiments.benchmarks.faults import damage
from experiments.benchmarks.faults.calls import Server, Work, servers
from experiments.benchmarks.faults.works import MODULES, SMALL, works, write_rows


@dataclasses.dataclass(frozen=True)
class Bench:
    """A folder in which all of it lies.

    Attributes:
      folder: has `data`, `finished` and `model` once it is made.
    """

    folder: pathlib.Path

    @property
    def data(self) -> pathlib.Path:
        return self.folder / "data"

    @property
    def finished(self) -> pathlib.Path:
        return self.folder / "finished"

    @property
    def model(self) -> pathlib.Path:
        return self.folder / "model"

    def make(self) -> None:
        """Prepares adult, finishes a run on it, and exports that; what is there is kept."""
        data = f"data_dir={self.data}"
        calls = (
            ("dtn_jax.cli.prepare", ["--dataset=adult", f"--{data}"]),
            ("dtn_jax.cli.train", [*SMALL, f"--config.data.{data}", f"--workdir={self.finished}"]),
            (
                "dtn_jax.cli.export",
                [f"--workdir={self.finished}", f"--out={self.model}", "--replace"],
            ),
        )
        made, log = self.folder / "made", self.folder / "log"
        if made.exists():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with servers(1, MODULES, self.cache) as (server,):
            for module, arguments in calls:
                if server.run(module, arguments, log):
                    raise RuntimeError(f"{module} failed:\n{log.read_text()[-2000:]}")
        write_rows(self.model)
        made.touch()

    @property
    def cache(self) -> pathlib.Path:
        """Of compiled programs."""
        return self.folder / "cache"

    @functools.cached_property
    def works(self) -> dict[str, Work]:
        return {work.name: work for work in works(self.data, self.finished, self.model)}

    @functools.cached_property
    def kinds(self) -> dict[str, damage.Kind]:
        config = command.read_config(SMALL[0].removeprefix("--config="), SMALL[1:])
        config.data.data_dir = str(self.data)
        run = build_run(config)
        found = damage.kinds(run, config, self.finished, self.data, self.model)
        return {kind.name: kind for kind in found}

    @functools.cached_property
    def server(self) -> Server:
        """Makes the calls. It ends with this process."""
        return Server(MODULES, self.cache)

    @functools.cached_property
    def other_server(self) -> Server:
        """For a second call at the same time."""
        return Server(MODULES, self.cache)
