"""The Hugging Face Hub, imitated by a local server that answers as the real one, a broken one or a hostile one."""

import base64
import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from huggingface_hub import constants
from werkzeug import Request, Response


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

    def put(self, folder: Path, name: str = "vae-phantom-t1", revision: str = "main") -> None:
        paths = [path for path in folder.rglob("*") if path.is_file()]
        files = {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}
        self.repositories.setdefault(name, {})[revision] = files

    def answer(self, request: Request) -> Response:
        self.requests.append(f"{request.method} {request.path}")
        if self.refusal is not None and len(self.requests) > self.patience:
            return _error(*self.refusal)
        if match := re.fullmatch(r"/lab/([^/]+)/resolve/([^/]+)/(.+)", request.path):
            return self.instead(request) if self.instead else self._file(request, *match.groups())
        for pattern, handler in self._api().items():
            if match := re.fullmatch(pattern, f"{request.method} {request.path}"):
                return handler(request, *match.groups())
        return _error(404, "RepoNotFound")

    def _file(self, request: Request, name: str, revision: str, path: str) -> Response:
        revisions = {**self.repositories.get(name, {})}
        revisions |= {commit_of(files): files for files in revisions.values()}
        if not revisions:
            return _error(404, "RepoNotFound")
        if revision not in revisions:
            return _error(404, "RevisionNotFound")
        if path not in revisions[revision]:
            return _error(404, "EntryNotFound")
        return self._bytes(request, path, revisions[revision])

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
            r"GET /api/models/lab/([^/]+)/refs": self._refs,
            r"GET /api/models/lab/([^/]+)/tree/([^/]+)": self._tree,
            r"POST /api/repos/create": self._create,
            r"POST /api/models/lab/([^/]+)/branch/([^/]+)": self._branch,
            r"POST /api/validate-yaml": self._validate,
            r"POST /api/models/lab/([^/]+)/preupload/([^/]+)": self._preupload,
            r"POST /api/models/lab/([^/]+)/commit/([^/]+)": self._receive,
        }

    def _models(self, request: Request) -> Response:
        assert (request.args["author"], request.args["filter"]) == ("lab", "upd-zoo")
        return _json([{"id": f"lab/{name}"} for name in self.repositories])

    def _facts(self, request: Request, name: str) -> Response:
        if name not in self.repositories:
            return _error(404, "RepoNotFound")
        return _json({"id": f"lab/{name}", "private": name not in self.public})

    def _refs(self, request: Request, name: str) -> Response:
        branches = [{"name": key, "ref": f"refs/heads/{key}", "targetCommit": "0"} for key in self.repositories[name]]
        return _json({"branches": branches, "converts": [], "tags": []})

    def _tree(self, request: Request, name: str, revision: str) -> Response:
        files = self.repositories[name][revision]
        return _json([{"type": "file", "path": path, "size": len(files[path]), "oid": "0"} for path in files])

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

    def _validate(self, request: Request) -> Response:
        if request.get_json()["content"].startswith("---\nlicense: wrong"):
            return _json({"errors": [{"message": "no such licence"}]}, 400)
        return _json({})

    def _preupload(self, request: Request, name: str, revision: str) -> Response:
        files = [file["path"] for file in request.get_json()["files"]]
        return _json({"files": [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in files]})

    def _receive(self, request: Request, name: str, revision: str) -> Response:
        lines = [json.loads(line) for line in request.get_data().splitlines()]
        self.commits.append(lines)
        files = self.repositories[name][revision]
        for line in lines:
            if line["key"] == "file":
                files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            elif line["key"] == "deletedFile":
                del files[line["value"]["path"]]
        return _json(
            {"commitUrl": f"{request.host_url}lab/{name}/commit/{commit_of(files)}", "commitOid": commit_of(files)}
        )


def point_library_at(monkeypatch: pytest.MonkeyPatch, endpoint: str) -> None:
    """Set what the Hub's library read from the environment when it was imported."""
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    for name in ("HF_HUB_DISABLE_TELEMETRY", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_IMPLICIT_TOKEN"):
        monkeypatch.setattr(constants, name, True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)


def commit_of(files: dict[str, bytes]) -> str:
    """Return the commit that the server gives to these files."""
    return hashlib.sha1(repr(sorted(files.items())).encode()).hexdigest()  # noqa: S324


def _error(status: int, code: str) -> Response:
    return Response(status=status, headers={"X-Error-Code": code} if code else {})


def _json(value: object, status: int = 200) -> Response:
    return Response(json.dumps(value), status, content_type="application/json")
