"""The command `vitrail study labels`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from .options import Option, Out, SourceArgument
from .results import print_results
from .study_options import StudyCommand


@dataclass(kw_only=True)
class Labels(StudyCommand):
    """Find labels that are probably wrong, near-duplicates, and classes that are confused.

    Each image is judged by a linear classifier that was fitted on other images (out-of-fold), and the labels are
    listed in the order of suspicion. Without --weights, features are made from the images alone, which takes minutes.

    Examples:
        vitrail study labels flowers/ -o flower-labels
        vitrail study labels flowers/ --weights facebook/dinov2-small
    """

    source: SourceArgument
    weights: Annotated[str | None, Option(metavar="CHECKPOINT")] = None
    """Checkpoint whose features are used; best one that was not trained on these labels."""
    folds: int = 5
    """Parts into which the images are divided; each is judged by a classifier fitted on the others."""
    similar: Annotated[float | None, Option(metavar="CORRELATION", shown_default="from the images")] = None
    """Least correlation of two images to be near-duplicates: 0.9, or 0.97 for small grey images."""
    out: Out = Path("label-study")
    """Folder for labels.html, labels.csv, duplicates.csv and class_pairs.csv."""

    def run(self) -> None:
        from ..checkpoint.contract import load
        from ..progress import visible
        from ..study.labels import LabelOptions, study_labels
        from ..study.labels_page import files, label_summary
        from ..tables import check_folder

        check_folder(self.out)
        options = self.study_options(LabelOptions(folds=self.folds, similar=self.similar))
        found = study_labels(self.source, load(self.weights) if self.weights else None, options, progress=visible)
        print_results(files(found), self.out, {self.source: found.bad})
        print(label_summary(found))
