"""The Hugging Face Hub: whatever the network delivers, only bytes of the manifest are handed out."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from pytest_httpserver import HTTPServer

from fake.artefact import list_anything, with_manifest, write_artefact
from fake.hugging_face import FakeHub, commit_of
from fake.keys import write_key
from upd_zoo.artefact.folder import inventory, verify
from upd_zoo.artefact.records import CARD, CONFIG, MANIFEST, ONNX, SIGNATURE, WEIGHTS
from upd_zoo.artefact.signature import PrivateKey, check_signature, sign_artefact
from upd_zoo.errors import IntegrityError, NotFoundError, OfflineError, UpdZooError
from upd_zoo.hub import open_hub
from upd_zoo.hub.hub import Hub
from upd_zoo.hub.receiving import PART
from upd_zoo.names import ModelId
from upd_zoo.progress import Progress

MODEL = ModelId.parse("vae-phantom-t1")
SEED = ModelId.parse("vae-phantom-t1@seed-1")
ALIAS = ModelId.parse("vae-phantom-stroke")


def holds(folder: Path, content: bytes) -> bool:
    """Return whether any file below a folder has this content."""
    return any(path.is_file() and path.read_bytes() == content for path in folder.rglob("*"))


def test_a_pull_brings_every_file_of_one_commit(remote: Hub, fake: FakeHub, cache: Path) -> None:
    steps: list[Progress] = []
    pulled = remote.fetch(ALIAS, on_progress=steps.append)
    assert verify(pulled.folder) == pulled.manifest
    assert pulled.revision == commit_of(fake.repositories["vae-phantom-t1"]["main"])
    assert pulled.folder.is_relative_to(cache)
    assert [step for step in steps if step.what == ONNX] == [Progress(ONNX, 0, 5), Progress(ONNX, 5, 5)]


def test_a_partial_pull_from_the_network_brings_only_what_was_asked(remote: Hub, fake: FakeHub) -> None:
    folder = remote.fetch(MODEL, [ONNX]).folder
    assert set(inventory(folder)) == {CONFIG, ONNX}
    fake.requests.clear()
    assert remote.fetch(MODEL, [WEIGHTS, ONNX]).folder == folder
    asked, downloaded = fake.requests
    assert (asked.endswith(MANIFEST), downloaded.endswith(WEIGHTS)) == (True, True)


def test_a_seed_is_a_revision(remote: Hub, fake: FakeHub, tmp_path: Path) -> None:
    fake.put(write_artefact(tmp_path / "seed", onnx=b"seed 1"), revision="seed-1")
    assert (remote.fetch(SEED, [ONNX]).folder / ONNX).read_bytes() == b"seed 1"
    assert (remote.fetch(MODEL, [ONNX]).folder / ONNX).read_bytes() == b"graph"


def test_a_model_published_again_is_pulled_again(remote: Hub, fake: FakeHub, tmp_path: Path) -> None:
    remote.fetch(MODEL)
    fake.put(write_artefact(tmp_path / "better", onnx=b"better"))
    assert (remote.fetch(MODEL, [ONNX]).folder / ONNX).read_bytes() == b"better"


def test_a_publication_during_a_pull_does_not_mix_the_versions(remote: Hub, fake: FakeHub, tmp_path: Path) -> None:
    better = write_artefact(tmp_path / "better", onnx=b"better")

    def publish_meanwhile(_: Progress) -> None:
        files = fake.repositories["vae-phantom-t1"]
        files.setdefault("before", files["main"])  # an old commit stays to be had
        fake.put(better)

    pulled = remote.fetch(MODEL, on_progress=publish_meanwhile)
    assert (pulled.folder / ONNX).read_bytes() == b"graph"
    assert verify(pulled.folder) == pulled.manifest


@pytest.mark.parametrize(("name", "wrong"), [(ONNX, b"GRAPH"), (CONFIG, b"{}"), (MANIFEST, b"{}")])
def test_wrong_bytes_are_refused_and_leave_nothing(
    remote: Hub, fake: FakeHub, cache: Path, name: str, wrong: bytes
) -> None:
    right = fake.repositories["vae-phantom-t1"]["main"][name]
    wrong = wrong.ljust(len(right))  # the library would notice another length
    fake.served, fake.for_ever = {name: wrong}, True
    with pytest.raises(IntegrityError, match=r"SHA-256|as hf://lab delivers it"):
        remote.fetch(MODEL)
    assert not holds(cache, wrong)


def test_wrong_bytes_once_are_fetched_again(remote: Hub, fake: FakeHub) -> None:
    fake.served = {ONNX: b"GRAPH"}
    assert (remote.fetch(MODEL).folder / ONNX).read_bytes() == b"graph"


@pytest.mark.parametrize("name", [ONNX, MANIFEST])
def test_a_corrupted_cache_is_healed_from_the_network(remote: Hub, name: str) -> None:
    path = remote.fetch(MODEL).folder / name
    content = path.read_bytes()
    path.write_bytes(b"#" * len(content))
    remote.fetch(MODEL)
    assert path.read_bytes() == content


def test_a_transfer_of_another_length_is_refused(remote: Hub, fake: FakeHub, cache: Path) -> None:
    fake.served, fake.for_ever = {ONNX: b"gra"}, True
    with pytest.raises(IntegrityError, match="SHA-256"):
        remote.fetch(MODEL)
    assert not holds(cache, b"gra")


def test_a_connection_cut_once_is_taken_up_again(remote: Hub, fake: FakeHub) -> None:
    fake.served, fake.cut = {ONNX: b"gra"}, True
    assert (remote.fetch(MODEL).folder / ONNX).read_bytes() == b"graph"


def test_a_connection_that_is_always_cut_is_no_network(remote: Hub, fake: FakeHub, cache: Path) -> None:
    fake.served, fake.cut, fake.for_ever = {ONNX: b"gra"}, True, True
    with pytest.raises(OfflineError, match="RemoteProtocolError"):
        remote.fetch(MODEL)
    assert not list(cache.rglob("*.onnx"))


@pytest.mark.parametrize("tenth", range(1, 10))
def test_a_broken_download_goes_on_where_it_stopped_in_a_later_process(
    fake: FakeHub, artefact: Path, cache: Path, tenth: int
) -> None:
    content = bytes(range(250)) * 4
    fake.put(write_artefact(artefact, onnx=content))
    fake.served, fake.cut, fake.for_ever = {ONNX: content[: 100 * tenth]}, True, True
    with pytest.raises(OfflineError):
        open_hub("hf://lab", cache).fetch(MODEL)
    (part,) = cache.rglob(PART)
    assert part.read_bytes() == content[: 100 * tenth]
    fake.served, fake.cut = {ONNX: b"?" * 100 * tenth + content[100 * tenth :]}, False  # right from there on alone
    assert (open_hub("hf://lab", cache).fetch(MODEL).folder / ONNX).read_bytes() == content
    assert not list(cache.rglob(PART))


@pytest.mark.parametrize("left", [b"", b"GRA", b"graph", b"GRAPH", b"graph and more"])
def test_what_an_earlier_transfer_left_is_not_trusted(remote: Hub, cache: Path, left: bytes) -> None:
    folder = remote.fetch(MODEL, [CONFIG]).folder
    part = folder / ONNX
    part = part.with_name(f".{verify(folder, []).files[ONNX].sha256[:16]}.part")
    part.parent.mkdir()
    part.write_bytes(left)
    assert (remote.fetch(MODEL).folder / ONNX).read_bytes() == b"graph"
    assert not list(cache.rglob(PART))


def test_a_forged_path_is_refused(remote: Hub, fake: FakeHub, artefact: Path) -> None:
    list_anything(artefact, "../../../escape")
    fake.put(artefact)
    with pytest.raises(IntegrityError, match="plain relative path"):
        remote.fetch(MODEL)


def test_what_the_hub_does_not_have_is_not_found(remote: Hub, fake: FakeHub) -> None:
    with pytest.raises(NotFoundError, match="Did you mean vae-phantom-t1"):
        remote.fetch(ModelId.parse("vae-phantom-t2"))
    with pytest.raises(NotFoundError, match=r"no revision 'seed-1'.*main"):
        remote.fetch(SEED)
    with pytest.raises(NotFoundError, match=r"has no model\.pkl"):
        remote.fetch(MODEL, ["model.pkl"])
    del fake.repositories["vae-phantom-t1"]["main"][MANIFEST]
    with pytest.raises(NotFoundError, match=r"manifest\.json"):
        open_hub("hf://lab").fetch(MODEL)


@pytest.mark.parametrize(("status", "code"), [(401, ""), (403, ""), (403, "GatedRepo")])
def test_a_closed_door_asks_for_a_token(remote: Hub, fake: FakeHub, status: int, code: str) -> None:
    fake.refusal = status, code
    with pytest.raises(UpdZooError, match="pass --token") as caught:
        remote.fetch(MODEL)
    assert caught.value.exit_code == 1


def test_a_token_is_sent_and_never_shown(fake: FakeHub, cache: Path, httpserver: HTTPServer) -> None:
    fake.refusal = 403, ""
    with pytest.raises(UpdZooError) as caught:
        open_hub("hf://lab", cache, token="hf_secret").fetch(MODEL)  # noqa: S106
    assert "hf_secret" not in str(caught.value)
    assert httpserver.log[-1][0].headers["authorization"] == "Bearer hf_secret"


@pytest.mark.parametrize("status", [429, 503])
def test_a_hub_out_of_order_is_no_network_unless_all_is_cached(remote: Hub, fake: FakeHub, status: int) -> None:
    fake.refusal = status, ""
    with pytest.raises(OfflineError, match=str(status)):
        remote.fetch(MODEL)
    fake.refusal = None
    folder = remote.fetch(MODEL).folder
    fake.refusal = status, ""
    assert remote.fetch(MODEL).folder == folder


def test_a_hub_that_fails_during_a_forced_pull_is_no_network(remote: Hub, fake: FakeHub) -> None:
    remote.fetch(MODEL)
    fake.refusal, fake.patience = (503, ""), len(fake.requests) + 1
    with pytest.raises(OfflineError, match="answered 503"):
        remote.fetch(MODEL, force=True)


def test_another_answer_is_passed_on(remote: Hub, fake: FakeHub) -> None:
    fake.refusal = 418, ""
    with pytest.raises(UpdZooError, match="answered 418"):
        remote.fetch(MODEL)


def test_without_a_connection_only_the_cache_is_used(remote: Hub, nobody_listens: Callable[[], None]) -> None:
    folder = remote.fetch(MODEL, [ONNX]).folder
    nobody_listens()
    assert remote.fetch(MODEL, [ONNX]).folder == folder
    with pytest.raises(OfflineError, match=r"ConnectError.*--hub FOLDER"):
        remote.fetch(MODEL, [WEIGHTS])
    with pytest.raises(OfflineError, match="ConnectError"):
        remote.fetch(MODEL, [ONNX], force=True)
    with pytest.raises(OfflineError, match="ConnectError"):
        remote.fetch(SEED)


def test_offline_asks_nobody(remote: Hub, fake: FakeHub, cache: Path) -> None:
    folder = remote.fetch(MODEL, [ONNX]).folder
    fake.requests.clear()
    offline = open_hub("hf://lab", cache, offline=True)
    assert offline.fetch(MODEL, [ONNX]).folder == folder
    with pytest.raises(OfflineError, match=r"not in the cache.*upd-zoo pull vae-phantom-t1 without --offline"):
        offline.fetch(MODEL, [WEIGHTS])
    for act in (lambda: offline.fetch(MODEL, force=True), offline.catalogue):
        with pytest.raises(OfflineError, match="needs the network"):
            act()
    assert fake.requests == []


def test_offline_a_corrupted_cache_is_not_used(remote: Hub, cache: Path) -> None:
    path = remote.fetch(MODEL, [ONNX]).folder / ONNX
    path.write_bytes(b"GRAPH")
    with pytest.raises(IntegrityError, match="SHA-256"):
        open_hub("hf://lab", cache, offline=True).fetch(MODEL, [ONNX])
    assert not holds(cache, b"GRAPH")


def test_the_catalogue_of_another_organisation_is_read_from_the_names(remote: Hub, fake: FakeHub) -> None:
    fake.repositories["bert"] = {}
    fake.repositories["vae-phantom-stroke"] = {}
    assert [row.id for row in remote.catalogue()] == ["vae-phantom-t1"]


def test_publishing_makes_one_commit_of_what_the_manifest_lists(
    remote: Hub, fake: FakeHub, artefact: Path, cache: Path
) -> None:
    fake.repositories.clear()
    (artefact / "stray.txt").write_text("not in the manifest")
    row = remote.publish(artefact, MODEL).row
    assert row.bytes["onnx"] == 5
    assert len(fake.commits) == 1
    assert set(fake.repositories["vae-phantom-t1"]["main"]) == {".gitattributes", MANIFEST, *verify(artefact).files}
    assert verify(remote.fetch(MODEL).folder) == verify(artefact)


def test_a_signature_is_published_in_the_same_commit_and_fetched(
    remote: Hub, fake: FakeHub, artefact: Path, tmp_path: Path
) -> None:
    key = PrivateKey.read(write_key(tmp_path / "keys").private, lambda: None)
    sign_artefact(artefact, key)
    remote.publish(artefact, MODEL)
    assert len(fake.commits) == 1
    folder = remote.fetch(MODEL, [ONNX]).folder
    check_signature(folder, verify(folder), key.public)
    assert remote.publish(artefact, MODEL).unchanged
    del fake.repositories["vae-phantom-t1"]["main"][SIGNATURE]
    with pytest.raises(NotFoundError, match=r"has no file .*model\.sig"):
        remote.fetch(MODEL, [ONNX])


def test_publishing_a_seed_again_leaves_the_others_alone_and_nothing_stale(
    remote: Hub, fake: FakeHub, artefact: Path
) -> None:
    remote.publish(artefact, SEED)
    (artefact / CARD).unlink()
    write_artefact(artefact, onnx=b"better")
    (artefact / CARD).unlink()
    remote.publish(with_manifest(artefact), SEED)
    revisions = fake.repositories["vae-phantom-t1"]
    assert CARD not in revisions["seed-1"]
    assert revisions["seed-1"][ONNX] == b"better"
    assert revisions["main"][ONNX] == b"graph"


def test_a_card_that_the_hub_refuses_is_not_published(remote: Hub, fake: FakeHub, artefact: Path) -> None:
    (artefact / CARD).write_text("---\nlicense: wrong\n---\n")
    with pytest.raises(UpdZooError, match=r"answered 400 .*no such licence"):
        remote.publish(with_manifest(artefact), MODEL)
    assert fake.commits == []


def test_a_publication_that_is_not_whole_sends_nothing(remote: Hub, fake: FakeHub, artefact: Path) -> None:
    (artefact / ONNX).write_bytes(b"GRAPH")
    with pytest.raises(IntegrityError):
        remote.publish(artefact, MODEL)
    assert fake.requests == []


def test_the_library_obeys_its_environment(fake: FakeHub, httpserver: HTTPServer, tmp_path: Path) -> None:
    program = (
        "from upd_zoo.hub import open_hub; from upd_zoo.names import ModelId\n"
        "print(open_hub().fetch(ModelId.parse('vae-phantom-t1')).folder)"
    )
    environment = {
        "UPD_ZOO_HUB": "hf://lab",
        "HF_HOME": str(tmp_path / "home"),
        "HF_ENDPOINT": httpserver.url_for(""),
        "HF_TOKEN": "hf_token",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }

    def pull(**more: str) -> str:
        return subprocess.run(
            [sys.executable, "-c", program], env={**environment, **more}, capture_output=True, text=True, check=True
        ).stdout.strip()

    folder = pull()
    assert Path(folder).is_relative_to(tmp_path / "home")
    assert httpserver.log[-1][0].headers["authorization"] == "Bearer hf_token"
    fake.requests.clear()
    assert pull(HF_HUB_OFFLINE="1") == folder
    assert fake.requests == []
