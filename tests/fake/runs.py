"""Runs of the harness in tests: settings, a model that takes no time, and what two runs have in common."""

from pathlib import Path
from typing import Any

from fake.inputs import rows_of
from upd_harness.scoring.parts import Shard
from upd_harness.scoring.settings import Settings
from upd_zoo.files import sha256_of
from upd_zoo.runtime.model import Array

CONTINUE = Settings(mode="continue")
OVERWRITE = Settings(mode="overwrite")


def part(number: int, of: int, mode: Any = "new") -> Settings:
    return Settings(batch_size=4, mode=mode, shard=Shard(number, of))


def brightness(images: Array) -> tuple[Array, Array]:
    """Stand in for a network: the map is the image."""
    maps = images.mean(axis=1, keepdims=True)
    return maps, maps.max(axis=(1, 2, 3))


def without_seconds(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def hashes(folder: Path) -> dict[str, str]:
    """Return the hash of everything that a run draws or computes."""
    paths = (path for name in ("maps", "overlays", "thumbnails") for path in (folder / name).rglob("*"))
    return {path.relative_to(folder).as_posix(): sha256_of(path) for path in paths if path.is_file()}


def assert_same_run(found: Path, expected: Path) -> None:
    assert without_seconds(rows_of(found)) == without_seconds(rows_of(expected))
    assert (found / "results.csv").read_bytes() == (expected / "results.csv").read_bytes()
    assert hashes(found) == hashes(expected)
