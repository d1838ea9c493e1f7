"""ExecuTorch programs, for phones and other small machines. The only file that imports executorch."""

from pathlib import Path

import torch
from torch import Tensor

from ...errors import VitrailError
from ..export_facts import facts_document
from ..program import quiet
from .export_format import ExportFormat, Job, Run


class ExecuTorchFormat(ExportFormat):
    """A .pte file for the XNNPACK backend, and a .pte.json file with the facts. It takes one image at a time, as its
    memory is planned ahead."""

    name = "executorch"
    suffix = ".pte"
    any_batch = False
    halves = False

    def files(self, name: str) -> tuple[str, ...]:
        return name, f"{name}.json"

    def require(self) -> None:
        try:
            import executorch.exir  # noqa: F401
        except ImportError as error:
            raise VitrailError('ExecuTorch is not installed: pip install "vitrail[executorch]"') from error

    def write(self, job: Job, path: Path) -> None:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        with quiet(), torch.no_grad():
            lowered = to_edge_transform_and_lower(job.program.graph, partitioner=[XnnpackPartitioner()])
            path.write_bytes(lowered.to_executorch().buffer)
        path.with_name(f"{path.name}.json").write_text(facts_document(job.facts), encoding="utf-8")

    def open(self, path: Path) -> Run:
        from executorch.runtime import Runtime

        method = Runtime.get().load_program(path).load_method("forward")

        def run(images: Tensor) -> list[Tensor]:
            rows = [method.execute([image]) for image in images.contiguous().split(1)]
            return [torch.cat([output.clone() for output in outputs]) for outputs in zip(*rows, strict=True)]

        return run
