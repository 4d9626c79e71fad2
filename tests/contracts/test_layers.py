"""The tree: a module imports only from its own layer or from those above it in STAGES."""

import ast
import functools
import graphlib
import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]
PACKAGES = ("dtn_jax", "configs", "experiments")

# Modules and folders of dtn_jax, then configs and experiments, in order. The longest name that fits
# a module is its layer. Where the order is not that of the stages of a run, a line says why.
STAGES = """
    __init__ errors shapes places options field schema interface files
    report.screen               # every stage speaks
    tables.hashing              # Ali-CCP's split draws rows with it
    data.epochs.batch_axis      # dropout, statistics and losses are over the rows of all devices
    parallel.processes          # each process reads its own rows
    metrics                     # the synthetic data's known answer has AUCs
    data.progress data.blocks
    data.quantiles data.equal_rows data.describe.leaks
    data.keys data.times data.formula data.schemas data.raw data.prepared
    data
    data.infer data.sets.data_set
    data.sets.synthetic         # Ali-CCP's generator has its fields' sizes
    data.sets
    export                      # what loads a model and scores needs nothing of what follows
    data.sets.catalog           # lists all data sets
    data.epochs tables models parallel
    data.describe               # reads a set's rows as training does
    balancing losses report
    run run.optimizers run.state run.gradients run.step run.evaluate run.timetable
    analysis.sample analysis.conflict analysis.gate_use analysis.watch  # while a run trains
    config                      # assembled from the options of all above
    run.promises run.run
    parallel.fits               # of a run, before it is made
    run.outcome run.workdir run.checkpoint run.start_from run.selection
    run.results plan run.nonfinite run.loss_log run.train run.replicas
    analysis
    export.fit_calibration export.score_files export.write
    cli.compile_cache cli.command
    comparison search papertables cli
    __main__ configs experiments.benchmarks experiments
"""
LAYERS = [name for line in STAGES.splitlines() for name in line.partition("#")[0].split()]

SERVED = {"jax", "numpy", "polars", "pyarrow", "safetensors"}  # packages that a loaded model needs
# Packages that a module can do without.
GUARDED = {"shapes": "jaxtyping", "data.raw.files": "fsspec"}

LONGEST = 600  # lines of a file, tests too


def source(path):
    return ast.parse((ROOT / path).read_text(), str(path))


def name_of(path):
    """'schema' of dtn_jax/schema.py; a folder's __init__.py has the folder's name."""
    parts = path.with_suffix("").parts
    parts = parts[:-1] if parts[-1] == "__init__" and len(parts) > 2 else parts
    parts = parts[:1] if parts[0] != "dtn_jax" and parts[-1] == "__init__" else parts
    return ".".join(parts[1:] if parts[0] == "dtn_jax" else parts)


@functools.cache
def modules():
    """{name: path}, of all that STAGES speaks of."""
    paths = [p.relative_to(ROOT) for package in PACKAGES for p in (ROOT / package).rglob("*.py")]
    return {name_of(path): path for path in sorted(paths)}


@functools.cache
def graph():
    """{name: names of the modules that it imports, and full names of what is not of the tree}."""
    return {name: imports(path) for name, path in modules().items()}


def imports(path):
    """Those inside of functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(source(path)):
        if isinstance(node, ast.Import):
            found |= {local(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = path.parts[: len(path.parts) - node.level] if node.level else ()
            base = ".".join((*start, *filter(None, [node.module])))
            for alias in node.names:
                inside = local(f"{base}.{alias.name}")
                found.add(inside if inside in modules() else local(base))
    return found


def local(name):
    """'schema' for 'dtn_jax.schema'; other names as they are."""
    return "__init__" if name == "dtn_jax" else name.removeprefix("dtn_jax.")


def layer(name):
    """The place of a module's layer; that of the last where it has none."""
    parts = name.split(".")
    fitting = (".".join(parts[:n]) for n in range(len(parts), 0, -1))
    return next((LAYERS.index(found) for found in fitting if found in LAYERS), len(LAYERS))


def reached(name, seen=None):
    """All that importing a module imports; a module's folders are imported with it."""
    seen = set() if seen is None else seen
    for other in graph().get(name, ()):
        parts = other.split(".")
        for found in (".".join(parts[:n]) for n in range(len(parts), 0, -1)):
            if found not in seen:
                seen.add(found)
                reached(found, seen)
    return seen


def test_every_module_has_a_layer():
    lost = {
        name: max((layer(o) for o in others & graph().keys()), default=0)
        for name, others in graph().items()
        if layer(name) == len(LAYERS)
    }
    told = [f"{name} (not before {LAYERS[low]!r})" for name, low in lost.items()]
    assert not lost, f"put into STAGES of {__file__}, in the order of a run: {', '.join(told)}"
    empty = set(LAYERS) - {LAYERS[layer(name)] for name in graph()}
    assert not empty, f"take out of STAGES what is gone: {empty}"


def test_imports_go_down():
    upward = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in sorted(others & graph().keys())
        if layer(other) > layer(name)
    ]
    assert not upward, "a lower layer is imported:\n" + "\n".join(upward)


def test_no_module_imports_itself_in_a_circle():
    graphlib.TopologicalSorter(
        {name: others & graph().keys() - {name} for name, others in graph().items()}
    ).prepare()


def test_a_loaded_model_needs_five_packages():
    found = {name for name in {"export"} | reached("export") if name in graph()}
    assert {"export.model", "data.encode", "metrics.spaces"} <= found
    others = {
        (name, other.split(".")[0])
        for name in found
        for other in graph()[name] - graph().keys()
        if other.split(".")[0] not in SERVED | sys.stdlib_module_names
    }
    assert others == set(GUARDED.items())


def test_no_file_is_long():
    lines = {
        p.relative_to(ROOT).as_posix(): len(p.read_text().splitlines())
        for package in (*PACKAGES, "tests")
        for p in (ROOT / package).rglob("*.py")
    }
    long = {path: n for path, n in lines.items() if n > LONGEST}
    assert not long, f"a file of more than {LONGEST} lines wants to be two: {long}"
