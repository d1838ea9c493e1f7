"""Chooses the images of a source for an evaluation: those that the checkpoint was not trained on."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from ..checkpoint.origin import public_name
from ..data.annotation_sizes import fit_annotations
from ..data.open import BadFile, Sample, Source
from ..data.split_choice import SplitChoice, recorded_splits
from ..data.survey import Survey, survey
from ..errors import VitrailError, nearest
from ..progress import Track, silent


class MissingPart(VitrailError):  # noqa: N818 - the state of a source
    """A source has no image of the part that was asked for."""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Images for an evaluation.

    Attributes:
        samples: the readable ones.
        note: a phrase that describes them.
        bad: files that were left out.
        source: name of the source.
    """

    samples: tuple[Sample, ...]
    note: str
    bad: tuple[BadFile, ...] = ()
    source: str = ""


def held_out(
    source: Source,
    run: Path | None,
    split: SplitChoice = "auto",
    *,
    skip_bad: bool = False,
    channels: int | None = None,
    progress: Track = silent,
) -> HeldOut:
    """Return the samples of a source to evaluate on.

    "auto" is the source's own test part, or else its val part. If it has neither, it is every image whose content the
    run was not trained on; if some of these are the run's test images, its validation images are left out too, since
    the best checkpoint was chosen by them.

    Args:
        source: a labelled source.
        run: path of the checkpoint; a run folder lists its splits by content in splits.csv.
        split: a part by name, "auto", or "all" for all images.
        skip_bad: leave out files that cannot be read, instead of raising an error.
        channels: number of channels of the model; images that cannot be converted to it are bad files too.
        progress: counts the files that are opened.

    Raises:
        VitrailError: unknown split, unreadable files, or no image is left.
        MissingPart: the source has no such part.
    """
    if split not in get_args(SplitChoice):
        raise VitrailError(f"there is no split {split!r}: {nearest(split, get_args(SplitChoice))}")
    own = {sample.split for sample in source.samples}
    name = next((part for part in ("test", "val") if part in own), "auto") if split == "auto" else split
    if name in own:
        source = replace(source, samples=tuple(s for s in source.samples if s.split == name))
    checked = _convertible(fit_annotations(survey(source, progress=progress)), channels)
    checked.require_clean(skip_bad=skip_bad)
    return replace(_part(checked, run, name, own=name in own), bad=checked.bad, source=source.name)


def _convertible(checked: Survey, channels: int | None) -> Survey:
    """The survey, with images that cannot be converted to a number of channels among its bad files."""
    pairs = list(zip(checked.source.samples, checked.facts, strict=True))
    fits = [channels is None or facts.channels in _sources_of(channels) for _, facts in pairs]
    if all(fits):
        return checked
    good = [pair for pair, fit in zip(pairs, fits, strict=True) if fit]
    bad = [
        BadFile(sample.name, f"{facts.channels} channels, but the model takes {channels}")
        for (sample, facts), fit in zip(pairs, fits, strict=True)
        if not fit
    ]
    source = replace(checked.source, samples=tuple(sample for sample, _ in good))
    return replace(checked, source=source, facts=tuple(facts for _, facts in good), bad=(*checked.bad, *bad))


def _sources_of(channels: int) -> tuple[int, ...]:
    """Numbers of channels that may be converted to this one, see `vitrail.data.decode`."""
    return {1: (1, 3), 3: (1, 3), 4: (3, 4)}.get(channels, (channels,))


def _part(checked: Survey, run: Path | None, name: str, *, own: bool) -> HeldOut:
    """The readable samples of a part; `own`: they are all of a part that the source defines."""
    samples, source = checked.source.samples, public_name(checked.source.name)
    if own:
        return _named(samples, f"the {name} part of {source}")
    if name == "all":
        return _named(samples, f"all of {source}")
    recorded = recorded_splits(run) if run else None
    return _unseen(checked, recorded) if name == "auto" else _recorded_part(checked, recorded, name)


def _unseen(checked: Survey, recorded: Mapping[str, str] | None) -> HeldOut:
    samples, name = checked.source.samples, public_name(checked.source.name)
    if recorded is None:
        return _named(samples, f"all of {name}; the checkpoint's training images are not known")
    parts = [recorded.get(facts.digest, "new") for facts in checked.facts]
    counts = Counter(parts)
    left_out = {"train", "val"} if counts["test"] else {"train"}
    kept = tuple(sample for sample, part in zip(samples, parts, strict=True) if part not in left_out)
    words = {"train": "the run was trained on", "val": "it chose its best checkpoint by"}
    gone = [f"{counts[part]} that {words[part]}" for part in ("train", "val") if part in left_out and counts[part]]
    if not kept:
        raise VitrailError(f"the run was trained on every image of {name}: give others, or score them with --split all")
    return _named(kept, f"{name}, without {' and '.join(gone)}" if gone else f"all of {name}, none of it trained on")


def _recorded_part(checked: Survey, recorded: Mapping[str, str] | None, part: str) -> HeldOut:
    pairs = zip(checked.source.samples, checked.facts, strict=True)
    kept = tuple(sample for sample, facts in pairs if recorded and recorded.get(facts.digest) == part)
    if not kept:
        raise MissingPart(f"{checked.source.name} has no {part} part: use --split auto or --split all")
    return _named(kept, f"the images of {public_name(checked.source.name)} that are the run's {part} part")


def _named(samples: tuple[Sample, ...], note: str) -> HeldOut:
    return HeldOut(samples, f"{len(samples)} images: {note}")
