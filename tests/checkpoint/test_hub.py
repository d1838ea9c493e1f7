"""The hub, spoken to through a small server on this machine, in a process of its own."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import vitrail
from tests.checkpoint.test_contract import small
from vitrail.checkpoint.convert import LAYOUTS
from vitrail.checkpoint.convert.rename import to_theirs

COMMIT = "c0ffee" + "0" * 34


class Hub(BaseHTTPRequestHandler):
    """What the hub's protocol needs: the model's card, and its files with their headers."""

    root: Path

    def do_GET(self) -> None:
        body = self._body()
        self._headers(body)
        self.wfile.write(body or b"")

    def do_HEAD(self) -> None:
        self._headers(self._body())

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _body(self) -> bytes | None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/"):
            folder = self.root / "/".join(path.split("/")[3:5])
            if not folder.is_dir():
                return None
            card: dict[str, Any] = {"id": folder.name, "sha": COMMIT, "cardData": {"license": "apache-2.0"}}
            card["siblings"] = [{"rfilename": file.name} for file in folder.iterdir()]
            return json.dumps(card).encode()
        owner, name, _, _, file = path.strip("/").split("/")
        found = self.root / owner / name / file
        return found.read_bytes() if found.is_file() else None

    def _headers(self, body: bytes | None) -> None:
        self.send_response(200 if body is not None else 404)
        self.send_header("Content-Length", str(len(body or b"")))
        self.send_header("X-Repo-Commit", COMMIT)
        if body is None:
            self.send_header("X-Error-Code", "RepoNotFound")
        else:
            self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.end_headers()


@pytest.fixture
def endpoint(tmp_path: Path) -> Iterator[str]:
    root = tmp_path / "hub"
    ours, theirs, pickled = (root / "owner" / name for name in ("ours", "theirs", "pickled"))
    vitrail.save(small(), ours)
    model = vitrail.create_model("vit_tiny_patch16_224", depth=1, num_classes=2)
    theirs.mkdir(parents=True)
    pickled.mkdir()
    (pickled / "pytorch_model.bin").write_bytes(b"")
    from safetensors.torch import save_file

    save_file(
        {k: v.contiguous() for k, v in to_theirs(model.state_dict(), LAYOUTS[0], 3).items()},
        theirs / "model.safetensors",
    )
    (theirs / "config.json").write_text(
        json.dumps({"architecture": "vit_tiny_patch16_224", "model_args": {"depth": 1}})
    )
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Here", (Hub,), {"root": root}))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


LOAD = """
import sys, vitrail, vitrail.errors
from vitrail.planning.cost import configure
for name in sys.argv[1:]:
    try:
        found = vitrail.load(name)
        assert configure(name, {}) == found.config and configure(name, {"num_classes": 7}).num_classes == 7
        print(name, found.info["origin"], found.info["license"] or "none", found.model.config.depth)
    except vitrail.errors.VitrailError as error:
        print(error)
"""


def load_there(home: Path, endpoint: str, *names: str, offline: bool = False) -> tuple[list[str], str]:
    environment = {
        **os.environ,
        "HF_ENDPOINT": endpoint,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *names], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines(), done.stderr


@pytest.mark.exhaustive  # three processes that import everything
def test_online_then_offline_then_gone(endpoint: str, tmp_path: Path) -> None:
    names = ("owner/ours", "owner/theirs", "owner/pickled", "owner/nowhere")
    out, err = load_there(tmp_path / "home", endpoint, *names)
    assert out[0] == "owner/ours owner/ours apache-2.0 2"
    assert out[1] == "owner/theirs owner/theirs apache-2.0 1"
    assert "has no model.safetensors" in out[2]
    assert "no model of that name on the hub" in out[3]
    assert "owner/theirs: licence apache-2.0" in err

    out, err = load_there(tmp_path / "home", endpoint, "owner/ours", "owner/theirs", "owner/new", offline=True)
    assert out[0].startswith("owner/ours owner/ours apache-2.0")
    assert out[1].startswith("owner/theirs owner/theirs none")
    assert "the cached copy is used" in err
    assert out[2].startswith("there is no file or folder owner/new, and the hub cannot be reached")

    out, _ = load_there(tmp_path / "other", "http://127.0.0.1:9", "owner/theirs")
    assert "the hub cannot be reached" in out[0]
