"""What spares the tests time: one device, pictures of one pixel, less work for XLA.

Each has a fixture for tests that are about what is spared.
"""

import base64
import pathlib

import jax
import pytest
from jax._src import compiler
from matplotlib.figure import Figure

DRAW = Figure.savefig
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsTj2FAAAAABJRU5ErkJggg=="
)


def _save_pixel(figure, target, **options):
    """In place of Figure.savefig: a whole PNG, of one white pixel."""
    if hasattr(target, "write"):
        target.write(PIXEL)
    else:
        pathlib.Path(target).write_bytes(PIXEL)


@pytest.fixture(scope="module", autouse=True)
def pixels():
    """Pictures are one pixel, but for tests with `drawn`: to draw one takes as long as to train."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", _save_pixel)
        yield


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """A run that names no number of devices takes one: for 8, programs take twice as long."""
    from dtn_jax.parallel import mesh  # after the hook above

    count = mesh._device_count
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mesh, "_device_count", lambda wanted: count(wanted or jax.process_count()))
        yield count


@pytest.fixture
def all_devices(one_device, monkeypatch):
    """For tests of what a run takes that names no number of devices."""
    from dtn_jax.parallel import mesh  # after the hook above

    monkeypatch.setattr(mesh, "_device_count", one_device)


@pytest.fixture(scope="module")
def drawn(pixels):
    """For tests that look at pictures; later ones of their module draw them too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", DRAW)
        yield


@pytest.fixture(scope="module")
def quick_to_compile():
    """For hundreds of tiny models: nearly all of their time is XLA's."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture(scope="module")
def usual_fusions():
    """For bits that two programs give: of fusions compiled as they are for users."""
    given = compiler.get_compile_options

    def options(*args, **kwargs):
        found = given(*args, **kwargs)
        found.env_option_overrides = [("xla_cpu_use_fusion_emitters", True)]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", options)
        yield
