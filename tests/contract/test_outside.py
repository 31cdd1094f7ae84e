"""A method of another package: found by its entry point, put through the gauntlet, and used as any other is."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fake.inputs import write_picture
from fake.program import PROGRAM
from fake.stores import write_tiny_store
from upd_zoo.errors import NotFoundError, UsageError
from upd_zoo.method import METHODS
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.registry import registered
from upd_zoo.roster import known_methods, own_methods

TESTS = Path(__file__).resolve().parents[1]
OUTSIDE = TESTS / "fake" / "outside"
"""Holds an installed package with the method `toy`."""
MODEL = "toy-phantom-fundus"
MAKE = f"""
import sys
from upd_zoo.export import export_artefact
from upd_zoo.fitting.run import RunSettings
from upd_zoo.hub import open_hub
from upd_zoo.names import ModelId
from upd_zoo.recipe import load_recipe
from upd_zoo.stores.store import Store
from upd_zoo.training import train

work, model = sys.argv[1], ModelId.parse("{MODEL}")
recipe = load_recipe(model, profile="tiny")
train(model, recipe, Store(f"{{work}}/train"), f"{{work}}/run", RunSettings(device="cpu"))
manifest = export_artefact(f"{{work}}/run", Store(f"{{work}}/validation"), f"{{work}}/artefact")
open_hub(f"{{work}}/hub").publish(f"{{work}}/artefact", model, force=True)
print(*sorted({{row.format for row in manifest.parity}}), recipe.settings)
"""
METHOD = """
from upd_zoo.method import register
from upd_zoo.methods.vae import VAE

@register
class Other(VAE):
    id = "other"
    title = "Other"
"""
Install = Callable[..., None]


def beside(folder: Path, *command: object, cwd: Path = TESTS.parent) -> str:
    """Return what a command prints where the packages in a folder are installed too."""
    ended = beside_ended(folder, *command, cwd=cwd)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def beside_ended(folder: Path, *command: object, cwd: Path = TESTS.parent) -> subprocess.CompletedProcess[str]:
    """Return how a command ends where the packages in a folder are installed too."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    return subprocess.run(
        [*map(str, command)], capture_output=True, text=True, timeout=280, cwd=cwd, env={**own, "PYTHONPATH": path}
    )


@pytest.mark.slow
def test_the_gauntlet_takes_a_method_of_another_package() -> None:
    command = (sys.executable, "-m", "pytest", "tests/contract", "-k", "toy", "-q", "-p", "no:cacheprovider")
    told = beside(OUTSIDE, *command)
    passed = re.search(r"^(\d+) passed", told, re.MULTILINE)
    assert passed is not None, told
    assert int(passed[1]) >= 40
    assert "failed" not in told


