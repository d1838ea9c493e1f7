"""Files of a study of labels: a page and three tables."""

from dataclasses import replace
from functools import partial
from html import escape

from ..checkpoint.origin import public_name
from ..data.memory import shrink
from ..data.open import Sample, read_image
from ..pages.files import ResultFiles
from ..pages.html import panes, section, table
from ..pages.image import displayable
from ..tasks.worth import images, percent_interval
from .labels import LabelStudy
from .near_duplicates import NearPair
from .suspects import Suspect

LABELS, DUPLICATES, PAIRS = "labels", "duplicates", "class_pairs"
_SHOWN, _SHOWN_PAIRS, _THUMB = 60, 24, 160


def files(study: LabelStudy) -> ResultFiles:
    """Content of labels.html, labels.csv, duplicates.csv and class_pairs.csv."""
    flagged = sum(suspect.flagged for suspect in study.suspects)
    across = sum(study.splits[pair.first] != study.splits[pair.second] for pair in study.duplicates)
    return ResultFiles(
        name="labels",
        title=f"Labels of {public_name(study.name)}",
        subtitle="Study of labels",
        facts=[
            ("images", f"{len(study.samples):,}"),
            ("labels that the images contradict", f"{flagged:,}"),
            ("wrong labels, estimated (an upper bound if agreement is low)", f"{study.expected:,.0f}"),
            ("near-duplicate pairs", f"{len(study.duplicates):,}"),
            ("of these across splits", f"{across:,}"),
            ("out-of-fold agreement with the labels", f"{100 * study.accuracy:.1f} %"),
        ],
        cautions=study.notes,
        csv={
            LABELS: [_LABEL_COLUMNS, *(_label_row(study, *pair) for pair in enumerate(study.suspects, 1))],
            DUPLICATES: [_DUPLICATE_COLUMNS, *(_duplicate_row(study, pair) for pair in study.duplicates)],
            PAIRS: [_PAIR_COLUMNS, *_pair_rows(study)],
        },
        sections=[_suspects(study), _duplicates(study), _pairs(study)],
        folder=True,
    )


_LABEL_COLUMNS = [
    "rank",
    "name",
    "split",
    "label",
    "suggestion",
    "suspicion",
    "label_probability",
    "suggestion_probability",
    "contradicted",
]
_DUPLICATE_COLUMNS = [
    "similarity",
    "mirrored",
    "first",
    "first_split",
    "first_label",
    "second",
    "second_split",
    "second_label",
    "across_splits",
    "labels_differ",
]
_PAIR_COLUMNS = ["first", "second", "images", "told_apart", "low", "high", "guessing"]


def _label_row(study: LabelStudy, rank: int, suspect: Suspect) -> list[object]:
    return [
        rank,
        study.samples[suspect.index].name,
        study.splits[suspect.index],
        suspect.label,
        suspect.suggestion,
        f"{suspect.suspicion:.4f}",
        f"{suspect.probability:.4f}",
        f"{suspect.suggested_probability:.4f}",
        _yes(suspect.flagged),
    ]


def _duplicate_row(study: LabelStudy, pair: NearPair) -> list[object]:
    one, other = pair.first, pair.second
    return [
        f"{pair.similarity:.4f}",
        _yes(pair.mirrored),
        *(study.samples[one].name, study.splits[one], study.label_words[one]),
        *(study.samples[other].name, study.splits[other], study.label_words[other]),
        _yes(study.splits[one] != study.splits[other]),
        _yes(study.label_words[one] != study.label_words[other]),
    ]


def _pair_rows(study: LabelStudy) -> list[list[object]]:
    return [
        [
            study.class_names[pair.first],
            study.class_names[pair.second],
            pair.count,
            f"{pair.accuracy:.4f}",
            *(f"{end:.4f}" for end in pair.interval),
            _yes(pair.is_guessing),
        ]
        for pair in study.pairs
    ]


