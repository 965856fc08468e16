"""A hub on 127.0.0.1 that answers as huggingface.co does, and a cache laid out as huggingface_hub lays it out."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
from safetensors.numpy import save

Files = Mapping[str, bytes]


def small_weights(seed: int = 0) -> bytes:
    """A safetensors file of one small tensor."""
    return save({"a": np.random.default_rng(seed).standard_normal((4, 5)).astype(np.float32)})


def blob_name(data: bytes, large: bool) -> str:
    """What the hub calls a file: SHA-256 of large files, git's SHA-1 of small ones."""
    return hashlib.sha256(data).hexdigest() if large else hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


def fill_cache(cache: Path, repository: str, revision: str, files: Files) -> Path:
    """Write a snapshot with links to blobs, and `refs/main`; the snapshot's folder."""
    root = cache / f"models--{repository.replace('/', '--')}"
    for name, data in files.items():
        blob = root / "blobs" / blob_name(data, name.endswith(".safetensors"))
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(data)
        link = root / "snapshots" / revision / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (root / "refs").mkdir(exist_ok=True)
    (root / "refs" / "main").write_text(revision)
    return root / "snapshots" / revision


@dataclass
class FakeHub:
    """`repositories`: name -> (commit, files); those in `gated` are refused. `asked` collects the paths of requests."""

    repositories: dict[str, tuple[str, Files]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def serve(hub: FakeHub) -> Iterator[FakeHub]:
    """Answer requests until the block ends."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (_Handler,), {"hub": hub}))
    Thread(target=server.serve_forever, daemon=True).start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        self.hub.asked.append(path)
        found = re.fullmatch(r"/api/models/([^/]+/[^/]+)/(tree|revision)/([^/]+)", path)
        found = found or re.fullmatch(r"/([^/]+/[^/]+)/(resolve)/([^/]+)/(.+)", path)
        if found is None or found[1] not in self.hub.repositories:
            return self._refuse(404, "RepoNotFound")
        if found[1] in self.hub.gated:
            return self._refuse(403, "GatedRepo")
        commit, files = self.hub.repositories[found[1]]
        if found[3] not in (commit, "main"):
            return self._refuse(404, "RevisionNotFound")
        if found[2] == "resolve":
            return self._send(files[found[4]], found[4], commit, with_body)
        tree = [_entry(name, data) for name, data in files.items()]
        body = tree if found[2] == "tree" else {"id": found[1], "sha": commit, "siblings": []}
        self._send(json.dumps(body).encode(), "answer.json", commit, with_body)

    def _refuse(self, code: int, reason: str) -> None:
        self.send_response(code)
        self.send_header("X-Error-Code", reason)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send(self, data: bytes, name: str, commit: str, with_body: bool) -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", commit)
        self.send_header("ETag", f'"{blob_name(data, name.endswith(".safetensors"))}"')
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Type", "application/json" if name == "answer.json" else "application/octet-stream")
        self.end_headers()
        if with_body:
            self.wfile.write(data)


def _entry(name: str, data: bytes) -> dict[str, object]:
    entry: dict[str, object] = {"type": "file", "path": name, "size": len(data), "oid": blob_name(data, False)}
    if name.endswith(".safetensors"):
        entry["lfs"] = {"oid": blob_name(data, True), "size": len(data), "pointerSize": 134}
    return entry
