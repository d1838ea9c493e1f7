"""Probes on the frozen features of any checkpoint: kNN, linear and few-shot, on one source or several."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor, nn

from ..checkpoint.contract import Checkpoint
from ..data.open import BadFile, Sample, Source, SourceLike, open_source
from ..data.samples import takes_many
from ..data.survey import survey
from ..engines.engine import make_engine
from ..engines.predictor import Predictor
from ..errors import VitrailError
from ..evaluation.feature_cache import cached_features, model_identity
from ..evaluation.probe.scores import ProbeScore, probe_scores
from ..lens.naming import find_module
from ..lens.observe import observe_features
from ..lens.outputs import image_model, run
from ..lens.probe.layers import pooled
from ..nn import EmbeddingModel, Tokens
from ..progress import Track, silent
from ..tasks.classification import Classification
from ..tasks.embedding import Embedding
from .only_images import require_images
from .options import HeldOutOptions
from .parts import ProbeParts, probe_parts

Pool = Literal["auto", "class", "mean"]


@dataclass(frozen=True, kw_only=True, slots=True)
class ProbeOptions(HeldOutOptions):
    """Options of the study.

    Attributes:
        layer: name of a module whose output is probed; a unique ending is enough. None: the model's embedding.
        pool: of a layer's tokens the "class" token, the "mean" of the patches, or "auto", the first of these there is.

    Raises:
        VitrailError: a pool without a layer.
    """

    limit: int | None = 5000
    layer: str | None = None
    pool: Pool = "auto"

    def __post_init__(self) -> None:
        HeldOutOptions.__post_init__(self)
        if self.pool != "auto" and self.layer is None:
            raise VitrailError(
                f"pool {self.pool} is for the tokens of a layer: name one, the model's embedding has its own pool"
            )


@dataclass(frozen=True, slots=True)
class ProbedSource:
    """Scores on one source.

    Attributes:
        name: name of the source.
        metric: "accuracy", or "mean average precision" for images with any number of classes.
        train, test: numbers of images that probes are fitted and scored on.
        scores: the scores, the same probes for every source but those that need one label for each image.
        note: a phrase that describes the images.
        bad: files left out.
    """

    name: str
    metric: str
    train: int
    test: int
    scores: tuple[ProbeScore, ...]
    note: str
    bad: tuple[BadFile, ...] = ()


@dataclass(frozen=True, slots=True)
class ProbeStudy:
    """Results of each source; the features that were probed, in words, and their width."""

    sources: tuple[ProbedSource, ...]
    features: str
    width: int


def study_probe(
    checkpoint: Checkpoint,
    sources: Sequence[SourceLike],
    options: ProbeOptions | None = None,
    *,
    progress: Track = silent,
) -> ProbeStudy:
    """Score kNN, linear and few-shot classifiers on the frozen features of a model.

    Features are kept in the user's cache folder, so that a second study of the same images takes seconds.

    Args:
        checkpoint: any model of images, also one that was pre-trained without labels.
        sources: labelled sources, what `open_source` takes; their classes need not be the model's.
        options: `split` is the part to score on, see `probe_parts`.
        progress: reports the progress of the study.

    Raises:
        VitrailError: the model does not take images, there is no such layer, labels are no classes, or there are too
            few images; see `probe_parts`.
    """
    options = options or ProbeOptions()
    if not sources:
        raise VitrailError("a probe needs labelled images: name at least one source")
    opened = [_with_classes(open_source(source, strict=options.strict)) for source in sources]
    probed = _FeatureRunner(checkpoint, options)
    found = []
    for source in opened:
        parts = probe_parts(source, checkpoint.path, checkpoint.preprocess.channels, options, progress=progress)
        train, test = (probed.features(source, samples, progress) for samples in (parts.train, parts.test))
        found.append(_scored(source, parts, train, test, options.seed))
    return ProbeStudy(tuple(found), probed.words, train.shape[1])


def _scored(
    source: Source, parts: ProbeParts, train: Float[Tensor, "n D"], test: Float[Tensor, "m D"], seed: int
) -> ProbedSource:
    """Scores of the features of the images to fit on and to score on."""
    many, names = takes_many(source.task), source.class_names
    task = Classification(labels="many" if many else "one")
    fitted, judged = (task.targets(samples, names) for samples in (parts.train, parts.test))
    scores = probe_scores(train, fitted, test, judged, names, many=many, seed=seed)
    metric = "mean average precision" if many else "accuracy"
    return ProbedSource(source.name, metric, len(train), len(test), scores, parts.note, parts.bad)


def _with_classes(source: Source) -> Source:
    if source.task.name != Classification.name or not source.class_names:
        raise VitrailError(
            f"{source.name} is labelled for {source.task.name}: probes need classes, give class folders or a table of "
            "classes"
        )
    return source


class _FeatureRunner:
    """Computes the features that are probed."""

    def __init__(self, checkpoint: Checkpoint, options: ProbeOptions) -> None:
        require_images(checkpoint.model.config, "probes")
        model: nn.Module = EmbeddingModel(checkpoint.model)
        self.words = "the embedding"
        if options.layer is not None:
            images, pool = image_model(checkpoint.model), options.pool
            name = find_module(images, options.layer)
            model = LayerFeatures(images, name, pool)
            self.words = f"{name}, {'class token or mean of the patches' if pool == 'auto' else pool}"
        engine = make_engine(model, device=options.device, precision=options.precision)
        self.predictor = Predictor(engine, checkpoint.preprocess, Embedding(), (), batch_size=options.batch_size)
        self.identity = model_identity(checkpoint.model, self.words)

    def features(self, source: Source, samples: Sequence[Sample], progress: Track) -> Float[Tensor, "n D"]:
        """Features of samples of a source, in their order."""
        checked = survey(replace(source, samples=tuple(samples), bad=()))  # known from choosing the samples
        digests = [facts.digest for facts in checked.facts]
        return cached_features(self.predictor, checked.source.samples, digests, self.identity, progress=progress)


class LayerFeatures(nn.Module):
    """Pooled output of one module of a model, for engines: (B, C, H, W) -> (B, D).

    Args:
        model: a model of images; its modules and weights are shared.
        layer: full name of the module, whose output is `Tokens`, vectors (B, D), or maps (B, D, h, w), which are
            averaged.
        pool: see `study_probe`.
    """

    def __init__(self, model: nn.Module, layer: str, pool: Pool = "auto") -> None:
        super().__init__()
        self.model = model
        self.layer = layer
        self.pool = pool

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        with observe_features(self.model, self.layer) as seen:
            run(self.model, pixels)
        if self.layer not in seen:
            raise VitrailError(f"{self.layer} does not run when the model sees a whole image: name another layer")
        output = seen[self.layer]
        if isinstance(output, Tokens):
            return self._pooled(pooled(self.layer, output))
        if isinstance(output, Tensor) and output.ndim in (2, 4):
            return output if output.ndim == 2 else output.mean(dim=(2, 3))
        raise VitrailError(f"{self.layer} returns neither tokens nor vectors of images: name a block or a stage")

    def _pooled(self, found: dict[str, Float[Tensor, "B D"]]) -> Float[Tensor, "B D"]:
        pool = self.pool if self.pool != "auto" else "class" if "class" in found else "mean"
        if pool not in found:
            raise VitrailError(f"{self.layer} has no class token: use --pool mean")
        return found[pool]
