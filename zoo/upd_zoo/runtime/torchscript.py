"""TorchScript files, looked through before torch reads them: reading one runs its code, and its code can open files.

A file is a zip archive of code, in a language like Python, and of pickled objects. Code may be what the exporter
writes: classes of layers whose functions call each other and the operators that `operators.txt` lists, all pure
functions of tensors and numbers. Pickles may build those classes, tensors and tuples. Whatever else stands in a file is
refused, or left out where it is no part of the model, such as notes for debuggers. torch gets an archive that is put
together of what was looked at, so that no second reading of the file can find something else.
"""

import ast
import io
import pickletools
import re
import zlib
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Final
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from upd_zoo.errors import IntegrityError

OPERATORS: Final = frozenset((files("upd_zoo") / "runtime" / "operators.txt").read_text(encoding="ascii").split())
"""What the exports of every method use, and their like in the networks of timm; a test exports every method."""
_PRIMITIVES: Final = frozenset({"ops.prim.NumToTensor", "ops.prim.device", "ops.prim.min", "ops.prim.max"})
_FUNCTIONS: Final = frozenset({"annotate", "getattr", "int", "float", "bool", "range"})
_NODES: Final = (
    *(ast.Module, ast.ClassDef, ast.FunctionDef, ast.arguments, ast.arg, ast.Return, ast.Assign, ast.AnnAssign),
    *(ast.For, ast.If, ast.Expr, ast.Call, ast.keyword, ast.Attribute, ast.Name, ast.Subscript, ast.Constant),
    *(ast.Tuple, ast.List, ast.UnaryOp, ast.USub, ast.Not, ast.Load, ast.Store),
)
"""The grammar: no loop but over a range, no import, no exception, no comprehension."""
_METHOD: Final = re.compile(r"forward\d*")
_SOURCE: Final = re.compile(r"[ -~\n]*")
_TWO_READINGS: Final = re.compile(r"""[#\\;']|\"\"\"""")
"""Signs that this parser and torch's might read in different ways; no exporter writes them."""
_BUILT: Final = re.compile(
    r"collections OrderedDict|torch\._utils _rebuild_tensor_v2|torch [A-Z][a-z]+Storage"
    r"|torch\.jit\._pickle build_(int|double|bool|tensor)list|__torch__(?!\.torch\.classes\b)[\w.]* \w+"
)
_OPCODES: Final = re.compile(
    r"APPENDS?|BIN(FLOAT|GET|INT1?|INT2|PERSID|PUT|UNICODE)|BUILD|EMPTY_(DICT|LIST|TUPLE)|GLOBAL|LONG1|LONG_BIN(GET|PUT)"
    r"|MARK|NEW(FALSE|OBJ|TRUE)|NONE|PROTO|REDUCE|SETITEMS?|STOP|TUPLE[123]?"
)
_MODEL_PART: Final = re.compile(
    r"(\.data/)?(\.data/)?version|byteorder|\.data/serialization_id|(data|constants)\.pkl|(data|constants)/\d+|code/__torch__[\w/]*\.py"
)
_MOST_TEXT: Final = 64 << 20
"""Bytes by which an archive may be larger than its file, for code is compressed: that of RD has 0.5 MB."""


def checked_script(path: Path) -> io.BytesIO:
    """Return a TorchScript file that holds what an exporter writes and nothing else, without running any of it.

    Raises:
        IntegrityError: It holds anything else, or is no such file.
    """
    try:
        with ZipFile(path) as archive:
            return _rebuilt(path, archive)
    except (OSError, BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise _refusal(path, f"cannot be read as an archive: {error}") from error


def _rebuilt(path: Path, archive: ZipFile) -> io.BytesIO:
    members = archive.infolist()
    if sum(member.file_size for member in members) > path.stat().st_size + _MOST_TEXT:
        raise _refusal(path, "is larger within than any model of its size")
    if len({member.filename.lower() for member in members}) != len(members):
        raise _refusal(path, "has two parts of one name")
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_STORED) as rebuilt:
        for member in members:
            name = member.filename.partition("/")[2]
            if _MODEL_PART.fullmatch(name):
                content = archive.read(member)
                for complaint in _complaints(name, content):
                    raise _refusal(path, f"{complaint}, in {name}")
                rebuilt.writestr(ZipInfo(f"model/{name}"), content)
    buffer.seek(0)
    return buffer


