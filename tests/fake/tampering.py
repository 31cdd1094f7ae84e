"""What somebody without the key can do to an artefact that was signed: drawn by a seed, and always a change."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from upd_zoo.artefact.folder import inventory, record_of
from upd_zoo.artefact.records import CARD, CONFIG, DATA_TERMS, MANIFEST, SIGNATURE

RESULT = "results/phantom-t1.json"
_RECORDS = (CONFIG, RESULT, MANIFEST, SIGNATURE)
_TEXTS = (CARD, DATA_TERMS, "LICENSE")
_ADDED = ("notes.txt", ".hidden", "onnx/other.onnx", "results/idrid.json", "deep/er/file", "model.sig.bak", "LICENSE ")

Change = Callable[[Path, Random], str]
"""Changes a folder in place and says what was done."""


def tamper(folder: Path, other: Path, seed: int) -> str:
    """Change an artefact, and say how.

    Args:
        folder: The artefact.
        other: The same artefact with the signature of another key.
        seed: Decides what is done.
    """
    random = Random(seed)  # noqa: S311 - nothing is kept secret by it
    before = _bytes(folder)
    while True:
        change = random.choice(_CHANGES)
        said = f"seed {seed}: {change.__name__.strip('_')}: " + change(folder, other, random)
        if _bytes(folder) != before:
            return said


def _bytes(folder: Path) -> dict[str, bytes | str]:
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if not path.is_dir()}
    return {name: str(path.readlink()) if path.is_symlink() else path.read_bytes() for name, path in paths.items()}


def _any(folder: Path, random: Random) -> Path:
    return random.choice(sorted(path for path in folder.rglob("*") if path.is_file() and path.stat().st_size))


def _flip(folder: Path, _other: Path, random: Random) -> str:
    path = _any(folder, random)
    content = bytearray(path.read_bytes())
    for _ in range(random.choice((1, 1, 1, 8))):
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)
    return path.name


def _truncate(folder: Path, _other: Path, random: Random) -> str:
    path = _any(folder, random)
    path.write_bytes(path.read_bytes()[: random.randrange(path.stat().st_size)])
    return path.name


def _append(folder: Path, _other: Path, random: Random) -> str:
    path = _any(folder, random)
    path.write_bytes(path.read_bytes() + random.choice((b"\n", b" ", b"\0", random.randbytes(5))))
    return path.name


def _swap(folder: Path, _other: Path, random: Random) -> str:
    first, second = _any(folder, random), _any(folder, random)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    return f"{first.name} and {second.name}"


def _add(folder: Path, _other: Path, random: Random) -> str:
    path = folder / random.choice(_ADDED)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.choice((b"", b"{}", random.randbytes(9))))
    return path.name


def _link(folder: Path, _other: Path, random: Random) -> str:
    path = _any(folder, random)
    kept = folder.parent / f"{folder.name}.kept"
    kept.mkdir(exist_ok=True)
    shutil.move(path, kept / path.name)
    path.symlink_to(kept / path.name)
    return path.name


def _remove(folder: Path, _other: Path, random: Random) -> str:
    path = _any(folder, random)
    path.unlink()
    return path.name


def _rename(folder: Path, _other: Path, random: Random) -> str:
    path = _any(folder, random)
    target = path.with_name(random.choice((f".{path.name}", path.name.upper(), f"{path.name}~", "model.onnx")))
    path.rename(target)
    return f"{path.name} to {target.name}"


def _change_value(folder: Path, _other: Path, random: Random) -> str:
    path = folder / random.choice(_RECORDS)
    document = json.loads(path.read_text())
    where = _change_leaf(document, random)
    path.write_text(json.dumps(document, indent=random.choice((None, 2))))
    return f"{where} of {path.name}"


def _change_leaf(document: Any, random: Random) -> str:
    """Give another value to what is found on a way from the root of a document; return that way."""
    keys = list(document) if isinstance(document, dict) else list(range(len(document)))
    key = random.choice(keys)
    value = document[key]
    if isinstance(value, dict | list) and value:
        return f"{key}.{_change_leaf(value, random)}"
    number = isinstance(value, int | float) and not isinstance(value, bool)
    document[key] = value + random.choice((1, -1, 0.25)) if number else random.choice((None, "", "other", 0.99, []))
    return str(key)


def _rewrite_text(folder: Path, _other: Path, random: Random) -> str:
    path = folder / random.choice(_TEXTS)
    path.write_text(random.choice((path.read_text().upper(), "MIT", path.read_text().replace("a", "\u0430"))))
    return path.name


def _change_with_manifest(folder: Path, _other: Path, random: Random) -> str:
    """Do something to a file, and let the manifest say that it was always so."""
    said = random.choice((_flip, _append, _add, _remove, _change_value, _rewrite_text))(folder, _other, random)
    path = folder / MANIFEST
    if not path.is_file():
        return said
    try:
        document = json.loads(path.read_text())
        document["files"] = {name: file.model_dump() for name, file in inventory(folder).items()}
    except (ValueError, TypeError):
        return said
    path.write_text(json.dumps(document, indent=2) + "\n")
    return said


def _sign_by_another(folder: Path, other: Path, random: Random) -> str:
    """Put the signature of another key in place, and perhaps its manifest, and perhaps another result below it."""
    names = random.choice(((SIGNATURE,), (SIGNATURE, MANIFEST), (MANIFEST,)))
    for name in names:
        shutil.copyfile(other / name, folder / name)
    return ", ".join(names)


def _call_it_unsigned(folder: Path, _other: Path, random: Random) -> str:
    document = json.loads((folder / MANIFEST).read_text())
    document["signed_by"] = None
    if random.random() < 0.5:
        document["files"][CARD] = record_of(folder / CARD).model_dump()
        (folder / SIGNATURE).unlink()
    (folder / MANIFEST).write_text(json.dumps(document, indent=2) + "\n")
    return "signed_by"


_CHANGES = (
    _flip,
    _flip,
    _truncate,
    _append,
    _swap,
    _add,
    _link,
    _remove,
    _rename,
    _change_value,
    _change_value,
    _rewrite_text,
    _change_with_manifest,
    _sign_by_another,
    _call_it_unsigned,
)
