"""Retrieval with a model of images and texts: images look for captions, captions for images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ..checkpoint.contract import Checkpoint
from ..data.open import BadFile, Sample, SourceLike, open_source
from ..data.seeds import derive
from ..engines.predictor import make_predictor
from ..errors import VitrailError
from ..evaluation.held_out import held_out
from ..evaluation.stream import stream
from ..progress import Track, silent
from ..tasks.image_text import ImageText
from ..tasks.retrieval import RANKS, candidates, recalls
from ..tasks.retrieval_metrics import Captions, RetrievalEvaluation, different, ownership
from ..tasks.text_encoder import TextEncoder
from .options import HeldOutOptions
from .studied_model import drawn

AlsoTrue = Callable[[Sample, str], bool]
"""Whether a text that is not a caption of an image is true of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievalOptions(HeldOutOptions):
    """Options of the study.

    Attributes:
        among: number of candidates of a query: a right one, and others drawn at random; None: all.

    Raises:
        VitrailError: fewer than two candidates.
    """

    limit: int | None = None
    among: int | None = None

    def __post_init__(self) -> None:
        HeldOutOptions.__post_init__(self)
        if self.among is not None and self.among < 2:
            raise VitrailError(f"{self.among} candidates leave nothing to find: use 2 or more")


@dataclass(frozen=True, slots=True)
class Direction:
    """Retrieval in one direction.

    Attributes:
        query: "image" or "caption".
        queries: number of queries.
        candidates: number of candidates of each.
        recall: {k: R@k}.
    """

    query: str
    queries: int
    candidates: int
    recall: dict[int, float]


@dataclass(frozen=True, slots=True)
class Found:
    """What an image finds: its name, the most similar of its captions, the most similar caption of all, and both
    similarities."""

    name: str
    caption: str
    similarity: float
    found: str
    found_similarity: float


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrievalStudy:
    """Result of the study.

    Attributes:
        evaluation: retrieval among all captions and images, as in `vitrail eval`.
        directions: retrieval among the candidates of the options.
        found: what each image finds among all captions.
        notes: sentences about the images and the candidates.
        bad: files that were left out.
    """

    evaluation: RetrievalEvaluation
    directions: tuple[Direction, ...]
    found: tuple[Found, ...]
    notes: tuple[str, ...]
    bad: tuple[BadFile, ...]


def study_retrieval(
    checkpoint: Checkpoint,
    source: SourceLike,
    options: RetrievalOptions | None = None,
    *,
    also_true: AlsoTrue | None = None,
    progress: Track = silent,
) -> RetrievalStudy:
    """Measure retrieval in both directions.

    Equal captions are one candidate, which is right for each of their images.

    Args:
        checkpoint: a model of images and texts.
        source: images with captions that it was not trained on, see `held_out`.
        options: see `RetrievalOptions`.
        also_true: with `among`, texts of other images that are true of an image are none of its wrong candidates.
        progress: reports how many images are done.

    Raises:
        VitrailError: another model, no captions, or fewer than two images.
    """
    options = options or RetrievalOptions()
    samples, vectors, encoder, note, bad = _embedded(checkpoint, source, options, progress)
    captions: list[Captions] = [tuple(sample.labels) for sample in samples]
    texts = different(captions)
    own, words = ownership(captions, texts), encoder.vectors(texts)
    task = ImageText().bound(checkpoint.config, checkpoint.tokenizer, checkpoint.model)
    metrics = task.metrics(())
    metrics.update(vectors, captions)
    evaluation, logits = metrics.compute(), encoder.logits(task.decoded(vectors), words)
    if options.among is None:
        sides = (("image", evaluation.by_image, len(texts)), ("caption", evaluation.by_text, len(samples)))
        counts = (len(samples), len(texts))
        directions = tuple(Direction(q, n, m, r) for (q, r, m), n in zip(sides, counts, strict=True))
        notes = [note]
    else:
        right = own if also_true is None else _right(samples, texts, own, also_true)
        directions, left_out = _among(logits, own, right, options)
        notes = [note, _among_words(options.among, left_out)]
    return RetrievalStudy(
        evaluation=evaluation,
        directions=directions,
        found=tuple(_found(samples, texts, task.decoded(vectors) @ words.t(), own)),
        notes=tuple(notes),
        bad=bad,
    )


