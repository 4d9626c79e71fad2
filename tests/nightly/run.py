"""What is too long for every push, in parts of at most two hours each; `make nightly`.

    python tests/nightly/run.py                  # the parts that have not passed on this commit
    python tests/nightly/run.py grids newest     # these

`passed.md` beside it says on which commit each part last passed. A part that was cut begins anew.
"""

from __future__ import annotations

import argparse
import datetime
import os
import pathlib
import re
import shlex
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
TABLE = HERE / "passed.md"
PYTEST = "-m pytest -n auto --dist worksteal --durations=5"
TEST = f"{shlex.quote(sys.executable)} {PYTEST}"
QUICK = "-m 'not slow and not nightly'"
PARTS = {  # name: (what it does, commands, what differs in their environment)
    "grids": (
        "every device, platform, optimizer, strategy and architecture",
        [f"{TEST} -m nightly --ignore=tests/nightly"],
        {},
    ),
    "simulations": (
        "thousands of comparisons of equal models: intervals cover, tests keep their size",
        [f"{TEST} -m nightly tests/nightly/test_null_calibration.py"],
        {"OPENBLAS_NUM_THREADS": "1"},
    ),
    "slow": (
        "commands, pages, processes, stories: `make test-slow`",
        [f"{TEST} -m 'slow and not nightly'"],
        {},
    ),
    "shapes": (
        "the quick tests with the shapes of the whole package checked",
        [f"{TEST} {QUICK}"],
        {"DTN_CHECK_SHAPES": "all"},
    ),
    "newest": (
        "equations and invariants on the newest Python and JAX that install",
        [
            "make newest",
            f".venv-newest/bin/python {PYTEST} {QUICK} tests/equations tests/invariants",
        ],
        {},
    ),
    "compilers": (
        "programs compiled for TPUs and H100s: memory, copies, collectives",
        [
            "make compiled",
            f"{TEST} -n 2 --dist loadfile -m nightly tests/nightly/test_compiled.py",
        ],
        {},
    ),
    "environments": (
        "tests beside ONNX, Spark, TorchJD, torch-rechub and FuxiCTR",
        [
            "make onnx spark peers",
            f"{TEST} -m 'slow or nightly' -k onnx",
            ".venv-spark/bin/python -m pytest tests/data/test_spark.py -m 'nightly or not nightly'",
            f"{TEST} -m nightly tests/nightly/test_torchjd.py tests/nightly/test_peers.py",
        ],
        {},
    ),
    "faults": (
        "kills, full disks and damaged files, drawn at random",
        ["make test-faults"],
        {},
    ),
}


def commit() -> str:
    """The last commit; with a `+` where files differ from it, other than that table."""
    words = ["git", "rev-parse", "--short=12", "HEAD"]
    found = subprocess.run(words, cwd=ROOT, text=True, capture_output=True).stdout.strip()
    words = ["git", "status", "--porcelain", "--", ".", ":!tests/nightly/passed.md"]
    return found + ("+" if subprocess.run(words, cwd=ROOT, capture_output=True).stdout else "")


def run(name: str) -> bool:
    """Whether all commands of a part end well; its line of the table says so."""
    _, commands, changes = PARTS[name]
    start = time.monotonic()
    for command in commands:
        print(f"{name}: {command}", flush=True)
        if subprocess.run(shlex.split(command), cwd=ROOT, env=os.environ | changes).returncode:
            print(f"{name}: failed", flush=True)
            return False
    minutes = round((time.monotonic() - start) / 60)
    passed = read() | {name: [commit(), datetime.date.today().isoformat(), minutes]}
    TABLE.write_text(table(passed))
    return True


def read() -> dict[str, list]:
    """{part: [commit, date, minutes] of its last pass}"""
    rows = re.findall(r"^\| `(\w+)` \|.*\| (\S+) \| (\S+) \| (\d+) \|$", TABLE.read_text(), re.M)
    return {name: facts for name, *facts in rows}


def table(passed: dict[str, list]) -> str:
    """passed.md."""
    lines = [
        "# Nightly",
        "",
        "`make nightly` runs these parts, and writes on which commit each last passed.",
        "",
        "| part | what it does | last passed on | date | minutes |",
        "| --- | --- | --- | --- | ---: |",
    ]
    for name, (what, *_) in PARTS.items():
        cells = passed.get(name, ["never", "", ""])
        lines.append(f"| {' | '.join(map(str, [f'`{name}`', what, *cells]))} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}")
    known = parser.parse_args()
    if wrong := set(known.parts) - set(PARTS):
        parser.error(f"unknown part {', '.join(wrong)}; the parts are {', '.join(PARTS)}")
    here = commit()
    done = {name for name, (at, *_) in read().items() if at == here and not at.endswith("+")}
    wanted = known.parts or [name for name in PARTS if name not in done]
    failed = [name for name in wanted if not run(name)]
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