def _refusal(path: Path, how: str) -> IntegrityError:
    return IntegrityError(
        f"{path.name} {how}",
        "the operators and records that the exporter writes",
        "add --backend onnx, and report it to the model's publisher",
    )


def _complaints(name: str, content: bytes) -> Iterator[str]:
    """Yield what a part of an archive holds and may not."""
    if name.endswith(".pkl"):
        yield from _complaints_of_pickle(content)
    elif name.endswith(".py"):
        yield from _complaints_of_code(content)


def _complaints_of_pickle(content: bytes) -> Iterator[str]:
    for opcode, argument, _ in pickletools.genops(content):
        if not _OPCODES.fullmatch(opcode.name):
            yield f"has the pickle instruction {opcode.name}"
        if opcode.name == "GLOBAL" and not _BUILT.fullmatch(str(argument)):
            yield f"builds a {argument}"


def _complaints_of_code(content: bytes) -> Iterator[str]:
    text = content.decode("ascii", errors="replace")
    if not _SOURCE.fullmatch(text) or _TWO_READINGS.search(text):
        yield "has code that two parsers may read in two ways"
        return
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        yield "has code that cannot be parsed"
        return
    aliases = _aliases(tree)
    inner = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if not isinstance(node, _NODES):
            yield f"has the code {type(node).__name__}"
        elif isinstance(node, ast.Attribute) and id(node) not in inner:
            yield from _complaints_of_name(ast.unparse(node))
        elif isinstance(node, ast.Name) and id(node) not in inner and node.id in ("torch", "ops", "__torch__"):
            yield f"passes {node.id} on"
        elif isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            yield "has a string of bytes"
        elif isinstance(node, ast.Call):
            yield from _complaints_of_call(node.func, aliases)
        elif isinstance(node, ast.FunctionDef) and (node.name.startswith("__") or node.decorator_list):
            yield f"has the function {node.name}"


def _aliases(tree: ast.Module) -> set[str]:
    """Return the names that stand for functions of the archive and for nothing else."""
    values: dict[str, list[ast.expr | None]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            values.setdefault(node.targets[0].id, []).append(node.value)
    stored = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return {
        name
        for name, given in values.items()
        if name not in arguments
        and stored.count(name) == len(given)
        and all(isinstance(value, ast.Attribute) and ast.unparse(value).startswith("__torch__.") for value in given)
    }


def _complaints_of_name(dotted: str) -> Iterator[str]:
    """Yield what is wrong with a name such as `torch.add`; those of parts of the model are free."""
    root, _, rest = dotted.partition(".")
    if (root == "torch" and rest not in OPERATORS) or (root == "ops" and dotted not in _PRIMITIVES):
        yield f"uses {dotted}"
    if dotted.startswith("__torch__.torch.classes"):
        yield f"uses {dotted}"


def _complaints_of_call(function: ast.expr, aliases: set[str]) -> Iterator[str]:
    """Yield what is wrong with what is called; operators are looked at as names."""
    if isinstance(function, ast.Name):
        if function.id not in _FUNCTIONS and function.id not in aliases:
            yield f"calls {function.id}"
        return
    dotted = ast.unparse(function)
    known = isinstance(function, ast.Attribute) and dotted.startswith(("torch.", "ops.", "__torch__."))
    if not known and not (isinstance(function, ast.Attribute) and _METHOD.fullmatch(function.attr)):
        yield f"calls {dotted}"
