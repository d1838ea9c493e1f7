"""ONNX files, for ONNX Runtime and many other runtimes."""

from pathlib import Path

from ..onnx_graph import require_onnx, set_facts, store_half, to_onnx
from ..onnxruntime_graph import OnnxRuntimeGraph, import_onnxruntime
from .export_format import ExportFormat, Job, Run


class OnnxFormat(ExportFormat):
    """One .onnx file; the facts are its metadata_props."""

    name = "onnx"
    suffix = ".onnx"

    def require(self) -> None:
        require_onnx()
        import_onnxruntime()

    def write(self, job: Job, path: Path) -> None:
        model = to_onnx(job.program, output_names=job.outputs)
        set_facts(model, job.facts)
        if job.half:
            store_half(model)
        path.write_bytes(model.SerializeToString())

    def open(self, path: Path) -> Run:
        return OnnxRuntimeGraph(path)
