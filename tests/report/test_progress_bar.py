"""The progress of training, with and without a terminal."""

import io
import re

import pytest
import rich.console

from dtn_jax.report.progress_bar import ProgressBar


def progress_output(updates, *, interactive=None, seconds=1.0, start_step=0, **given):
    """What Progress writes for `updates` updates of 10 steps and 1000 examples each."""
    now = 1000.0
    console = rich.console.Console(
        file=io.StringIO(), width=80, force_terminal=bool(interactive), get_time=lambda: now
    )
    total = start_step + 10 * updates
    given |= {"console": console, "interactive": interactive}
    with ProgressBar(total, 2, start_step, **given) as progress:
        for i in range(updates):
            now += seconds
            step = start_step + 10 * (i + 1)
            losses = {"click": 0.5 / (i + 1), "order": 0.25}
            progress.update(step=step, epoch=2 * i // updates, losses=losses, examples=1000)
    return console.file.getvalue()


def test_progress_without_a_terminal_is_plain_lines_every_ten_seconds():
    output = progress_output(40)
    assert "\x1b" not in output
    assert "\r" not in output
    lines = output.splitlines()
    # updates at 1, 2, ... 40 s: lines at 1, 11, 21, 31 and the last one at 40
    assert [int(re.search(r"step (\d+)/400", line)[1]) for line in lines] == [
        10,
        110,
        210,
        310,
        400,
    ]
    assert lines[0].startswith("epoch 1/2 | step 10/400 | loss click 0.5000  order 0.2500")
    # 10 steps and 1000 examples a second; 400 - 110 steps are left
    assert "1,000 examples/s" in lines[1]
    assert lines[1].endswith("0:00:29 left")
    assert lines[-1].startswith("epoch 2/2")
    assert "left" not in lines[-1]


def test_progress_resumed_does_not_count_the_steps_before():
    lines = progress_output(40, start_step=100_000).splitlines()
    assert "step 100110/100400" in lines[1]
    assert "1,000 examples/s" in lines[1]
    assert lines[1].endswith("0:00:29 left")


def test_a_run_that_may_stop_early_has_at_most_so_much_time_left():
    lines = progress_output(40, may_stop=True).splitlines()
    assert lines[1].endswith("0:00:29 left at most")


def test_progress_measures_speed_with_rare_updates():
    lines = progress_output(5, seconds=50.0).splitlines()
    assert len(lines) == 5
    assert all("20 examples/s" in line for line in lines[1:])


def test_progress_in_a_terminal_is_a_bar():
    output = progress_output(4, interactive=True)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output)
    assert "\x1b" in output
    assert "epoch 2/2" in plain
    assert "40/40" in plain
    assert "loss  click 0.1250  order 0.2500" in plain


def test_progress_leaves_the_terminal_in_order_after_an_error():
    console = rich.console.Console(file=io.StringIO(), force_terminal=True)
    with (
        pytest.raises(RuntimeError, match="stop"),
        ProgressBar(10, 1, console=console, interactive=True),
    ):
        raise RuntimeError("stop")
    assert console.file.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again
