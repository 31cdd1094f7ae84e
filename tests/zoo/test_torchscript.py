"""TorchScript files are looked through before torch reads them: their code could read and write any file."""

import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from fake.trained import GREY, trained_artefact
from upd_zoo.artefact.records import TORCHSCRIPT
from upd_zoo.errors import IntegrityError
from upd_zoo.runtime.eager import load_script
from upd_zoo.runtime.torchscript import OPERATORS

pytestmark = pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::torch.jit.TracerWarning")
VICTIM = "victim"
"""A file that the hostile models below would like to read, or to write."""


class Reads(nn.Module):
    """Shows the bytes of a file as its map."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        stolen = torch.from_file("victim", False, 16, dtype=torch.uint8)
        return image + stolen.sum(), image.flatten(1).amax(1)


class Writes(nn.Module):
    """Leaves a file behind."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        torch.save(image, "victim")
        return image, image.flatten(1).amax(1)


class Waits(nn.Module):
    """Never comes to an end."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        while bool(image.sum() < 1e30):
            image = image + 0.0
        return image, image.flatten(1).amax(1)


class Prints(nn.Module):
    """Says something on the terminal."""

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        print("all is well")  # noqa: T201 - a hostile model does what it likes
        return image, image.flatten(1).amax(1)


class WritesWhereItIsLoaded(nn.Module):
    """Leaves a file behind before it was asked for anything."""

    def __init__(self) -> None:
        super().__init__()
        self.training = False

    @torch.jit.export
    def __getstate__(self) -> tuple[bool, bool]:
        return True, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[bool, bool]) -> None:
        torch.save(torch.zeros(1), "victim")
        self.training = state[1]

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        return image, image.flatten(1).amax(1)


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained_artefact(tmp_path_factory, GREY) / TORCHSCRIPT


def scripted(module: nn.Module, path: Path = Path("model.ts")) -> Path:
    """Write a module as TorchScript that nobody traced."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.script(module).save(str(path))  # type: ignore[no-untyped-call]
    return path


def rewritten(path: Path, change: Callable[[str, bytes], bytes | None], extra: dict[str, bytes] | None = None) -> Path:
    """Write a copy of an archive with parts changed, left out or added; the folder of all parts is `model`."""
    copy = Path("changed.ts")
    with zipfile.ZipFile(path) as archive, zipfile.ZipFile(copy, "w") as changed:
        for member in archive.infolist():
            name = member.filename.partition("/")[2]
            content = change(name, archive.read(member))
            if content is not None:
                changed.writestr(f"model/{name}", content)
        for name, content in (extra or {}).items():
            changed.writestr(f"model/{name}", content)
    return copy


@pytest.mark.parametrize(
    ("module", "complaint"),
    [
        (Reads, r"uses torch\.from_file"),
        (Writes, r"uses torch\.save"),
        (Waits, r"the code While"),
        (Prints, r"calls print"),
        (WritesWhereItIsLoaded, r"torch\.save|__[gs]etstate__"),
    ],
)
def test_code_that_reaches_beyond_its_tensors_is_refused_before_it_runs(
    module: type[nn.Module], complaint: str, tmp_path: Path
) -> None:
    path = scripted(module())
    (tmp_path / VICTIM).unlink(missing_ok=True)  # scripting may have run it
    with pytest.raises(IntegrityError, match=complaint):
        load_script(path)
    assert not (tmp_path / VICTIM).exists()


HIDING_PLACES = {
    "another name for it": ("x = torch.save", "uses torch.save"),
    "another name for all": ("x = torch", "passes torch on"),
    "a name as text": ('x = getattr(torch, "save")', "passes torch on"),
    "a method by its name": ('x = getattr(image, "save")\n    y = x("victim")', "calls x"),
    "a method of a tensor": ('x = image.save("victim")', "calls image.save"),
    "a call of a call": ('x = getattr(image, "save")("victim")', "calls getattr"),
    "an operator of its own": ('x = ops.aten.save(image, "victim")', "uses ops.aten.save"),
    "another process": ('x = rpc_async("a", forward)', "calls rpc_async"),
    "a class of the library": ("x = __torch__.torch.classes.dist_rpc.Store()", "uses __torch__.torch.classes"),
    "a comment": ("x = image # \x0c torch.save", "two parsers"),
    "an escape": ('x = "\\x41"', "two parsers"),
    "letters that look alike": ("x = \uff54orch.save", "two parsers"),
    "text of bytes": ('x = b"a"', "bytes"),
    "an import": ("import os", "the code Import"),
    "a comprehension": ("x = [i for i in range(2)]", "the code ListComp"),
    "what is no code": ("x = = 1", "cannot be parsed"),
}


