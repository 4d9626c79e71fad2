"""A pytest plug-in that records which lines each test runs.

A line that a fixture runs counts as run by every test that uses the fixture, whichever test it was
made for; what one file's tests have traced is traced again for those of the next. Writes a JSON
file for each worker into the folder DTN_LINES: for each test its contexts (its own, and those of
its fixtures), its file and its seconds, if it passed; and of each context the lines.
"""

from __future__ import annotations

import json
import os
import pathlib
import sys

import coverage
import pytest

SOURCES = ("dtn_jax", "experiments", "configs")


class Lines:
    """What one process of pytest runs, test by test."""

    def __init__(self) -> None:
        self.root = pathlib.Path.cwd()
        self.coverage = coverage.Coverage(data_file=None, source=list(SOURCES), config_file=False)
        self.tests: dict[str, dict] = {}
        self.context, self.module = "", None
        self.coverage.start()

    def switch(self, context: str) -> str:
        """Lines are those of this context from here on; the one before."""
        before, self.context = self.context, context
        self.coverage.switch_context(context)
        return before

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item):
        if item.path != self.module:
            self.module = item.path
            sys.modules["jax"].clear_caches()  # conftest.py imports it, after its environment
            if "built_models" in sys.modules:
                sys.modules["built_models"].Model.made.clear()
        self.switch(item.nodeid)
        self.tests[item.nodeid] = {"file": item.path.name, "seconds": 0.0, "passed": True}
        yield_ = yield
        self.switch("")
        return yield_

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef, request):
        if fixturedef.scope == "function":
            return (yield)
        before = self.switch(context_of(fixturedef))
        try:
            return (yield)
        finally:
            self.switch(before)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item):
        shared = [
            context_of(item._request._get_active_fixturedef(name))
            for name in item.fixturenames
            if name != "request" and name in item._request._fixture_defs
        ]
        self.tests[item.nodeid]["contexts"] = [item.nodeid, *shared]
        return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if test := self.tests.get(report.nodeid):
            test["seconds"] += report.duration
            test["passed"] &= report.passed

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.coverage.stop()
        data, lines = self.coverage.get_data(), {}
        for path in data.measured_files():
            name = os.path.relpath(path, self.root)
            for line, contexts in data.contexts_by_lineno(path).items():
                for context in contexts:
                    lines.setdefault(context, {}).setdefault(name, []).append(line)
        found = {"tests": self.tests, "lines": lines}
        worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
        (pathlib.Path(os.environ["DTN_LINES"]) / f"{worker}.json").write_text(json.dumps(found))


def context_of(fixturedef) -> str:
    return f"{fixturedef.baseid}::{fixturedef.argname}"


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None) and not hasattr(config, "workerinput"):
        return  # the process that hands tests to workers
    config.pluginmanager.register(Lines(), "lines")