def _suspects(study: LabelStudy) -> str:
    title = "Labels that are probably wrong"
    contradicted = [suspect for suspect in study.suspects if suspect.flagged]
    # Without any, those that are less probable than another label may still be worth a look.
    doubtful = [suspect for suspect in study.suspects if suspect.probability < suspect.suggested_probability]
    shown = (contradicted or doubtful)[:_SHOWN]
    if not shown:
        return section(title, f"<p>None found; all labels are in {LABELS}.csv, the most suspicious first.</p>")
    figures = "".join(
        _figure(
            study.samples[suspect.index],
            f"{suspect.label} ({_percent(suspect.probability)}) → "
            f"{suspect.suggestion} ({_percent(suspect.suggested_probability)})",
        )
        for suspect in shown
    )
    count = f"The {len(shown)} most suspicious labels" if len(shown) > 1 else "The most suspicious label"
    note = (
        f"{count}: given label → suggestion, with their out-of-fold probabilities. All are in {LABELS}.csv, in this "
        "order. They are suspicions: look at the image before you change a label."
    )
    if not contradicted:
        title = "Labels that may be wrong"
        note = f"No label is contradicted; these are less probable than another one. {note}"
    return section(title, f'<div class="thumbs">{figures}</div>', note)


def _duplicates(study: LabelStudy) -> str:
    if not study.duplicates:
        return section("Near-duplicates", "<p>None found.</p>")
    order = sorted(study.duplicates, key=lambda pair: study.splits[pair.first] == study.splits[pair.second])
    figures = "".join(
        _figure(study.samples[place], f"{words} · {study.splits[place]}, {study.label_words[place]}")
        for pair in order[:_SHOWN_PAIRS]
        for place, words in (
            (pair.first, f"{pair.similarity:.3f}"),
            (pair.second, "mirrored" if pair.mirrored else "its pair"),
        )
    )
    pairs = f"{len(study.duplicates):,} pair{'s' * (len(study.duplicates) != 1)}"
    note = (
        f"{pairs}, those across splits first; all are in {DUPLICATES}.csv. A held-out image "
        "with a near-duplicate in the training part makes results too optimistic."
    )
    return section("Near-duplicates", f'<div class="thumbs">{figures}</div>', note)


def _pairs(study: LabelStudy) -> str:
    if not study.pairs:
        return ""
    rows = [
        [
            study.class_names[pair.first],
            study.class_names[pair.second],
            images(pair.count),
            f"{100 * pair.accuracy:.1f} %",
            percent_interval(pair.interval),
            "guessing" if pair.is_guessing else "",
        ]
        for pair in study.pairs
    ]
    head = ["class", "and class", "images", "separated", "95 % interval", ""]
    note = (
        "Images of both classes for which the given label is the more probable of the two, out of fold; 50 % is "
        "guessing. Pairs at the top may be one class, need better labels, or need a model or images that show more."
    )
    return section("Classes that are often confused", table(head, rows, text=2), note)


def _figure(sample: Sample, words: str) -> str:
    image = displayable(read_image(replace(sample, strict=False), then=partial(shrink, side=_THUMB)))
    caption = f"<figcaption>{escape(words)}<br>{escape(sample.name)}</figcaption>"
    return f"<figure>{panes(image, None, sample.name)}{caption}</figure>"


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


def label_summary(study: LabelStudy) -> str:
    """Return the main results as text for a terminal."""
    flagged = [suspect for suspect in study.suspects if suspect.flagged]
    first = [
        f"  {study.samples[suspect.index].name}: {suspect.label} → {suspect.suggestion}, "
        f"suspicion {100 * suspect.suspicion:.0f} %"
        for suspect in flagged[:5]
    ]
    guessing = [pair for pair in study.pairs if pair.is_guessing]
    apart = [f"  {study.class_names[pair.first]} and {study.class_names[pair.second]}" for pair in guessing[:5]]
    return "\n".join(
        [
            f"{len(flagged):,} labels of {len(study.samples):,} images are contradicted by their images",
            *first,
            f"pairs of near-duplicates: {len(study.duplicates):,}",
            f"pairs of classes that are confused: {len(guessing):,}",
            *apart,
        ]
    )
