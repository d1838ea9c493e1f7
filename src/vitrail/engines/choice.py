"""The way to run a checkpoint that `vitrail optimize` chose for a machine: plain data, stored beside its manifest."""

import hashlib
import shutil
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from torch.utils._pytree import tree_structure, treespec_dumps

from ..checkpoint.atomic import (
    MANIFEST,
    Content,
    DamagedCheckpoint,
    finish_interrupted,
    verified_folder,
    write_folder,
)
from ..checkpoint.contract import Checkpoint
from ..checkpoint.native import tensors_digest
from ..errors import VitrailError, nearest
from ..json_text import json_text
from ..machine.devices import PRECISIONS, gpu_names
from ..machine.facts import cpu_name, usable_cores
from ..plain import Unreadable, read_json
from ..rewrites.base import Rewrite
from ..rewrites.registry import from_dict, to_dict
from ..typed import NO_FIT, build
from .engine import PACKAGES
from .stored_files import CHOICE, FOLDER, GRAPHS

ONE_TENSOR = treespec_dumps(tree_structure(0))


@dataclass(frozen=True, kw_only=True, slots=True)
class Setting:
    """A way to run a model.

    Attributes:
        engine: name of the engine.
        precision: number format of its matrix products: "float32", "bfloat16" or "float16"; of PyTorch's engines also
            "float8".
        int8: whether the products that NNCF chose have 8-bit operands; `precision` is the format of all others.
        dynamic: with int8, whether ranges of activations are those of each token, measured while the model runs, in
            place of those of images for calibration.
        streams: parts of a batch that run at the same time.
        reduction: rewrite that removes or merges tokens, or None.

    Raises:
        VitrailError: unknown precision, or one that the engine does not have; or dynamic without int8.
    """

    engine: str = "torch"
    precision: str = "float32"
    int8: bool = False
    dynamic: bool = False
    streams: int = 1
    reduction: Rewrite | None = None

    def __post_init__(self) -> None:
        if self.dynamic and not self.int8:
            raise VitrailError("dynamic ranges are those of 8-bit products: set int8 too, or leave dynamic out")
        known = [*PRECISIONS, *([] if self.engine in GRAPHS else ["float8"])]
        if self.precision not in known:
            raise VitrailError(f"there is no precision {self.precision!r}: {nearest(self.precision, known)}")

    def __str__(self) -> str:
        products = f"{'dynamic ' * self.dynamic}int8 and {self.precision}" if self.int8 else self.precision
        words = [self.engine, products]
        if self.streams > 1:
            words.append(f"{self.streams} streams")
        if self.reduction is not None:
            values = {name: value for name, value in to_dict(self.reduction).items() if name != "name" and value != ()}
            words.append(f"{to_dict(self.reduction)['name']} {', '.join(f'{k} {v}' for k, v in values.items())}")
        return ", ".join(words)


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """A setting that was measured on a machine for the weights of a checkpoint.

    Attributes:
        setting: how to run the model.
        machine: name of the machine, see `machine_name`.
        packages: package -> version that it was measured with.
        content: digest of the checkpoint, see `content_digest`.
        batch_size: images of a batch when it was measured.
        speedup: throughput in units of that of the unmodified model.
        drop: accuracy lost, in points; None if it was not measured.
        structure: pytree of the prediction of its graph, see `ModelGraph`; by default one tensor.
    """

    setting: Setting
    machine: str
    packages: Mapping[str, str]
    content: str
    batch_size: int
    speedup: float
    drop: float | None
    structure: str = ONE_TENSOR


def machine_name() -> str:
    """Name of this machine for stored choices: processor, usable cores, first GPU, and a digest of them."""
    text = ", ".join([cpu_name(), f"{usable_cores()} cores", *gpu_names()[:1]])
    return f"{text} ({hashlib.sha256(text.encode()).hexdigest()[:8]})"


def packages_of(engine: str) -> dict[str, str]:
    """Version of the package that runs the models of an engine; empty if it is not installed."""
    package = PACKAGES.get(engine, ("torch",))[0]
    try:
        return {package: version(package)}
    except PackageNotFoundError:
        return {}


def checkpoint_folder(path: Path | None) -> Path | None:
    """The folder with the manifest of a checkpoint that was loaded from `path`; None if it has none on disk."""
    for folder in (path, path and path / "checkpoints" / "best"):
        if folder and (folder / MANIFEST).is_file():
            return folder
    return None


def content_digest(checkpoint: Checkpoint) -> str:
    """sha256 of what a checkpoint computes: config, rewrites, preprocessing and weights, as they are in memory."""
    model = checkpoint.model
    text = f"{model.config}\0{model.rewrites}\0{checkpoint.preprocess}\0{tensors_digest(model.state_dict())}"
    return hashlib.sha256(text.encode()).hexdigest()


def choice_folder(folder: Path) -> Path:
    """Where the choice for this machine is stored."""
    return folder / FOLDER / machine_name()[-9:-1]


def write_choice(folder: Path, choice: Choice, files: Mapping[str, Content]) -> Path:
    """Store a choice with the files of its graph; atomic. Returns its folder."""
    values = asdict(choice)
    reduction = choice.setting.reduction
    values["setting"] = {
        **asdict(replace(choice.setting, reduction=None)),
        "reduction": None if reduction is None else to_dict(reduction),
    }
    target = choice_folder(folder)
    write_folder(target, {CHOICE: json_text(values).encode(), **files})
    return target


def remove_choice(folder: Path) -> None:
    """Remove the choice for this machine, if there is one."""
    place = choice_folder(folder)
    finish_interrupted(place)
    if place.exists():
        shutil.rmtree(place)


def stored_choice(checkpoint: Checkpoint) -> tuple[Choice, Path] | None:
    """The choice for this machine and its folder; None if there is none, or it does not fit any more.

    A choice that does not fit (other weights, another version of its engine, damaged files) is named in a warning.
    """
    folder = checkpoint_folder(checkpoint.path)
    if folder is None or not any((folder / FOLDER).glob(f"{choice_folder(folder).name}*")):
        return None  # with a suffix it is what an interrupted write left
    try:
        place = verified_folder(choice_folder(folder))
        choice = _from_dict(read_json(place / CHOICE), str(place / CHOICE))
    except (DamagedCheckpoint, Unreadable, VitrailError) as error:
        _warn(str(error).removesuffix("; use another checkpoint"))
        return None
    if choice.content != content_digest(checkpoint):
        _warn("it was measured with other weights, or another config")
        return None
    found = packages_of(choice.setting.engine)
    if choice.packages != found:
        wanted = ", ".join(f"{name} {number}" for name, number in choice.packages.items())
        here = ", ".join(f"{name} {found[name]} is" if name in found else f"{name} is not" for name in choice.packages)
        _warn(f"it was measured with {wanted}, and {here} installed here")
        return None
    return choice, place


def _warn(reason: str) -> None:
    warnings.warn(f"what `vitrail optimize` stored for this machine is not used: {reason}; run it again", stacklevel=3)


def _from_dict(values: Any, where: str) -> Choice:
    return build(Choice, values, where, special={Rewrite: _rewrite})


def _rewrite(value: Any, where: str) -> Any:
    return from_dict(value) if isinstance(value, Mapping) else NO_FIT
