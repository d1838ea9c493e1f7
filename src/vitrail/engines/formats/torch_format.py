"""Files of `torch.export`, which PyTorch runs without vitrail."""

from pathlib import Path

import torch
from torch import Tensor

from ..agreement import tensors
from ..export_facts import facts_document
from .export_format import ExportFormat, Job, Run

FACTS_FILE = "vitrail.json"


class TorchFormat(ExportFormat):
    """One .pt2 file of `torch.export.save`; the facts are its extra file vitrail.json."""

    name = "torch"
    suffix = ".pt2"
    halves = False

    def write(self, job: Job, path: Path) -> None:
        torch.export.save(job.program.graph, path, extra_files={FACTS_FILE: facts_document(job.facts)})

    def open(self, path: Path) -> Run:
        module = torch.export.load(path).module()

        def run(images: Tensor) -> list[Tensor]:
            with torch.no_grad():
                return tensors(module(images))

        return run
