"""Heads of a model for several tasks."""

from torch import nn

from ..tokens import Tokens
from .outputs import TaskOutputs


class TaskHeads(nn.ModuleDict):
    """Heads for several tasks on the same tokens, with the names of `TaskOutputs`. Tokens -> TaskOutputs."""

    def forward(self, tokens: Tokens) -> TaskOutputs:
        return TaskOutputs(**{task: head(tokens) for task, head in self.items()})
