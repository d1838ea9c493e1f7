"""The live page's server: for this machine only, clear about bad requests, and it opens no file."""

import http.client
import json
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from vitrail.checkpoint.contract import Checkpoint
from vitrail.errors import VitrailError
from vitrail.lens.explore import explore
from vitrail.lens.explorer.pack import PackedLayer, unpack_layer
from vitrail.lens.explorer.server import MOST_BODY, ExplorerServer

from .small import gallery, picture, vit


@pytest.fixture(scope="module")
def server() -> Iterator[ExplorerServer]:
    with ExplorerServer(gallery(vit())) as server:
        server.start()
        yield server


def ask(server: ExplorerServer, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, str, bytes]:
    """(status, media type, content)"""
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=20)
    try:
        if body is not None and not isinstance(body, bytes):
            body, headers = json.dumps(body).encode(), {"Content-Type": "application/json", **headers}
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.getheader("Content-Type", ""), response.read()
    finally:
        connection.close()


def test_binds_this_machine_only(server: ExplorerServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert server.url == f"http://127.0.0.1:{server.server_address[1]}/"


def test_the_page_a_view_its_layers_and_its_maps(server: ExplorerServer) -> None:
    status, media, page = ask(server, "GET", "/")
    assert (status, media) == (200, "text/html; charset=utf-8")
    assert b'"live":true' in page
    status, media, content = ask(server, "GET", "/api/view/1")
    view = json.loads(content)
    assert (status, media, view["size"], len(view["layers"])) == (200, "application/json", [32, 32], 3)
    status, media, content = ask(server, "GET", "/api/layer/1/2")
    assert (status, media) == (200, "application/octet-stream")
    found = unpack_layer(PackedLayer(view["layers"][2], content))
    torch.testing.assert_close(found.sum(-1), torch.ones(2, 17), atol=0.02, rtol=0)
    maps = json.loads(ask(server, "GET", "/api/relevance/1/by%20class")[2])["maps"]
    assert len(maps) == len(view["predictions"])
    (only,) = json.loads(ask(server, "GET", f"/api/relevance/1/by%20class/{maps[1]['class']}")[2])["maps"]
    assert only == maps[1]


def test_an_ablation_changes_the_prediction_and_not_the_model(server: ExplorerServer) -> None:
    asked = {"view": 0, "heads": [[2, 0], [2, 1]], "regions": [[0, 0, 0.5, 0.5]]}
    status, _, content = ask(server, "POST", "/api/ablate", asked)
    rows = json.loads(content)["predictions"]
    assert status == 200
    assert any(abs(row["before"] - row["after"]) > 1e-3 for row in rows)
    again = json.loads(ask(server, "POST", "/api/ablate", {"view": 0})[2])["predictions"]
    assert all(row["before"] == row["after"] for row in again)


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/nothing", None, 404, "nothing at /nothing"),
        ("GET", "/api/view/9", None, 400, "no view 9: there are 2"),
        ("GET", "/api/view/-1", None, 404, "nothing at"),
        ("GET", "/api/view/x", None, 404, "nothing at"),
        ("GET", "/api/layer/0/7", None, 404, "no layer 7: there are 3"),
        ("GET", "/api/relevance/0/flo", None, 400, "no method 'flo'"),
        ("GET", "/api/relevance/0/by%20class/7", None, 400, "class 7 is none of those"),
        ("GET", "/../../../../etc/passwd", None, 404, "nothing at"),
        ("GET", "/assets/..%2f..%2f..%2fetc/passwd", None, 404, "nothing at"),
        ("GET", "/api/relevance/0/..%2f..%2fetc%2fpasswd", None, 400, "no method"),
        ("POST", "/", {}, 404, "nothing can be sent to /"),
        ("POST", "/api/ablate", b"{", 400, "the request is not like"),
        ("POST", "/api/ablate", {}, 400, "the request is not like"),
        ("POST", "/api/ablate", [], 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": "0"}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "heads": [[1]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "heads": [[0.5, 1]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "regions": [[0, 0, 1]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "heads": [[0, 7]]}, 400, "no head 7"),
        ("POST", "/api/ablate", {"view": 10**400}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "heads": [[10**400, 0]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "heads": [[10**12, 0]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "heads": [[-1, 0]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "regions": [[0, 0, 10**400, 1]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "regions": [[0, 0, float("nan"), 1]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", {"view": 0, "regions": [["0", 0, 1, 1]]}, 400, "the request is not like"),
        ("POST", "/api/ablate", b'{"view": 0, "view": 1}', 400, "the request is not like"),
        ("POST", "/api/ablate", b"[" * 50_000, 400, "the request is not like"),
        ("POST", "/api/ablate", b" " * (MOST_BODY + 1), 413, "at most"),
    ],
)
def test_bad_requests_get_a_sentence(
    server: ExplorerServer, method: str, path: str, body: Any, status: int, words: str
) -> None:
    headers = {"Content_Type": "application/json"} if isinstance(body, bytes) else {}
    found, media, content = ask(server, method, path, body, **headers)
    assert (found, media) == (status, "application/json")
    assert words in json.loads(content)["error"]


def test_other_names_and_forms_of_other_sites_are_refused(server: ExplorerServer) -> None:
    assert ask(server, "GET", "/api/view/0", Host="evil.example")[0] == 403
    assert ask(server, "POST", "/api/ablate", b'{"view": 0}', Content_Type="text/plain")[0] == 415
    assert ask(server, "OPTIONS", "/api/ablate")[0] == 501
    assert ask(server, "GET", "/", Host=f"localhost:{server.server_address[1]}")[0] == 200


def test_a_port_in_use_is_a_sentence(server: ExplorerServer) -> None:
    port = server.server_address[1]
    with pytest.raises(VitrailError, match=rf"port {port} cannot be used .*--port 0"):
        ExplorerServer(server.gallery, port)
    with pytest.raises(VitrailError, match="not in 0 to 65535"):
        ExplorerServer(server.gallery, 70000)


def test_a_reader_that_goes_away_does_not_stop_the_server(server: ExplorerServer) -> None:
    for _ in range(3):
        with socket.create_connection(server.server_address[:2]) as gone:
            gone.sendall(f"GET / HTTP/1.1\r\nHost: {server.url[7:-1]}\r\n\r\n".encode())
    assert ask(server, "GET", "/api/view/0")[0] == 200


def raw(server: ExplorerServer, head: str, body: bytes = b"") -> bytes:
    """Everything that the server sends for bytes as they are, until it closes."""
    with socket.create_connection(server.server_address[:2], timeout=20) as connection:
        connection.sendall(head.replace("HOST", server.url[7:-1]).replace("\n", "\r\n").encode() + body)
        connection.shutdown(socket.SHUT_WR)
        found = b""
        while part := connection.recv(65536):
            found += part
        return found


@pytest.mark.parametrize(
    ("length", "status"),
    [
        ("-1", 400),
        ("+1", 400),
        ("1e3", 400),
        ("0x10", 400),
        ("\xb2", 400),
        ("9" * 5000, 413),
        ("1\nContent-Length: 2", 400),
    ],
)
@pytest.mark.parametrize("request_line", ["GET /", "POST /api/ablate"])
def test_a_length_that_is_none_is_refused(server: ExplorerServer, request_line: str, length: str, status: int) -> None:
    head = f"{request_line} HTTP/1.1\nHost: HOST\nContent-Type: application/json\nContent-Length: {length}\n\n"
    found = raw(server, head, b"GET /api/view/0 HTTP/1.1\r\n\r\n")
    assert found.startswith(b"HTTP/1.1 %d " % status)
    assert found.count(b"HTTP/1.1") == 1, "the body is not a second request"


def test_a_body_in_pieces_is_refused(server: ExplorerServer) -> None:
    head = "GET / HTTP/1.1\nHost: HOST\nTransfer-Encoding: chunked\n\n"
    assert raw(server, head, b"0\r\n\r\n").startswith(b"HTTP/1.1 400 ")


def test_a_reset_connection_prints_nothing(server: ExplorerServer, capfd: pytest.CaptureFixture[str]) -> None:
    for sent in (b"GET / HT", b"POST /api/ablate HTTP/1.1\r\nContent-Length: 100\r\n"):
        connection = socket.create_connection(server.server_address[:2])
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close with a reset
        connection.sendall(sent)
        connection.close()
    assert ask(server, "GET", "/api/view/0")[0] == 200
    assert capfd.readouterr().err == ""


def test_the_page_and_other_answers_have_a_policy(server: ExplorerServer) -> None:
    for path in ("/", "/api/view/0", "/nothing"):
        found = raw(server, f"GET {path} HTTP/1.1\nHost: HOST\nConnection: close\n\n")
        assert b"Content-Security-Policy: frame-ancestors 'none'" in found
    assert b"connect-src 'self'" in raw(server, "GET / HTTP/1.1\nHost: HOST\nConnection: close\n\n")


def test_explore_from_python_does_not_block_and_stops(tmp_path: Path) -> None:
    subject = vit()
    checkpoint = Checkpoint(subject.model, tuple(subject.class_names), subject.preprocess, {"architecture": "small"})
    (tmp_path / "bad.png").write_bytes(b"no")
    said: list[str] = []
    server = explore(checkpoint, [picture(), tmp_path / "bad.png"], methods=["rollout"], device="cpu", say=said.append)
    outline = server.gallery.outline()
    assert (outline["models"], outline["images"]) == (["small"], ["image 1"])
    assert outline["unreadable"] == [[str(tmp_path / "bad.png"), outline["unreadable"][0][1]]]
    assert said[0].startswith("left out")
    assert ask(server, "GET", "/api/view/0")[0] == 200
    server.stop()
    server.stop()
    with pytest.raises(OSError, match="refused"):
        ask(server, "GET", "/")
