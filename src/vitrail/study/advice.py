"""Advice on which model to train and how, from measured results and from plans; it names what is not known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from ..errors import VitrailError, nearest
from ..machine.facts import this_machine
from ..models.registry import model_config
from ..planning.flops import count
from ..planning.parts import PRODUCT, part_costs
from ..planning.speed import Seconds, estimate, measure
from ..task_spec import CLASSIFICATION
from .measurements import KIND_WORDS, Kind, Measurement, measurements, nearest_measurement
from .needs import Answer, Need, Target

_TASKS = (CLASSIFICATION.name, "regression")
"""Tasks that `vitrail train` trains."""

_MANY = 100_000
"""Images from which larger plain ViTs and CNNs are candidates; a choice, which no measurement here supports."""

CANDIDATES: dict[Kind, tuple[str, ...]] = {
    "hybrid": (
        "compact_tiny_8",
        "compact_tiny_16",
        "compact_small_32",
        "whitened_small_32",
        "compact_small_64",
        "compact_small_128",
    ),
    "vit": ("vit_tiny_patch16_224", "vit_small_patch16_224", "vit_base_patch16_224"),
    "cnn": ("resnet18", "resnet50"),
}
"""Kind -> variants that are suggested, the cheapest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is known about the user's problem.

    Attributes:
        images: labelled training images.
        classes: number of classes; 0 for other tasks.
        side: shorter side of the images in pixels.
        latency: most seconds for an image, one at a time; None: no limit.
        pretrained: whether weights of a model for similar images are at hand.
        target: where the model will run.
        task: the task.
        needs: what matters.
        measure: measure the time of candidates on this machine instead of estimating it.
    """

    images: int
    classes: int
    side: int = 224
    latency: float | None = None
    pretrained: Answer = "unknown"
    target: Target = "server"
    task: str = "classification"
    needs: tuple[Need, ...] = ()
    measure: bool = False


@dataclass(frozen=True, slots=True)
class Reason:
    """A statement, and what it is based on: "measured", "planned" (counted or timed here), or "program"."""

    text: str
    basis: Literal["measured", "planned", "program"]


@dataclass(frozen=True, slots=True)
class Advice:
    """Advice.

    Attributes:
        recommendation: one sentence.
        commands: commands to run, in order.
        reasons: what it is based on.
        unknown: what is not known, and how to find out.
    """

    recommendation: str
    commands: tuple[str, ...]
    reasons: tuple[Reason, ...]
    unknown: tuple[str, ...]


def advise(situation: Situation, known: Sequence[Measurement] | None = None) -> Advice:
    """Recommend a model and a way to train it.

    Args:
        situation: the problem.
        known: measured results; by default those of the package.

    Raises:
        VitrailError: impossible numbers, or a task that vitrail does not train.
    """
    _check(situation)
    table = measurements() if known is None else known
    reasons: list[Reason] = []
    unknown: list[str] = []
    kind = _kind(situation, table, reasons, unknown)
    start = _start(situation, table, reasons, unknown)
    variant = _variant(situation, kind, reasons, unknown)
    for need in situation.needs:
        _need(need, situation, kind, variant, table, reasons, unknown)
    weights = " --weights CHECKPOINT" if start else ""
    model = "" if start else f" --model {variant}"
    recipe = " --recipe finetune" if start else ""
    commands = [f"vitrail train SOURCE{recipe}{weights}{model} --minutes 30"]
    if situation.task == CLASSIFICATION.name:
        commands.append("vitrail study data-efficiency SOURCE --minutes 120")
    first = "fine-tune the weights you have" if start else f"train {variant}, a {KIND_WORDS[kind]}, from scratch"
    also = f"; beside it train {variant} from scratch and keep the better" if start else ""
    if start:
        commands.insert(1, f"vitrail train SOURCE --model {variant} --minutes 30")
    return Advice(f"{first[0].upper()}{first[1:]}{also}.", tuple(commands), tuple(reasons), tuple(unknown))


def parse_seconds(text: str) -> float:
    """Parse a duration to seconds: "10ms", "0.5s", "2 s"; a number alone is milliseconds.

    Raises:
        VitrailError: not a duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|us|µs)?", text.strip())
    if match is None or float(match[1]) == 0:
        raise VitrailError(f"{text!r} is not a duration: write it as 10ms or 0.5s")
    return float(match[1]) * {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}[match[2] or "ms"]


