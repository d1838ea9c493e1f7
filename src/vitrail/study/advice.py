"""Advice on which model to train and how, from measured results and from plans, with a list of what is not known."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from shlex import quote
from typing import Literal, get_args

from ..errors import VitrailError, nearest
from ..task_spec import CLASSIFICATION
from .candidates import CANDIDATES, detail_words, seconds_of, side_of, time_elsewhere
from .measurements import KIND_WORDS, Kind, Measurement, measurements, nearest_measurement
from .needs import Answer, Need, Target

_TASKS = (CLASSIFICATION.name, "regression")
"""Tasks that `vitrail train` trains."""

_MANY = 100_000
"""Images from which larger plain ViTs and CNNs are candidates; a choice, which no measurement here supports."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Description of the user's problem.

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
        source: the images in the commands of the advice; by default the word SOURCE.
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
    source: str = "SOURCE"

    def words(self) -> str:
        """Images, classes and size in words."""
        classes = f", {self.classes} classes" if self.classes else ""
        return f"{self.images:,} training images{classes}, {self.side} px"

    def named(self, text: str) -> str:
        """A text with the source in place of the word SOURCE, quoted for a shell."""
        return re.sub(r"\bSOURCE\b", lambda _: quote(self.source), text)


Basis = Literal["measured", "planned", "program"]


@dataclass(frozen=True, slots=True)
class Reason:
    """A statement, and what it is based on: "measured", "planned" (counted or timed here), or "program"."""

    text: str
    basis: Basis


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommendation with its reasons.

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


def advise(problem: Problem, known: Sequence[Measurement] | None = None) -> Advice:
    """Recommend a model and a way to train it.

    Args:
        problem: the problem.
        known: measured results; by default those of the package.

    Raises:
        VitrailError: impossible numbers, or a task that vitrail does not train.
    """
    _check(problem)
    return _Adviser(problem, measurements() if known is None else known).advice()


