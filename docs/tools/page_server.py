"""Runs `python` and `dtn-jax` of the pages in processes that have imported everything.

    with running(environment, changes) as programs: ...

`programs` is a folder for the front of PATH: its `python` and `dtn-jax` hand their words, folder,
environment and files to a server, which forks a process for each call. Its signals and its exit
code are passed on. What is not a module, a script or -c is left to the real Python.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pathlib
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import types
from collections.abc import Iterator

CLIENT = """#!{python} -IS
import json, os, signal, socket, sys
call = {{"argv": sys.argv, "cwd": os.getcwd(), "env": dict(os.environ) | {changes}}}
own = socket.socket(socket.AF_UNIX)
own.connect({address!r})
socket.send_fds(own, [b"!"], [0, 1, 2])
own.sendall(json.dumps(call).encode() + b"\\n")
answers = own.makefile()
pid = int(answers.readline())
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda number, _: os.kill(pid, number))
code = int(answers.readline())
if code < 0:
    if -code != signal.SIGKILL:
        signal.signal(-code, signal.SIG_DFL)
    os.kill(os.getpid(), -code)
os._exit(code)
"""
IMPORTED_LATE = ("run.train", "run.replicas", "data.infer.infer", "cli.description", "config")
IMPORTED_LATE += ("export.write", "export.score_files", "export.serve.process")
READ_AT_IMPORT = ("JAX_", "PYTHON")  # variables that a process which has imported JAX reads no more


@contextlib.contextmanager
def running(
    environment: dict[str, str], changes: dict[str, str] | None = None
) -> Iterator[pathlib.Path]:
    """Starts a server; the folder of its `python` and `dtn-jax`.

    Args:
      environment: of the server.
      changes: what else the server and all calls have in theirs.
    """
    with tempfile.TemporaryDirectory() as folder:
        programs, address = pathlib.Path(folder), f"{folder}/socket"
        for name in ("python", "dtn-jax"):
            program = programs / name
            program.write_text(
                CLIENT.format(python=sys.executable, address=address, changes=changes or {})
            )
            program.chmod(0o755)
        call = [sys.executable, __file__, address]
        server = subprocess.Popen(call, env=environment | (changes or {}), stdout=subprocess.PIPE)
        try:
            assert server.stdout.readline() == b"ready\n"
            yield programs
        finally:
            server.terminate()
            server.wait()
            server.stdout.close()


def main(address: str) -> None:
    """Serves calls until it is ended; a call whose program has gone ends too."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(address)
    listening.listen()
    import_everything()
    gc.freeze()
    print("ready", flush=True)
    with selectors.DefaultSelector() as waiting:
        waiting.register(listening, selectors.EVENT_READ)
        while True:
            for key, _ in waiting.select():
                if key.fd not in waiting.get_map():
                    continue  # it ended together with its program
                if key.fileobj is listening:
                    connection = listening.accept()[0]
                    _, files, _, _ = socket.recv_fds(connection, 1, 3)
                    line = connection.makefile().readline()
                    whole = line.endswith("\n")  # else its program was killed
                    if whole and not (pid := os.fork()):
                        listening.close()
                        connection.close()
                        return work(json.loads(line), files)
                    for file in files:
                        os.close(file)
                    if not whole:
                        connection.close()
                        continue
                    answer(connection, pid)
                    ended = os.pidfd_open(pid)
                    waiting.register(ended, selectors.EVENT_READ, (pid, connection))
                    waiting.register(connection, selectors.EVENT_READ, (pid, None))
                elif key.data[1] is None:  # its program has gone
                    waiting.unregister(key.fileobj)
                    os.kill(key.data[0], signal.SIGKILL)
                else:
                    pid, connection = key.data
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    waiting.unregister(key.fd)
                    os.close(key.fd)
                    if connection in waiting.get_map():
                        waiting.unregister(connection)
                        answer(connection, code)
                    connection.close()


def answer(connection: socket.socket, number: int) -> None:
    with contextlib.suppress(ConnectionError):  # its program was killed
        connection.sendall(b"%d\n" % number)


def import_everything() -> None:
    """What commands import; JAX does not look for devices yet."""
    from dtn_jax.cli import COMMANDS

    for name in (*(f"cli.{command}" for command in COMMANDS), *IMPORTED_LATE):
        importlib.import_module(f"dtn_jax.{name}")


def work(call: dict, files: list[int]) -> None:
    """The call, in its own process."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(call["cwd"])
    name, *words = call["argv"]
    given, own = call["env"], os.environ
    stale = {key for key in given.keys() | own.keys() if key.startswith(READ_AT_IMPORT)}
    is_command = os.path.basename(name) == "dtn-jax"
    if any(given.get(key) != own.get(key) for key in stale) or not (
        is_command or (words and (words[0] in ("-m", "-c") or words[0][0] != "-"))
    ):
        real = pathlib.Path(sys.executable)
        start = [real.with_name("dtn-jax")] if is_command else []
        os.execve(real, [real, *start, *words], given)
    os.environ.clear()
    os.environ.update(given)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.modules["__main__"] = types.ModuleType("__main__")
    if is_command:
        from dtn_jax.cli import main as command

        sys.argv = call["argv"]
        command()
    elif words[0] == "-m":
        sys.path[0], sys.argv = os.getcwd(), words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.path[0], sys.argv = "", ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        sys.path[0], sys.argv = str(pathlib.Path(words[0]).resolve().parent), words
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
