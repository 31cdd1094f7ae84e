"""The Hugging Face Hub, imitated by a local server that answers as the real one, a broken one or a hostile one."""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml
from huggingface_hub import constants
from werkzeug import Request, Response
from werkzeug.serving import WSGIRequestHandler, make_server


@dataclass
class FakeHub:
    """Answers of the Hub for the organisation `lab`.

    Attributes:
        repositories: Files by path, by revision, by repository.
        served: Bytes sent instead of the right ones, by path; each is used up by one transfer unless `for_ever`.
        requests: Every request, as "METHOD path".
        refusal: Status and error code of every answer, where it refuses everything.
        patience: How many requests it answers before it refuses.
        commits: Parsed lines of every commit that was sent.
        public: Repositories that everybody can see.
        fields: Header fields of every answer that carries a file, instead of the right ones.
        instead: Answers a request for a file, in place of everything else.
        fault: Asked before every answer; what it returns is answered instead.
        large: Suffixes of the files that go up by Git LFS.
        objects: What went up by Git LFS, by the SHA-256 that was told.
        tags: Which revisions are tags, by repository and name.
        collections: Repositories by the title of their collection.
    """

    repositories: dict[str, dict[str, dict[str, bytes]]] = field(default_factory=dict)
    served: dict[str, bytes] = field(default_factory=dict)
    for_ever: bool = False
    cut: bool = False
    requests: list[str] = field(default_factory=list)
    refusal: tuple[int, str] | None = None
    patience: int = 0
    commits: list[list[dict[str, object]]] = field(default_factory=list)
    public: set[str] = field(default_factory=set)
    fields: dict[str, str] = field(default_factory=dict)
    instead: Callable[[Request], Response] | None = None
    fault: Callable[[Request], Response | None] | None = None
    large: tuple[str, ...] = (".onnx", ".safetensors")
    objects: dict[str, bytes] = field(default_factory=dict)
    tags: set[tuple[str, str]] = field(default_factory=set)
    collections: dict[str, list[str]] = field(default_factory=dict)

    def put(self, folder: Path, name: str = "vae-phantom-t1", revision: str = "main") -> None:
        paths = [path for path in folder.rglob("*") if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self.repositories.setdefault(name, {})[revision] = files

    def answer(self, request: Request) -> Response:
        self.requests.append(f"{request.method} {request.path}")
        if self.refusal is not None and len(self.requests) > self.patience:
            return _error(*self.refusal)
        if self.fault is not None and (answer := self.fault(request)) is not None:
            return answer
        if match := re.fullmatch(r"/lab/([^/]+)/resolve/([^/]+)/(.+)", request.path):
            return self.instead(request) if self.instead else self._file(request, *match.groups())
        for pattern, handler in self._api().items():
            if match := re.fullmatch(pattern, f"{request.method} {request.path}"):
                return handler(request, *match.groups())
        return _error(404, "RepoNotFound")

    def _file(self, request: Request, name: str, revision: str, path: str) -> Response:
        files = self._state(name, revision)
        if files is None:
            return _error(404, "RevisionNotFound" if self.repositories.get(name) else "RepoNotFound")
        return self._bytes(request, path, files) if path in files else _error(404, "EntryNotFound")

    def _state(self, name: str, revision: str) -> dict[str, bytes] | None:
        """Return the files of a branch, a tag or a commit."""
        revisions = self.repositories.get(name, {})
        return revisions.get(revision) or {commit_of(files): files for files in revisions.values()}.get(revision)

    def _bytes(self, request: Request, path: str, files: dict[str, bytes]) -> Response:
        right = files[path]
        headers = {"X-Repo-Commit": commit_of(files), "ETag": f'"{hashlib.sha1(right).hexdigest()}"'}  # noqa: S324
        headers |= self.fields
        if request.method == "HEAD":
            return Response(right, headers={**headers, "X-Linked-Size": str(len(right))})
        begin = request.range.ranges[0][0] if request.range is not None else 0
        sent = self.served.get(path, right) if self.for_ever else self.served.pop(path, right)
        response = Response(sent[begin:], 206 if begin else 200, headers=headers)
        if self.cut and sent != right:
            response.automatically_set_content_length = False
            response.headers["Content-Length"] = str(len(right) - begin)
        return response

    def _api(self) -> dict[str, Callable[..., Response]]:
        return {
            r"GET /api/models": self._models,
            r"GET /api/models/lab/([^/]+)": self._facts,
            r"GET /api/models/lab/([^/]+)/revision/([^/]+)": self._facts,
            r"GET /api/models/lab/([^/]+)/refs": self._refs,
            r"GET /api/models/lab/([^/]+)/tree/([^/]+)": self._tree,
            r"POST /api/repos/create": self._create,
            r"POST /api/models/lab/([^/]+)/branch/([^/]+)": self._branch,
            r"POST /api/models/lab/([^/]+)/tag/([^/]+)": self._tag,
            r"DELETE /api/models/lab/([^/]+)/tag/([^/]+)": self._untag,
            r"POST /api/validate-yaml": self._validate,
            r"POST /api/models/lab/([^/]+)/preupload/([^/]+)": self._preupload,
            r"POST /lab/([^/]+)\.git/info/lfs/objects/batch": self._batch,
            r"PUT /lfs/([0-9a-f]+)": self._put,
            r"POST /verify": self._verify,
            r"POST /api/models/lab/([^/]+)/commit/([^/]+)": self._receive,
            r"POST /api/collections": self._collection,
            r"GET /api/collections/(.+)": self._collection,
            r"POST /api/collections/(.+)/items": self._collect,
        }

    def _models(self, request: Request) -> Response:
        assert (request.args["author"], request.args["filter"]) == ("lab", "upd-zoo")
        listed: list[dict[str, object]] = []
        for name, revisions in self.repositories.items():
            front = re.match(rb"---\n(.*?)\n---", revisions.get("main", {}).get("README.md", b""), re.DOTALL)
            card = yaml.safe_load(front[1]) if front is not None else {}
            asked = {"cardData": card, "model-index": card.pop("model-index", None)}
            listed.append({"id": f"lab/{name}"} | {key: asked[key] for key in request.args.getlist("expand")})
        return _json(listed)

    def _facts(self, request: Request, name: str, revision: str = "main") -> Response:
        if name not in self.repositories:
            return _error(404, "RepoNotFound")
        commit = commit_of(self.repositories[name].get(revision, {}))
        return _json({"id": f"lab/{name}", "private": name not in self.public, "sha": commit})

    def _refs(self, request: Request, name: str) -> Response:
        refs: dict[str, list[dict[str, str]]] = {"branches": [], "converts": [], "tags": []}
        for key, files in self.repositories[name].items():
            kind, folder = ("tags", "tags") if (name, key) in self.tags else ("branches", "heads")
            refs[kind].append({"name": key, "ref": f"refs/{folder}/{key}", "targetCommit": commit_of(files)})
        return _json(refs)

    def _tree(self, request: Request, name: str, revision: str) -> Response:
        files = self._state(name, revision)
        return (
            _error(404, "RevisionNotFound") if files is None else _json([self._entry(*each) for each in files.items()])
        )

    def _entry(self, path: str, content: bytes) -> dict[str, object]:
        named = hashlib.sha1(b"blob %d\0%b" % (len(content), content)).hexdigest()  # noqa: S324 - as git does
        entry = {"type": "file", "path": path, "size": len(content), "oid": named}
        if path.endswith(self.large):
            digest = hashlib.sha256(content).hexdigest()
            entry |= {"lfs": {"oid": digest, "size": len(content), "pointerSize": 127}}
        return entry

    def _create(self, request: Request) -> Response:
        name, private = request.get_json()["name"], request.get_json().get("visibility") == "private"
        if name in self.repositories:
            return _json({"url": f"{request.host_url}lab/{name}"}, 409)
        self.repositories[name] = {"main": {".gitattributes": b""}}
        self.public |= set() if private else {name}
        return _json({"url": f"{request.host_url}lab/{name}"})

    def _branch(self, request: Request, name: str, branch: str) -> Response:
        if branch in self.repositories[name]:
            return _error(409, "")
        self.repositories[name][branch] = dict(self.repositories[name]["main"])
        return _json({})

    def _tag(self, request: Request, name: str, revision: str) -> Response:
        files, tag = self._state(name, revision), request.get_json()["tag"]
        if files is None:
            return _error(404, "RevisionNotFound")
        if tag in self.repositories[name]:
            return _error(409, "")
        self.repositories[name][tag] = dict(files)
        self.tags.add((name, tag))
        return _json({})

    def _untag(self, request: Request, name: str, tag: str) -> Response:
        if (name, tag) not in self.tags:
            return _error(404, "RevisionNotFound")
        self.tags.remove((name, tag))
        del self.repositories[name][tag]
        return _json({})

    def _validate(self, request: Request) -> Response:
        if request.get_json()["content"].startswith("---\nlicense: wrong"):
            return _json({"errors": [{"message": "no such licence"}]}, 400)
        return _json({})

    def _preupload(self, request: Request, name: str, revision: str) -> Response:
        found = [
            {"path": path, "uploadMode": "lfs" if path.endswith(self.large) else "regular", "shouldIgnore": False}
            for path in (file["path"] for file in request.get_json()["files"])
        ]
        return _json({"files": found})

    def _batch(self, request: Request, name: str) -> Response:
        objects = []
        for asked in request.get_json()["objects"]:
            links = {"upload": f"{request.host_url}lfs/{asked['oid']}", "verify": f"{request.host_url}verify"}
            there = asked["oid"] in self.objects
            objects.append(
                asked if there else asked | {"actions": {key: {"href": link} for key, link in links.items()}}
            )
        return _json({"transfer": "basic", "objects": objects})

    def _put(self, request: Request, oid: str) -> Response:
        self.objects[oid] = request.get_data()
        return _json({})

    def _verify(self, request: Request) -> Response:
        oid = request.get_json()["oid"]
        if hashlib.sha256(self.objects.get(oid, b"")).hexdigest() == oid:
            return _json({})
        self.objects.pop(oid, None)
        return _json({"error": "the object has another hash"}, 422)

    def _receive(self, request: Request, name: str, revision: str) -> Response:
        lines = [json.loads(line) for line in request.get_data().splitlines()]
        before = self.repositories[name][revision]
        if lines[0]["value"].get("parentCommit", commit_of(before)) != commit_of(before):
            return _error(412, "")
        self.commits.append(lines)
        files = dict(before)
        for value in (line["value"] for line in lines if line["key"] == "deletedFile"):
            del files[value["path"]]
        for value in (line["value"] for line in lines if line["key"] == "file"):
            files[value["path"]] = base64.b64decode(value["content"])
        for value in (line["value"] for line in lines if line["key"] == "lfsFile"):
            files[value["path"]] = self.objects[value["oid"]]
        self.repositories[name][revision] = files
        commit = commit_of(files)
        return _json({"commitUrl": f"{request.host_url}lab/{name}/commit/{commit}", "commitOid": commit})

    def _collection(self, request: Request, slug: str = "") -> Response:
        title = slug or request.get_json()["title"]
        known = title in self.collections
        self.collections.setdefault(title, [])
        facts = dict.fromkeys(("items", "owner", "theme", "position", "upvotes"), "") | {"slug": title, "title": title}
        shown: dict[str, object] = facts | {"items": "", "private": "", "lastUpdated": "2026-01-01T00:00:00.000Z"}
        return _json(shown, 409 if known and not slug else 200)

    def _collect(self, request: Request, slug: str) -> Response:
        item = request.get_json()["item"]["id"]
        if item in self.collections[slug]:
            return _error(409, "")
        self.collections[slug].append(item)
        return self._collection(request, slug)


def point_library_at(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Set what the Hub's library read from the environment when it was imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        monkeypatch.setattr(constants, name, True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def commit_of(files: dict[str, bytes]) -> str:
    """Return the commit that the server gives to these files."""
    named = sorted((name, hashlib.sha1(content).hexdigest()) for name, content in files.items())  # noqa: S324
    return hashlib.sha1(repr(named).encode()).hexdigest()  # noqa: S324


@contextmanager
def standing(fake: FakeHub) -> Iterator[str]:
    """Give the address of a server of many threads, which reads a request no further than the hub does."""

    @Request.application
    def answer(request: Request) -> Response:
        return fake.answer(request)

    server = make_server("127.0.0.1", 0, answer, threaded=True, request_handler=_Silent)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class _Silent(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Keep what is answered to itself."""


def _error(status: int, code: str) -> Response:
    return Response(status=status, headers={"X-Error-Code": code} if code else {})


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, content_type="application/json")
