"""For runs that are stopped at a limit. `pytest --minutes=60` skips slow tests that begin later.

Quick tests always run. Each failure is printed at once, because a run that is stopped prints no
summary.
"""

import os
import time

import pytest

BEGAN = time.monotonic()


def pytest_addoption(parser):
    parser.addoption(
        "--minutes",
        type=float,
        help="skip slow tests that would begin more than so many minutes after pytest's start",
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    minutes = item.config.getoption("--minutes")
    if minutes is None or not item.get_closest_marker("slow"):
        return
    if time.monotonic() - BEGAN > minutes * 60:
        pytest.skip(f"it would have begun after more than {minutes:g} minutes (--minutes)")


def pytest_runtest_logreport(report):
    if report.failed and "PYTEST_XDIST_WORKER" not in os.environ:
        print(
            f"\nFAILED {report.nodeid} ({report.when})\n{report.longreprtext[-2000:]}", flush=True
        )
