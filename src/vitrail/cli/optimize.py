"""The command `vitrail optimize`."""

from dataclasses import dataclass
from typing import Annotated

from .options import COMPUTE, CheckpointArgument, Device, Option, OptionalOut, Seed
from .results import print_note, print_results


@dataclass
class Optimize:
    """Find the fastest way to run a checkpoint on this machine.

    Engines, number formats (8-bit integers too), streams and reductions of the tokens are measured in turn with the
    unmodified model. The fastest that loses at most --max-drop points on the images of SOURCE is stored beside the
    checkpoint; predict, eval and embed then use it on this machine. Without SOURCE only settings are taken whose
    outputs are equal to 1e-3. pip install "vitrail[optimize]" adds OpenVINO, NNCF and ONNX Runtime.

    Examples:
        vitrail optimize runs/flowers flowers/
        vitrail optimize runs/flowers flowers/ --batch-size 1 -o optimize/
    """

    checkpoint: CheckpointArgument
    source: Annotated[str | None, Option(metavar="SOURCE", positional=True)] = None
    """Images that settings are compared on; with labels of the model, its accuracy counts."""
    max_drop: Annotated[float, Option(metavar="POINTS")] = 0.5
    """Accuracy, or share of unchanged predictions, that may be lost, in points."""
    minutes: float = 10.0
    """No setting is begun after this time."""
    limit: Annotated[int, Option(metavar="N")] = 500
    """Use at most N images, drawn at random by the seed."""
    batch_size: Annotated[int, Option(metavar="N", section=COMPUTE)] = 8
    """Images in one forward pass; 1 for the shortest time of one image."""
    engines: Annotated[
        tuple[str, ...], Option(metavar="ENGINE", section=COMPUTE, shown_default="torch and those installed")
    ] = ()
    """Engines to try: torch, openvino, onnxruntime, or compiled, which compiles in every process."""
    device: Device = "auto"
    seed: Seed = 0
    out: OptionalOut = None
    """CSV file of what was measured, or folder for it and a page."""

    def run(self) -> None:
        from ..compress.optimize import optimize
        from ..compress.options import OptimizeOptions
        from ..compress.page import files, summary
        from ..pages.files import check_output
        from ..progress import to_stderr, visible

        check_output(self.out)
        options = OptimizeOptions(
            max_drop=self.max_drop,
            batch_size=self.batch_size,
            minutes=self.minutes,
            limit=self.limit,
            device=self.device,
            seed=self.seed,
            engines=self.engines,
        )
        found = optimize(self.checkpoint, self.source, options=options, progress=visible, say=to_stderr)
        print_results(files(found, self.checkpoint), self.out, {})
        print_note(summary(found))
