"""Images of a source to fit probes on, and images to score them on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..data.open import BadFile, Sample, Source
from ..data.samples import takes_many
from ..data.seeds import derive, permutation
from ..data.split_choice import used_labels
from ..errors import VitrailError
from ..evaluation.held_out import HeldOut, MissingPart, SplitChoice, held_out, recorded_splits
from ..progress import Track, silent
from ..tasks.worth import images
from .options import HeldOutOptions

Read = Callable[[SplitChoice], HeldOut]
"""Part of a source -> its images."""


@dataclass(frozen=True, slots=True)
class ProbeParts:
    """Images to fit probes on and to score them on; a phrase that describes both; files left out."""

    train: list[Sample]
    test: list[Sample]
    note: str
    bad: tuple[BadFile, ...]


def probe_parts(
    opened: Source,
    run: Path | None,
    channels: int,
    options: HeldOutOptions,
    *,
    progress: Track = silent,
) -> ProbeParts:
    """Split a labelled source for probes; no image that the run was trained on with labels is scored.

    Probes are fitted on the source's own train part, or else on the run's. If there is neither, or no image beside it,
    or with the split "train" or "all", the images are halved by seed.

    Args:
        opened: a labelled source.
        run: path of the checkpoint; a run without labels does not count.
        channels: channels of the model's images.
        options: `split` is the part to score on.
        progress: counts the files that are opened.

    Raises:
        VitrailError: there are not two classes to fit on and an image to score on; see `held_out`.
    """
    run = run if run is not None and used_labels(run) else None

    def read(part: SplitChoice) -> HeldOut:
        return held_out(opened, run, part, skip_bad=options.skip_bad, channels=channels, progress=progress)

    many, limit, split = takes_many(opened.task), options.limit, options.split
    seed = derive(options.seed, "pictures to probe")
    apart = _apart(opened, run, split, read)
    if apart is not None:
        train, test = apart
        bad = tuple(dict.fromkeys((*test.bad, *train.bad)))
        few, fitted = _drawn(test, limit, seed, many), _drawn(train, limit, seed, many)
        note = f"probes are fitted on {images(len(fitted))} and scored on {len(few)} of {test.note}"
    else:
        every = read("all" if split == "auto" and run is None else split)
        bad = every.bad
        mixed = _drawn(every, None if limit is None else 2 * limit, seed, many)
        fitted, few = mixed[: len(mixed) // 2], mixed[len(mixed) // 2 :]
        note = f"{len(mixed)} of {every.note}, halved: probes are fitted on one half"
    if not few or len({label for sample in fitted for label in sample.labels}) < (1 if many else 2):
        raise VitrailError(f"{note}: probes need images of two classes to be fitted on, and one image to be scored on")
    return ProbeParts(fitted, few, note, bad)


def _apart(opened: Source, run: Path | None, split: SplitChoice, read: Read) -> tuple[HeldOut, HeldOut] | None:
    """The images to fit on and to score on, if the source or the run sets them apart."""
    if split in ("train", "all"):
        return None
    own = {sample.split for sample in opened.samples}
    if "train" not in own and (run is None or recorded_splits(run) is None):
        return None
    test = read(split)
    try:
        train = read("train")
    except MissingPart:  # the run was trained on other images
        return None
    # A source may have a train part and nothing beside it.
    return None if {s.name for s in train.samples} & {s.name for s in test.samples} else (train, test)


def _drawn(part: HeldOut, limit: int | None, seed: int, many: bool) -> list[Sample]:
    """At most `limit` labelled samples, in the order of the draw; with many labels an image may have none of them."""
    labelled = [sample for sample in part.samples if sample.labels or many]
    return [labelled[place] for place in permutation(len(labelled), seed)[:limit]]
