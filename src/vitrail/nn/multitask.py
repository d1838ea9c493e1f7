"""Several heads on one encoder."""

from torch import nn

from .outputs import TaskOutputs
from .tokens import Tokens


class TaskHeads(nn.ModuleDict):
    """A head for each task, named as in `TaskOutputs`, all on the same tokens. Tokens -> TaskOutputs."""

    def forward(self, tokens: Tokens) -> TaskOutputs:
        return TaskOutputs(**{task: head(tokens) for task, head in self.items()})
