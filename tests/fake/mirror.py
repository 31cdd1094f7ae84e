"""A mirror of the Hugging Face Hub, imitated as olah 0.5.4 answers over git repositories without a network."""

import json
import re
from dataclasses import dataclass

from werkzeug import Request, Response

from fake.hugging_face import FakeHub, commit_of


@dataclass
class Mirror(FakeHub):
    """The organisation `lab` as a mirror shows it.

    It lists no models, tells the commit of a file only where the file itself is not asked for, ignores ranges, and
    calls whatever is missing a repository; tests/zoo/test_hub_mirror.py asks the same of olah itself.
    """

    def answer(self, request: Request) -> Response:
        self.requests.append(f"{request.method} {request.path}")
        if match := re.fullmatch(r"/lab/([^/]+)/resolve/([^/]+)/(.+)", request.path):
            return self._resolved(request, *match.groups())
        if match := re.fullmatch(r"/api/models/lab/([^/]+)/refs", request.path):
            known = self.repositories.get(match[1])
            refs = {"branches": [{"name": each} for each in known or ()], "tags": [], "converts": []}
            return _missing(404, "EntryNotFound") if known is None else Response(json.dumps(refs))
        if request.method == "POST":
            return Response('{"detail":"Method Not Allowed"}', 405)
        return Response(headers={"ETag": '"0"'}) if request.path == "/api/models" else _missing(401, "RepoNotFound")

    def _resolved(self, request: Request, name: str, revision: str, path: str) -> Response:
        revisions = self.repositories.get(name, {})
        found = revisions.get(revision) or {commit_of(files): files for files in revisions.values()}.get(revision)
        if found is None:
            return _missing(401, "RepoNotFound")
        if path not in found:
            return _missing(401, "RepoNotFound") if request.method == "HEAD" else Response("Internal Server Error", 500)
        if request.method == "HEAD":
            return Response(found[path], headers={"X-Repo-Commit": commit_of(found), "ETag": "0" * 40})
        return Response(iter([found[path]]))  # without a length, as it comes in chunks


def _missing(status: int, code: str) -> Response:
    return Response('{"error":"Repository not found"}', status, {"X-Error-Code": code}, content_type="application/json")
