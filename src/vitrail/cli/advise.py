"""The command `vitrail advise`."""

import json
from dataclasses import dataclass
from typing import Annotated

from ..errors import VitrailError
from ..study.needs import Answer, Need, Target
from .options import Json, Option, SkipBad, Strict
from .results import print_left_out, print_note


@dataclass
class Advise:
    """Recommend a model and a way to train it, from measured results.

    The number of images, the classes and the size of the images are those of SOURCE, whose files are decoded once, or
    those of the options. Reasons are measurements of this project and costs that are counted or timed on this machine.
    What neither covers is listed as not known, with the command that finds out.

    Examples:
        vitrail advise flowers/ --latency 10ms
        vitrail advise --images 3000 --classes 12 --latency 10ms
        vitrail advise --images 800 --classes 4 --pretrained yes --needs robustness
    """

    source: Annotated[str | None, Option(metavar="SOURCE", positional=True)] = None
    """Labelled images: class folders, a CSV, tar shards, or a named data set such as digits or cifar10."""
    images: Annotated[int | None, Option(shown_default="from SOURCE")] = None
    """Number of labelled training images."""
    classes: Annotated[int | None, Option(shown_default="from SOURCE, or 0")] = None
    """Number of classes."""
    side: Annotated[int | None, Option(shown_default="from SOURCE, or 224")] = None
    """Shorter side of the images in pixels."""
    latency: Annotated[str | None, Option(metavar="TIME")] = None
    """Longest time for one image, such as 10ms."""
    pretrained: Answer = "unknown"
    """Whether you have weights of a model for similar images."""
    target: Target = "server"
    """Where the model will run."""
    task: Annotated[str | None, Option(shown_default="from SOURCE, or classification")] = None
    """Task: classification or regression."""
    needs: tuple[Need, ...] = ()
    """What matters: fine-detail, global-context, robustness, explanations."""
    measure: bool = False
    """Measure the time of the candidates on this machine instead of estimating it."""
    skip_bad: SkipBad = False
    strict: Strict = True
    json: Json = False

    def run(self) -> None:
        from dataclasses import asdict, replace

        from ..progress import visible
        from ..study.advice import Problem, advise, parse_seconds
        from ..study.advice_page import advice_text
        from ..study.source_problem import source_problem

        latency = parse_seconds(self.latency) if self.latency else None
        if self.source:
            problem, bad = source_problem(
                self.source, task=self.task, skip_bad=self.skip_bad, strict=self.strict, progress=visible
            )
            print_left_out({self.source: bad})
            print_note(f"{self.source}: {problem.words()}")
        elif self.images is None:
            raise VitrailError("advice needs images: give a source, or --images N with --classes N")
        else:
            problem = Problem(images=self.images, classes=0)
        problem = replace(
            problem,
            images=problem.images if self.images is None else self.images,
            classes=problem.classes if self.classes is None else self.classes,
            side=problem.side if self.side is None else self.side,
            task=self.task.partition(":")[0] if self.task else problem.task,
            latency=latency,
            pretrained=self.pretrained,
            target=self.target,
            needs=self.needs,
            measure=self.measure,
        )
        found = advise(problem)
        print(json.dumps(asdict(found)) if self.json else advice_text(found))
