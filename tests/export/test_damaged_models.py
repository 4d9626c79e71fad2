"""A folder that is not as it was written, or that a stranger wrote, gives clean errors."""

import shutil
import struct

import jax
import jax.numpy as jnp
import made_models
import pytest
from jax import export as jax_export
from safetensors.numpy import load_file, save_file

from dtn_jax import export
from dtn_jax.errors import UserError
from dtn_jax.export import model_folder
from dtn_jax.export.model_folder import MODEL, PROGRAM, SCHEMA, WEIGHTS

FILES = (MODEL, PROGRAM, SCHEMA, WEIGHTS, "calibration.json", "encoders/encoders.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "whole"
    made_models.frame_model(folder)
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "m")


def sealed(folder, made=None):
    """Writes a manifest that agrees with the files, as a stranger can."""
    program = {"made": made or model_folder.now(), "jax": jax.__version__}
    model_folder.write_manifest(folder, {"program": program})


def test_a_program_that_calls_the_machine_is_not_run(folder):
    whole = jax_export.deserialize(bytearray((folder / PROGRAM).read_bytes()))
    read, _ = jax.tree.unflatten(whole.in_tree, whole.in_avals)

    def called(weights, inputs):
        out = jax.ShapeDtypeStruct((3,), jnp.float32)
        found = jax.ffi.ffi_call("system", out)()
        return jnp.zeros((inputs["ids"].shape[0], 3), jnp.float32) + found[None]

    batch, rows = jax_export.symbolic_shape("B, R")

    def symbolic(name, aval):
        shape = [n if isinstance(n, int) else {"B": batch, "R": rows}[str(n)] for n in aval.shape]
        return jax.ShapeDtypeStruct(shape, aval.dtype)

    arguments = [{name: symbolic(name, aval) for name, aval in part.items()} for part in read]
    skipped = [jax_export.DisabledSafetyCheck.custom_call("system")]
    made = jax_export.export(jax.jit(called), platforms=["cpu"], disabled_checks=skipped)
    exported = made(*arguments).serialize()
    (folder / PROGRAM).write_bytes(exported)
    sealed(folder)
    with pytest.raises(UserError, match=r"calls functions of the machine \(system\)"):
        export.load(folder)


@pytest.mark.parametrize("name", FILES)
def test_a_flipped_bit_is_found(folder, name):
    path = folder / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(UserError, match=rf"{path.name} has changed .*export the run again"):
        export.load(folder)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name} is missing"):
        export.load(folder)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (0, 4000), (40, None)])
def test_a_damaged_program_is_refused(folder, start, stop):
    (folder / PROGRAM).write_bytes((folder / PROGRAM).read_bytes()[start:stop])
    sealed(folder)
    with pytest.raises(UserError, match=r"can't be read .*by JAX.*dtn-jax export --again"):
        export.load(folder)


def weights_with(folder, **changes):
    """The weights, some of them gone (None) or others."""
    weights = load_file(folder / WEIGHTS)
    for name, change in changes.items():
        found = weights.pop(f"params/{name}")
        if change is not None:
            weights[f"params/{name}"] = change(found)
    save_file(weights, folder / WEIGHTS)


def with_header(folder, size):
    data = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(struct.pack("<Q", size) + data[8:])


def schema_with(folder, old, new):
    path = folder / "schema.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda f: weights_with(f, tower=None), "damaged .it lacks 'params/tower'"),
        (lambda f: with_header(f, 2**63), f"{WEIGHTS} is missing or damaged"),
        (lambda f: with_header(f, 0), f"{WEIGHTS} is missing or damaged"),
        (lambda f: schema_with(f, "list of text", "list!of text"), "damaged .*'list!of text'"),
    ],
)
def test_what_does_not_go_together_is_told(folder, change, told):
    change(folder)
    sealed(folder)
    with pytest.raises(UserError, match=told):
        export.load(folder)


@pytest.mark.parametrize("change", [lambda w: w[:2], lambda w: w.astype("i4")])
def test_weights_of_other_shapes_or_types_are_refused(folder, change):
    weights_with(folder, tower=change)
    sealed(folder)
    with pytest.raises(UserError, match="can't be run"):
        export.load(folder).score(made_models.FRAME)


def test_a_folder_without_a_model(folder):
    with pytest.raises(UserError, match="holds no model"):
        export.load(folder / "encoders")
