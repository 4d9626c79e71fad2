"""Runs commands in processes that have imported everything: one is forked for each call.

    python -m experiments.benchmarks.faults.server MODULE ...

Reads a call a line, {"module", "arguments", "log"}, and answers {"pid"} when it begins and {"code"}
when it has ended: the exit code, or the negative number of the signal that ended it.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import sys
import traceback

from dtn_jax.cli import command


def main() -> None:
    modules = {name: importlib.import_module(name) for name in sys.argv[1:]}
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C is for the caller
    print(json.dumps({"ready": True}), file=answers)
    for line in sys.stdin:
        call = json.loads(line)
        pid = os.fork()
        if not pid:
            work(modules[call["module"]], call)
        print(json.dumps({"pid": pid}), file=answers)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), file=answers)


def work(module, call: dict) -> None:
    """The call, in its own process, which does not return."""
    code = 0
    try:
        os.setsid()  # what it starts ends with it
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(call["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.argv = [call["module"], *call["arguments"]]
        command.run(module.main, getattr(module, "RESUMES", False))
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
