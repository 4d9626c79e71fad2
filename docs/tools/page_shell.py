"""A reader's shell: runs lines in a folder, and servers in its background."""

from __future__ import annotations

import os
import pathlib
import re
import subprocess
import sys
import time

from dtn_jax.cli.launch import free_port

ROOT = pathlib.Path(__file__).parents[2]
PROGRAMS = pathlib.Path(sys.executable).parent
SECONDS = 900  # that a line may take
COLUMNS = "88"  # of the terminal


def environment() -> dict[str, str]:
    """In which a page's commands run."""
    return os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": COLUMNS}


class Shell:
    """Runs lines in a folder; a server goes on in the background, at a free port in 8000's place.

    `.venv` is the environment of this process, and `make demo` runs there without setting it up.

    Attributes:
      folder: where it runs.
      log: of the servers.
    """

    def __init__(self, folder: pathlib.Path, programs: pathlib.Path = PROGRAMS):
        """Args: folder, and where `python` and `dtn-jax` are: page_server.py has quicker ones."""
        self.folder, self.log, self.servers = folder, folder / "server.log", []
        self.programs = programs
        self.environment = environment() | {"PATH": f"{programs}:{os.environ['PATH']}"}
        self.port = free_port()
        if not (folder / ".venv").exists():
            (folder / ".venv").symlink_to(PROGRAMS.parent)

    def here(self, text: str) -> str:
        """The text with the port of the server."""
        return text.replace(":8000", f":{self.port}")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def run(self, line: str) -> str:
        """What the line prints; it must end well. A server is waited for until it is ready."""
        if re.match(r"(dtn-jax |python -m experiments\.)serve\b", line) and "--help" not in line:
            self.serve(re.sub(r"\s+(#.*|&)", "", line))
            return ""
        return self.call(["bash", "-ec", self.here(made(line))], line)

    def python(self, text: str) -> str:
        """What a script prints."""
        return self.call([str(self.programs / "python"), "-c", self.here(text)], text)

    def call(self, command: list[str], what: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        assert done.returncode == 0, f"{what}\n{done.stdout}{done.stderr}"
        return done.stdout.replace(f"{self.folder}/", "").replace(f":{self.port}", ":8000")

    def serve(self, line: str) -> None:
        with self.log.open("w") as out:
            command = ["bash", "-c", f"exec {line} --port={self.port}"]
            self.servers.append(
                subprocess.Popen(
                    command, stdout=out, stderr=out, cwd=self.folder, env=self.environment
                )
            )
        self.wait_for("ready: batches")

    def wait_for(self, words: str, seconds: float = 600) -> None:
        """Until the log of the server has the words."""
        end = time.monotonic() + seconds
        while words not in self.log.read_text():
            assert self.servers[-1].poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> list[int]:
        """The servers' exit codes; each is asked to end as an operator would."""
        for server in self.servers:
            server.terminate()
        return [server.wait(240) for server in self.servers]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            if server.poll() is None:
                server.kill()
                server.wait()


def made(line: str) -> str:
    """`make demo` by the Makefile of the repository, with this environment."""
    told = f"make -f {ROOT}/Makefile INSTALLED= TESTABLE= BIN={PROGRAMS}"
    return re.sub(r"^make(?= )", told, line)
