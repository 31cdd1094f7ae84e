"""Bytes from a server that is not trusted: bounded in time and in size, and nothing of it becomes a name or a path.

The Hub's own library makes file names of what a server answers (an ETag of `../../x` was followed out of its cache),
has no time limit for most requests, and checks no hash. So files and lists are fetched here; the library is left with
the words of the protocol (endpoint, token, addresses) and with publishing.
"""

import json
import os
import re
import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, TypeVar

import httpx2

from upd_zoo.artefact.record import MOST_RECORD_BYTES
from upd_zoo.errors import IntegrityError, OfflineError, UsageError
from upd_zoo.runtime.deadline import Overdue, within

_ANSWER: Final = 7.0
"""Seconds in which a hub must have given a manifest or a list, whole; `HF_HUB_ETAG_TIMEOUT` is taken in its place. Who
is told that a hub is out of reach has waited less than ten, the start of the program included."""
_WHOLE_CALL: Final = 60.0
"""Seconds that a call may take which transfers next to nothing, once a hub is known to answer."""
SLOWEST: Final = 10_000.0
"""Bytes per second that all transfers of a call must reach together, on average: at this pace a model of 100 MB takes
three hours."""
TRIES: Final = 3
"""How often a connection that breaks is taken up again where it broke."""
_MOST_REDIRECTS: Final = 5
_MOST_PAGES: Final = 100
_MOST_LIST_BYTES: Final = 8 << 20
_USER_AGENT: Final = "upd-zoo"
_TOKEN: Final = re.compile(r"[!-~]+")
_SHOWN: Final = 200
"""Characters of a server's own words that an error repeats."""

Answered = TypeVar("Answered")


class Refusal(Exception):  # noqa: N818 - what a server answered, and only later somebody's error
    """A server answered that it will not.

    Attributes:
        status: HTTP status.
        code: The Hub's own name for the reason, such as `RepoNotFound`; may be empty.
        words: What it says about it; may be empty.
        path: Of what was asked for.
        wait: Seconds after which it may be asked again, where it tells them.
    """

    def __init__(self, status: int, code: str, words: str, path: str, wait: int | None = None) -> None:
        super().__init__(f"{status} {code}")
        self.wait = wait
        self.status, self.code, self.words, self.path = status, code, " ".join(words.split())[:_SHOWN], path


class Transfer:
    """Requests to one server; a context that closes its connections.

    Args:
        token: Access token; None for the environment's, or that of a stored login.

    Raises:
        UsageError: The token cannot be one, or the environment names a proxy or certificates that cannot be used.
    """

    def __init__(self, token: str | None) -> None:
        from huggingface_hub import constants

        self.endpoint = constants.ENDPOINT
        headers = {**checked_headers(token), "Accept-Encoding": "identity"}
        self._client = _client(constants.HF_HUB_DOWNLOAD_TIMEOUT, headers)
        self._under_way: set[str] = set()

    def __enter__(self) -> "Transfer":
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def document(
        self, url: str, most: int = MOST_RECORD_BYTES, deadline: float | None = None, method: str = "GET"
    ) -> tuple[bytes, Mapping[str, str]]:
        """Return a short file and the header fields that came with it, those of redirects included.

        Args:
            url: Its address.
            most: Its greatest length in bytes.
            deadline: When it must be there, by `time.monotonic`; None for the time of a call.
            method: HEAD for the header fields without the file.

        Raises:
            Refusal: The server will not.
            OfflineError: It answers too slowly, or is not a hub.
            IntegrityError: The answer is too long.
        """
        deadline = deadline or time.monotonic() + patience()
        try:
            # The limits of a client hold for each step: a server that drips would hold it for ever.
            return within(max(0.0, deadline - time.monotonic()), lambda: self._document(url, most, deadline, method))
        except Overdue:
            raise _too_slow() from None

    def _document(self, url: str, most: int, deadline: float, method: str) -> tuple[bytes, Mapping[str, str]]:
        content = b""
        with self._answer(url, deadline, method=method) as response:
            for block in response.iter_raw():
                if time.monotonic() > deadline:
                    raise _too_slow()
                content += block
                if len(content) > most:
                    raise IntegrityError(f"the answer to {response.url.path} is too long", f"at most {most} bytes")
            answers = (response, *reversed(response.history))  # of a field that comes twice, the hub's own counts
            fields = {key: value for answer in answers for key, value in answer.headers.items()}
        if content.lstrip()[:1] == b"<":
            raise OfflineError(
                f"a web page came instead of {response.url.path}",
                "",
                "log in where this network asks for it, or check HF_ENDPOINT",
            )
        return content, fields

    def entries(self, address: str) -> list[Any]:
        """Return a list of the server's interface, over all its pages.

        Args:
            address: Path and query, such as "/api/models?author=lab".

        Raises:
            Refusal: The server will not.
            OfflineError: It answers too slowly, or is not a hub.
            IntegrityError: The answer is not a list, or too long.
        """
        deadline = time.monotonic() + patience()
        found: list[Any] = []
        url: str | None = self.endpoint + address
        for _ in range(_MOST_PAGES):
            if url is None:
                return found
            content, fields = self.document(url, _MOST_LIST_BYTES, deadline)
            if not content:  # olah 0.5 answers so whatever it does not know
                raise Refusal(HTTPStatus.NOT_FOUND, "", "an empty answer", address)
            found += _parsed(content, list)
            url = self._next(fields)
        raise IntegrityError(f"the list of {address} does not end", f"at most {_MOST_PAGES} pages")

    def facts(self, address: str) -> dict[str, Any]:
        """Return a record of the server's interface; raises what `entries` raises."""
        return _parsed(self.document(self.endpoint + address, _MOST_LIST_BYTES)[0], dict)

    def blocks(self, url: str, size: int, first: int = 0) -> Generator[bytes]:
        """Yield the bytes of a file as they come; a connection that breaks is taken up where it broke.

        Several threads may do so, each with a file of its own.

        Args:
            url: Its address.
            size: Its length in bytes as promised, by which its time is measured, and by how many files share the
                hub's speed with it. More may come.
            first: The byte to begin with, those before it being there.

        Raises:
            Refusal: The server will not.
            OfflineError: It is too slow.
        """
        deadline, done, tries = time.monotonic() + _WHOLE_CALL + (size - first) / SLOWEST, first, 0
        while done < size or not tries:
            try:
                with self._counted(url), self._answer(url, deadline, first=done) as response:
                    repeated = done if response.status_code == HTTPStatus.OK else 0
                    for block in response.iter_raw():
                        deadline += len(block) * (len(self._under_way) - 1) / SLOWEST
                        if time.monotonic() > deadline:
                            raise _too_slow(_SLOW_TRANSFER)
                        fresh, repeated = block[repeated:], max(0, repeated - len(block))
                        done += len(fresh)
                        yield fresh
                return
            except httpx2.TransportError as error:
                tries += 1
                if tries == TRIES or isinstance(error, (httpx2.TimeoutException, httpx2.ConnectError)):
                    raise

    @contextmanager
    def _counted(self, url: str) -> Iterator[None]:
        """Count a file among those that are under way; sets of names are changed at once, and need no lock."""
        self._under_way.add(url)
        try:
            yield
        finally:
            self._under_way.discard(url)

    @contextmanager
    def _answer(self, url: str, deadline: float, first: int = 0, method: str = "GET") -> Iterator[httpx2.Response]:
        headers = {"Range": f"bytes={first}-"} if first else {}
        request = self._client.build_request(method, url, headers=headers)
        try:
            remaining = max(0.0, deadline - time.monotonic())
            response = within(remaining, lambda: self._client.send(request, stream=True))
        except Overdue:
            raise _too_slow() from None
        try:
            if response.status_code not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
                raise refusal_of(response)
            if response.headers.get("Content-Encoding", "identity") != "identity":
                raise IntegrityError(f"{response.url.path} came compressed", "the bytes as they are")
            yield response
        finally:
            response.close()

    def _next(self, fields: Mapping[str, str]) -> str | None:
        """Return the address of the next page, unless it is another server's, which is not to see the token."""
        for link in fields.get("link", "").split(","):
            address, _, relation = link.partition(">")
            if 'rel="next"' in relation and address.strip().startswith(f"<{self.endpoint}/"):
                return address.strip()[1:]
        return None


