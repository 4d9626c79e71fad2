"""The commands of a page, run as its reader would type them; no test is in here."""

import os
import pathlib
import re
import subprocess
import sys
import time

from experiments.launch import free_port

ROOT = pathlib.Path(__file__).parents[2]


def lines(page, heading):
    """The lines of the shell blocks between a heading and the next, those that go on joined."""
    text = "\n" + (ROOT / page).read_text()
    part = re.split(r"^#+ ", text.partition(f"\n{heading}\n")[2], maxsplit=1, flags=re.M)[0]
    blocks = re.findall(r"^```bash\n(.*?)^```", part, re.M | re.S)
    return "".join(blocks).replace("\\\n", "").splitlines()


def python(page):
    """The Python blocks of a page."""
    return re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(), re.M | re.S)


class Shell:
    """Runs lines in a folder; a server goes on in the background, at a free port in 8000's place.

    Attributes: `log`, of the servers.
    """

    def __init__(self, folder):
        self.folder, self.log, self.servers = folder, folder / "server.log", []
        path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
        self.environment = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT)}
        self.port = free_port()

    def here(self, text):
        """The text with the port of the server."""
        return text.replace(":8000", f":{self.port}")

    def run(self, line):
        """What the line prints; it must end well. A server is waited for until it is ready."""
        if "experiments.serve" in line:
            self.serve(re.sub(r"\s+(#.*|&)", "", line))
            return ""
        done = subprocess.run(
            ["bash", "-ec", self.here(line)],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"
        return done.stdout

    def serve(self, line):
        with self.log.open("w") as out:
            command = ["bash", "-c", f"exec {line} --port={self.port}"]
            self.servers.append(
                subprocess.Popen(
                    command, stdout=out, stderr=out, cwd=self.folder, env=self.environment
                )
            )
        self.wait_for("ready: batches")

    def wait_for(self, words, seconds=120):
        """Until the log of the server has the words."""
        end = time.monotonic() + seconds
        while words not in self.log.read_text():
            assert self.servers[-1].poll() is None, self.log.read_text()
            assert time.monotonic() < end, self.log.read_text()
            time.sleep(0.05)

    def stop(self):
        """The servers' exit codes; each is asked to end as an operator would."""
        for server in self.servers:
            server.terminate()
        return [server.wait(30) for server in self.servers]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for server in self.servers:
            if server.poll() is None:
                server.kill()
                server.wait()
