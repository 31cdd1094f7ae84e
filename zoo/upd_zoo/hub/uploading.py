"""What is published to the Hugging Face Hub: one commit, which nobody sees under its name before it is whole.

`main` is a branch. Every other revision is a tag of a commit on a branch of its own, `<revision>-history`, which keeps
what was published under that name before. The Hub's own library speaks the protocol. It is given a client that ends
what it would try for minutes, and files that tell how much of them was sent.
"""

import hashlib
import io
import logging
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, errors, set_client_factory
from huggingface_hub import logging as library_log
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

from upd_zoo.artefact.records import FileRecord
from upd_zoo.errors import IntegrityError, OfflineError, UpdZooError
from upd_zoo.hub.hub import HISTORY
from upd_zoo.hub.transfer import SLOWEST, TRIES, Refusal, checked_headers, patient_client, refusal_of, whole_call
from upd_zoo.names import MAIN
from upd_zoo.progress import Progress, Report
from upd_zoo.runtime.deadline import Overdue, within

if TYPE_CHECKING:
    from huggingface_hub import GitRefs

_OF_THE_HUB: Final = frozenset({".gitattributes"})
_STAGES: Final = ("repository", "branch", "files", "commit", "check", "name")
_RETRIED: Final = (408, 429, 500, 502, 503, 504)
_LONGEST_PAUSE: Final = 10
"""Seconds that a hub may ask for before it is asked again, of which nothing would be heard."""
_CALLS: Final = 20
"""How many calls a publication takes at most that transfer next to nothing."""


@dataclass(frozen=True, slots=True)
class Upload:
    """An artefact on its way.

    Attributes:
        folder: Where its files lie.
        files: What goes up, by relative path.
        place: The hub, as it is written.
        repository: Organisation and name.
        revision: Under which it shall be found.
        public: Whether everybody shall see a repository that is made for it.
        message: Of the commit.
    """

    folder: Path
    files: Mapping[str, FileRecord]
    place: str
    repository: str
    revision: str
    public: bool
    message: str


class _Sent(io.BufferedReader):
    """A file that tells how much of it was read."""

    def __init__(self, path: Path, name: str, size: int) -> None:
        super().__init__(io.FileIO(path))
        self._name, self._size = name, size
        self.report: Report | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if self.report is not None:
            self.report(Progress(self._name, self.tell(), self._size))
        return block


class _Endurance:
    """How often one publication has failed to get an answer; the library makes a new client after some failures."""

    def __init__(self, place: str) -> None:
        self.failures = 0
        self._place = place

    def client(self) -> httpx2.Client:
        """Return a client that counts here."""
        client = patient_client()
        transport, limits = client.send, client.timeout.as_dict()

        def send(request: httpx2.Request, **kwargs: Any) -> httpx2.Response:
            request.extensions = {**request.extensions, "timeout": limits}  # which the library lifts where it lists
            try:
                response = transport(request, **kwargs)
            except httpx2.TimeoutException as error:
                raise self._silent(request) from error
            except httpx2.TransportError as error:
                self.failures += 1
                if self.failures >= TRIES:
                    raise self._broken(request, error) from error
                raise
            self._judge(response)
            return response

        client.send = send  # type: ignore[method-assign]  # the library makes and keeps its client by itself
        return client

    def _judge(self, response: httpx2.Response) -> None:
        if response.status_code not in _RETRIED:
            return
        self.failures += 1
        refusal = refusal_of(response)
        if self.failures >= TRIES or (refusal.wait or 0) > _LONGEST_PAUSE:
            raise refusal

    def _silent(self, request: httpx2.Request) -> OfflineError:
        return OfflineError(
            f"{self._place} does not answer {request.method} {request.url.path}", "", "publish again later"
        )

    def _broken(self, request: httpx2.Request, error: Exception) -> OfflineError:
        return OfflineError(
            f"the connection to {self._place} broke {TRIES} times at {request.url.path} ({type(error).__name__})",
            "",
            "publish again; what has arrived whole is not sent again",
        )


def upload(work: Upload, parent: str | None, token: str | None, report: Report) -> str:
    """Publish an artefact; return the commit.

    Args:
        work: What, and where.
        parent: The commit that `main` must still be at; None where it was not there.
        token: Access token.
        report: Told which stage it is at, and how much of each file was sent.

    Raises:
        UpdZooError: Somebody else published meanwhile.
        OfflineError: The hub does not answer, or breaks off.
        IntegrityError: It holds other bytes than were sent, or answers what nobody understands.
        Refusal: It will not.
    """
    longest = _CALLS * whole_call() + sum(record.bytes for record in work.files.values()) / SLOWEST

    def publish() -> str:
        with _library(work.place, token) as api, ExitStack() as stack:
            return _published(api, work, parent, stack, report)

    try:
        return within(longest, publish)
    except Overdue:
        raise OfflineError(f"{work.place} takes too long to publish", "", "publish again later") from None


def differing(work: Upload, commit: str, token: str | None) -> list[str]:
    """Return which files a commit holds otherwise, lacks or has too many."""
    with _library(work.place, token) as api:
        return _differing(api, work, commit)


def collect(repository: str, title: str, place: str, token: str | None, *, public: bool) -> str:
    """Put a repository into a collection of its organisation, which is made where it is not there; return its slug."""
    with _library(place, token) as api:
        found = api.create_collection(title, namespace=repository.partition("/")[0], private=not public, exists_ok=True)
        api.add_collection_item(found.slug, repository, "model", exists_ok=True)
    return found.slug


