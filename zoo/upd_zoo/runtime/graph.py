"""Anybody's ONNX graph as a model: one input of images, and a map, a score or both, whatever they are called.

    image    (B, C, H, W) float32 in [0, 1]; any dimension may be fixed
    map      (B, 1, H, W) or (B, H, W): the output called `anomaly_map` or `map`, else the only one of this shape
    score    (B,) or (B, 1): the output called `score` or `pred_score`, else the only one of this shape; of a graph
             without one, the highest value of the map or its mean

Nothing but the file is read, so that its hash names all that is run: weights in other files are refused, and so are
operators that ONNX Runtime does not bring.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError, UsageError
from upd_zoo.images.scoring import scores_of
from upd_zoo.runtime.devices import onnx_errors, resolve_device, why_no_onnx
from upd_zoo.runtime.model import Array, Predict, Watched
from upd_zoo.runtime.onnx import open_session, run_options
from upd_zoo.vocabulary import ScoreRule

SUFFIX: Final = ".onnx"
_MAPS: Final = ("anomaly_map", "map")
_SCORES: Final = ("score", "pred_score")
_OUTPUTS: Final = (
    "a map (B, 1, H, W) or (B, H, W) of the size of the image and, if it scores images itself, a score (B,) or (B, 1), "
    "both of floating point"
)
_REFUSALS: Final = (
    (
        "xternal data",
        "keeps weights in other files",
        "onnx.save(onnx.load('FILE.onnx'), 'ONE.onnx') puts them all into one file",
    ),
    ("not a registered function/op", "has an operator of its own", "export it with operators of the ONNX standard"),
)
"""What ONNX Runtime's complaints hold, what they come to, and what to do."""
_NAME_THEM: Final = "call the outputs anomaly_map and score where the graph is exported"
_EXPORT: Final = "torch.onnx.export(network, image, 'FILE.onnx', external_data=False) writes one"


@dataclass(frozen=True, slots=True)
class Bound:
    """A graph that is ready for images of one size.

    Attributes:
        network: Images (B, C, H, W) to maps (B, 1, H, W) and scores (B,), float32 and finite.
        map_name: The output that is the map.
        score_name: The output that is the score; None where the map is scored.
    """

    network: Predict
    map_name: str
    score_name: str | None


