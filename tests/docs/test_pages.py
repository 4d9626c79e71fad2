"""README and the pages of docs/: every command runs, and prints what the page shows."""

import page_commands
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("page", page_commands.pages())
def test_its_commands_run(page, prepared_dir, tmp_path, monkeypatch):
    """Shortened: the lines that a page shows are printed, whatever their numbers."""
    monkeypatch.setenv("DTN_DATA_DIR", prepared_dir)
    for block, printed in page_commands.run(page, tmp_path, short=True):
        missing = page_commands.missing(block, printed)
        assert not missing, "\n".join(["not printed:", *missing, "of:", printed])
