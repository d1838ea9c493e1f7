"""Server of the live page, for this machine only.

It binds 127.0.0.1 and only answers requests with this host name, so that other sites cannot reach it through their own
names (DNS rebinding). It serves no files and changes nothing.
"""

import json
import re
import sys
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple
from urllib.parse import unquote

from ...errors import VitrailError
from ...plain import parse_json, short
from .ablate import Region
from .gallery import Gallery
from .page import live_page

HOST = "127.0.0.1"
MOST_NUMBER = 10**9
"""Largest layer, head or view that a request may name; larger integers do not fit into those of tensors."""

MOST_BODY = 100_000
"""Largest request in bytes; a list of all heads and patches is shorter."""


class Answer(NamedTuple):
    """A response: its media type and content."""

    media: str
    content: bytes


class RequestError(Exception):
    """A request that cannot be answered, with its status and message."""

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class ExplorerServer(ThreadingHTTPServer):
    """A server of a gallery on 127.0.0.1, at `url`. `start` and `stop` it, or use it in a `with` block.

    Args:
        gallery: the models and images to show.
        port: 0 for any free one.

    Raises:
        VitrailError: the port is taken or not allowed.
    """

    daemon_threads = True

    def __init__(self, gallery: Gallery, port: int = 0) -> None:
        if not 0 <= port <= 65535:
            raise VitrailError(f"port {port} is not in 0 to 65535: choose one above 1023, or 0 for any free one")
        self.gallery = gallery
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise VitrailError(
                f"port {port} cannot be used ({error.strerror}): choose another, or --port 0 for any free one"
            ) from error

    def start(self) -> None:
        """Start answering requests in a separate thread."""
        self._thread.start()

    def wait(self) -> None:
        """Block until the server stops; KeyboardInterrupt is not caught."""
        self._thread.join()

    def stop(self) -> None:
        """Stop answering and free the port; a second call does nothing."""
        if self._thread.is_alive():
            self.shutdown()
            self._thread.join()
        self.server_close()

    def __exit__(self, *details: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_address[1]}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print the traceback of an error, unless it is a browser that went away in the middle of a request."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)

    def names(self) -> set[str]:
        """Host names that a request may use."""
        port = self.server_address[1]
        return {f"{HOST}:{port}", f"localhost:{port}"}


def answer(gallery: Gallery, path: str) -> Answer:
    """The response to a GET of this path."""
    for pattern, give in _ROUTES:
        match = re.fullmatch(pattern, path)
        if match:
            return give(gallery, *match.groups())
    raise RequestError(HTTPStatus.NOT_FOUND, f"there is nothing at {path[:200]}")


def answer_ablation(gallery: Gallery, body: bytes) -> Answer:
    """The view of the model without the heads and patches of a JSON object, see `Gallery.ablate`.

    {"view": 0, "heads": [[layer, head], …], "regions": [[top, left, bottom, right], …]}, layers and heads counted from
    0, regions in fractions of the image's sides.
    """
    try:
        asked = parse_json(body)
        view, heads = _whole(asked["view"]), [(_whole(layer), _whole(head)) for layer, head in asked.get("heads", [])]
        regions = [Region(*map(_fraction, edges)) for edges in asked.get("regions", [])]
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError) as error:
        rule = '{"view": 0, "heads": [[layer, head]], "regions": [[top, left, bottom, right]]}'
        raise RequestError(HTTPStatus.BAD_REQUEST, f"the request is not like {rule}") from error
    return _json(gallery.ablate(view, heads, regions))