def parse_seconds(text: str) -> float:
    """Parse a duration to seconds: "10ms", "0.5s", "2 s"; a number alone is milliseconds.

    Raises:
        VitrailError: not a duration.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ms|s|us|µs)?", text.strip())
    if match is None or float(match[1]) == 0:
        raise VitrailError(f"{text!r} is not a duration: write it as 10ms or 0.5s")
    return float(match[1]) * {"s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6}[match[2] or "ms"]


def _check(problem: Problem) -> None:
    if problem.images < 1 or problem.classes < 0 or problem.side < 1:
        raise VitrailError(
            f"{problem.images} images of {problem.side} px in {problem.classes} classes are not possible: "
            "use positive numbers"
        )
    if problem.classes > problem.images:
        raise VitrailError(
            f"{problem.images} images cannot show {problem.classes} classes: each needs an image, and one more to "
            "check with"
        )
    if problem.task not in _TASKS:
        raise VitrailError(f"vitrail does not train {problem.task!r}: {nearest(problem.task, _TASKS)}")
    for need in problem.needs:
        if need not in get_args(Need):
            raise VitrailError(f"there is no need {need!r}: {nearest(need, get_args(Need))}")


class _Adviser:
    """Collects the reasons of a recommendation, and what is not known.

    Args:
        problem: the problem.
        known: measured results.
    """

    def __init__(self, problem: Problem, known: Sequence[Measurement]) -> None:
        self.problem = problem
        self.known = known
        self.reasons: list[Reason] = []
        self.unknown: list[str] = []

    def advice(self) -> Advice:
        """The recommendation."""
        problem = self.problem
        kind, start = self.kind(), self.start()
        variant = self.variant(kind)
        for need in problem.needs:
            self.weigh(need, kind, variant)
        fresh = f"vitrail train SOURCE --model {variant} --minutes 30"
        if start:
            text = f"Fine-tune the weights you have; beside it train {variant} from scratch and keep the better."
            train = ["vitrail train SOURCE --recipe finetune --weights CHECKPOINT --minutes 30", fresh]
        else:
            text, train = f"Train {variant}, a {KIND_WORDS[kind]}, from scratch.", [fresh]
        if problem.task == CLASSIFICATION.name:
            train.append("vitrail study data-efficiency SOURCE --minutes 120")
        return Advice(text, tuple(map(problem.named, train)), tuple(self.reasons), tuple(self.unknown))

    def because(self, text: str, basis: Basis) -> None:
        """Add a reason."""
        self.reasons.append(Reason(text, basis))

    def ask(self, question: str) -> None:
        """Add something that is not known, and how to find out."""
        self.unknown.append(self.problem.named(question))

    def kind(self) -> Kind:
        """The kind with the best accuracy in the nearest comparison; a hybrid if there is none near."""
        problem = self.problem
        found = nearest_measurement(self.known, "scratch", problem.images, problem.side)
        if problem.task != "classification":
            self.ask(f"which kind is best for {problem.task}: all comparisons are of classification")
        if found is None or not found.is_near(problem.images, problem.side):
            reach = "" if found is None else f"; the nearest is {found.words()}"
            self.ask(
                f"which kind is best from scratch on {problem.images:,} images of {problem.side} px: no comparison "
                f"within a factor of ten{reach}. The default of `vitrail train`, a hybrid, is suggested without one"
            )
            return "hybrid"
        kinds = {result.kind for result in found.results}
        self.because(f"nearest comparison from scratch: {found.words()}", "measured")
        ordered = sorted((result.accuracy for result in found.results), reverse=True)
        if ordered[0] - ordered[1] <= found.margin:
            points = f"{100 * found.margin:.1f} points"
            self.ask(f"whether {found.best.model} is better there: the difference is within {points}")
        if missing := [KIND_WORDS[kind] for kind in get_args(Kind) if kind not in kinds]:
            self.ask(f"how a {' or a '.join(missing)} does there: it was not part of that comparison")
        return found.best.kind

    def start(self) -> bool:
        """Whether to start from pretrained weights."""
        problem = self.problem
        near = [
            each for each in self.known if each.question == "pretrained" and each.is_near(problem.images, problem.side)
        ]
        if problem.pretrained == "no":
            return False
        for each in near:
            self.because(f"fine-tuning: {each.words()}", "measured")
        if problem.pretrained == "unknown":
            self.ask("whether weights for similar images exist: if you have some, pass --pretrained yes")
            return False
        if not near:
            self.ask(
                "how much the weights gain: no comparison of fine-tuning and training from scratch is near these "
                "images, so both commands are given"
            )
        return True

    def variant(self, kind: Kind) -> str:
        """The largest candidate of the kind that suits the images and the latency; the cheapest if none does."""
        problem = self.problem
        names = list(CANDIDATES[kind])
        if kind == "hybrid":  # one for each size of the images; at most reduced to a quarter
            least = min(problem.side, 128) / 4
            names = [name for name in names if least <= side_of(name) <= max(8, 1.5 * problem.side)]
        elif problem.images < _MANY:
            names = names[:1]
        chosen = names[-1]
        if problem.target in ("phone", "gpu"):
            self.ask(time_elsewhere(problem.target, chosen))
            return chosen
        times = {name: seconds_of(name, measured=problem.measure) for name in names}
        fitting = [name for name in names if problem.latency is None or times[name].inference <= problem.latency]
        chosen = fitting[-1] if fitting else names[0]
        time = times[chosen]
        how = (
            "measured here, one at a time"
            if time.measured
            else "estimated from its FLOPs, right within a factor of three"
        )
        self.because(f"{chosen} takes {1e3 * time.inference:.3g} ms an image ({how})", "planned")
        if side_of(chosen) < problem.side / 2 and chosen != names[-1]:
            self.ask(
                f"what is lost where images of {problem.side} px are reduced to {side_of(chosen)} px to keep the "
                f"latency: train {names[-1]} too and compare"
            )
        if problem.latency is not None:
            limit = f"{1e3 * problem.latency:g} ms"
            if not fitting:
                self.ask(
                    f"a model for {limit}: {chosen} is the cheapest candidate and does not keep it; smaller images do, "
                    f"see vitrail plan {chosen} --image-sizes {side_of(chosen) // 4},{side_of(chosen) // 2} --measure"
                )
            elif not time.measured:
                self.ask(f"whether {limit} is kept: the time is estimated; use --measure on the target machine")
        return chosen

    def weigh(self, need: Need, kind: Kind, variant: str) -> None:
        """Add what is known of a need."""
        problem = self.problem
        if need == "robustness":
            found = nearest_measurement(self.known, "robustness", problem.images, problem.side)
            if found is None:
                self.ask("which kind is most robust: vitrail study robustness RUN SOURCE --against RUN measures it")
                return
            self.because(f"robustness, one comparison: {found.words()}", "measured")
            self.ask(
                "whether that holds for your images: vitrail study robustness RUN SOURCE --against RUN compares two "
                "models"
            )
        elif need == "fine-detail":
            self.because(detail_words(), "planned")
            self.ask(
                "how much accuracy smaller patches gain: vitrail sweep SOURCE --model vit_tiny_patch16_224 --over "
                "overrides.patch_size=8,16"
            )
        elif need == "global-context":
            self.ask(
                "whether global attention gains accuracy on your images: it was not measured; `vitrail study anatomy "
                "RUN` shows how far a trained model attends"
            )
        elif kind == "cnn":
            self.because("a CNN has no attention maps; gradient and occlusion methods of explain work", "program")
        else:
            self.because(f"explain and explore show the attention of every layer of {variant}", "program")
            self.ask("how faithful its maps are: vitrail study attribution RUN SOURCE measures it")