@contextmanager
def _library(place: str, token: str | None) -> Iterator[HfApi]:
    """Give the library, which is silent and has our limits meanwhile."""
    checked_headers(token)
    loud, bars = library_log.get_verbosity(), not are_progress_bars_disabled()
    library_log.set_verbosity(logging.ERROR)
    disable_progress_bars()
    set_client_factory(_Endurance(place).client)
    try:
        with warnings.catch_warnings():
            # Its way to hand over a large file is deprecated by what carries it.
            warnings.filterwarnings("ignore", "Use 'content=", DeprecationWarning)
            yield HfApi(token=token)
    except (Refusal, UpdZooError, httpx2.HTTPError, httpx2.InvalidURL, errors.HfHubHTTPError):
        raise
    except errors.OfflineModeIsEnabled:
        raise
    except RuntimeError as error:
        raise error.__cause__ or error from None  # the library wraps what happens to a large file
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        if isinstance(error.__cause__, errors.HfHubHTTPError):  # its way to say that a card is not valid
            raise error.__cause__ from error
        raise IntegrityError(
            f"{place} answers in a way that is not the Hub's ({type(error).__name__})", "", "check HF_ENDPOINT"
        ) from error
    finally:
        set_client_factory(patient_client)  # the library's own waits for ever
        library_log.set_verbosity(loud)
        if bars:
            enable_progress_bars()


def _published(api: HfApi, work: Upload, parent: str | None, stack: ExitStack, report: Report) -> str:
    def stage(name: str) -> None:
        report(Progress(name, _STAGES.index(name), len(_STAGES)))

    stage("repository")
    api.create_repo(work.repository, exist_ok=True, private=not work.public)
    stage("branch")
    refs = api.list_repo_refs(work.repository)
    branch, tagged = _branch_of(work, refs)
    if branch not in {each.name for each in refs.branches}:
        api.create_branch(work.repository, branch=branch, exist_ok=True)
    stale = {*api.list_repo_files(work.repository, revision=branch)} - {*work.files, *_OF_THE_HUB}
    stage("files")
    additions = [_added(work, name, stack, report) for name in work.files]
    operations = [*additions, *(CommitOperationDelete(name) for name in sorted(stale))]
    api.preupload_lfs_files(work.repository, additions, revision=branch, free_memory=False)
    stage("commit")
    expected = parent if parent and branch == MAIN else _head(refs, branch)
    commit = _committed(api, work, operations, branch, expected)
    stage("check")
    if wrong := _differing(api, work, commit):
        raise IntegrityError(
            f"{work.place} holds other bytes than were sent: {', '.join(wrong)}",
            "the bytes that were sent",
            "publish again; nobody can pull what is there",
        )
    if tagged is not None:
        stage("name")
        _name(api, work, commit, replaced=tagged)
    return commit


def _branch_of(work: Upload, refs: "GitRefs") -> tuple[str, bool | None]:
    """Return the branch to commit to, and whether there is a tag to move; None where the branch itself is the name."""
    if work.revision == MAIN or work.revision in {each.name for each in refs.branches}:
        return work.revision, None
    return work.revision + HISTORY, work.revision in {each.name for each in refs.tags}


def _head(refs: "GitRefs", branch: str) -> str | None:
    return next((each.target_commit for each in refs.branches if each.name == branch), None)


def _added(work: Upload, name: str, stack: ExitStack, report: Report) -> CommitOperationAdd:
    """Return a file to be sent, which the library opens by itself no more: so it tells how far it is."""
    file = stack.enter_context(_Sent(work.folder / name, name, work.files[name].bytes))
    addition = CommitOperationAdd(name, file)  # reads it once, for its hash
    file.report = report
    return addition


def _committed(api: HfApi, work: Upload, operations: list[Any], branch: str, parent: str | None) -> str:
    try:
        done = api.create_commit(
            work.repository, operations, commit_message=work.message, revision=branch, parent_commit=parent
        )
    except errors.HfHubHTTPError as error:
        if error.response.status_code not in (409, 412):
            raise
        raise UpdZooError(
            f"somebody else changed {work.repository} on {work.place} at the same time",
            "",
            f"look at what is there with upd-zoo list --hub {work.place}, then publish again",
        ) from error
    return str(done.oid)


def _differing(api: HfApi, work: Upload, commit: str) -> list[str]:
    """Return which files a commit holds otherwise, lacks or has too many, by what git and Git LFS call them."""
    tree = api.list_repo_tree(work.repository, recursive=True, revision=commit)
    found = {each.path: each for each in tree if isinstance(each, RepoFile) and each.path not in _OF_THE_HUB}
    wrong = {*found} ^ {*work.files}
    for name in {*found} & {*work.files}:
        file, record = found[name], work.files[name]
        same = file.lfs.sha256 == record.sha256 if file.lfs else file.blob_id == _git_name(work.folder / name)
        wrong |= set() if same else {name}
    return sorted(wrong)


def _git_name(path: Path) -> str:
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()  # noqa: S324 - what git calls a file


def _name(api: HfApi, work: Upload, commit: str, *, replaced: bool) -> None:
    """Let the revision name a commit; in between it names nothing, so this is tried again and again."""
    if replaced:
        with suppress(errors.RevisionNotFoundError):
            api.delete_tag(work.repository, tag=work.revision)
    _persistently(lambda: api.create_tag(work.repository, tag=work.revision, revision=commit))


def _persistently(call: Callable[[], None]) -> None:
    for pause in (0.5, 1.0):
        try:
            call()
        except (httpx2.TransportError, errors.HfHubHTTPError):
            time.sleep(pause)
        else:
            return
    call()