@dataclass(frozen=True, slots=True, repr=False)
class Graph:
    """An opened graph.

    Attributes:
        name: Name of its file.
        sha256: Hash of that file.
        device: `cpu` or `cuda:N`.
        device_note: Why it runs on the CPU although there is a CUDA device; mostly empty.
        image: Name of its input.
        batch: Images that it takes at a time; None for any number.
        channels: Of its images; None for any number.
        side: Height and width of its images in pixels; None for any.
        session: ONNX Runtime's.
    """

    name: str
    sha256: str
    device: str
    device_note: str
    image: str
    batch: int | None
    channels: int | None
    side: int | None
    session: Any

    def bound(self, channels: int, side: int, rule: ScoreRule) -> Bound:
        """Return the graph for images of one size, after a trial with an empty one.

        Args:
            channels: Of the images.
            side: Their height and width in pixels.
            rule: How a map is scored where the graph gives no score itself.

        Raises:
            UsageError: It takes other images, or gives no map, or more than one output that could be the map or the
                score.
            UpdZooError: It does not run on them.
        """
        wanted, taken = (channels, side), (self.channels or channels, self.side or side)
        if wanted != taken:
            raise UsageError(
                f"{self.name} takes images of {_told(*taken)}, those of the test set have {_told(*wanted)}",
                "a graph and a test set of the same images",
                "name another --test-set, or export the graph for these images",
            )
        count = self.batch or 1
        found = self._trial(np.zeros((count, channels, side, side), np.float32))
        map_name = self._one("map", _MAPS, found, ((count, 1, side, side), (count, side, side)))
        if map_name is None:
            raise self._unclear("gives no map", found)
        score_name = self._one("score", _SCORES, found, ((count,), (count, 1), *([()] if self.batch == 1 else [])))
        wanted_names = [map_name, *([] if score_name is None else [score_name])]

        def run(images: Array, control: Any) -> tuple[Array, Array]:
            maps, *scores = self._answers(wanted_names, images, control)
            maps = maps.reshape(len(images), 1, side, side)
            return self._finite(maps), self._finite(scores[0].reshape(-1) if scores else scores_of(maps, rule))

        return Bound(Watched(run, onnx_errors(), run_options), map_name, score_name)

    def _answers(self, names: Sequence[str], images: Array, control: Any) -> list[Array]:
        """Return outputs for images, of which a graph of a fixed batch sees so many at a time, the last ones again."""
        size = self.batch or len(images)
        parts = []
        for start in range(0, len(images), size):
            part = images[start : start + size]
            filled = np.concatenate((part, np.repeat(part[-1:], size - len(part), axis=0)))
            outputs = self.session.run(names, {self.image: filled}, control)
            parts.append([np.asarray(each, np.float32).reshape(size, -1)[: len(part)] for each in outputs])
        return [np.concatenate(each) for each in zip(*parts, strict=True)]

    def _finite(self, values: Array) -> Array:
        bad = int((~np.isfinite(values.reshape(len(values), -1))).any(axis=1).sum())
        if bad:
            raise UpdZooError(
                f"{self.name} gives NaN or infinity for {bad} of {len(values)} images",
                "finite maps and scores, within the range of float32",
                "look for divisions by zero and logarithms in the graph, such as of an image of one value",
            )
        return values

    def _trial(self, images: Array) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the outputs of floating point for images, by name."""
        names = [output.name for output in self.session.get_outputs()]

        def run(images: Array, control: Any) -> Any:
            return self.session.run(names, {self.image: images}, control)

        found = dict(zip(names, Watched(run, onnx_errors(), run_options)(images), strict=True))
        return {
            name: each.shape for name, each in found.items() if isinstance(each, np.ndarray) and each.dtype.kind == "f"
        }

    def _one(
        self, what: str, known: Sequence[str], found: Mapping[str, tuple[int, ...]], fitting: Sequence[tuple[int, ...]]
    ) -> str | None:
        """Return the output of a known name, or else the only one of a fitting shape; None where there is none."""
        fit = [name for name, shape in found.items() if shape in fitting]
        named = [name for name in known if name in fit]
        if len(fit) > 1 and not named:
            raise self._unclear(f"has more than one output that could be the {what}", found)
        return next(iter((*named, *fit)), None)

    def _unclear(self, problem: str, found: Mapping[str, tuple[int, ...]]) -> UsageError:
        outputs = ", ".join(f"'{name}' {shape}" for name, shape in found.items()) or "no numbers"
        return UsageError(f"{self.name} {problem}: its outputs are {outputs}", _OUTPUTS, _NAME_THEM)


def open_graph(path: Path, device: str = "auto", threads: int | None = None) -> Graph:
    """Open an ONNX file of any origin.

    Args:
        path: The file; nothing but it is read.
        device: `auto` (CUDA where it can be used), `cpu`, `cuda` or `cuda:N`.
        threads: CPU threads; None for one per core.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: It is no ONNX graph, or not all of one, or one with operators of its own.
        UsageError: It takes anything but square images, or the device cannot be used.
    """
    if not path.is_file():
        raise NotFoundError(
            f"there is no file {path}", f"an ONNX graph, a file that ends in {SUFFIX}", "check the path"
        )
    content = path.read_bytes()
    resolved, note = resolve_device(device, why_no_onnx)
    try:
        session = open_session(content, path, resolved, threads)
    except IntegrityError as error:
        raise _refused(path.name, error) from error
    image, sizes = _image_of(path.name, session.get_inputs())
    return Graph(path.name, hashlib.sha256(content).hexdigest(), resolved, note, image, *sizes, session)


def _refused(name: str, error: IntegrityError) -> IntegrityError:
    """Return why a file cannot be loaded, and what to do."""
    for sign, problem, advice in _REFUSALS:
        if sign in error.problem:
            return IntegrityError(f"{name} {problem}", "one ONNX graph that holds all its weights", advice)
    return IntegrityError(error.problem, "one ONNX graph that holds all its weights", _EXPORT)


def _image_of(name: str, inputs: Sequence[Any]) -> tuple[str, tuple[int | None, int | None, int | None]]:
    """Return what the only input is called, and its images at a time, channels and side; None of what is not fixed."""
    shape = list(inputs[0].shape) if len(inputs) == 1 and inputs[0].type == "tensor(float)" else []
    sizes = [size if isinstance(size, int) and size > 0 else None for size in shape]
    sides = {*sizes[2:]} - {None}
    if len(sizes) != 4 or len(sides) > 1:
        found = ", ".join(f"'{each.name}' {each.type} {each.shape}" for each in inputs) or "nothing"
        raise UsageError(
            f"{name} takes {found}",
            "one input of images (B, C, H, W), float32, channels before a square of pixels",
            "export it with the image as its only input",
        )
    return inputs[0].name, (sizes[0], sizes[1], next(iter(sides), None))


def _told(channels: int, side: int) -> str:
    return f"{channels} channel{'s' if channels > 1 else ''} and {side} x {side} pixels"
