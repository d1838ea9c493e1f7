"""The exported page in a real browser: its preprocessing is ours, and it runs the model if its runtime is there."""

import functools
import os
import threading
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.lens.explorer.browser import chromium
from vitrail.data.decode import decode
from vitrail.data.preprocess import Preprocess
from vitrail.engines.formats.export_format import Job
from vitrail.engines.formats.web_format import WebFormat, copy_runtime
from vitrail.engines.predictor import make_predictor
from vitrail.engines.program import Program
from vitrail.errors import VitrailError

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters and runtimes

RUNTIME = os.environ.get("VITRAIL_ONNXRUNTIME_WEB")
"""Folder of an unpacked onnxruntime-web, for the test of the whole page."""

LEVELS = 2
"""Largest difference of a resized image from ours, in steps of 0 to 255; docs/deploy.md states it."""

FITTED = """async ([bytes, preprocess]) => {
  const { decode, fit } = await import("./preprocess.js");
  return Array.from(fit(await decode(new Blob([new Uint8Array(bytes)])), preprocess));
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(tmp_path)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield tmp_path, f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def png(height: int, width: int, mode: str = "RGB") -> bytes:
    rng = np.random.default_rng(height)
    noise = rng.integers(0, 256, (5, 4, 3), dtype=np.uint8)
    image = Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def write_page(folder: Path, facts: str = "{}") -> None:
    """The page without a model."""
    assets = files("vitrail.engines") / "assets" / "web"
    for name in ("main.js", "preprocess.js", "index.html"):
        text = (assets / name).read_text().replace("__FACTS__", facts).replace("__TITLE__", "Page")
        (folder / name).write_text(text)
    (folder / "page.css").write_text((assets / "demo.css").read_text())


CASES = [
    ((37, 53), "RGB", Preprocess(image_size=(24, 24), crop=0.875)),
    ((53, 37), "RGB", Preprocess(image_size=(24, 32), crop=1.0, interpolation="bilinear")),
    ((9, 7), "RGB", Preprocess(image_size=(24, 24), crop=0.9)),
    ((40, 61), "RGB", Preprocess(image_size=(16, 16), crop=0.9, interpolation="nearest")),
    ((40, 61), "RGB", Preprocess(image_size=(16, 20), crop=0.8, stretch=True)),
    ((33, 21), "RGB", Preprocess(image_size=(16, 16), channels=1, mean=(0.5,), std=(0.5,))),
    ((24, 24), "RGB", Preprocess(image_size=(24, 24), crop=1.0)),
    ((31, 20), "L", Preprocess(image_size=(16, 16))),
]


def test_the_page_resizes_as_vitrail_does_and_names_a_missing_runtime(served: tuple[Path, str]) -> None:
    folder, address = served
    write_page(folder, '{"preprocess": {}}')
    with chromium() as browser:
        page = browser.new_page()
        page.goto(address)
        for size, mode, preprocess in CASES:
            data = png(*size, mode)
            found = np.array(page.evaluate(FITTED, [list(data), preprocess.to_dict()]))
            expected = decode(data, preprocess.channels, name="x", then=preprocess.fit).flatten().numpy().astype(int)
            assert np.abs(found - expected).max() <= LEVELS, (size, preprocess)
        page.wait_for_selector("#state.fault")
        assert "onnxruntime-web" in page.inner_text("#state.fault")


def test_what_a_page_cannot_take_is_a_sentence(tmp_path: Path) -> None:
    graph: Any = None
    for shape, kind in (((-1, 4, 8, 8), "uint8"), ((-1, 3, 4, 8, 8), "uint8"), ((-1, 3, 8, 8), "float32")):
        job = Job(Program(graph, shape, None), ("y",), {"input": kind})
        with pytest.raises(VitrailError, match="a web page takes grey or colour images of 8 bits"):
            WebFormat().write(job, tmp_path / "page")
    with pytest.raises(VitrailError, match=r"has no ort\.wasm\.bundle\.min\.mjs"):
        copy_runtime(tmp_path, tmp_path / "runtime")


@pytest.mark.exhaustive
def test_the_page_gives_the_probabilities_of_vitrail(served: tuple[Path, str]) -> None:
    if RUNTIME is None:
        pytest.skip("VITRAIL_ONNXRUNTIME_WEB is not set to the folder of an unpacked onnxruntime-web")
    from tests.engines.test_export import calibrated
    from vitrail import export

    folder, address = served
    checkpoint = calibrated()
    export(checkpoint, folder / "page", format="web", runtime=RUNTIME)
    data = png(37, 53)
    (prediction,) = make_predictor(checkpoint, device="cpu", precision="float32")([Image.open(BytesIO(data))])
    with chromium() as browser:
        page = browser.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{address}/page/")
        page.set_input_files("#file", {"name": "a.png", "mimeType": "image/png", "buffer": data})
        page.wait_for_selector(".result .note", timeout=60_000)
        numbers = page.evaluate("document.querySelector('.result').numbers")
        assert page.locator(".guess .name").all_inner_texts() == [name for name, _ in prediction.classes]
    np.testing.assert_allclose(sorted(numbers, reverse=True), [value for _, value in prediction.classes], atol=0.02)
    assert all(url.startswith((address, "blob:", "data:")) for url in asked)