@pytest.mark.slow
def test_a_method_of_another_package_is_made_published_and_used(tmp_path: Path) -> None:
    for seed, (part, images) in enumerate({"train": 8, "validation": 24}.items()):
        write_tiny_store(tmp_path / part, 3, images, seed, name=f"phantom-fundus/{part}")
    told = beside(OUTSIDE, sys.executable, "-c", MAKE, tmp_path)
    assert told.split(maxsplit=3)[:3] == ["onnx", "safetensors", "torchscript"]
    assert "'window': 3" in told
    hub = ("--hub", tmp_path / "hub")
    cached = (*hub, "--cache-dir", tmp_path / "cache")
    assert MODEL in beside(OUTSIDE, PROGRAM, "list", "--method", "toy", *hub)
    assert "Toy" in beside(OUTSIDE, PROGRAM, "info", MODEL, *cached)
    beside(OUTSIDE, PROGRAM, "pull", MODEL, "--format", "all", *cached)
    write_picture(tmp_path / "pictures" / "a.png", 5, size=(160, 200))
    for backend, folder in (("torch", OUTSIDE), ("onnx", tmp_path)):
        out = tmp_path / backend
        scored = (PROGRAM, "score", tmp_path / "pictures", "-m", MODEL, "-o", out, "--backend", backend, "-d", "cpu")
        beside(folder, *scored, *cached)
        row = json.loads((out / "results.jsonl").read_text(encoding="utf-8"))
        assert (row["status"], row["model"]["id"]) == ("ok", MODEL)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Give a function that installs a package of one module, which is to bring a method."""
    monkeypatch.syspath_prepend(tmp_path)

    def write(source: str, method: str = "other", module: str = "other_zoo") -> None:
        (tmp_path / f"{module}.py").write_text(source, encoding="utf-8")
        facts = tmp_path / f"{module}-1.0.dist-info"
        facts.mkdir()
        (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n", encoding="utf-8")
        (facts / "entry_points.txt").write_text(f"[upd_zoo.methods]\n{method} = {module}\n", encoding="utf-8")
        registered.cache_clear()

    before = dict(registered())
    yield write
    METHODS.clear()
    METHODS.update(before)
    registered.cache_clear()
    sys.modules.pop("other_zoo", None)
    sys.modules.pop("third_zoo", None)


def test_an_entry_point_is_enough(install: Install) -> None:
    install(METHOD)
    assert known_methods() == tuple(sorted((*own_methods(), "other")))
    assert registered()["other"].title == "Other"


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ("import a_package_that_nobody_has", "ModuleNotFoundError"),
        ("raise SystemExit('no licence')", "SystemExit: no licence"),
        (f"{METHOD}\n1 / 0", "ZeroDivisionError"),
        ("", "registers no method of this id"),
        (METHOD.replace('"other"', '"vae"'), "Two methods are called 'vae', in upd_zoo.methods.vae and other_zoo"),
    ],
)
def test_a_broken_package_is_named_and_left_out(install: Install, source: str, fault: str) -> None:
    install(source)
    with pytest.warns(UserWarning, match=f"'other' of the package other_zoo is left out: .*{fault}"):
        found = registered()
    assert "other" not in found
    assert {"vae", "rd"} <= {*found}


def test_a_broken_package_does_not_stop_a_list(install: Install, tmp_path: Path) -> None:
    install("raise SystemExit('no licence')")
    assert beside(tmp_path, PROGRAM, "list", "--json")


@pytest.mark.parametrize("taken", ["vae", "other"])
def test_two_methods_of_one_id_are_an_error(install: Install, taken: str) -> None:
    source = METHOD.replace('"other"', f'"{taken}"')
    if taken == "other":
        install(source)
    install(source, taken, "third_zoo")
    with pytest.raises(UsageError, match=rf"Two methods are called '{taken}': .*pip uninstall \w+_zoo"):
        registered()


def test_a_method_without_a_recipe_says_where_it_belongs(install: Install) -> None:
    install(METHOD)
    with pytest.raises(NotFoundError, match=r"put recipes/other\.toml beside its module") as raised:
        load_recipe(ModelId("other", None, "phantom-t2"))
    assert "'other' of the package other_zoo has no recipe" in str(raised.value)
    assert "id you mean" not in str(raised.value)


def test_a_mistyped_method_of_another_package_is_suggested(install: Install) -> None:
    install(METHOD)
    with pytest.raises(NotFoundError, match="id you mean other"):
        load_recipe(ModelId("othr", None, "phantom-t2"))


@pytest.mark.parametrize("method", ["other", pytest.param("ccd", marks=pytest.mark.slow)])
def test_what_has_a_recipe_and_is_no_method_cannot_be_trained(install: Install, tmp_path: Path, method: str) -> None:
    install("raise RuntimeError('no licence')")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "other.toml").write_text('extends = "vae"', encoding="utf-8")
    write_tiny_store(tmp_path / "data" / "phantom-fundus" / "train", 3, 4, 0, name="phantom-fundus/train")
    trained = (PROGRAM, "train", f"{method}-phantom-fundus", "--data", tmp_path / "data", "-d", "cpu", "--no-export")
    ended = beside_ended(tmp_path, *trained, "-o", tmp_path / "run")
    assert ended.returncode == 4
    assert f"error: No method is called '{method}'. " in ended.stderr
    assert (
        "warning: The method 'other' of the package other_zoo is left out: RuntimeError: no licence\n" in ended.stderr
    )
    assert ".py:" not in ended.stderr
