"""A real server in a process of its own, as the command starts it."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

import httpx

ROOT = pathlib.Path(__file__).parents[2]


class Process:
    """Attributes: `url`, of the server; `log`, its path."""

    def __init__(self, model, log, *options):
        self.log = log
        command = [sys.executable, "-m", "experiments.serve", f"--model={model}", "--port=0"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        with log.open("w") as out:
            self.process = subprocess.Popen(
                [*command, *options], stdout=out, stderr=out, cwd=ROOT, env=environment
            )

    @property
    def text(self):
        return self.log.read_text()

    def wait_for(self, pattern, seconds=120):
        """The match of a pattern in the log."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if found := re.search(pattern, self.text):
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        raise AssertionError(f"no {pattern!r} in the log:\n{self.text}")

    def is_ready(self):
        self.url = self.wait_for(r"listening on (http://\S+)").group(1)
        self.wait_for("ready: batches")
        return httpx.get(f"{self.url}/health", timeout=60).status_code == 200

    def stop(self, by=signal.SIGTERM):
        """Its exit code."""
        self.process.send_signal(by)
        return self.process.wait(120)


@contextlib.contextmanager
def running(model, log, *options):
    found = Process(model, log, *options)
    try:
        assert found.is_ready(), found.text
        yield found
    finally:
        if found.process.poll() is None:
            found.process.kill()
            found.process.wait()
