"""The settings that are worth trying on this machine, in rounds: each builds on the best of the last."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec

import torch

from ..engines.choice import Setting
from ..engines.engine import PACKAGES, missing_packages
from ..errors import VitrailError, nearest
from ..machine.devices import has_fast_bfloat16, has_float8
from ..machine.facts import usable_cores
from ..rewrites.base import Rewrite
from ..rewrites.tokens import FuseTokens, MergeTokens, PruneTokens, Schedule

_MERGED: tuple[tuple[Schedule, float], ...] = (
    *(("decreasing", 0.065), ("alternating", 0.04), ("decreasing", 0.08)),
    *(("alternating", 0.065), ("alternating", 0.02)),
)
"""Schedules, and shares of the patches that a block merges on average: 4, 8, 13 and 16 of 196, as in ToMe's paper.

The most promising come first, as time may run out.
"""
_KEEPS = (0.9, 0.7)


def engines(device: torch.device, wanted: Sequence[str] = ()) -> list[str]:
    """The engines that are tried on a device: those that are wanted, or all that are installed and start quickly.

    "compiled" compiles in every process, for half a minute and more, and is tried on a CPU only if it is wanted.

    Raises:
        VitrailError: one that is wanted is not installed, or does not run on the device.
    """
    more = [name for name in PACKAGES if not missing_packages(name)] if device.type == "cpu" else []
    found = ["torch", "compiled", *more]
    for name in wanted:
        if name not in found:
            raise VitrailError(f"engine {name!r} cannot be tried on {device}: {nearest(name, found)}")
    if wanted:
        return [name for name in found if name in wanted]
    return [name for name in found if name != "compiled" or device.type != "cpu"]


def missing(device: torch.device) -> list[str]:
    """The engines that would run on a device if they were installed, and NNCF."""
    if device.type != "cpu":
        return []
    return [*filter(missing_packages, PACKAGES), *([] if find_spec("nncf") else ["nncf (8-bit)"])]


def plain(device: torch.device, names: Sequence[str], images: bool) -> list[Setting]:
    """Every engine with every number format that the machine is fast in.

    Args:
        device: where the model runs.
        names: of engines.
        images: whether there are images, which formats with 8 bits need: for calibration, or to know what they lose.
    """
    formats = ["float32", *(["bfloat16"] if has_fast_bfloat16(device) else [])]
    found = [
        Setting(engine=name, precision=precision)
        for name in names
        for precision in formats
        if (name, precision) != ("onnxruntime", "bfloat16")
    ]
    if images and has_float8(device):
        found += [Setting(engine=name, precision="float8") for name in names if name in ("torch", "compiled")]
    if images and "openvino" in names and find_spec("nncf"):
        found += [Setting(engine="openvino", precision=precision, int8=True) for precision in formats]
        found.append(Setting(engine="openvino", precision=formats[-1], int8=True, dynamic=True))
    return found


def with_streams(setting: Setting) -> list[Setting]:
    """A setting with a stream for each core."""
    cores = usable_cores()
    return [replace(setting, streams=cores)] if setting.engine == "openvino" and cores > 1 else []


def reductions(patches: int) -> list[Rewrite]:
    """Reductions of the tokens of a model with this many patches."""
    merged = [MergeTokens(max(1, round(share * patches)), schedule) for schedule, share in _MERGED]
    merged = [*dict.fromkeys(merged)]  # of few patches, shares are the same
    return [*merged, *(FuseTokens(keep=keep) for keep in _KEEPS), *(PruneTokens(keep=keep) for keep in _KEEPS[:1])]
