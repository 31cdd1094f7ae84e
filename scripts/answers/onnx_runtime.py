"""Answers of a model through ONNX Runtime: python onnx_runtime.py MODEL_FOLDER ANSWERS_FOLDER."""

import os
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is imported, which reports every run otherwise

import numpy as np
import onnxruntime

model, answers = map(Path, sys.argv[1:3])
session = onnxruntime.InferenceSession(model / "onnx" / "model.onnx", providers=["CPUExecutionProvider"])
found = session.run(["anomaly_map", "score"], {"image": np.load(model / "proof" / "image.npy")})
answers.mkdir(parents=True, exist_ok=True)
for name, array in zip(("anomaly_map", "score"), found, strict=True):
    np.save(answers / f"{name}.npy", array)
