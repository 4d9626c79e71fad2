"""Breaks the program in 200 ways, one at a time, and sees whether the quick tests notice.

    python tests/mutants/run.py [ID ...]        # the mutants, all or these; then the table
    python tests/mutants/run.py --minutes=110   # those that it begins within so many minutes

First it runs all quick tests, and records which lines each of them runs. Then each mutant is
applied in a scratch copy of the last commit, where the tests that run its lines are started, short
and narrow ones first, until one fails. If none does, so is a minute's worth of the other tests of
the same files, and of those that run any line of the mutant's file, or of its folder: a line that
was traced, cached or imported in one test may count in another. A row of mutants.json that is
`equivalent`, for the reason that it gives, survives without a trial. What was found stays in
runs/mutants/COMMIT, where a second call goes on; the table is outcomes.md.
"""

from __future__ import annotations

import argparse
import collections
import itertools
import json
import os
import pathlib
import queue
import re
import shutil
import subprocess
import sys
import threading
import time

import draw

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
COMMIT = subprocess.run(
    ["git", "rev-parse", "--short=12", "HEAD"], cwd=ROOT, text=True, capture_output=True
).stdout.strip()
WORK = pathlib.Path(os.environ.get("DTN_MUTANTS", ROOT / "runs" / "mutants" / COMMIT))
QUICK = ["-m", "not slow and not nightly", "-q", "-p", "no:cacheprovider"]
MINUTE = 60  # seconds of tests that run other lines of a mutant's file, at most
SLACK = 180  # seconds beside three times as many as the tests take: for a start, and compilation


def pytest(folder: pathlib.Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    """Quick tests of a copy, in a process of their own that imports from there."""
    environment = os.environ | {"PYTHONPATH": f"{folder}:{folder / 'tests/mutants'}"}
    command = [sys.executable, "-m", "pytest", *QUICK, *arguments]
    return subprocess.run(
        command, cwd=folder, env=environment, text=True, capture_output=True, **options
    )


def scratch(name: str) -> pathlib.Path:
    """A new copy of the last commit."""
    folder = WORK / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "x"], cwd=folder, input=archive.stdout, check=True)
    (folder / ".venv").symlink_to(pathlib.Path(sys.prefix))
    return folder


def record(workers: int) -> None:
    """Runs all quick tests once and keeps which lines each of them runs."""
    folder = scratch("lines")
    kept = WORK / "lines_by_test.part"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    os.environ["DTN_LINES"] = str(kept)
    found = pytest(folder, "-p", "recorder", "-n", str(workers), "--dist", "worksteal")
    print(found.stdout[-2000:])
    if found.returncode:
        sys.exit("the quick tests fail without a mutant: mend them first")
    kept.rename(WORK / "lines_by_test")
    shutil.rmtree(folder)


