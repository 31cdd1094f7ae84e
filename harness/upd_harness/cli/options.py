"""The options of the commands: each spelled and explained once, and put into groups that several commands share.

A group is a dataclass whose fields are options. A command asks for a group by the type of a parameter; `command` spells
its fields out on the command line, and hands them over filled.
"""

import functools
import os
from collections.abc import Callable, Iterator
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from inspect import Parameter, signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import typer

from upd_harness.cli.terminal import Terminal, finish
from upd_zoo.errors import UsageError
from upd_zoo.stores.domains import adopt
from upd_zoo.stores.places import data_folder

HubOption = Annotated[str | None, typer.Option("--hub", help="Hub: hf://ORG or a folder.", envvar="UPD_ZOO_HUB")]
Token = Annotated[str | None, typer.Option("--token", help="Access token of the Hugging Face Hub.")]
CacheDir = Annotated[Path | None, typer.Option("--cache-dir", help="Where pulled files are kept.")]
Device = Annotated[str, typer.Option("-d", "--device", help="auto, cpu, cuda or cuda:N.")]
Data = Annotated[Path | None, typer.Option("--data", help="Folder of the prepared stores.", envvar="UPD_ZOO_DATA")]
Format = Annotated[str, typer.Option("--format", help="onnx, torchscript, torch, several as a,b, or all.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="Folder for the results.")]
Healthy = Annotated[Path | None, typer.Option("--healthy", help="Your own images: folder of healthy ones.")]
ModalityOption = Annotated[
    str | None,
    typer.Option("--modality", help="With --healthy: fundus, chest-xray or brain-mri."),
]
_MODEL = "A name such as rd-brats-t2, or an artefact's folder."


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where models are looked for.

    Attributes:
        hub: Address of the hub; None for the default one.
        offline: Whether only what is in the cache may be used.
        token: What the hub knows the user by; None for what is set up on the machine.
        cache_dir: Folder of the cache; None for the default one.
    """

    hub: HubOption = None
    offline: Annotated[bool, typer.Option("--offline", help="Use cached files only.")] = False
    token: Token = None
    cache_dir: CacheDir = None

    def open(self) -> Any:
        """Return the hub."""
        from upd_zoo.hub import open_hub

        return open_hub(self.hub, self.cache_dir, self.offline, self.token)


@dataclass(frozen=True, kw_only=True)
class Origin(Place):
    """Where a model comes from.

    Attributes:
        model: Its name, or the folder of its artefact.
        revision: Which revision, if the name does not say; None for what it says, or the main one.
    """

    model: Annotated[str, typer.Argument(metavar="MODEL", help=_MODEL)]
    revision: Annotated[str | None, typer.Option("--revision", help="Revision, such as seed-1.")] = None

    @property
    def name(self) -> str:
        """The name with the revision that was asked for, by the one way or the other.

        Raises:
            UsageError: It was asked for by both.
        """
        if self.revision is None:
            return self.model
        if "@" in self.model:
            raise UsageError(f"{self.model} names a revision, and so does --revision", "one of the two")
        return f"{self.model}@{self.revision}"


@dataclass(frozen=True, kw_only=True)
class ChosenOrigin(Origin):
    """Where a model comes from, for commands whose argument is something else."""

    model: Annotated[str, typer.Option("-m", "--model", help=_MODEL)]


@dataclass(frozen=True, kw_only=True)
class MaybeOrigin(Place):
    """Where a model comes from, if one is named at all.

    Attributes:
        model: Its name, or the folder of its artefact; None where every input finds its own.
        revision: Which revision, if the name does not say.
    """

    model: Annotated[
        str | None, typer.Option("-m", "--model", help=f"{_MODEL} Default: the packaged one of each kind of image.")
    ] = None
    revision: Annotated[str | None, typer.Option("--revision", help="Revision, such as seed-1.")] = None

    @property
    def chosen(self) -> ChosenOrigin | None:
        """Where the model comes from that is named; None where none is.

        Raises:
            UsageError: It is told where a model comes from, or which revision, and not which model.
        """
        if self.model is not None:
            return ChosenOrigin(**vars(self))
        # What the environment names is the hub of models that are named, and nothing that was asked for here.
        if self.revision or self.hub not in (None, os.environ.get("UPD_ZOO_HUB")):
            option = "--revision" if self.revision else "--hub"
            raise UsageError(f"{option} says nothing without a model", "-m MODEL with it", "add -m MODEL")
        return None


@dataclass(frozen=True, kw_only=True)
class TestedOrigin(MaybeOrigin):
    """Where a model comes from that is tested, unless a graph or maps are."""

    __test__ = False  # no test, although its name begins like one
    model: Annotated[
        str | None, typer.Option("-m", "--model", help=f"{_MODEL} Or anybody's graph, a file that ends in .onnx.")
    ] = None


@dataclass(frozen=True, kw_only=True)
class Running:
    """How a model runs.

    Attributes:
        device: Where.
        backend: Through which library.
        precision: In which arithmetic.
        batch_size: Images per call of the network.
        threads: CPU threads of the network; None for what its library takes.
    """

    device: Device = "auto"
    backend: Annotated[str, typer.Option("--backend", help="onnx, torchscript or torch.")] = "onnx"
    precision: Annotated[str, typer.Option("--precision", help="float32; or bfloat16, with --backend torch.")] = (
        "float32"
    )
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Images per call of the network.")] = 16
    threads: Annotated[int | None, typer.Option("--threads", min=1, help="CPU threads of the network.")] = None


def command(function: Callable[..., int | None]) -> Callable[..., None]:
    """Return a function as a command: its groups of options are spelled out, and its errors are told as lines.

    Whatever must be given comes first, so that it stands first in the help.

    The domains of one's own that lie beside the stores are known to every command.

    Args:
        function: Takes options, and groups of them, one of which is a `Terminal`; returns the exit code, None for 0.

    Raises:
        TypeError: It takes no `Terminal`.
    """
    hints = get_type_hints(function, include_extras=True)
    groups: dict[str, Any] = {name: hint for name, hint in hints.items() if is_dataclass(hint)}
    parameters: list[Parameter] = []
    for name, parameter in signature(function).parameters.items():
        own = [_parameter(name, hints[name], parameter.default)]
        parameters += _spelled_out(groups[name]) if name in groups else own
    parameters.sort(key=lambda each: each.default is not Parameter.empty)
    talk = next((name for name, group in groups.items() if group is Terminal), None)
    if talk is None:
        raise TypeError(f"{function.__name__} takes no Terminal")

    @functools.wraps(function)
    def wrapped(**values: Any) -> None:
        data = data_folder(values.get("data"))
        filled = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }

        def work() -> int | None:
            adopt(data)
            return function(**values, **filled)

        finish(work, filled[talk])

    vars(wrapped)["__signature__"] = signature(function).replace(parameters=parameters, return_annotation=None)
    wrapped.__annotations__ = {each.name: each.annotation for each in parameters}
    return wrapped


def _spelled_out(group: Any) -> Iterator[Parameter]:
    """Yield the options of a group."""
    hints = get_type_hints(group, include_extras=True)
    for field in fields(group):
        yield _parameter(field.name, hints[field.name], _default(field))


def _default(field: Field[Any]) -> Any:
    return Parameter.empty if field.default is MISSING else field.default


def _parameter(name: str, annotation: Any, default: Any) -> Parameter:
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)
