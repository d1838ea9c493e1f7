"""The command `vitrail export`."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from ..progress import to_stderr
from .options import OUTPUT, CheckpointArgument, Option, Out


@dataclass
class Export:
    """Export a checkpoint for another runtime: ONNX, OpenVINO, PyTorch, ExecuTorch, or a page for the browser.

    The exported model takes resized images with values from 0 to 255, normalises them, and returns calibrated
    probabilities, numbers in their unit, or a vector. Class names, preprocessing, task and licence are stored inside.
    It is compared with PyTorch on image files before it is written. Weights under the names of other libraries are
    `vitrail.export_state_dict`; weights of other libraries are read by `vitrail convert`.

    Examples:
        vitrail export runs/flowers -o flowers.onnx
        vitrail export runs/flowers -o flowers.xml --half --images garden/
        vitrail export runs/flowers --format web --runtime package/ -o page/
    """

    checkpoint: CheckpointArgument
    out: Out
    """File to write: .onnx, .xml (OpenVINO), .pt2 (PyTorch) or .pte (ExecuTorch); for a web page a folder."""
    format: Annotated[
        Literal["onnx", "openvino", "torch", "executorch", "web"] | None, Option(shown_default="the suffix of --out")
    ] = None
    """Format of the exported model."""
    images: Annotated[list[str], Option(metavar="IMAGE")] = field(default_factory=list)
    """Image files or folders to compare the exported model with PyTorch on; by default some are generated."""
    half: bool = False
    """Store the weights in float16, in half the size (onnx, openvino, web)."""
    image_size: Annotated[int | tuple[int, int] | None, Option(shown_default="that of the checkpoint")] = None
    """Side, or height and width, of the images that the model takes, in pixels."""
    any_size: bool = False
    """Take images of any height and width, where the model can."""
    values: Literal["auto", "uint8", "float32"] = "auto"
    """Values of the images; float32 is for images of 16 bits or floats. auto: by mean and deviation."""
    runtime: Annotated[Path | None, Option(metavar="FOLDER", section=OUTPUT)] = None
    """Folder of an unpacked npm package onnxruntime-web, whose files are copied beside the page (web)."""

    def run(self) -> None:
        from ..engines.export import export

        found = export(
            self.checkpoint,
            self.out,
            format=self.format,
            images=self.images or None,
            half=self.half,
            image_size=self.image_size,
            any_size=self.any_size,
            values=self.values,
            runtime=self.runtime,
            say=to_stderr,
        )
        to_stderr(
            f"compared with PyTorch on {found.images} images: the largest relative difference is "
            f"{found.difference:.1e} (tolerance {found.tolerance:g}); {found.size / 1e6:.1f} MB"
        )
        print(found.path)
