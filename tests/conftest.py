"""The conditions under which every test runs.

Eight simulated devices; an error where arrays of different rank would be broadcast in silence;
and the shapes in annotations checked at each call, of the packages of CHECKED.
What saves time is in quicker.py.
"""

import json
import os
import pathlib
import signal
from importlib.util import find_spec

import compile_cache

# Before JAX is imported, which reads its flags once. Programs here run for moments and compile for
# seconds: without LLVM's optimisations and the newer code of fusions, for a third as long. A model
# that is loaded alone (tests/export/test_alone.py) has XLA's defaults.
os.environ["XLA_FLAGS"] = compile_cache.with_flags(
    "--xla_backend_optimization_level=0",
    "--xla_cpu_use_fusion_emitters=false",
    # Devices that wait for each other on a machine with other work are not stuck after 40 s.
    "--xla_cpu_collective_call_warn_stuck_timeout_seconds=300",
    "--xla_cpu_collective_call_terminate_timeout_seconds=900",
    compile_cache.simulated(8),
)
os.environ["JAX_COMPILATION_CACHE_DIR"] = compile_cache.folder()
# Even what compiles in a few milliseconds is read faster.
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

# A shell in the background has SIGINT ignored, and so would the commands that tests interrupt.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

import beartype
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from jax._src.lru_cache import LRUCache
from jaxtyping import install_import_hook

assert jax.device_count() == 8  # which reads the flags; those of commands that tests start:
os.environ["XLA_FLAGS"] = compile_cache.with_flags(compile_cache.simulated(1))

pytest_plugins = ["quicker", "in_time"]
# Needs what only `make test-slow` installs.
collect_ignore = [] if find_spec("mkdocs") else ["contracts/test_pages_site.py"]
jax.config.update("jax_numpy_rank_promotion", "raise")
LRUCache.put = compile_cache.write_whole
flags.FLAGS.mark_as_parsed()


def check_calls(function):
    """beartype, except for constructors.

    JAX rebuilds a dataclass that is a pytree with whatever stands for its arrays at the time
    (shapes, shardings, None), so the annotations of its attributes don't hold then. Functions
    and methods, those of linen modules included, are checked.
    """
    return function if function.__name__ == "__init__" else beartype.beartype(function)


# Of these alone, unless DTN_CHECK_SHAPES=all, as in `make nightly`: it takes a fifth of the time.
CHECKED = ("balancing", "data.epochs", "losses", "metrics", "models", "run.gradients", "run.step")
CHECKED += ("tables",)
every = os.environ.get("DTN_CHECK_SHAPES") == "all"
assert every or all(find_spec(f"dtn_jax.{name}") for name in CHECKED)
# The hook takes a checker by name, to be looked up in each module that it instruments.
install_import_hook(
    "dtn_jax" if every else [f"dtn_jax.{name}" for name in CHECKED], f"{__name__}.check_calls"
)


def pytest_addoption(parser):
    parser.addoption(
        "--record-golden", action="store_true", help="record what golden tests compare with"
    )


def pytest_configure(config):
    wanted = config.option.markexpr
    if "nightly" not in wanted:
        config.option.markexpr = f"({wanted}) and not nightly" if wanted else "not nightly"
    if not hasattr(config, "workerinput"):  # once a run, not in each worker
        kept = pathlib.Path(jax.config.jax_compilation_cache_dir)
        compile_cache.delete_oldest(kept)


