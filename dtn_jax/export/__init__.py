"""The model out: one folder with program, weights, encoders and calibration, and its scores.

    model_folder.py   what lies in the folder, and that it is as it was written

What loads and scores needs no training code: jax, numpy, polars, pyarrow and safetensors.
"""
