"""A Hugging Face hub on loopback: ``<root>/models/<org>/<name>`` and ``<root>/datasets/<org>/<name>``.

It speaks the part of the protocol that ``huggingface_hub`` calls to look a repository up, to fetch it, to make it and
to commit to it. Every repository has one branch, main, whose commit is the SHA-1 of its names and bytes. Who writes
must show the token :data:`TOKEN`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pytest

API = re.compile(
    r"/api/(?P<kind>models|datasets)/(?P<name>[^/]+/[^/]+)"
    r"(?:/(?P<call>revision|tree|paths-info|preupload|commit)/(?P<revision>[^/]+)(?:/(?P<path>.*))?)?"
)
TOKEN = "hf_toy"
RESOLVE = re.compile(r"/(?P<kind>datasets/)?(?P<name>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<path>.+)")


@dataclass
class Hub:
    """A running server: its address, and the requests it got ('GET /api/...'), in order.

    ``commits`` names, by 'org/name', the commit of a repository that must be one that a test does not choose;
    ``private`` the repositories that only members see; ``refusals`` the status with which a request is refused, by its
    start: {'POST /api/repos/create': 403}.
    """

    endpoint: str
    root: Path
    requests: list[str] = field(default_factory=list)
    commits: dict[str, str] = field(default_factory=dict)
    private: set[str] = field(default_factory=set)
    refusals: dict[str, int] = field(default_factory=dict)

    def commit(self, repository: Path) -> str:
        """Return the commit that main is at."""
        return self.commits.get(f"{repository.parent.name}/{repository.name}") or commit_of(repository)

    def point_client_here(self, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
        """Let the client of this process ask this server, with its own cache."""
        from huggingface_hub import constants

        monkeypatch.setattr(constants, "ENDPOINT", self.endpoint)
        # The client builds this template from the endpoint when it is imported.
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.partition("/{repo_id}")[1:]
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "".join((self.endpoint, *template)))
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)

    def environment(self, home: Path) -> dict[str, str]:
        """Return the variables that point a new process's client here, with its own cache."""
        return {
            "HF_ENDPOINT": self.endpoint,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
        }


