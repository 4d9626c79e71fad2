"""What saves the tests time: one device, pictures of one pixel, less work for XLA.

`all_devices`, `drawn` and `usual_fusions` give it back to the tests that need it.
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


def save_pixel(figure, target, **options):
    """In place of Figure.savefig: a whole PNG, of one white pixel."""
    if hasattr(target, "write"):
        target.write(PIXEL)
    else:
        pathlib.Path(target).write_bytes(PIXEL)


@pytest.fixture(scope="module", autouse=True)
def pixels():
    """A picture is one pixel, except in tests with `drawn`: it takes as long as a training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Figure, "savefig", save_pixel)
        yield


@pytest.fixture(scope="module", autouse=True)
def one_device():
    """A run takes one device unless it names a number: for 8, programs compile twice as long."""
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
def quick_storages():
    """Optuna reads the versions of its tables once; no file of trials waits for the disk."""
    from optuna.storages._rdb.storage import _VersionManager
    from sqlalchemy import Engine, event

    made = _VersionManager._create_alembic_script
    scripts = []  # one: of the same folder whatever the URL

    def made_once(manager):
        scripts.extend([] if scripts else [made(manager)])
        return scripts[0]

    def not_synchronous(connection, _):
        connection.execute("PRAGMA synchronous = OFF")

    event.listen(Engine, "connect", not_synchronous)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_VersionManager, "_create_alembic_script", made_once)
        yield
    event.remove(Engine, "connect", not_synchronous)


@pytest.fixture(scope="module")
def usual_fusions():
    """Compiles fusions as users do: for tests that two programs give the same bits."""
    given = compiler.get_compile_options

    def options(*args, **kwargs):
        found = given(*args, **kwargs)
        found.env_option_overrides = [("xla_cpu_use_fusion_emitters", True)]
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiler, "get_compile_options", options)
        yield