@pytest.mark.parametrize(("line", "complaint"), HIDING_PLACES.values(), ids=HIDING_PLACES)
def test_no_way_of_writing_it_hides_a_call(good: Path, line: str, complaint: str) -> None:
    def change(name: str, content: bytes) -> bytes:
        # Where the process exported before, the part has another name, such as detector/___torch_mangle_3.py.
        if "upd_zoo/detector" not in name or not name.endswith(".py"):
            return content
        head, end = content.split(b"    method = self.method\n", 1)
        return head + f"    {line}\n    method = self.method\n".encode() + end

    with pytest.raises(IntegrityError, match=complaint):
        load_script(rewritten(good, change))


def test_the_same_archive_unchanged_is_loaded(good: Path) -> None:
    images = torch.rand(2, 1, 128, 128)
    changed = load_script(rewritten(good, lambda _name, content: content))
    assert all(torch.equal(*pair) for pair in zip(load_script(good)(images), changed(images), strict=True))


def test_a_pickle_that_builds_anything_else_is_refused(good: Path) -> None:
    hostile = b"\x80\x02cposix\nsystem\nX\x02\x00\x00\x00id\x85R."
    with pytest.raises(IntegrityError, match="builds a posix system"):
        load_script(rewritten(good, lambda name, content: hostile if name == "constants.pkl" else content))


def test_what_is_no_part_of_a_model_is_left_out(good: Path) -> None:
    """Notes for debuggers and the older layout are read by torch where they stand."""
    extra = {"code/__torch__/upd_zoo/detector.py.debug_pkl": b"cposix\nsystem\n.", "model.json": b"{", "extra/x": b"!"}
    changed = rewritten(good, lambda name, content: None if name.endswith(".debug_pkl") else content, extra)
    assert load_script(changed)(torch.rand(1, 1, 128, 128))[0].shape == (1, 1, 128, 128)


def test_two_parts_of_one_name_are_refused(good: Path) -> None:
    with (
        pytest.warns(UserWarning, match="Duplicate"),
        pytest.raises(IntegrityError, match="two parts of one name"),
    ):
        load_script(rewritten(good, lambda _name, content: content, {"data.pkl": b""}))


def test_an_archive_that_would_fill_the_memory_is_refused(good: Path) -> None:
    with zipfile.ZipFile(good) as archive:
        name = archive.namelist()[0].partition("/")[0]
    bomb = io.BytesIO(good.read_bytes())
    with zipfile.ZipFile(bomb, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{name}/code/__torch__/bomb.py", b"\n" * (70 << 20))
    Path("bomb.ts").write_bytes(bomb.getvalue())
    with pytest.raises(IntegrityError, match="larger within"):
        load_script(Path("bomb.ts"))


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, b"PTMF", "half"])
def test_what_is_no_archive_is_refused(good: Path, content: Any) -> None:
    whole = good.read_bytes()
    Path("model.ts").write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(IntegrityError, match=r"model\.ts") as caught:
        load_script(Path("model.ts"))
    assert "\n" not in str(caught.value)


def test_no_operator_that_is_allowed_takes_the_name_of_a_file() -> None:
    taken = {
        argument.name
        for operator in OPERATORS
        for schema in torch._C._jit_get_schemas_for_operator(f"aten::{operator}")
        for argument in schema.arguments
    }
    assert len(taken) > 100, "torch tells what its operators take"
    assert not [name for name in taken if "file" in name]
