"""The model that a command names: found on a hub or in a folder, fetched, checked and made ready to run."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from upd_harness.cli.making import ARTEFACT
from upd_harness.cli.options import Origin, Running
from upd_harness.cli.terminal import Terminal, when_interrupted
from upd_zoo.errors import UsageError
from upd_zoo.progress import Progress

if TYPE_CHECKING:  # importing what asks a hub takes longer than --help may
    from upd_harness.evaluation.tested import Tested
    from upd_harness.scoring.panel import Panel
    from upd_zoo.artefact.records import Config
    from upd_zoo.hub.hub import Hub
    from upd_zoo.names import ModelId

_LOCAL: Final = "local"
_ALL: Final = "all"
_AFTER_A_PULL: Final = "what has arrived stays in the cache; the same command goes on where it stopped"


def folder_of(model: str) -> Path | None:
    """Return the artefact's folder where a model is given as that, or as the folder of its run; None for a name."""
    from upd_zoo.artefact.records import MANIFEST

    folders = (Path(model), Path(model) / ARTEFACT)
    return next((folder for folder in folders if (folder / MANIFEST).is_file()), None)


def is_folder(model: str) -> bool:
    """Return whether a model is given as a folder."""
    return folder_of(model) is not None


def is_graph(model: str) -> bool:
    """Return whether a model is given as the file of anybody's graph; the names of models hold no such suffix."""
    return model.lower().endswith(".onnx")


def as_argument(model: str) -> str | Path:
    """Return a model as records keep it: a folder is a path, of which they keep the last name."""
    return Path(model) if is_folder(model) else model


def revision_of(name: str) -> str:
    """Return the revision that a name asks for; a folder, whose path may hold an @, has none."""
    return _LOCAL if is_folder(name) else name.partition("@")[2] or "main"


def fetch(origin: Origin, names: Any, terminal: Terminal, force: bool = False) -> Any:
    """Return files of a model, pulled from its hub or verified in its folder."""
    from upd_zoo.artefact.folder import verify
    from upd_zoo.hub.hub import Pulled
    from upd_zoo.names import ModelId

    model, folder = origin.name, folder_of(origin.name)
    if folder is not None:
        return Pulled(folder, _LOCAL, verify(folder, names))
    wanted, hub = ModelId.parse(model), origin.open()
    with (
        when_interrupted(_AFTER_A_PULL),
        asking(hub, terminal) as answered,
        terminal.bar(f"pulling {model}", in_bytes=True) as advance,
    ):
        files: dict[str, Progress] = {}

        def report(progress: Progress) -> None:
            answered()
            files[progress.what] = progress
            advance(_together(files.values(), progress.what))

        pulled = hub.fetch(wanted, names, report, force=force)
    terminal.tell(lambda: f"{wanted} at {pulled.revision} lies in {pulled.folder}")
    if pulled.unasked:
        terminal.say(f"{pulled.unasked}; what was pulled of {model} before is used: {pulled.revision}")
    return pulled


def _together(files: Collection[Progress], what: str) -> Progress:
    """Return how far files are together, all of which are told of before the first comes."""
    return Progress(what, sum(each.done for each in files), sum(each.total for each in files))


@contextmanager
def asking(hub: "Hub", terminal: Terminal) -> Iterator[Callable[[], None]]:
    """Say whom is waited for, and how long at most, should the hub not answer soon; give what to call when it does.

    Where it falls silent later, that is said every ten seconds.
    """
    terminal.tell(lambda: f"the hub is {hub.location}, the cache {hub.cache_folder}")

    heard = False

    def told(seconds: float) -> str:
        if heard:
            return f"nothing has come from {hub.location} for {seconds:.0f} s"
        limit = f"; up to {hub.patience:g} s" if hub.patience else ""
        return f"asking {hub.location}{limit}"

    with terminal.waiting(told) as answered:

        def hear() -> None:
            nonlocal heard
            heard = True
            answered()

        yield hear


def formats_of(formats: str) -> tuple[str, ...]:
    """Return the formats that are written as one, as several with commas between them, or as `all`.

    Raises:
        UsageError: There is no such format.
    """
    from upd_zoo.runtime.folder import FILES

    names = tuple(FILES) if formats == _ALL else tuple(formats.split(","))
    for name in names:
        if name not in FILES:
            accepted = f"{', '.join(FILES)}, several with commas between them, or {_ALL}"
            raise UsageError(f"no format is called '{name}'", accepted)
    return names


def load(origin: Origin, running: Running, terminal: Terminal) -> Any:
    """Return a model ready to run, as `load_folder` does, having fetched what its backend needs."""
    return located(origin, running, terminal)[0]


def located(origin: Origin, running: Running, terminal: Terminal) -> tuple[Any, Path]:
    """Return a model as `load` does, and the folder in which its files lie."""
    from upd_zoo.runtime.folder import FILES, RECORDS, load_folder

    pulled = fetch(origin, (*RECORDS, *FILES.get(running.backend, ())), terminal)
    model = load_folder(pulled.folder, running.backend, running.device, running.threads, running.precision)
    return model, Path(pulled.folder).absolute()


def load_packaged(name: "ModelId", running: Running) -> Any:
    """Return a model of this package ready to run; no hub is asked, whichever the environment names."""
    from upd_zoo.hub.packaged import place_of
    from upd_zoo.runtime.folder import load_folder

    return load_folder(place_of(name), running.backend, running.device, running.threads, running.precision)


def announce_panel(panel: "Panel", terminal: Terminal) -> None:
    """Say which model scores which kind of image, and how to choose another."""
    kinds = [f"{scorer.modality.title}: {scorer.model.config.id}" for scorer in panel.scorers]
    note = next((scorer.model.device_note for scorer in panel.scorers if scorer.model.device_note), "")
    if note:
        terminal.say(note)
    terminal.say(
        f"every image is scored by the packaged model of its kind ({', '.join(kinds)}); "
        "-m MODEL takes another, upd-zoo list shows them. Research only."
    )


def announce_graph(tested: "Tested", device_note: str, terminal: Terminal) -> None:
    """Say which graph runs where, and how its images are scored."""
    if device_note:
        terminal.say(device_note)
    terminal.say(
        f"{tested.name} on {tested.device} through {tested.backend} [{', '.join(tested.labels)}]. Research only."
    )


def known_as(asked: str, name: str) -> str:
    """Return the name of a model, and that it is what was asked for by another: by a test set, or with a revision.

    Args:
        asked: What a user typed.
        name: The canonical name of what came of it.
    """
    typed = asked.partition("@")[0]
    return name if is_folder(asked) or typed == name else f"{name}, which {typed} stands for"


def described(config: "Config", asked: str) -> str:
    """Return how a model is called, and the labels that must be read with any number of it."""
    labels = f" [{', '.join(config.labels)}]" if config.labels else ""
    return f"{known_as(asked, config.id)}{labels}"


def announce(model: Any, asked: str, terminal: Terminal) -> None:
    """Say which model runs where, and what its labels are.

    Args:
        model: Ready to run.
        asked: What a user typed for it.
        terminal: Where it is said.
    """
    how = model.backend if model.precision == "float32" else f"{model.backend} in {model.precision}"
    if model.device_note:
        terminal.say(model.device_note)
    terminal.say(f"{described(model.config, asked)} on {model.device} through {how}. Research only.")