@contextmanager
def serve(root: Path) -> Iterator[Hub]:
    """Serve a directory tree until the block ends."""
    hub = Hub("", root)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, hub))
    hub.endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def commit_of(repository: Path) -> str:
    """Return the commit that main is at: 40 hexadecimal digits that change with any name or byte."""
    digest = hashlib.sha1(usedforsecurity=False)
    for file in _files(repository):
        digest.update(file.relative_to(repository).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _files(repository: Path) -> list[Path]:
    return sorted(path for path in repository.rglob("*") if path.is_file())


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, *args: object) -> None:
        self.hub = hub
        super().__init__(*args)  # type: ignore[arg-type]

    def log_message(self, *args: object) -> None:
        """Stay silent."""

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length") or 0)))

    def _answer(self, body: bytes = b"") -> None:
        self.hub.requests.append(f"{self.command} {self.path}")
        route = unquote(urlsplit(self.path).path)
        refused = [it for start, it in self.hub.refusals.items() if f"{self.command} {self.path}".startswith(start)]
        writes = route == "/api/repos/create" or "/commit/" in route
        if refused or (writes and self.headers.get("Authorization") != f"Bearer {TOKEN}"):
            status = refused[0] if refused else 401
            invalid = {"X-Error-Message": "Invalid credentials in Authorization header"} if status == 401 else {}
            self._send(status, b'{"error": "refused"}', "application/json", invalid)
        elif route == "/api/validate-yaml":
            self._send_json({"errors": [], "warnings": []})
        elif route == "/api/repos/create":
            self._create(json.loads(body))
        elif match := RESOLVE.fullmatch(route):
            kind = "datasets" if match["kind"] else "models"
            if repository := self._repository(kind, match["name"], match["revision"]):
                self._send_file(repository, match["path"])
        elif match := API.fullmatch(route):
            if repository := self._repository(match["kind"], match["name"], match["revision"] or "main"):
                if match["call"] == "commit":
                    self._commit(repository, [json.loads(line) for line in body.splitlines()])
                else:
                    self._send_facts(repository, match, body)
        else:
            self._refuse("EntryNotFound", f"no route {route}")

    def _create(self, asked: dict[str, str]) -> None:
        name = f"{asked['organization']}/{asked['name']}"
        (self.hub.root / "models" / name).mkdir(parents=True)
        if asked["visibility"] == "private":
            self.hub.private.add(name)
        self._send_json({"url": f"{self.hub.endpoint}/{name}"})

    def _commit(self, repository: Path, lines: list[dict[str, dict[str, str]]]) -> None:
        """Write and delete what a commit says; all files are sent in it."""
        for line in lines:
            path = repository / line["value"].get("path", "")
            if str(line["key"]) == "file":
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(base64.b64decode(line["value"]["content"]))
            elif str(line["key"]) == "deletedFile":
                path.unlink()
        commit = self.hub.commit(repository)
        name = f"{repository.parent.name}/{repository.name}"
        self._send_json({"commitUrl": f"{self.hub.endpoint}/{name}/commit/{commit}", "commitOid": commit})

    def _repository(self, kind: str, name: str, revision: str) -> Path | None:
        repository = self.hub.root / kind / name
        if not repository.is_dir():
            self._refuse("RepoNotFound", "Repository not found")
            return None
        if revision not in {"main", self.hub.commit(repository)}:
            self._refuse("RevisionNotFound", f"no revision {revision}")
            return None
        return repository

    def _send_file(self, repository: Path, name: str) -> None:
        file = repository / name
        if not file.is_file():
            self._refuse("EntryNotFound", "Entry not found", self.hub.commit(repository))
            return
        content = file.read_bytes()
        headers = {
            "ETag": f'"{hashlib.sha256(content).hexdigest()}"',
            "X-Repo-Commit": self.hub.commit(repository),
            "Accept-Ranges": "bytes",
        }
        status = 200
        if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or ""):
            start, end = int(wanted[1]), int(wanted[2] or len(content) - 1)
            headers["Content-Range"] = f"bytes {start}-{min(end, len(content) - 1)}/{len(content)}"
            content = content[start : end + 1]
            status = 206
        self._send(status, content, "application/octet-stream", headers)

    def _send_facts(self, repository: Path, match: re.Match[str], body: bytes) -> None:
        commit = self.hub.commit(repository)
        files = [_entry(file, repository) for file in _files(repository)]
        if match["call"] == "tree":
            under = match["path"] or ""
            deep = parse_qs(urlsplit(self.path).query).get("recursive", ["false"])[0].lower() in {"true", "1"}
            self._send_json(_listing(files, under, deep=deep))
        elif match["call"] == "paths-info":
            wanted = json.loads(body)["paths"] if body.startswith(b"{") else parse_qs(body.decode())["paths"]
            folders = [entry for entry in _listing(files, "", deep=True) if entry["type"] == "directory"]
            self._send_json([entry for entry in [*files, *folders] if entry["path"] in wanted])
        elif match["call"] == "preupload":
            asked = [it["path"] for it in json.loads(body)["files"]]
            self._send_json({"files": [{"path": it, "uploadMode": "regular", "shouldIgnore": False} for it in asked]})
        else:
            name = f"{repository.parent.name}/{repository.name}"
            self._send_json(
                {
                    "_id": commit[:24],
                    "id": name,
                    "modelId": name,
                    "sha": commit,
                    "lastModified": "2024-01-01T00:00:00.000Z",
                    "private": name in self.hub.private,
                    "gated": False,
                    "disabled": False,
                    "downloads": 0,
                    "likes": 0,
                    "tags": [],
                    "siblings": [
                        {"rfilename": entry["path"], "size": entry["size"], "blobId": entry["oid"]} for entry in files
                    ],
                }
            )

    def _send_json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), "application/json", {})

    def _refuse(self, code: str, message: str, commit: str = "") -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        if commit:
            headers["X-Repo-Commit"] = commit
        self._send(404, json.dumps({"error": message}).encode(), "application/json", headers)

    def _send(self, status: int, content: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def _entry(file: Path, repository: Path) -> dict[str, object]:
    content = file.read_bytes()
    return {
        "type": "file",
        # Git's name of a blob.
        "oid": hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest(),
        "size": len(content),
        "path": file.relative_to(repository).as_posix(),
    }


def _listing(files: list[dict[str, object]], under: str, *, deep: bool) -> list[dict[str, object]]:
    """Return files and folders below ``under``: all of them, or one level."""
    prefix = f"{under}/" if under else ""
    found: dict[str, dict[str, object]] = {}
    for entry in files:
        path = str(entry["path"])
        if not path.startswith(prefix):
            continue
        parts = path.removeprefix(prefix).split("/")
        for depth in range(1, len(parts)):
            folder = prefix + "/".join(parts[:depth])
            oid = hashlib.sha1(folder.encode(), usedforsecurity=False).hexdigest()
            if deep or depth == 1:
                found[folder] = {"type": "directory", "oid": oid, "size": 0, "path": folder}
        if deep or len(parts) == 1:
            found[path] = entry
    return list(found.values())
