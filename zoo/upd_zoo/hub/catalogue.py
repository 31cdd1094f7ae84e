"""The catalogue: which models a hub holds, and how one is found by name.

A catalogue is a TOML file with one `[[model]]` table per revision of a model. Publishing writes the rows from the
`config.json` and `manifest.json` of what was published; nobody types them. The one beside this module lists the models
of the default hub.

Listing must start fast, so nothing here needs torch, pydantic or the Hub's library.
"""

import json
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from upd_zoo.errors import IntegrityError, NotFoundError, UsageError, closest, fold
from upd_zoo.files import write_text
from upd_zoo.hub.answers import unknown_model, unknown_revision
from upd_zoo.names import ModelId
from upd_zoo.roster import known_methods
from upd_zoo.vocabulary import Pretrain, Protocol, get_domain

CATALOGUE: Final = "catalogue.toml"
PACKAGED: Final = Path(__file__).with_name(CATALOGUE)
SCHEMA: Final = "upd-zoo/catalogue/2"
_HEADER: Final = (
    "# The models of one hub. Written by publishing, from config.json and manifest.json; not edited by hand."
)


@dataclass(frozen=True, slots=True)
class Figure:
    """A metric of a model on one test set.

    Attributes:
        value: In [0, 1].
        interval: The least and the greatest of 95 % of the draws of other subjects; None where it was not computed.
        trivial: The highest value that a trivial baseline has of it; None where none has one.
    """

    value: float
    interval: tuple[float, float] | None = None
    trivial: float | None = None


