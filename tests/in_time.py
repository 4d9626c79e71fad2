"""`pytest --minutes=60` skips slow tests that would begin later, where all tests have a limit.

Each is reported as skipped, with this reason. The quick tests are never left out. And a failure is
told when it happens, since a run that is stopped at its limit prints no summary.
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