def _embedded(
    checkpoint: Checkpoint, source: SourceLike, options: RetrievalOptions, progress: Track
) -> tuple[list[Sample], Float[Tensor, "n E"], TextEncoder, str, tuple[BadFile, ...]]:
    """Held-out samples with the embeddings of their images, the text encoder, a note, and bad files."""
    if checkpoint.task.name != ImageText.name:
        raise VitrailError(
            f"this checkpoint is for {checkpoint.task.name}: retrieval needs a model of images and texts"
        )
    predictor = make_predictor(
        checkpoint, batch_size=options.batch_size, engine="torch", device=options.device, precision=options.precision
    )
    task = predictor.task
    assert isinstance(task, ImageText)
    opened = task.match(open_source(source, prefer=task.spec, strict=options.strict), ())
    chosen = held_out(opened, checkpoint.path, options.split, skip_bad=options.skip_bad, progress=progress)
    wanted = drawn(chosen.samples, options.limit, derive(options.seed, "pictures to study"))
    parts = list(stream(predictor, wanted, progress=progress))
    pairs = chain.from_iterable(zip(part.samples, part.errors, strict=True) for part in parts)
    bad = [BadFile(sample.name, error) for sample, error in pairs if error is not None]
    samples = [sample for part in parts for sample in part.readable]
    if len(samples) < 2:
        raise VitrailError(f"retrieval needs 2 or more images with captions, there are {len(samples)} ({chosen.note})")
    vectors = torch.cat([part.output for part in parts if part.output is not None])
    few = f"{len(samples)} of " if len(samples) < len(chosen.samples) else ""
    return samples, vectors, task.text_encoder(), few + chosen.note, (*bad, *chosen.bad)


def _right(samples: Sequence[Sample], texts: Sequence[str], own: Bool[Tensor, "n m"], true: AlsoTrue) -> Tensor:
    rows = [[true(sample, text) for text in texts] for sample in samples]
    return own | torch.tensor(rows, dtype=torch.bool)


def _among(
    logits: Float[Tensor, "n m"], own: Bool[Tensor, "n m"], right: Bool[Tensor, "n m"], options: RetrievalOptions
) -> tuple[tuple[Direction, ...], int]:
    """Retrieval in both directions among few candidates, and the number of queries that have too few."""
    count = options.among
    assert count is not None
    found, left_out = [], 0
    for query, values, mine, true in (("image", logits, own, right), ("caption", logits.t(), own.t(), right.t())):
        generator = torch.Generator().manual_seed(derive(options.seed, "candidates", query))
        chosen, enough = candidates(mine, true, count, generator)
        left_out += int((~enough).sum())
        if not enough.any():
            raise VitrailError(f"no {query} has {count - 1} wrong candidates: use fewer, or more images")
        part = values[enough].masked_fill(~chosen[enough], -torch.inf)
        means = recalls(part, (mine & chosen)[enough], RANKS).mean(dim=0).tolist()
        found.append(Direction(query, int(enough.sum()), count, dict(zip(RANKS, means, strict=True))))
    return tuple(found), left_out


def _among_words(count: int, left_out: int) -> str:
    more = f"; {left_out} queries that have fewer wrong ones are left out" if left_out else ""
    return f"each query has {count} candidates, a right one and {count - 1} wrong ones that are drawn at random{more}"


def _found(
    samples: Sequence[Sample], texts: Sequence[str], similarity: Float[Tensor, "n m"], own: Bool[Tensor, "n m"]
) -> list[Found]:
    best, places = similarity.max(dim=1)
    mine, where = similarity.masked_fill(~own, -torch.inf).max(dim=1)
    rows = zip(samples, where.tolist(), mine.tolist(), places.tolist(), best.tolist(), strict=True)
    return [Found(sample.name, texts[at], value, texts[place], top) for sample, at, value, place, top in rows]