def _whole(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= MOST_NUMBER:
        raise ValueError(f"{short(value)} is no whole number of this size")
    return value


def _fraction(value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise ValueError(f"{short(value)} is no fraction of a side")
    return float(value)


def _json(value: Any) -> Answer:
    return Answer("application/json", json.dumps(value, ensure_ascii=False).encode(errors="replace"))


def _layer(gallery: Gallery, number: str, layer: str) -> Answer:
    layers = gallery.view(int(number)).layers
    if int(layer) >= len(layers):
        raise RequestError(HTTPStatus.NOT_FOUND, f"there is no layer {layer}: there are {len(layers)}, counted from 0")
    return Answer("application/octet-stream", layers[int(layer)].content)


_ROUTES: tuple[tuple[str, Callable[..., Answer]], ...] = (
    ("/", lambda gallery: Answer("text/html; charset=utf-8", live_page(gallery).encode(errors="replace"))),
    (r"/api/view/(\d{1,9})", lambda gallery, number: _json(gallery.view(int(number)).document)),
    (r"/api/layer/(\d{1,9})/(\d{1,9})", _layer),
    (
        r"/api/relevance/(\d{1,9})/([^/]{1,300}?)(?:/(\d{1,9}))?",
        lambda gallery, number, method, only: _json(
            gallery.relevance(int(number), unquote(method), None if only is None else int(only))
        ),
    ),
)


_POLICY = "frame-ancestors 'none'; base-uri 'none'; form-action 'none'; object-src 'none'"
"""What the page cannot say of itself, and for answers that are no page; the page has a policy of its own."""


class _Handler(BaseHTTPRequestHandler):
    server: ExplorerServer
    server_version, sys_version = "vitrail", ""
    protocol_version = "HTTP/1.1"
    timeout = 60

    def do_GET(self) -> None:
        self._give(self._asked)

    def _asked(self) -> Answer:
        if self._body_length():
            raise RequestError(HTTPStatus.BAD_REQUEST, "a GET has no body")
        return answer(self.server.gallery, self.path.partition("?")[0])

    def do_POST(self) -> None:
        self._give(self._posted)

    def _body_length(self) -> int:
        """Length of the request's body, 0 if it has none.

        An unread body would be parsed as the next request, so only one plain length is accepted.
        """
        lengths = self.headers.get_all("Content-Length", [])
        if self.headers.get("Transfer-Encoding") or len(set(lengths)) > 1:
            raise RequestError(HTTPStatus.BAD_REQUEST, "send a body with one Content-Length, and not in pieces")
        text = lengths[0].strip() if lengths else "0"
        if not (text.isascii() and text.isdecimal()):
            raise RequestError(HTTPStatus.BAD_REQUEST, f"a Content-Length is a number of bytes, not {text[:40]!r}")
        if len(text) > 9 or int(text) > MOST_BODY:
            raise RequestError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request has at most {MOST_BODY} bytes")
        return int(text)

    def _posted(self) -> Answer:
        if self.path != "/api/ablate":
            raise RequestError(HTTPStatus.NOT_FOUND, f"nothing can be sent to {self.path[:200]}")
        # A form of another site cannot send this type without a preflight request, which is never granted.
        if self.headers.get_content_type() != "application/json":
            raise RequestError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON, with the type application/json")
        return answer_ablation(self.server.gallery, self.rfile.read(self._body_length()))

    def _give(self, make: Callable[[], Answer]) -> None:
        status = HTTPStatus.OK
        try:
            if self.headers.get("Host") not in self.server.names():
                raise RequestError(HTTPStatus.FORBIDDEN, f"this page is for {self.server.url} only")
            given = make()
        except ConnectionError:
            self.close_connection = True
            return
        except RequestError as refused:
            status, given = refused.status, _json({"error": str(refused)})
        except VitrailError as error:
            status, given = HTTPStatus.BAD_REQUEST, _json({"error": str(error)})
        except Exception as error:  # the page shows the message, and the server continues
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            given = _json({"error": f"{type(error).__name__}: {error}"})
        self._send(status, given)

    def _send(self, status: HTTPStatus, given: Answer) -> None:
        # The unread rest of a refused request would be parsed as the next one.
        self.close_connection = self.close_connection or status != HTTPStatus.OK
        try:
            self.send_response(status)
            for name, value in (
                ("Content-Type", given.media),
                ("Content-Length", str(len(given.content))),
                ("Cache-Control", "no-store"),
                ("X-Content-Type-Options", "nosniff"),
                ("X-Frame-Options", "DENY"),
                ("Content-Security-Policy", _POLICY),
                ("Connection", "close" if self.close_connection else "keep-alive"),
            ):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(given.content)
        except ConnectionError:
            self.close_connection = True  # the page has been closed, or has moved on

    def log_message(self, *details: Any) -> None:
        """Log nothing, to keep the terminal free."""
