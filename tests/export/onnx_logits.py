"""A process without this package: ONNX Runtime's logits of given inputs.

python onnx_logits.py FILE.onnx INPUTS.npz LOGITS.npy
"""

import sys

import numpy as np
import onnxruntime

model, inputs, logits = sys.argv[1:]
session = onnxruntime.InferenceSession(model)
given = np.load(inputs)
names = [one.name for one in session.get_inputs()]
np.save(logits, session.run(["logits"], {name: given[name] for name in names})[0])
