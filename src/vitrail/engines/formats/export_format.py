"""The base class of a format of exported models, and the table of formats."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import ClassVar

from torch import Tensor

from ...errors import VitrailError, nearest
from ..program import Program

Run = Callable[[Tensor], list[Tensor]]
"""Images -> outputs of an exported model."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is written.

    Attributes:
        program: graph of the model.
        outputs: names of its outputs.
        facts: name -> value of what goes with it, see `export_facts`.
        half: whether weights are stored in float16.
        runtime: folder with the JavaScript runtime of a web page, or None.
    """

    program: Program
    outputs: tuple[str, ...]
    facts: Mapping[str, str]
    half: bool = False
    runtime: Path | None = None


class ExportFormat(ABC):
    """A format of exported models: writes one, and runs it with its own runtime to check it.

    Attributes:
        name: name of the format.
        suffix: suffix of its file; empty if it is a folder.
        any_batch: whether a model takes batches of any size.
        halves: whether weights can be stored in float16.
    """

    name: ClassVar[str]
    suffix: ClassVar[str]
    any_batch: ClassVar[bool] = True
    halves: ClassVar[bool] = True

    def files(self, name: str) -> tuple[str, ...]:
        """Names of the files that `write` makes for a file of this name; the last one has the facts."""
        return (name,)

    def require(self) -> None:  # noqa: B027 - a format of PyTorch's own needs nothing
        """Raise VitrailError if a package that writes or runs this format is missing."""

    @abstractmethod
    def write(self, job: Job, path: Path) -> None:
        """Write a model.

        Raises:
            VitrailError: the format lacks a layer of the model.
        """

    @abstractmethod
    def open(self, path: Path) -> Run:
        """Load a written model with the format's own runtime."""


FORMATS = {
    "onnx": "onnx_format:OnnxFormat",
    "openvino": "openvino_format:OpenVINOFormat",
    "torch": "torch_format:TorchFormat",
    "executorch": "executorch_format:ExecuTorchFormat",
    "web": "web_format:WebFormat",
}
"""Name -> file and class."""


def export_format(name: str) -> ExportFormat:
    """The format of a name.

    Raises:
        VitrailError: unknown name.
    """
    if name not in FORMATS:
        raise VitrailError(f"there is no format {name!r}: {nearest(name, FORMATS)}")
    module, _, kind = FORMATS[name].partition(":")
    made: type[ExportFormat] = vars(import_module(f".{module}", __package__))[kind]
    return made()
