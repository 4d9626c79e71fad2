"""README and the pages of docs/: every command runs, and prints what the page shows."""

import page_commands
import pytest


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Where what pages are given beforehand stays for other pages."""
    return tmp_path_factory.mktemp("given")


@pytest.mark.slow
@pytest.mark.parametrize("page", page_commands.pages())
def test_its_commands_run(page, programs, kept, tmp_path):
    """Shortened: the lines that a page shows are printed, whatever their numbers."""
    for block, printed in page_commands.run(page, tmp_path, True, programs, kept):
        missing = page_commands.missing(block, printed)
        assert not missing, "\n".join(["not printed:", *missing, "of:", printed])
