"""OpenVINO's intermediate representation."""

from pathlib import Path

from ..openvino_convert import to_openvino, write_openvino
from ..openvino_graph import OpenVINOGraph
from ..openvino_runtime import import_openvino
from .export_format import ExportFormat, Job, Run


class OpenVINOFormat(ExportFormat):
    """A .xml file with the graph, and a .bin file with the weights; the facts are its rt_info under "vitrail"."""

    name = "openvino"
    suffix = ".xml"

    def files(self, name: str) -> tuple[str, ...]:
        return Path(name).with_suffix(".bin").name, name

    def require(self) -> None:
        import_openvino()

    def write(self, job: Job, path: Path) -> None:
        write_openvino(to_openvino(job.program, output_names=job.outputs), path, job.facts, half=job.half)

    def open(self, path: Path) -> Run:
        return OpenVINOGraph(path)
