"""What an ONNX file tells of itself: where its folder is lost, every runtime still shows its metadata.

An ONNX file is one message, and its fields may stand in any order; ours are the last ones. So they are replaced without
a look at the graph, and without the library that writes it. Source of the numbers: onnx.proto, field 14 of ModelProto,
and the wire format of Protocol Buffers.
"""

import importlib.metadata
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final

from upd_zoo.artefact.calibration import Calibration
from upd_zoo.artefact.records import Config
from upd_zoo.errors import IntegrityError

PREFIX: Final = "upd_zoo."
_METADATA: Final = 14
_BYTES: Final = 2
_WIDTHS: Final = {1: 8, 5: 4}
"""Bytes of a value by its wire type, where that is fixed."""
_MOST_VARINT: Final = 10


def facts_of(config: Config, calibration: Calibration) -> dict[str, str]:
    """Return what a graph tells of the model that it is, by names that begin with `PREFIX`."""
    pixels = config.input
    facts = {
        "id": config.id,
        "version": importlib.metadata.version("upd-zoo"),
        "title": config.title,
        "domain": config.images.title,
        "labels": ", ".join(config.labels),
        "use": "research only, not a medical device",
        "input": f"{pixels.channels} x {pixels.height} x {pixels.width}, [{pixels.minimum:g}, {pixels.maximum:g}]",
        "framing": config.framing.value,
        "scale": "" if config.scale is None else config.scale.value,
        "false_positive_rate": f"{calibration.false_positive_rate:g}",
        "image_threshold": repr(calibration.image_threshold),
        "subject_threshold": repr(calibration.subject_threshold),
        "map_threshold": repr(calibration.map_threshold),
        "data_licence": config.images.licence,
        "attribution": config.images.attribution,
    }
    return {f"{PREFIX}{name}": value for name, value in facts.items() if value}


def describe(path: Path, facts: Mapping[str, str]) -> None:
    """Write facts into an ONNX file, in place of those that an earlier call wrote.

    Args:
        path: The file, changed in place.
        facts: By names that begin with `PREFIX`.

    Raises:
        IntegrityError: The file is no message.
    """
    with path.open("r+b") as stream:
        end = _end_of_graph(stream, path.name)
        stream.truncate(end)
        stream.seek(end)
        for name, value in facts.items():
            entry = _field(1, name.encode()) + _field(2, value.encode())
            stream.write(_field(_METADATA, entry))


def _end_of_graph(stream: BinaryIO, name: str) -> int:
    """Return where the file's own fields end and ours begin."""
    end = 0
    for number, content, after in _fields(stream, name):
        stream.seek(content)
        if number != _METADATA or not _is_ours(stream, name):
            end = after
    return end


def _is_ours(stream: BinaryIO, name: str) -> bool:
    """Return whether the name of an entry is ours: its first field, after what that is and how long."""
    _varint(stream, name)
    _varint(stream, name)
    return stream.read(len(PREFIX)) == PREFIX.encode()


def _fields(stream: BinaryIO, name: str) -> Iterator[tuple[int, int, int]]:
    """Yield number, start of the content and end of every field of a message."""
    size = os.fstat(stream.fileno()).st_size
    start = 0
    while start < size:
        stream.seek(start)
        tag = _varint(stream, name)
        number, kind = tag >> 3, tag & 7
        if kind == _BYTES:
            length = _varint(stream, name)
        elif kind == 0:
            _varint(stream, name)
            length = 0
        else:
            length = _WIDTHS.get(kind, size)
        content = stream.tell()
        after = content + length
        if number == 0 or after > size:
            raise IntegrityError(f"{name} is no ONNX graph", "one message of Protocol Buffers")
        yield number, content, after
        start = after


def _varint(stream: BinaryIO, name: str) -> int:
    value = 0
    for place in range(_MOST_VARINT):
        byte = stream.read(1)
        if not byte:
            break
        value |= (byte[0] & 0x7F) << (7 * place)
        if byte[0] < 0x80:
            return value
    raise IntegrityError(f"{name} is no ONNX graph", "one message of Protocol Buffers")


def _field(number: int, content: bytes) -> bytes:
    """Return bytes as a field of a message."""
    return _number(number << 3 | _BYTES) + _number(len(content)) + content


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*found, value))
