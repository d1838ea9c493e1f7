"""Runs a checkpoint by a `Setting`."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..checkpoint.atomic import read_manifest
from ..checkpoint.contract import Checkpoint
from ..checkpoint.fold_preprocess import fold_preprocess, keeping_values
from ..data.preprocess import Preprocess
from ..nn import DualEncoder, EmbeddingModel
from ..rewrites.registry import rewrite
from .choice import Choice, Setting, stored_choice
from .engine import Engine, make_engine
from .stored_files import GRAPHS

if TYPE_CHECKING:
    from .stored_graph import ModelGraph


def prepared(checkpoint: Checkpoint, setting: Setting) -> Checkpoint:
    """The checkpoint that a setting runs: fewer tokens, and values of images in place of normalised pixels."""
    if setting.reduction is not None:
        checkpoint = replace(checkpoint, model=rewrite(checkpoint.model, setting.reduction))
    return fold_preprocess(checkpoint)


def of_images(checkpoint: Checkpoint) -> Checkpoint:
    """The part of a checkpoint that takes images: of a model of images and texts its image encoder, else all of it."""
    model = checkpoint.model
    if not isinstance(model, DualEncoder):
        return checkpoint
    return replace(checkpoint, model=model.image, class_names=(), tokenizer=None)


def run_setting(
    checkpoint: Checkpoint,
    setting: Setting,
    graph: "ModelGraph | None" = None,
    *,
    device: str = "auto",
    vectors: bool = False,
) -> tuple[Engine, Preprocess]:
    """The engine of a setting, and the preprocessing of its images.

    Args:
        checkpoint: what is run.
        setting: how it is run.
        graph: stored graph of a setting that has one, see `StoredGraph`.
        device: see `make_engine`.
        vectors: whether the output is the embedding.
    """
    if graph is not None:
        from .stored_graph import OUTPUTS, StoredGraph

        return StoredGraph(setting, graph, OUTPUTS[vectors]), keeping_values(checkpoint.preprocess)
    made = prepared(of_images(checkpoint), setting)
    model = EmbeddingModel(made.model) if vectors else made.model
    return make_engine(model, engine=setting.engine, device=device, precision=setting.precision), made.preprocess


class Running(NamedTuple):
    """How a command runs a checkpoint.

    Attributes:
        engine: runs the model.
        preprocess: the preprocessing of its images.
        way: words that differ where outputs do: the name of the engine, or the stored setting, for 8-bit products with
            a digest of its graph, which depends on the images for calibration.
    """

    engine: Engine
    preprocess: Preprocess
    way: str


def engine_for(checkpoint: Checkpoint, *, engine: str, device: str, precision: str, vectors: bool = False) -> Running:
    """The engine that a command runs a checkpoint with.

    Args:
        checkpoint: what is run.
        engine: a name of an engine, or "auto": what `vitrail optimize` stored for this machine if device and precision
            are "auto" too, else "torch".
        device, precision: see `make_engine`.
        vectors: whether the output is the embedding.
    """
    if engine == "auto" and (device, precision) == ("auto", "auto") and (found := stored_choice(checkpoint)):
        choice, folder = found
        way, graph = str(choice.setting), _stored_graph(choice, folder)
        if graph is not None and choice.setting.int8:
            way += f", {read_manifest(folder)[graph.content.with_suffix('.bin').name][1]}"
        return Running(*run_setting(checkpoint, choice.setting, graph, vectors=vectors), way)
    model = EmbeddingModel(checkpoint.model) if vectors else checkpoint.model
    named = "torch" if engine == "auto" else engine
    running = make_engine(model, engine=named, device=device, precision=precision)
    return Running(running, checkpoint.preprocess, named)


def _stored_graph(choice: Choice, folder: Path) -> "ModelGraph | None":
    """The graph of a choice in its folder; None for engines of PyTorch, which have none."""
    if choice.setting.engine not in GRAPHS:
        return None
    from .stored_graph import ModelGraph

    return ModelGraph(folder / GRAPHS[choice.setting.engine], choice.structure)
