"""The command `vitrail predict`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from .options import (
    OUTPUT,
    BatchSize,
    CheckpointArgument,
    Device,
    Engine,
    EnginePrecision,
    Limit,
    Option,
    OptionalOut,
    Prompts,
    SourcesArgument,
    Split,
    Strict,
    Tta,
)
from .results import print_note


@dataclass
class Predict:
    """Write predictions for images as a table.

    The columns are path, the prediction and error. The prediction of a classifier has the columns class, probability,
    class_2, probability_2 and so on, and with many labels the column present: those whose probability reaches their
    threshold; that of a regression has one column for each number, with NAME_low and NAME_high if the checkpoint has
    intervals. If folders or a table give the true label, it has a column too. A file that cannot be read gives a row
    with an error.

    A model of images and texts chooses among the texts of --classes.

    Examples:
        vitrail predict runs/flowers garden/ -o table.xlsx
        vitrail predict openai/clip-vit-base-patch32 photos/ --classes "a cat;a dog"
        vitrail predict runs/flowers 'garden/*.jpg' --top-k 1 --format jsonl
    """

    checkpoint: CheckpointArgument
    images: SourcesArgument
    top_k: int = 5
    """Number of classes for each image."""
    classes: Annotated[str | None, Option(metavar="TEXTS")] = None
    """Texts to choose from, separated by semicolons, for a model of images and texts such as CLIP."""
    prompts: Prompts = None
    threshold: Annotated[float | None, Option(metavar="P", shown_default="that of the checkpoint")] = None
    """Probability from which objects, or with many labels classes, are part of a prediction; 0 for all objects."""
    split: Split = "all"
    limit: Limit = None
    """Stop after N images."""
    strict: Strict = True
    format: Annotated[
        Literal["csv", "tsv", "json", "jsonl", "parquet", "xlsx"] | None,
        Option(section=OUTPUT, shown_default="the suffix of --out, or csv"),
    ] = None
    """Format of the table; parquet and xlsx need --out."""
    out: OptionalOut = None
    """File to write instead of standard output: .csv, .tsv, .json, .jsonl, .parquet or .xlsx."""
    save_images: Annotated[Path | None, Option(section=OUTPUT, metavar="FOLDER")] = None
    """Also draw each prediction over its image, for tasks whose predictions have a place; segmentation writes the
    classes of the pixels as NAME-classes.png, depth the depths as NAME-depth.npy."""
    batch_size: BatchSize = 32
    engine: Engine = "auto"
    device: Device = "auto"
    precision: EnginePrecision = "auto"
    tta: Tta = "none"

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..data.coco_ids import coco_ids
        from ..engines.predictor import check_top_k
        from ..engines.zero_shot import parse_classes, read_templates, unknown_words
        from ..evaluation.predict import (
            Counted,
            at_least_one,
            named_images,
            predict_samples,
            predictor_for,
            with_labels,
        )
        from ..evaluation.prediction_table import Layout, table_format, write_table
        from ..evaluation.saved_images import save_images
        from ..progress import visible

        check_top_k(self.top_k)
        form = table_format(self.format, self.out)
        checkpoint = load(self.checkpoint)
        clips, run = checkpoint.preprocess.frames is not None, Path(self.checkpoint)
        named = named_images(self.images, self.limit, split=self.split, run=run, strict=self.strict, clips=clips)
        predictor = predictor_for(
            checkpoint,
            () if self.classes is None else parse_classes(self.classes),
            () if self.prompts is None else read_templates(self.prompts),
            self.threshold,
            batch_size=self.batch_size,
            engine=self.engine,
            device=self.device,
            precision=self.precision,
            tta=self.tta,
        )
        if words := unknown_words(predictor):
            print_note(f"the model does not know the words {', '.join(words)}: describe the classes by others")
        named = with_labels(named, self.images, predictor)
        found = predict_samples(predictor, named, top_k=self.top_k, progress=visible)
        if self.save_images is not None:
            found = save_images(found, named.samples, predictor.task, predictor.names, self.save_images)
        predictions = Counted(found)
        layout = Layout(
            predictor.task, predictor.names, self.top_k, labelled=bool(named.labels), ids=coco_ids(self.images)
        )
        write_table(at_least_one(predictions), layout, form, self.out)
        print_note(f"{predictions.summary}{f'; written to {self.out}' if self.out else ''}")
