"""What goes wrong, as a person and as a program hear of it; and that nobody waits long for a hub, or unknowing."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from fake.program import PROGRAM, Answer, Command
from fake.servers import BEHAVIOURS, closed_port, serving
from upd_harness.cli.failure import SCHEMA, Failure
from upd_zoo.errors import InputError, InputErrorCode, MissingExtraError, NotFoundError, UpdZooError, UsageError

MODEL = "vae-phantom-t2"


def is_one_object(answer: Answer, code: int, kind: str) -> bool:
    """Return whether a command answered with an error as one object, and nothing else."""
    document = answer.json
    names = {"code", "exit_code", "message", "accepted", "do_this"}
    told = document["error"]
    assert (document.keys(), document["schema"], told.keys()) == ({"schema", "error"}, SCHEMA, names)
    return (answer.code, answer.err, told["code"], told["exit_code"]) == (code, "", kind, code)


# What to type


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["evaluate", "-o", "out"], "Nothing to measure is named. Accepted: -m MODEL, or --maps DIR --masks DIR."),
        (["evaluate"], "upd-zoo evaluate needs -o/--output. Accepted: Folder for the results."),
        (["score"], "upd-zoo score needs FOLDER."),
        (["pull"], "upd-zoo pull needs MODEL."),
        (["pul", MODEL], "No command is called 'pul'. Did you mean pull? Do this: upd-zoo -h."),
        (["doctor", "dat"], "No command is called 'dat'. Did you mean data? Do this: upd-zoo doctor -h."),
        (["prepare", "phantom-t3"], "No domain or test set is called 'phantom-t3'. Did you mean phantom-t1"),
        (["info", "runs/vae/artefact"], "'runs/vae/artefact' is no model's name, and no artefact lies there."),
        (["list", "--domian", "x"], "upd-zoo list has no option --domian. Did you mean --domain?"),
        (["list", "--hub"], "Option '--hub' requires an argument."),
        (["pull", "a", "b"], "unexpected extra argument"),
        (["score", "a", "-m", "b", "-o", "c", "--batch-size", "0"], "Do this: upd-zoo score -h."),
        (["score", "a", "-m", "b", "-o", "c", "--batch-size", "many"], "Accepted: Images per call of the network."),
    ],
)
def test_a_command_line_that_cannot_be_read_says_what_to_type(
    upd_zoo: Command, arguments: list[str], told: str
) -> None:
    answer = upd_zoo(*arguments)
    assert answer.is_one_error(2), answer
    assert told in answer.err


def test_the_program_alone_shows_its_help(upd_zoo: Command) -> None:
    answer = upd_zoo()
    assert (answer.code, answer.out) == (2, "")
    assert "Exit codes:" in answer.err


@pytest.mark.parametrize("name", ["vae-phantm-t2", "VAE_Phantom_T2", "vae-phantom_t2"])
def test_a_mistyped_model_is_answered_with_the_real_one(upd_zoo: Command, name: str) -> None:
    assert f"Did you mean {MODEL}?" in upd_zoo("pull", name).err


@pytest.mark.parametrize(
    ("option", "value", "meant"),
    [
        ("--domain", "Phantom_T2", "phantom-t2"),
        ("--domain", "brats-t", "brats-t1 or brats-t2"),
        ("--method", "pdim", "padim"),
    ],
)
def test_a_mistyped_word_is_answered_with_the_real_ones(upd_zoo: Command, option: str, value: str, meant: str) -> None:
    assert f"Did you mean {meant}?" in upd_zoo("list", option, value).err


# Programs


@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (["score"], 2, "usage"),
        (["pull"], 2, "usage"),
        (["list", "--nonsense"], 2, "usage"),
        (["pull", "vae-nowhere"], 2, "usage"),
        (["pull", "rd-idrid"], 4, "not-found"),
        (["pull", MODEL, "--hub", "hf://lab", "--offline"], 6, "offline"),
        (["reproduce", "table-0"], 2, "usage"),
        (["score", "nowhere", "-m", MODEL, "-o", "out"], 4, "not-found"),
    ],
)
def test_an_error_is_an_object_where_json_is_asked_for(
    upd_zoo: Command, arguments: list[str], code: int, kind: str
) -> None:
    assert is_one_object(upd_zoo(*arguments, "--json"), code, kind)


def test_the_object_tells_each_beat_by_itself(upd_zoo: Command) -> None:
    told = upd_zoo("evaluate", "--json").json["error"]
    assert told["message"] == "upd-zoo evaluate needs -o/--output."
    assert told["accepted"].startswith("Folder for the results")
    assert told["do_this"] == "upd-zoo evaluate -o OUTPUT"


def test_verbose_shows_where_an_error_arose_and_what_was_asked(upd_zoo: Command, hub: Path) -> None:
    plain, verbose = upd_zoo("pull", "rd-idrid"), upd_zoo("pull", "rd-idrid", "-v")
    assert "Traceback" not in plain.err
    assert "Traceback" in verbose.err
    assert "NotFoundError" in verbose.err
    assert f"the hub is {hub}" in verbose.err
    told = upd_zoo("pull", "rd-idrid", "-v", "--json")
    assert "Traceback" in told.err
    assert told.json["error"]["exit_code"] == 4


def test_quiet_leaves_errors(upd_zoo: Command) -> None:
    assert upd_zoo("pull", "rd-idrid", "-q").is_one_error(4)


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (UpdZooError("it broke"), "error", 1),
        (UsageError("it broke"), "usage", 2),
        (InputError(InputErrorCode.EMPTY, "a.png is empty"), "empty", 3),
        (NotFoundError("it broke"), "not-found", 4),
        (MissingExtraError("Training", "train"), "missing-extra", 7),
        (OSError(28, "No space left on device", "out"), "system", 1),
        (KeyboardInterrupt("what is finished is kept"), "interrupted", 130),
    ],
)
def test_every_end_has_a_word_and_an_exit_code(error: BaseException, kind: str, code: int) -> None:
    failure = Failure.of(error)
    assert (failure.code, failure.exit_code) == (kind, code)
    assert failure.message.rstrip(".") in failure.line


# A hub that is out of reach


@pytest.fixture
def addresses() -> Iterator[list[str]]:
    """Addresses of hubs that do not answer as one should, each in another way."""
    with ExitStack() as stack:
        dead = [stack.enter_context(serving(behaviour)) for behaviour in BEHAVIOURS.values()]
        yield [*dead, stack.enter_context(closed_port()), "http://hub.invalid"]


def test_a_hub_out_of_reach_is_told_in_time_and_the_wait_is_told_of(
    environment: dict[str, str], addresses: list[str], tmp_path: Path
) -> None:
    patience, on_top = 4, 20  # seconds; the second is what starting many programs at once may take
    variables = environment | {"HF_HUB_ETAG_TIMEOUT": str(patience)}
    began = time.monotonic()
    running = {
        (address, verb): subprocess.Popen(
            [str(PROGRAM), *arguments, "--hub", "hf://lab"],
            env=variables | {"HF_ENDPOINT": address},
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for address in addresses
        for verb, arguments in {"list": ["list"], "pull": ["pull", MODEL]}.items()
    }
    for (address, _), process in running.items():
        out, err = process.communicate(timeout=60)
        *talk, error = err.splitlines()
        assert (process.returncode, out) == (6, ""), err
        assert error.startswith("error: ")
        silent = address.startswith("http://127") and address != addresses[-2]
        assert not silent or talk == [f"asking hf://lab; up to {patience} s"], err
    assert time.monotonic() - began < patience + on_top
