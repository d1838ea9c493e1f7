"""A web page that runs the model in the browser, with onnxruntime-web."""

import shutil
from html import escape
from importlib.resources import files
from pathlib import Path

from ...errors import VitrailError
from ..export_facts import facts_document
from .export_format import ExportFormat, Job, Run
from .onnx_format import OnnxFormat

_MODEL = "model.onnx"
_RUNTIME = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
"""Files of the npm package onnxruntime-web that the page needs."""


class WebFormat(ExportFormat):
    """A folder with index.html, model.onnx and scripts; the facts are in index.html. Only for ordinary images."""

    name = "web"
    suffix = ""

    def require(self) -> None:
        OnnxFormat().require()

    def write(self, job: Job, path: Path) -> None:
        shape = job.program.shape
        if len(shape) != 4 or shape[1] not in (1, 3) or job.facts["input"].find("uint8") < 0:
            raise VitrailError("a web page takes grey or colour images of 8 bits: export another format")
        if shape[2] == -1:
            raise VitrailError("a web page resizes images to one size: leave --any-size out")
        path.mkdir()
        OnnxFormat().write(job, path / _MODEL)
        assets = files("vitrail.engines") / "assets" / "web"
        title = escape(f"{job.facts['architecture']} in the browser")
        # In a script element only its end, or the start of a comment, could end the text too early.
        facts = facts_document(job.facts).replace("<", "\\u003c")
        page = (assets / "index.html").read_text(encoding="utf-8")
        page = page.replace("__TITLE__", title).replace("__FACTS__", facts)
        (path / "index.html").write_text(page, encoding="utf-8")
        for script in ("main.js", "preprocess.js"):
            (path / script).write_text((assets / script).read_text(encoding="utf-8"), encoding="utf-8")
        style = (files("vitrail.pages") / "assets" / "page.css").read_text(encoding="utf-8")
        own = (assets / "demo.css").read_text(encoding="utf-8")
        (path / "page.css").write_text(style + own, encoding="utf-8")
        if job.runtime is not None:
            copy_runtime(job.runtime, path / "runtime")

    def open(self, path: Path) -> Run:
        return OnnxFormat().open(path / _MODEL)


def copy_runtime(source: Path, target: Path) -> None:
    """Copy the files of an unpacked onnxruntime-web that the page needs.

    Raises:
        VitrailError: the folder lacks one of them.
    """
    folders = [source / "dist", source / "package" / "dist", source]
    found = next((folder for folder in folders if all((folder / name).is_file() for name in _RUNTIME)), None)
    if found is None:
        raise VitrailError(
            f"{source} has no {' and '.join(_RUNTIME)}: give the folder of an unpacked onnxruntime-web (npm pack "
            "onnxruntime-web, then tar xf)"
        )
    target.mkdir()
    for name in _RUNTIME:
        shutil.copyfile(found / name, target / name)
    for licence in (found.parent / "LICENSE", found / "LICENSE"):
        if licence.is_file():
            shutil.copyfile(licence, target / "LICENSE")
            break
