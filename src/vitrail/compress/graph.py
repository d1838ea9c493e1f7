"""The graph of a checkpoint that `StoredGraph` runs."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, treespec_dumps

from ..checkpoint.contract import Checkpoint
from ..engines.onnx_graph import to_onnx
from ..engines.openvino_convert import fold_constants, to_openvino
from ..engines.program import to_program
from ..engines.stored_graph import OUTPUTS, ModelGraph
from ..nn import EmbeddingModel, SequentialModel
from ..rewrites.inference import for_inference
from ..tasks.registry import resolve
from ..tasks.task import Task


class BothOutputs(nn.Module):
    """Pixels -> (output of the head, joined by the task; embedding), in one pass.

    Args:
        model: a model of images.
        task: joins several outputs for the same thing.
    """

    def __init__(self, model: nn.Module, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(self, pixels: Tensor) -> tuple[Any, Tensor]:
        if isinstance(self.model, SequentialModel):
            found = self.model.forward_all(pixels)
            return self.task.joined(found.logits), found.embedding
        return self.task.joined(self.model(pixels)), EmbeddingModel(self.model)(pixels)  # type: ignore[arg-type]


def to_graph(checkpoint: Checkpoint, engine: str) -> ModelGraph:
    """A graph with `OUTPUTS` for batches of any size.

    Args:
        engine: "openvino" or "onnxruntime".
        checkpoint: its model takes the values of uint8 images, see `fold_preprocess`.

    Raises:
        VitrailError: the model cannot be converted.
    """
    preprocess = checkpoint.preprocess
    rewritten = for_inference(checkpoint.model, image_size=preprocess.image_size, graph=True)
    model = BothOutputs(rewritten, resolve(checkpoint.task)).eval()
    example = torch.zeros(2, preprocess.channels, *preprocess.image_size)
    with torch.inference_mode():
        leaves, structure = tree_flatten(model(example)[0])
    prediction, embedding = OUTPUTS
    parts = [f"{prediction} {number}" for number in range(1, len(leaves) + 1)] if len(leaves) > 1 else [prediction]
    program, names = to_program(model, example), [*parts, embedding]
    if engine == "openvino":
        content = to_openvino(program, output_names=names)
        fold_constants(content)  # only whole constants are scaled and quantised as weights
    else:
        content = to_onnx(program, output_names=names).SerializeToString()
    return ModelGraph(content, treespec_dumps(structure))
