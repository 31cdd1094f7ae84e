"""Answers of a model through OpenVINO: python open_vino.py MODEL_FOLDER ANSWERS_FOLDER [f32]."""

import sys
from pathlib import Path

import numpy as np
import openvino

model, answers, *precision = sys.argv[1:]
settings = {"INFERENCE_PRECISION_HINT": precision[0]} if precision else {}
network = openvino.Core().compile_model(Path(model) / "onnx" / "model.onnx", "CPU", settings)
print(network.get_property("INFERENCE_PRECISION_HINT").to_string())
found = network({"image": np.load(Path(model) / "proof" / "image.npy")})
Path(answers).mkdir(parents=True, exist_ok=True)
for name in ("anomaly_map", "score"):
    np.save(Path(answers) / f"{name}.npy", found[name])
