"""Several heads on one encoder."""

from torch import nn

from ..tokens import Tokens
from .outputs import TaskOutputs


class TaskHeads(nn.ModuleDict):
    """A head for each task, named as in `TaskOutputs`, all on the same tokens. Tokens -> TaskOutputs."""

    def forward(self, tokens: Tokens) -> TaskOutputs:
        return TaskOutputs(**{task: head(tokens) for task, head in self.items()})