@pytest.fixture(autouse=True)
def cache_stays():
    """Later tests keep compiled programs too, where a command has told JAX otherwise."""
    names = ("jax_compilation_cache_dir", "jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def pytest_collection_modifyitems(items):
    """The longest ones first: no worker waits for them at the end."""
    items.sort(key=lambda item: "stories" not in item.path.parts)


class Precision:
    """A dtype to compute in, and how near to an equation's exact value it must come."""

    def __init__(self, name: str):
        self.dtype = jnp.dtype(name)
        self.tolerance = {"float32": 1e-5, "float64": 1e-10}[name]

    def assert_close(self, got, expected):
        """Compares relative to the largest expected value."""
        expected = np.asarray(expected)
        assert got.dtype == self.dtype
        scale = np.max(np.abs(expected))
        np.testing.assert_allclose(got, expected, rtol=0, atol=self.tolerance * scale)


@pytest.fixture
def float64():
    with jax.enable_x64(True):
        yield


@pytest.fixture(params=["float32", "float64"])
def precision(request):
    with jax.enable_x64(request.param == "float64"):
        yield Precision(request.param)


def _random_variables(module, *args, seed=0, scale=0.3, **kwargs):
    """Variables of the shapes that `module.init(key, *args, **kwargs)` makes, none 0 or 1.

    Initial biases and scales would hide a bias or a scale that is not used.
    """
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        values = rng.normal(scale=scale, size=leaf.shape)
        if path[-1].key == "var":  # running variances
            values = values**2 + 0.5
        return jnp.asarray(values, leaf.dtype)

    shapes = jax.eval_shape(lambda: module.init(jax.random.key(0), *args, **kwargs))
    return jax.tree_util.tree_map_with_path(draw, shapes)


@pytest.fixture
def random_variables():
    return _random_variables


@pytest.fixture(scope="session")
def prepared_dir(tmp_path_factory):
    """A folder of prepared data sets, filled as tests need them."""
    return str(tmp_path_factory.mktemp("prepared"))


@pytest.fixture(scope="session", autouse=True)
def own_data_dir(prepared_dir):
    """No test reads the user's folder of prepared sets, or writes to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DTN_DATA_DIR", prepared_dir)
        yield


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory):
    """The folder into which the project's wheel is unpacked, as an installer would."""
    import built_wheel

    return built_wheel.unpacked(tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def finished_run(prepared_dir, tmp_path_factory):
    """The workdir of a finished run on adult; its model is `exported_model`. For all workers."""
    from world import run, shared  # after the hook above

    return shared.made_once(tmp_path_factory, "run", lambda f: run.finished(prepared_dir, f))


@pytest.fixture(scope="session")
def uncut(finished_run):
    """(the workdir of a run that nothing interrupted, its results): see small_runs.py."""
    return finished_run, json.loads((finished_run / "results.json").read_text())


@pytest.fixture(scope="session")
def exported_model(finished_run, tmp_path_factory):
    """The folder of a model; a test that changes it copies it first."""
    from world import run, shared  # after the hook above

    return shared.made_once(tmp_path_factory, "model", lambda f: run.exported(finished_run, f))


@pytest.fixture(scope="session")
def programs(prepared_dir):
    """Where `python` and `dtn-jax` are: forked from a process that has imported everything.

    Programs run for moments and compile for seconds: without optimisations, for half as long.
    """
    import page_server
    import page_shell

    flags = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")
    changes = {
        "XLA_FLAGS": compile_cache.with_flags(*flags),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "true",
        "DTN_DATA_DIR": prepared_dir,
    }
    with page_server.running(page_shell.environment(), changes) as folder:
        yield folder


@pytest.fixture
def model(random_variables):
    """(schema, **options) -> a small built architecture with random variables and inputs."""
    from built_models import Model  # after the hook above

    return lambda data, **changes: Model(data, random_variables, **changes)


@pytest.fixture
def unload():
    """Plug-ins that the test loads are gone after it."""
    from dtn_jax.config import plugins  # after the hook above

    yield
    for _, names in plugins.loaded.values():
        for kind, keys in names.items():
            for key in keys:
                del plugins.KINDS[kind].members[key]
    plugins.loaded.clear()


@pytest.fixture
def write_plugin(tmp_path):
    """Writes a file of one's own: see plugin_files.py."""
    from plugin_files import writer  # after the hook above

    return writer(tmp_path)


@pytest.fixture
def splits():
    """The frames of a small data set's splits, which a test may change: see shop.py."""
    from shop import shop_splits  # after the hook above

    return shop_splits()


@pytest.fixture
def trained(monkeypatch):
    """What a sweep has trained, by a training that costs nothing: see sweeps.py."""
    from sweeps import invented_training  # after the hook above

    return invented_training(monkeypatch)
