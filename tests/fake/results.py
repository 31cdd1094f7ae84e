"""A result that nobody measured, to be shown, written down and read back."""

from typing import Any

from upd_zoo.artefact.records import Metrics, Result

METRICS = Metrics(ap_image=0.5, auroc=0.5, ap_pixel=None, dice=None)


def made_result(model: str, test_set: str = "phantom-t2", **changes: Any) -> Result:
    """Return a result of 8 images, half of them anomalous, without intervals and baselines unless they are given."""
    known = {
        "model": model,
        "revision": "main",
        "manifest": "0" * 64,
        "test_set": test_set,
        "store": "1" * 64,
        "seed": 0,
        "backend": "onnx",
        "images": 8,
        "anomalous": 4,
        "subjects": 4,
        "metrics": METRICS,
        "intervals": {},
        "baselines": {},
        "labels": [],
    }
    return Result.model_validate(known | changes)
