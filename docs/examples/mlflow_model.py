"""A model's folder as an MLflow pyfunc: `python mlflow_model.py MODEL OUT` writes OUT.

OUT holds a copy of MODEL, and this file, by which MLflow loads it: see docs/export.md.
"""

import sys

from mlflow.pyfunc import save_model

import dtn_jax.export


class Ranker:
    def __init__(self, folder):
        self.model = dtn_jax.export.load(folder)

    def predict(self, rows, params=None):
        return self.model.score(rows).to_pandas()


_load_pyfunc = Ranker  # MLflow calls it with the folder

if __name__ == "__main__":
    folder, out = sys.argv[1:]
    save_model(out, data_path=folder, loader_module="mlflow_model", code_paths=[__file__])
