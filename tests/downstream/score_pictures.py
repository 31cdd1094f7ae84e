"""Score pictures by the ONNX file of a model alone: whatever it needs to know stands in the file's metadata.

    python score_pictures.py model.onnx image.png ...
    python score_pictures.py FOLDER image.png ...     # what `upd-zoo pull MODEL` printed

prints for every picture its name, its score, and whether that lies above the model's threshold.
"""

import os
import sys
from pathlib import Path

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # before ONNX Runtime is imported, which reports every run otherwise

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image, ImageOps

Planes = npt.NDArray[np.float32]


def planes_of(path: Path) -> Planes:
    """Return a picture of 8 or 16 bits, upright, as (1 or 3, H, W) in [0, 1]."""
    with Image.open(path) as image:
        pixels = np.asarray(ImageOps.exif_transpose(image))
    if pixels.dtype not in (np.uint8, np.uint16) or (pixels.ndim == 3 and pixels.shape[2] != 3):
        sys.exit(f"{path.name} is neither grey nor RGB, of 8 or 16 bits")
    return np.atleast_3d(pixels).transpose(2, 0, 1).astype(np.float32) / np.float32(np.iinfo(pixels.dtype).max)


def square_of(planes: Planes, framing: str, side: int) -> Planes:
    """Return what the model takes, (1 or 3, side, side), of a picture (1 or 3, H, W)."""
    _, height, width = planes.shape
    resampling = Image.Resampling.LANCZOS
    if framing == "centre-crop":  # the square in the middle
        across = min(height, width)
        top, left = (height - across) // 2, (width - across) // 2
        planes = planes[:, top : top + across, left : left + across]
    elif framing == "square-slices":  # a slice of a brain, with background around it
        across = max(height, width)
        above, before = -((height - across) // 2), -((width - across) // 2)
        around = ((0, 0), (above, across - height - above), (before, across - width - before))
        planes = np.pad(planes, around, constant_values=planes.min())
        resampling = Image.Resampling.BILINEAR
    elif framing != "stretch":
        sys.exit(f"this program does not know the framing {framing}")
    resized = [np.asarray(Image.fromarray(plane).resize((side, side), resampling)) for plane in planes]
    return np.asarray(np.stack(resized), np.float32).clip(0, 1)


def main(model: Path, pictures: list[Path]) -> None:
    """Print a line for every picture."""
    file = model / "onnx" / "model.onnx" if model.is_dir() else model
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    facts = session.get_modelmeta().custom_metadata_map
    _, channels, side, _ = session.get_inputs()[0].shape
    print(f"{facts['upd_zoo.id']}: {facts['upd_zoo.use']}", file=sys.stderr)
    for path in pictures:
        planes = planes_of(path)
        if len(planes) != channels:
            sys.exit(f"{path.name} has {len(planes)} channels, and the model takes {channels}")
        image = square_of(planes, facts["upd_zoo.framing"], side)[None]
        (score,) = session.run(["score"], {"image": image})[0]
        above = "above" if score > float(facts["upd_zoo.image_threshold"]) else "below"
        print(f"{path.name}\t{score:.6f}\t{above}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(name) for name in sys.argv[2:]])
