"""The command `vitrail advise`."""

import json
from dataclasses import dataclass
from typing import Annotated

from ..study.needs import Answer, Need, Target
from .options import Json, Option


@dataclass
class Advise:
    """Recommend a model and a way to train it, from measured results.

    Reasons are measurements of this project and costs that are counted or timed on this machine. What neither covers
    is listed as not known, with the command that finds out.

    Examples:
        vitrail advise --images 3000 --classes 12 --latency 10ms
        vitrail advise --images 800 --classes 4 --pretrained yes --needs robustness
    """

    images: int
    """Number of labelled training images."""
    classes: int = 0
    """Number of classes."""
    side: int = 224
    """Shorter side of the images in pixels."""
    latency: Annotated[str | None, Option(metavar="TIME")] = None
    """Longest time for one image, such as 10ms."""
    pretrained: Answer = "unknown"
    """Whether you have weights of a model for similar images."""
    target: Target = "server"
    """Where the model will run."""
    task: str = "classification"
    """Task: classification or regression."""
    needs: tuple[Need, ...] = ()
    """What matters: fine-detail, global-context, robustness, explanations."""
    measure: bool = False
    """Measure the time of the candidates on this machine instead of estimating it."""
    json: Json = False

    def run(self) -> None:
        from dataclasses import asdict

        from ..study.advice import Problem, advise, parse_seconds
        from ..study.advice_page import advice_text

        found = advise(
            Problem(
                images=self.images,
                classes=self.classes,
                side=self.side,
                latency=parse_seconds(self.latency) if self.latency else None,
                pretrained=self.pretrained,
                target=self.target,
                task=self.task.partition(":")[0],
                needs=self.needs,
                measure=self.measure,
            )
        )
        print(json.dumps(asdict(found)) if self.json else advice_text(found))
