"""README and the pages of docs/: every command runs, and prints what the page shows."""

import compile_cache
import page_commands
import page_server
import page_shell
import pytest


@pytest.fixture(scope="module")
def programs(prepared_dir):
    """Where `python` and `dtn-jax` are: forked from a process that has imported everything.

    Programs run for moments and compile for seconds: without optimisations, for half as long.
    """
    with pytest.MonkeyPatch.context() as patch:
        flags = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")
        patch.setenv("XLA_FLAGS", compile_cache.with_flags(*flags))
        patch.setenv("JAX_DISABLE_MOST_OPTIMIZATIONS", "true")
        patch.setenv("DTN_DATA_DIR", prepared_dir)
        with page_server.running(page_shell.environment()) as folder:
            yield folder


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
