"""The command `vitrail embed`."""

from dataclasses import dataclass

from .options import (
    BatchSize,
    CheckpointArgument,
    Device,
    Engine,
    EnginePrecision,
    Limit,
    Out,
    SourcesArgument,
    Split,
    Strict,
)
from .results import print_note


@dataclass
class Embed:
    """Compute one vector for each image, with any checkpoint.

    The vector is the input of the classifier: the pooled output of the encoder. The suffix of --out selects the
    format: .npz (arrays vectors, paths, errors), .parquet (path, vector, error) or .csv (path, v1 ... vD, error).
    Without a suffix the output is a folder of .npz parts, for any number of images; after an interruption, repeat the
    command to continue. A file that cannot be read gives a row with an error.

    Examples:
        vitrail embed runs/flowers garden/ -o garden.npz
        vitrail embed timm/vit_small_patch14_dinov2.lvd142m archive/ -o vectors
    """

    checkpoint: CheckpointArgument
    images: SourcesArgument
    out: Out
    """File (.npz, .parquet, .csv) or folder to write."""
    split: Split = "all"
    limit: Limit = None
    """Stop after N images."""
    strict: Strict = True
    batch_size: BatchSize = 32
    engine: Engine = "auto"
    device: Device = "auto"
    precision: EnginePrecision = "auto"

    def run(self) -> None:
        from ..evaluation.embed import write_embeddings
        from ..progress import visible

        written = write_embeddings(
            self.checkpoint,
            self.images,
            self.out,
            split=self.split,
            limit=self.limit,
            strict=self.strict,
            batch_size=self.batch_size,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            progress=visible,
        )
        failed = f", {written.failed} of them could not be read" if written.failed else ""
        print_note(f"{written.images} images, {written.width} numbers each{failed}")
        print(self.out)