def _check(situation: Situation) -> None:
    if situation.images < 1 or situation.classes < 0 or situation.side < 1:
        raise VitrailError(
            f"{situation.images} images of {situation.side} px in {situation.classes} classes are not possible: "
            "use positive numbers"
        )
    if situation.classes > situation.images:
        raise VitrailError(
            f"{situation.images} images cannot show {situation.classes} classes: each needs an image, and one more to "
            "check with"
        )
    if situation.task not in _TASKS:
        raise VitrailError(f"vitrail does not train {situation.task!r}: {nearest(situation.task, _TASKS)}")
    for need in situation.needs:
        if need not in get_args(Need):
            raise VitrailError(f"there is no need {need!r}: {nearest(need, get_args(Need))}")


def _kind(situation: Situation, known: Sequence[Measurement], reasons: list[Reason], unknown: list[str]) -> Kind:
    """The kind with the best accuracy in the nearest comparison; a hybrid if there is none near."""
    found = nearest_measurement(known, "scratch", situation.images, situation.side)
    if situation.task != "classification":
        unknown.append(f"which kind is best for {situation.task}: all comparisons are of classification")
    if found is None or not found.is_near(situation.images, situation.side):
        reach = "" if found is None else f"; the nearest is {found.words()}"
        unknown.append(
            f"which kind is best from scratch on {situation.images:,} images of {situation.side} px: no comparison "
            f"within a factor of ten{reach}. The default of `vitrail train`, a hybrid, is suggested without one"
        )
        return "hybrid"
    kinds = {result.kind for result in found.results}
    reasons.append(Reason(f"nearest comparison from scratch: {found.words()}", "measured"))
    ordered = sorted((result.accuracy for result in found.results), reverse=True)
    if ordered[0] - ordered[1] <= found.margin:
        points = f"{100 * found.margin:.1f} points"
        unknown.append(f"whether {found.best.model} is better there: the difference is within {points}")
    if missing := [KIND_WORDS[kind] for kind in get_args(Kind) if kind not in kinds]:
        unknown.append(f"how a {' or a '.join(missing)} does there: it was not part of that comparison")
    return found.best.kind


def _start(situation: Situation, known: Sequence[Measurement], reasons: list[Reason], unknown: list[str]) -> bool:
    """Whether to start from the weights that are at hand."""
    near = [each for each in known if each.question == "pretrained" and each.is_near(situation.images, situation.side)]
    if situation.pretrained == "no":
        return False
    for each in near:
        reasons.append(Reason(f"fine-tuning: {each.words()}", "measured"))
    if situation.pretrained == "unknown":
        unknown.append("whether weights for similar images exist: if you have some, pass --pretrained yes")
        return False
    if not near:
        unknown.append(
            "how much the weights gain: no comparison of fine-tuning and training from scratch is near these images, "
            "so both commands are given"
        )
    return True


