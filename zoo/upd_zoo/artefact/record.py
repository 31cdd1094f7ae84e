"""Records: frozen, written as JSON and read back with every field checked, whoever wrote the file."""

from pathlib import Path, PurePosixPath
from typing import Annotated, ClassVar, Final, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from upd_zoo.errors import IntegrityError, NotFoundError
from upd_zoo.files import write_json

MOST_RECORD_BYTES: Final = 1 << 20
"""Size of the longest record that is read. The longest that an export has written so far has 5 kB."""
_LONGEST_PATH: Final = 200
LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
"""How a file begins that only tells where Git LFS keeps the real one."""

Scalar = bool | int | float | str | None
Setting = Scalar | list[Scalar]


class Record(BaseModel):
    """A frozen record that refuses unknown fields, NaN and infinity.

    Attributes:
        remedy: How a record of an older schema is made anew.
    """

    remedy: ClassVar[str] = ""
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


def _safe_path(text: str) -> str:
    path = PurePosixPath(text)
    hidden = any(part.startswith(".") for part in path.parts)
    odd = not text.isprintable() or not {"\\", ":"}.isdisjoint(text)
    if not path.parts or path.is_absolute() or hidden or odd or str(path) != text or len(text.encode()) > _LONGEST_PATH:
        raise ValueError("a file of an artefact has a plain relative path")
    return text


SafePath = Annotated[str, AfterValidator(_safe_path)]


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


Fraction = Annotated[float, Field(ge=0, le=1)]


RecordType = TypeVar("RecordType", bound=Record)


def write_record(path: Path, record: Record) -> None:
    """Write a record as JSON, whole or not at all."""
    write_json(path, record.model_dump(mode="json", by_alias=True))


def read_record(path: Path, kind: type[RecordType]) -> RecordType:
    """Read a record that `write_record` wrote.

    Raises:
        NotFoundError: There is no such file.
        IntegrityError: The file is not such a record, or one of another schema.
    """
    try:
        with path.open("rb") as stream:
            return parse_record(stream.read(MOST_RECORD_BYTES + 1), path.name, kind)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFoundError(
            f"{path.parent.name}/{path.name} does not exist", f"a folder that holds a {path.name}"
        ) from None


def parse_record(content: bytes, name: str, kind: type[RecordType]) -> RecordType:
    """Read a record from the bytes of a file called `name`.

    Raises:
        IntegrityError: They are not such a record, or too many.
    """
    if content.startswith(LFS_POINTER):
        raise lfs_pointer(name)
    if len(content) > MOST_RECORD_BYTES:
        raise IntegrityError(f"{name} is too long for a record", f"at most {MOST_RECORD_BYTES} bytes")
    try:
        return kind.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["loc"] == ("schema",):
            _check_schema(name, kind, str(first["input"]))
        where = ".".join(str(part) for part in first["loc"]) or "the document"
        raise IntegrityError(
            f"{name} is not a {kind.__name__.lower()} record: {where}: {first['msg']}",
            "the published JSON Schema",
            "pull the model again with upd-zoo pull --force",
        ) from None


def _check_schema(name: str, kind: type[Record], found: str) -> None:
    """Refuse a record of an older or newer schema by that name; anything else in its place is damage.

    The schema is the first field of its record, so that nothing else of it was judged before.
    """
    current = str(kind.model_fields["schema_"].default)
    family, _, number = found.rpartition("/")
    own, _, own_number = current.rpartition("/")
    if family != own or not number.isdecimal():
        return
    age, remedy = ("an older", kind.remedy) if int(number) < int(own_number) else ("a newer", "install a newer upd-zoo")
    raise IntegrityError(f"{name} was made by {age} upd-zoo, with the schema {found}", current, remedy) from None


def lfs_pointer(name: str) -> IntegrityError:
    """Return the error that says that only a pointer stands where a file should be."""
    return IntegrityError(
        f"{name} is a pointer of Git LFS and not the file itself",
        "the bytes that its manifest describes",
        "run git lfs pull in the repository that it comes from, and copy the folder again",
    )