@dataclass(frozen=True, slots=True)
class Measured:
    """What a model scores on one test set.

    Attributes:
        images: How many were scored.
        anomalous: How many of them show pathology; None where only a card tells of it, which does not say.
        figures: By the metric's field in `upd_zoo.artefact.records.Metrics`, as far as it is defined.
    """

    images: int
    anomalous: int | None
    figures: Mapping[str, Figure] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    """One revision of a model on a hub.

    A hub that is known only by the names of its repositories leaves everything but the name at its default.

    Attributes:
        id: Canonical name, without revision; method and domain follow from it.
        revision: Under which revision it was published; empty where that is not known.
        title: Name of the method as the study prints it.
        pretrain: Where the weights came from before training.
        protocol: Which protocol the model was trained under.
        profile: Training profile, such as `study`.
        labels: What a reader of any number of this model must be told, such as "synthetic phantoms".
        created: When the artefact was made, in UTC, such as "2026-01-31T12:00:00Z".
        bytes: Size of each format by its name: `safetensors`, `onnx`, `torchscript`.
        results: What it scores, by test set; nothing where it was not evaluated.
        packaged: Whether it lies in this package, which no catalogue says of itself.

    Raises:
        UsageError: `id` is not a model name in its canonical form.
    """

    id: str
    revision: str = ""
    title: str = ""
    pretrain: Pretrain | None = None
    protocol: Protocol | None = None
    profile: str = ""
    labels: tuple[str, ...] = ()
    created: str = ""
    bytes: Mapping[str, int] = field(default_factory=dict)
    results: Mapping[str, Measured] = field(default_factory=dict)
    packaged: bool = False

    def __post_init__(self) -> None:
        canonical = self.model.canonical.name
        if self.id != canonical:
            raise UsageError(f"'{self.id}' is not the canonical name of a model", f"'{canonical}'")

    @property
    def model(self) -> ModelId:
        """The name, parsed."""
        return ModelId.parse(self.id)

    @property
    def named(self) -> ModelId:
        """The name with the revision, if that is known."""
        return ModelId.parse(f"{self.id}@{self.revision}" if self.revision else self.id)

    @property
    def method(self) -> str:
        """Identifier of the method."""
        return self.model.method

    @property
    def domain(self) -> str:
        """Identifier of the domain that the model was trained on."""
        return self.model.domain.id


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The models of one hub, ordered by name and revision; those of the package come first."""

    rows: tuple[Row, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "rows", tuple(sorted(self.rows, key=_order)))

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def read(cls, path: Path = PACKAGED) -> "Catalogue":
        """Read a catalogue that `write` wrote; by default the one of the default hub.

        Raises:
            NotFoundError: There is no such file.
            IntegrityError: The file is not a catalogue.
        """
        try:
            document = tomllib.loads(path.read_text(encoding="utf-8"))
            if document.get("schema") != SCHEMA:
                raise ValueError(f"its schema is '{document.get('schema')}'")
            return cls(tuple(_to_row(table) for table in document.get("model", [])))
        except FileNotFoundError:
            raise NotFoundError(f"{path.parent.name}/{path.name} does not exist") from None
        except (ValueError, TypeError, AttributeError, LookupError, RecursionError, UsageError) as error:
            raise IntegrityError(
                f"{path.parent.name}/{path.name} is not a catalogue: {error}",
                f"a TOML file of the schema {SCHEMA}",
                "publish the models again to write a new one",
            ) from None

    def write(self, path: Path) -> None:
        """Write the catalogue as TOML, whole or not at all."""
        tables = (f"\n[[model]]\n{_to_toml(row)}" for row in self.rows)
        write_text(path, f"{_HEADER}\nschema = {_value(SCHEMA)}\n{''.join(tables)}")

    def add(self, row: Row) -> "Catalogue":
        """Return the catalogue with `row` in it, in place of what it said of the same revision of the same model."""
        return Catalogue((*(old for old in self.rows if (old.id, old.revision) != (row.id, row.revision)), row))

    def filter(
        self, method: str | None = None, domain: str | None = None, pretrain: Pretrain | None = None
    ) -> "Catalogue":
        """Return the rows that have every property asked for.

        Args:
            method: Identifier or title of a method, in any case.
            domain: Domain, or a test set, which stands for its domain.
            pretrain: Where the weights came from before training.

        Raises:
            UsageError: No method is called `method`, or neither a domain nor a test set is called `domain`.
        """
        names = None if method is None else self._names_of(method)
        wanted = None if domain is None else get_domain(domain).id
        return Catalogue(
            tuple(
                row
                for row in self.rows
                if (names is None or row.method in names)
                and wanted in (None, row.domain)
                and pretrain in (None, row.pretrain)
            )
        )

    def _names_of(self, method: str) -> set[str]:
        """Return the identifiers of the methods that are called so."""
        known = [(row.title or row.method, row.method) for row in self.rows]
        known += [(name, name) for name in (*known_methods(), *(row.method for row in self.rows))]
        names = {identifier for name, identifier in known if fold(name) == fold(method)}
        if not names:
            raise UsageError(f"no method is called '{method}'", closest(method, {name for name, _ in known}))
        return names

    @property
    def names(self) -> list[str]:
        """The names of the models, each once."""
        return list(dict.fromkeys(row.id for row in self.rows))

    def get(self, model: ModelId, place: str = "") -> Row:
        """Return the row of a model, under whichever of its names it is asked for.

        Args:
            model: The model.
            place: How the hub is written whose catalogue this is, for the error.

        Raises:
            NotFoundError: The catalogue does not list the model, or not this revision of it.
        """
        rows = [row for row in self.rows if row.id == model.canonical.name]
        if not rows:
            raise unknown_model(model, self.names, place)
        for row in rows:
            if row.revision in ("", model.revision):
                return row
        raise unknown_revision(model, [row.revision for row in rows])


def _order(row: Row) -> tuple[bool, str, str]:
    return not row.packaged, row.id, row.revision


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} is not text")
    return value


def _texts(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError(f"{value!r} is not a list")
    return tuple(map(_text, value))


def _sizes(value: Any) -> dict[str, int]:
    if not isinstance(value, dict) or not all(type(size) is int for size in value.values()):
        raise ValueError(f"{value!r} is not a table of bytes")
    return value


def _number(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= 1:
        raise ValueError(f"{value!r} is no share")
    return float(value)


def _figure(value: Any) -> Figure:
    bounds = value.get("interval")
    low, high = (None, None) if bounds is None else map(_number, bounds)
    trivial = value.get("trivial")
    interval = None if low is None or high is None else (low, high)
    return Figure(_number(value["value"]), interval, None if trivial is None else _number(trivial))


def _measured(value: Any) -> Measured:
    counts = {name: value[name] for name in _COUNTS}
    if not all(type(count) is int for count in counts.values()):
        raise ValueError(f"{counts} are no counts")
    return Measured(**counts, figures={name: _figure(each) for name, each in value.items() if name not in _COUNTS})


def _results(value: Any) -> dict[str, Measured]:
    return {name: _measured(each) for name, each in value.items()}


_COUNTS: Final = ("images", "anomalous")
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "id": _text,
    "revision": _text,
    "title": _text,
    "pretrain": Pretrain,
    "protocol": Protocol,
    "profile": _text,
    "labels": _texts,
    "created": _text,
    "bytes": _sizes,
    "results": _results,
}


def _to_row(table: Mapping[str, Any]) -> Row:
    return Row(**{name: _READERS[name](value) for name, value in table.items()})


def _to_toml(row: Row) -> str:
    sizes = ", ".join(f"{_value(name)} = {size}" for name, size in row.bytes.items())
    facts = {
        "id": _value(row.id),
        "revision": _value(row.revision),
        "title": _value(row.title),
        "pretrain": None if row.pretrain is None else _value(row.pretrain),
        "protocol": None if row.protocol is None else _value(row.protocol),
        "profile": _value(row.profile),
        "labels": f"[{', '.join(map(_value, row.labels))}]",
        "created": _value(row.created),
        "bytes": f"{{ {sizes} }}",
    }
    lines = [f"{name} = {value}\n" for name, value in facts.items() if value is not None]
    for name, measured in row.results.items():
        lines += [f"\n[model.results.{_value(name)}]\n", *(f"{each} = {getattr(measured, each)}\n" for each in _COUNTS)]
        lines += [f"{metric} = {_as_table(figure)}\n" for metric, figure in measured.figures.items()]
    return "".join(lines)


def _as_table(figure: Figure) -> str:
    known = {"value": figure.value, "trivial": figure.trivial, "interval": figure.interval and [*figure.interval]}
    return f"{{ {', '.join(f'{name} = {value}' for name, value in known.items() if value is not None)} }}"


def _value(text: str) -> str:
    # A JSON string is a TOML basic string, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
