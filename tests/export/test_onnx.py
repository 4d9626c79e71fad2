"""The model as ONNX, where jax2onnx is installed: `make onnx`."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from called_programs import opened
from small_runs import small

from dtn_jax.errors import UserError
from dtn_jax.export.write.onnx import write_onnx
from dtn_jax.input.reader import in_order
from dtn_jax.run import build_run
from experiments import export

ONNX = pathlib.Path(os.environ.get("ONNX_VENV", ".venv-onnx")) / "bin" / "python"
ROOT = pathlib.Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.skipif(not ONNX.exists(), reason="no jax2onnx: make onnx, or set ONNX_VENV")
def test_onnx_runtime_gives_the_programs_logits(exported_model, prepared_dir, tmp_path):
    size = 200
    own = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    own |= {"PYTHONPATH": str(ROOT)}
    given = [f"--onnx={exported_model}", "--out=model.onnx", f"--batch_size={size}"]
    batch = next(in_order(build_run(small(prepared_dir)).data, "validation", size, slice(0, size)))
    np.savez(tmp_path / "in.npz", **opened(exported_model).inputs(batch))
    for call in (
        [ONNX.absolute(), "-m", "experiments.export", *given],
        [ONNX.absolute(), ROOT / "tests/export/onnx_logits.py", "model.onnx", "in.npz", "out.npy"],
    ):
        done = subprocess.run(call, cwd=tmp_path, env=own, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    expected = opened(exported_model).logits(batch)
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), expected, rtol=0, atol=1e-5)


def test_without_jax2onnx_it_is_told(exported_model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax2onnx", None)
    with pytest.raises(UserError, match="make onnx"):
        write_onnx(exported_model, tmp_path / "model.onnx", 8)
    with pytest.raises(UserError, match="wants a file"):
        export.main([f"--onnx={exported_model}"])
    assert not list(tmp_path.iterdir())
