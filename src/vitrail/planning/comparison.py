"""Costs of a model at several image and patch sizes, beside a CNN."""

from dataclasses import dataclass, replace

import torch

from ..checkpoint.build import blueprint
from ..checkpoint.origin import public_name
from ..errors import VitrailError
from ..machine.facts import resident_bytes
from ..models.fields import ModelConfig
from ..models.registry import model_config
from ..nn import Tokens
from ..progress import Track, silent
from ..rewrites.base import Rewrite
from .cost import OptimizerName, Plan, configure, plan, rewrites_of
from .flops import count
from .speed import Seconds, estimate, measure

CNNS = ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
"""CNNs of which the one with the nearest FLOPs is shown beside a model."""


@dataclass(frozen=True, slots=True)
class Row:
    """A model at one image size and patch size.

    Attributes:
        model: name of the variant.
        patch_size: side of the patches in pixels; None for the variant's own, or a model without patches.
        image_size: side of the image in pixels.
        tokens: length of the sequence after the encoder; for a CNN the cells of its last map; None if there is none.
        plan: its cost; None if the sizes do not fit, and `reason` is why.
        seconds: its time; None for a device that this machine does not have, without a measurement.
    """

    model: str
    patch_size: int | None
    image_size: int
    tokens: int | None = None
    plan: Plan | None = None
    seconds: Seconds | None = None
    reason: str = ""

    @property
    def name(self) -> str:
        """Name of a line of a chart: the model, or its patch size."""
        return self.model if self.patch_size is None else f"patch {self.patch_size}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Grid:
    """Sizes and settings of a comparison.

    Attributes:
        image_sizes: sides in pixels; empty: the model's own.
        patch_sizes: sides in pixels; empty: the model's own.
        beside: a variant to compare with at the same image sizes, "auto" for the ResNet with the nearest FLOPs at the
            first size, or "none".
        measure: measure the time on this machine instead of estimating it.
        num_classes, in_channels, batch_size, device, precision, optimizer, ema, checkpointing: see `plan`.
    """

    image_sizes: tuple[int, ...] = ()
    patch_sizes: tuple[int, ...] = ()
    beside: str = "auto"
    measure: bool = False
    num_classes: int | None = None
    in_channels: int | None = None
    batch_size: int = 32
    device: str = "cpu"
    precision: str = "auto"
    optimizer: OptimizerName = "adamw"
    ema: bool = True
    checkpointing: bool = False


def compare(model: str | ModelConfig, grid: Grid, *, progress: Track = silent) -> list[Row]:
    """Costs of every combination of sizes, then of the CNN beside it.

    Args:
        model: what `plan` takes.
        grid: sizes and settings.
        progress: reports the rows.

    Raises:
        VitrailError: unknown model, or no combination is possible; the message has the reason of the first.
    """
    own = configure(model, {}).image_size
    sizes = tuple(dict.fromkeys(grid.image_sizes)) or (own if isinstance(own, int) else own[0],)
    wanted: list[tuple[str | ModelConfig, int, int | None]] = [
        (model, size, patch) for patch in dict.fromkeys(grid.patch_sizes or (None,)) for size in sizes
    ]
    if beside := _beside(model, sizes[0], grid):
        wanted += [(beside, size, None) for size in sizes]
    runtime = resident_bytes()  # before the planning itself allocates memory
    rows = [_row(name, size, patch, grid, runtime) for name, size, patch in progress(wanted, len(wanted), "plans")]
    if not any(row.plan for row in rows if row.model == name_of(model)):
        raise VitrailError(rows[0].reason)
    return rows


def _beside(model: str | ModelConfig, size: int, grid: Grid) -> str | None:
    if grid.beside == "none":
        return None
    if grid.beside != "auto":
        configure(grid.beside, {})  # raises for an unknown name
        return grid.beside
    if model in CNNS:
        return None
    changes: dict[str, object] = {"image_size": size}
    if grid.patch_sizes:
        changes["patch_size"] = grid.patch_sizes[0]
    try:
        flops = count(configure(model, changes), rewrites_of(model)).flops
    except VitrailError:
        return CNNS[2]
    return min(CNNS, key=lambda name: abs(count(model_config(name, image_size=size)).flops - flops))


def _row(model: str | ModelConfig, size: int, patch: int | None, grid: Grid, runtime: int) -> Row:
    changes: dict[str, object] = {"image_size": size}
    given = {"patch_size": patch, "num_classes": grid.num_classes, "in_channels": grid.in_channels}
    changes |= {name: value for name, value in given.items() if value is not None}
    try:
        config, rewrites = configure(model, changes), rewrites_of(model)
        found = plan(
            config,
            batch_size=grid.batch_size,
            device=grid.device,
            precision=grid.precision,
            optimizer=grid.optimizer,
            ema=grid.ema,
            checkpointing=grid.checkpointing,
            by_part=True,
            rewrites=rewrites,
        )
        if grid.device == "cpu":
            found = _with_runtime(found, runtime)
        return Row(
            name_of(model), patch, size, tokens_of(config, rewrites), found, _seconds(config, found, grid, rewrites)
        )
    except VitrailError as error:
        return Row(name_of(model), patch, size, reason=f"{size} px{f', patch {patch}' if patch else ''}: {error}")


def name_of(model: str | ModelConfig) -> str:
    """Name of a variant, of a checkpoint without the folders of this machine, or of a config's class."""
    return public_name(model) if isinstance(model, str) else type(model).__name__


def _with_runtime(found: Plan, runtime: int) -> Plan:
    """The plan with the memory of Python and PyTorch that all rows share: this process grows while it plans."""
    more = runtime - found.runtime_bytes
    return replace(
        found,
        runtime_bytes=runtime,
        training_process_bytes=found.training_process_bytes + more,
        inference_process_bytes=found.inference_process_bytes + more,
    )


def _seconds(config: ModelConfig, found: Plan, grid: Grid, rewrites: tuple[Rewrite, ...]) -> Seconds | None:
    if grid.measure:
        return measure(config, grid.batch_size, device=grid.device, precision=grid.precision, rewrites=rewrites)
    return estimate(found.flops) if grid.device == "cpu" else None


def tokens_of(config: ModelConfig, rewrites: tuple[Rewrite, ...] = ()) -> int | None:
    """Length of the sequence that the encoder returns; None for a model whose features are not one sequence, or that
    takes more than images, such as texts or a mask."""
    config = config.densest()
    inputs = config.example_inputs(device="meta")
    if len(inputs) > 1:
        return None
    with torch.no_grad():
        found = blueprint(config, rewrites).eval().forward_features(*inputs)
    return found.x.shape[1] if isinstance(found, Tokens) else None