def patience() -> float:
    """Return how many seconds a hub may take to give a manifest or a list before it is taken to be out of reach."""
    from huggingface_hub import constants

    return float(constants.HF_HUB_ETAG_TIMEOUT) if "HF_HUB_ETAG_TIMEOUT" in os.environ else _ANSWER


def refusal_of(response: httpx2.Response, words: str | None = None) -> Refusal:
    """Return what an answer that is no success says by its header, and in the words that somebody read of it."""
    fields = response.headers
    said = str(words or fields.get("X-Error-Message", ""))
    asked = str(fields.get("Retry-After", ""))
    wait = int(asked) if asked.isascii() and asked.isdigit() else None
    return Refusal(response.status_code, str(fields.get("X-Error-Code", "")), said, response.url.path, wait)


def whole_call() -> float:
    """Return how many seconds a call may take which transfers next to nothing."""
    return _WHOLE_CALL


def patient_client() -> httpx2.Client:
    """Return a client for the Hub's own library, which waits for every step, but not for ever."""
    return _client(_WHOLE_CALL, {})


def _client(timeout: float, headers: Mapping[str, str]) -> httpx2.Client:
    try:
        return httpx2.Client(headers=headers, timeout=timeout, follow_redirects=True, max_redirects=_MOST_REDIRECTS)
    except (ImportError, OSError, ValueError, httpx2.InvalidURL) as error:
        raise UsageError(
            f"the proxy or the certificates that the environment names cannot be used ({type(error).__name__})",
            "an http:// or https:// proxy, and files of certificates",
            "correct HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, SSL_CERT_FILE and SSL_CERT_DIR",
        ) from error


def checked_headers(token: str | None) -> dict[str, str]:
    """Return the header fields of every request, among them the token.

    Raises:
        UsageError: The token holds what cannot be sent, such as a line end.
    """
    from huggingface_hub import constants, get_token

    if token is None and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN:
        token = get_token()
    if token is None:
        return {"User-Agent": _USER_AGENT}
    if not _TOKEN.fullmatch(token):
        raise UsageError(
            "the access token is empty, or holds what no token does, such as a space or a line end",
            "letters, digits and signs such as underscores",
            "copy it again into --token or HF_TOKEN",
        )
    return {"User-Agent": _USER_AGENT, "Authorization": f"Bearer {token}"}


_SLOW_TRANSFER: Final = f"the hub sends less than {SLOWEST / 1000:g} kB a second"


def _too_slow(complaint: str = "") -> OfflineError:
    if complaint:
        return OfflineError(complaint, "", "the same command goes on where it stopped; or name another hub with --hub")
    remedy = "try again later, give it more seconds by HF_HUB_ETAG_TIMEOUT, or pull from a folder with --hub FOLDER"
    return OfflineError("the hub answers too slowly", "", remedy)


def _parsed(content: bytes, kind: type[Answered]) -> Answered:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, kind):
        raise IntegrityError(f"a hub answered {content[:_SHOWN]!r}", f"JSON, as a {kind.__name__}", "check HF_ENDPOINT")
    return value
