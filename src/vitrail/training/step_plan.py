"""The number of steps of a run and the steps at which it evaluates: fixed, or revised while it runs."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True)
class Revision:
    """Number of steps and evaluations of a run, as decided after some of its steps.

    Attributes:
        step: steps done when it was decided.
        position: fraction of the schedule done then, from 0 to 1.
        steps: steps of the whole run.
        evaluation: steps done at the next evaluation.
        every: steps from that evaluation to the following one.
    """

    step: int
    position: float
    steps: int
    evaluation: int
    every: int


class StepPlan:
    """Revisions of a run, of which the last one before a step holds for it.

    The position in the schedule (learning rate, image size) is continuous: a revision changes how fast it moves on.

    Args:
        revisions: in the order of their steps; the first has step 0.
    """

    def __init__(self, revisions: Sequence[Revision]) -> None:
        self.revisions = list(revisions)

    @classmethod
    def fixed(cls, steps: int, every: int) -> "StepPlan":
        """Plan of a known number of steps, with an evaluation after each `every` of them."""
        return cls([Revision(0, 0.0, steps, every, every)])

    @classmethod
    def from_json(cls, text: str) -> "StepPlan":
        """Inverse of `to_json`."""
        return cls([Revision(**row) for row in json.loads(text)])

    def to_json(self) -> str:
        """Return a JSON list of the revisions, a line each."""
        return "[\n" + ",\n".join(json.dumps(asdict(revision)) for revision in self.revisions) + "\n]\n"

    @property
    def last(self) -> Revision:
        """The last revision."""
        return self.revisions[-1]

    def at(self, step: int) -> Revision:
        """The revision that holds after `step` steps."""
        return next(revision for revision in reversed(self.revisions) if revision.step <= step)

    def position(self, step: int) -> tuple[float, int]:
        """Place of a step in the schedule, and the schedule's length, both in steps of the revision that holds.

        Without revisions these are `step` and the number of steps, exactly.
        """
        held = self.at(step)
        rest = (1 - held.position) * ((step - held.step) * held.steps / (held.steps - held.step))
        return held.position * held.steps + rest, held.steps

    def fraction(self, step: int) -> float:
        """Fraction of the schedule done after `step` steps."""
        place, steps = self.position(step)
        return place / steps

    def evaluates(self, done: int) -> bool:
        """Whether the run evaluates after `done` steps, 1 or more; it always does after the last one."""
        held = self.at(done - 1)  # a revision after this step was decided when it had been evaluated
        since = done - held.evaluation
        return done >= held.steps or (since >= 0 and since % held.every == 0)

    def revise(self, revision: Revision) -> None:
        """Add a revision; it replaces one of the same step."""
        if self.last.step == revision.step:
            self.revisions.pop()
        self.revisions.append(revision)
