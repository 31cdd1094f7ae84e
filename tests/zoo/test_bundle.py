"""Bundles: the same models make the same bytes, they are found without a network, and nothing hostile comes out."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fake.artefact import write_artefact
from upd_zoo.artefact.folder import verify
from upd_zoo.artefact.records import CONFIG, ONNX
from upd_zoo.errors import IntegrityError, NotFoundError, UpdZooError, UsageError
from upd_zoo.hub import open_hub
from upd_zoo.hub.bundle import unpack, write_bundle
from upd_zoo.hub.hub import Hub
from upd_zoo.names import ModelId

MODEL = ModelId.parse("vae-phantom-t1")
OTHER = ModelId.parse("rd-phantom-t1@seed-1")
PLACE = "vae-phantom-t1/main"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two models in one file."""
    folder = tmp_path_factory.mktemp("bundle")
    hub = open_hub(folder / "hub", folder / "cache")
    for model in (MODEL, OTHER):
        hub.publish(write_artefact(folder / model.name, name=model.canonical.name), model)
    write_bundle(folder / "models.tar", [(model, hub.fetch(model)) for model in (MODEL, OTHER)])
    write_bundle(folder / "again.tar", [(model, hub.fetch(model)) for model in (OTHER, MODEL)])
    return folder / "models.tar"


@pytest.fixture
def hub(tmp_path: Path) -> Hub:
    """A hub that is out of reach, with an empty cache."""
    return open_hub(tmp_path / "nowhere", tmp_path / "cache", offline=True)


Members = list[tuple[tarfile.TarInfo, bytes]]


def members_of(bundle: Path) -> Members:
    with tarfile.open(bundle) as archive:
        return [(each, (archive.extractfile(each) or io.BytesIO()).read()) for each in archive]


def written(path: Path, members: Members, mode: Any = "w") -> Path:
    with tarfile.open(path, mode) as archive:
        for member, content in members:
            member.size = len(content) if member.isreg() else 0
            archive.addfile(member, io.BytesIO(content))
    return path


def changed(name: str, change: Callable[[bytes], bytes]) -> Callable[[Members], Members]:
    return lambda members: [(each, change(content) if each.name == name else content) for each, content in members]


def index_with(**facts: str) -> Callable[[Members], Members]:
    """Return what writes other facts of the first model into the list of a bundle."""

    def change(content: bytes) -> bytes:
        document = json.loads(content)
        document["models"][-1] |= facts
        return json.dumps(document).encode()

    return changed("bundle.json", change)


def link(kind: bytes) -> Callable[[Members], Members]:
    def add(members: Members) -> Members:
        found = tarfile.TarInfo(f"{PLACE}/link")
        found.type, found.linkname = kind, "/etc/passwd"
        return [*members, (found, b"")]

    return add


def test_the_same_models_make_the_same_bytes_which_tell_nothing_of_this_machine(bundle: Path) -> None:
    assert bundle.read_bytes() == bundle.with_name("again.tar").read_bytes()
    for member, _ in members_of(bundle):
        assert (member.mtime, member.uid, member.uname, member.isreg()) == (0, 0, "", True)


def test_what_comes_out_is_found_without_the_hub(bundle: Path, hub: Hub) -> None:
    with pytest.raises(UpdZooError):
        hub.fetch(MODEL)
    assert [(each.model, each.files) for each in unpack(bundle, hub)] == [(OTHER, 9), (MODEL, 9)]
    for model in (MODEL, OTHER):
        pulled = hub.fetch(model)
        assert verify(pulled.folder).id == model.canonical.name
        assert (pulled.folder / ONNX).read_bytes() == b"graph"


@pytest.mark.parametrize(
    "change",
    [
        changed(f"{PLACE}/{ONNX}", lambda _: b"grape"),
        changed(f"{PLACE}/{ONNX}", lambda content: content + b"!"),
        changed(f"{PLACE}/{CONFIG}", lambda content: content.replace(b"VAE", b"EVA")),
        changed(f"{PLACE}/manifest.json", lambda content: content + b" "),
        changed(f"{PLACE}/manifest.json", lambda _: b" " * (1 << 21)),
        changed("bundle.json", lambda _: b"{}"),
        lambda members: members[1:],
        lambda members: [each for each in members if each[0].name != f"{PLACE}/manifest.json"],
        lambda members: [each for each in members if each[0].name != f"{PLACE}/{CONFIG}"],
        lambda members: [*members, members[-1]],
        lambda members: [each for each in members if each[0].name != f"{PLACE}/{ONNX}"],
        lambda members: [*members, (tarfile.TarInfo("../../outside"), b"evil")],
        lambda members: [*members, (tarfile.TarInfo(f"{PLACE}/../../outside"), b"evil")],
        index_with(version="../../../outside"),
        index_with(model="../../outside"),
        index_with(model="rd-phantom-t1"),
        index_with(revision="../x"),
        link(tarfile.SYMTYPE),
        link(tarfile.LNKTYPE),
        link(tarfile.FIFOTYPE),
        link(tarfile.DIRTYPE),
    ],
)
def test_what_is_not_a_bundle_of_ours_is_refused(
    bundle: Path, hub: Hub, tmp_path: Path, change: Callable[[Members], Members]
) -> None:
    forged = written(tmp_path / "forged.tar", change(members_of(bundle)))
    with pytest.raises(IntegrityError):
        unpack(forged, hub)
    with pytest.raises(UpdZooError):
        hub.fetch(MODEL)
    outside = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert outside <= {"cache", "forged.tar"}


@pytest.mark.parametrize("mode", ["w:gz", "w:xz"])
def test_nothing_is_decompressed(bundle: Path, hub: Hub, tmp_path: Path, mode: str) -> None:
    with pytest.raises(IntegrityError, match="is no bundle"):
        unpack(written(tmp_path / "small.tar", members_of(bundle), mode), hub)


def test_a_changed_byte_changes_no_file_that_is_used(bundle: Path, tmp_path: Path) -> None:
    content, generator = bundle.read_bytes(), np.random.default_rng(0)
    for number, damaged in enumerate(_damaged(content, generator, 150)):
        (tmp_path / "damaged.tar").write_bytes(damaged)
        hub = open_hub(tmp_path / "nowhere", tmp_path / f"cache-{number}", offline=True)
        try:
            unpack(tmp_path / "damaged.tar", hub)
        except UpdZooError:
            continue
        for model in (MODEL, OTHER):
            assert (hub.fetch(model).folder / ONNX).read_bytes() == b"graph"


def _damaged(content: bytes, generator: np.random.Generator, count: int) -> Iterator[bytes]:
    for _ in range(count):
        place, bit = int(generator.integers(len(content))), int(generator.integers(8))
        yield content[:place] + bytes([content[place] ^ 1 << bit]) + content[place + 1 :]
    for _ in range(count // 10):
        yield content[: generator.integers(len(content))]


def test_a_bundle_that_is_not_there_and_one_of_nothing(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        unpack(tmp_path / "models.tar", hub)
    with pytest.raises(UsageError, match="once"):
        write_bundle(tmp_path / "models.tar", [])