class Lines:
    """Which tests run which lines."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.by_file = collections.defaultdict(lambda: collections.defaultdict(set))
        self.breadth = collections.Counter()  # of a test: lines that it runs
        paths = sorted((WORK / "lines_by_test").glob("*.json"))
        workers = [json.loads(path.read_text()) for path in paths]
        users = collections.defaultdict(set)  # of all workers: one makes what all share
        for worker in workers:
            for test, facts in worker["tests"].items():
                if facts["passed"]:
                    self.seconds[test] = facts["seconds"]
                    for context in facts.get("contexts", [test]):
                        users[context].add(test)
        for worker in workers:
            for context, files in worker["lines"].items():
                for test in users[context]:
                    self.breadth[test] += sum(map(len, files.values()))
                for name, lines in files.items():
                    for line in lines:
                        self.by_file[name][line] |= users[context]

    def tests(self, row: dict, reach: str) -> list[str]:
        """Those that run one of the `lines` that the mutant changes, or any of its `file` or
        `folder`; those of a test file side by side, and first the files that are short and whose
        tests run few lines."""
        source = (ROOT / row["file"]).read_text()
        start = f"\n{source}".index(f"\n{row['old']}\n")
        first = source[:start].count("\n") + 1
        lines = range(first, first + row["old"].count("\n") + 1)
        by_line, folder = self.by_file[row["file"]], row["file"].rpartition("/")[0]
        if reach == "lines":
            some = [by_line[n] for n in lines]
        elif reach == "file":
            some = by_line.values()
        else:
            names = [name for name in self.by_file if name.rpartition("/")[0] == folder]
            some = [tests for name in names for tests in self.by_file[name].values()]
        tests = set().union(*some)
        of_file = collections.defaultdict(float)
        for test in tests:
            of_file[test.partition("::")[0]] += self.seconds[test] * self.breadth[test]
        return sorted(tests, key=lambda t: (of_file[t.partition("::")[0]], t))

    def beside(self, tests: list[str]) -> list[str]:
        """All tests of the files of these: they share what one of them has traced."""
        files = {name.partition("::")[0] for name in tests}
        return [test for test in self.seconds if test.partition("::")[0] in files]

    def first(self, tests: list[str], seconds: float) -> list[str]:
        """The first tests, as many as take so long."""
        ends = itertools.accumulate(self.seconds[test] for test in tests)
        return [test for test, end in zip(tests, ends) if end <= seconds]


def outcome(row: dict, folder: pathlib.Path, lines: Lines) -> dict:
    """Whether a test fails, and which."""
    path = folder / row["file"]
    source = path.read_text()
    tried: list[str] = []
    started = time.monotonic()
    path.write_text(draw.apply(source, row))
    try:
        for reach in ("lines", "beside", "file", "folder"):
            tests = lines.beside(tried) if reach == "beside" else lines.tests(row, reach)
            tests = [test for test in tests if test not in set(tried)]
            tests = tests if reach == "lines" else lines.first(tests, MINUTE)
            tried += tests
            if tests and (by := failing(folder, tests, sum(lines.seconds[t] for t in tests))):
                break
        else:
            by = ""
    finally:
        path.write_text(source)
    return {"id": row["id"], "by": by, "tests": len(tried), "seconds": time.monotonic() - started}


def failing(folder: pathlib.Path, tests: list[str], seconds: float) -> str:
    """The first test that fails, or why none ran; "" where all pass."""
    (listed := folder / "tests.txt").write_text("\n".join(tests))
    try:
        found = pytest(folder, "-x", f"@{listed}", timeout=3 * seconds + SLACK)
    except subprocess.TimeoutExpired:
        return "takes too long"
    if found.returncode == 0:
        return ""
    if "ERROR: not found: " in found.stderr or found.returncode == 5:  # a test that is not there
        raise RuntimeError(found.stdout[-2000:] + found.stderr[-2000:])
    told = r"^(?:FAILED|ERROR) (.+?)(?: \((?:setup|call|teardown)\)| - .*)?$"
    name = re.search(told, found.stdout, re.MULTILINE)
    return name[1] if name else "does not start"


def run(rows: list[dict], workers: int, ends: float) -> None:
    lines, waiting = Lines(), queue.Queue()
    kept = WORK / "outcomes.jsonl"
    for row in rows:
        waiting.put(row)

    def work(number: int) -> None:
        folder = scratch(f"copy{number}")
        while time.monotonic() < ends:
            try:
                row = waiting.get_nowait()
            except queue.Empty:
                break
            found = outcome(row, folder, lines)
            with kept.open("a") as file:
                file.write(json.dumps(found) + "\n")
            print(
                f"{found['id']} {found['by'] or 'SURVIVES'} ({found['seconds']:.0f} s)", flush=True
            )
        shutil.rmtree(folder)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def outcomes() -> dict[str, dict]:
    """{id: the last outcome}."""
    path = WORK / "outcomes.jsonl"
    found = map(json.loads, path.read_text().splitlines()) if path.exists() else []
    return {one["id"]: one for one in found}


def table(rows: list[dict], found: dict[str, dict]) -> str:
    """outcomes.md."""
    done = [row for row in rows if row["id"] in found or "equivalent" in row]
    by = {row["id"]: found.get(row["id"], {}).get("by", "") for row in done}
    alive = [row for row in done if not by[row["id"]]]
    equal = [row for row in alive if "equivalent" in row]
    minutes = sum(one["seconds"] for one in found.values()) / 60
    text = [
        "# Mutants",
        "",
        f"{len(done)} of {len(rows)} small breakages of commit {COMMIT} were tried, in "
        f"{minutes:.0f} minutes of one core; the quick tests notice {len(done) - len(alive)}. "
        f"{len(alive)} survive, {len(equal)} of them because they change nothing that anybody "
        "could see. `make mutants` makes this table.",
        "",
        "| survives | file | why |",
        "| --- | --- | --- |",
        *(f"| {row['id']} | {row['file']} | {row.get('equivalent', '')} |" for row in alive),
        "",
        "| | area | file | what is broken | noticed by |",
        "| --- | --- | --- | --- | --- |",
    ]
    for row in done:
        what = row["what"]
        if row["drawn"]:
            pairs = zip(row["old"].split("\n"), row["new"].split("\n"))
            old, new = next(pair for pair in pairs if pair[0] != pair[1])
            what = f"{what}: `{old.strip()}` → `{new.strip()}`".replace("|", "\\|")
        test = by[row["id"]].replace("|", "\\|")
        test = test if len(test) < 120 else test[:117] + "…"
        cells = (row["id"], row["area"], row["file"], what, test or "**survives**")
        text.append(f"| {' | '.join(cells)} |")
    return "\n".join(text) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("ids", nargs="*", metavar="ID", help="mutants; default all")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--minutes", type=float, default=float("inf"))
    known = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    rows = json.loads(draw.LIST.read_text())
    ends = time.monotonic() + 60 * known.minutes
    if not (WORK / "lines_by_test").exists():
        record(known.workers)
    wanted = [
        row for row in rows if row["id"] in known.ids or not (known.ids or "equivalent" in row)
    ]
    done = outcomes() if not known.ids else {}
    run([row for row in wanted if row["id"] not in done], known.workers, ends)
    (HERE / "outcomes.md").write_text(table(rows, outcomes()))


if __name__ == "__main__":
    main()
