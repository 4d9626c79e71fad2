"""README and the pages of docs/: every command runs, and prints what the page shows."""

import re

import page_commands
import pytest


@pytest.mark.slow
@pytest.mark.parametrize("page", page_commands.pages())
def test_its_commands_run(page, prepared_dir, tmp_path, monkeypatch):
    """Shortened: most words that a page shows are printed; a verdict may be another."""
    monkeypatch.setenv("DTN_DATA_DIR", prepared_dir)
    monkeypatch.setenv("XLA_FLAGS", "--xla_backend_optimization_level=0")
    for block, printed in page_commands.run(page, tmp_path, short=True):
        shown, found = (set(re.findall(r"[A-Za-z]{4,}", text)) for text in (block.text, printed))
        assert len(shown - found) <= len(shown) / 4, f"{shown - found} are not in\n{printed}"