def _variant(situation: Situation, kind: Kind, reasons: list[Reason], unknown: list[str]) -> str:
    """The largest candidate of the kind that suits the images and the latency; the cheapest if none does."""
    names = list(CANDIDATES[kind])
    if kind == "hybrid":  # one for each size of the images; at most reduced to a quarter
        least = min(situation.side, 128) / 4
        names = [name for name in names if least <= _side(name) <= max(8, 1.5 * situation.side)]
    elif situation.images < _MANY:
        names = names[:1]
    chosen = names[-1]
    if situation.target in ("phone", "gpu"):
        unknown.append(_elsewhere(situation.target, chosen))
        return chosen
    times = {name: _seconds(name, situation) for name in names}
    fitting = [name for name in names if situation.latency is None or times[name].inference <= situation.latency]
    chosen = fitting[-1] if fitting else names[0]
    time = times[chosen]
    how = "measured here, one at a time" if time.measured else "estimated from its FLOPs, may be off by 2 to 3"
    reasons.append(Reason(f"{chosen} takes {1e3 * time.inference:.3g} ms an image ({how})", "planned"))
    if _side(chosen) < situation.side / 2 and chosen != names[-1]:
        unknown.append(
            f"what is lost where images of {situation.side} px are reduced to {_side(chosen)} px to keep the latency: "
            f"train {names[-1]} too and compare"
        )
    if situation.latency is not None:
        limit = f"{1e3 * situation.latency:g} ms"
        if not fitting:
            unknown.append(
                f"a model for {limit}: {chosen} is the cheapest candidate and does not keep it; smaller images do, see "
                f"vitrail plan {chosen} --image-sizes {_side(chosen) // 4},{_side(chosen) // 2} --measure"
            )
        elif not time.measured:
            unknown.append(f"whether {limit} is kept: the time is estimated; use --measure on the target machine")
    return chosen


def _elsewhere(target: Target, name: str) -> str:
    gflops = count(model_config(name)).flops / 1e9
    if target == "gpu" and this_machine().gpus:
        return f"the time on the GPU: vitrail plan {name} --device cuda --measure ({gflops:.2f} GFLOPs an image)"
    return f"the time of {name} on a {target}: this machine is none; it has {gflops:.2f} GFLOPs an image"


def _seconds(name: str, situation: Situation) -> Seconds:
    config = model_config(name)
    return measure(config, 1) if situation.measure else estimate(count(config).flops)


def _side(name: str) -> int:
    size = model_config(name).image_size
    return size if isinstance(size, int) else min(size)


def _need(
    need: Need,
    situation: Situation,
    kind: Kind,
    variant: str,
    known: Sequence[Measurement],
    reasons: list[Reason],
    unknown: list[str],
) -> None:
    if need == "robustness":
        found = nearest_measurement(known, "robustness", situation.images, situation.side)
        if found is None:
            unknown.append("which kind is most robust: vitrail study robustness RUN SOURCE --against RUN measures it")
            return
        reasons.append(Reason(f"robustness, one comparison: {found.words()}", "measured"))
        unknown.append(
            "whether that holds for your images: vitrail study robustness RUN SOURCE --against RUN compares two models"
        )
    elif need == "fine-detail":
        reasons.append(Reason(_detail_words(), "planned"))
        unknown.append(
            "how much accuracy smaller patches gain: vitrail sweep SOURCE --model vit_tiny_patch16_224 --over "
            "overrides.patch_size=8,16"
        )
    elif need == "global-context":
        unknown.append(
            "whether global attention gains accuracy on your images: it was not measured; `vitrail study anatomy RUN` "
            "shows how far a trained model attends"
        )
    elif kind == "cnn":
        reasons.append(Reason("a CNN has no attention maps; gradient and occlusion methods of explain work", "program"))
    else:
        reasons.append(Reason(f"explain and explore show the attention of every layer of {variant}", "program"))
        unknown.append("how faithful its maps are: vitrail study attribution RUN SOURCE measures it")


def _detail_words() -> str:
    """Cost of halving the patches, counted for ViT-Ti at 224 px."""
    costs = []
    for patch in (16, 8):
        config = model_config("vit_tiny_patch16_224", patch_size=patch)
        parts = part_costs(config, 1, torch.float32, torch.device("cpu"))
        total = sum(part.flops for part in parts)
        product = sum(part.flops for part in parts if part.name == PRODUCT)
        costs.append((patch, total / 1e9, 100 * product / total))
    words = "; ".join(
        f"patches of {patch}: {total:.1f} GFLOPs, {share:.0f} % of them the attention product"
        for patch, total, share in costs
    )
    return f"cost of fine detail, vit_tiny at 224 px: {words}"
