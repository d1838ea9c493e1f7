"""Accelerators that this process may use; device and precision by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache

import torch

from ..errors import VitrailError, nearest
from .facts import MOST_CORES, main_memory, usable_cores

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
FLOAT8 = torch.float8_e4m3fn
"""Number format of the operands of linear layers with precision "float8", which only some engines have."""


def precision_name(dtype: torch.dtype) -> str:
    """The name of a number format in `PRECISIONS`, or "float8"."""
    return "float8" if dtype == FLOAT8 else str(dtype).removeprefix("torch.")


@dataclass(frozen=True, kw_only=True, slots=True)
class Gpu:
    """A GPU: name, total memory and free memory in bytes."""

    name: str
    memory: int
    available: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """Resources that this process may use; in a container or under a scheduler, less than the hardware has.

    Attributes:
        cores: number of CPU cores, limited by affinity and by the control group's quota (rounded up).
        memory: main memory in bytes, limited by the control group.
        available: free main memory in bytes, without swapping.
        gpus: CUDA devices, in order.
    """

    cores: int
    memory: int
    available: int
    gpus: tuple[Gpu, ...] = ()


def this_machine() -> Machine:
    """Read the current resources and limits of this process."""
    memory, available = main_memory()
    return Machine(cores=usable_cores(), memory=memory, available=available, gpus=_gpus())


@contextmanager
def threads_at_most(count: int) -> Iterator[None]:
    """Context manager: PyTorch, and the engines that are made inside, compute with at most so many threads."""
    former = torch.get_num_threads()
    token = MOST_CORES.set(count)
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(former)
        MOST_CORES.reset(token)


def gpu_names() -> list[str]:
    """Names of the CUDA devices, in order."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_name(index) for index in range(count)]


def pick_device(name: str = "auto") -> torch.device:
    """Return the device of a name: "auto" (CUDA if available, else CPU), "cpu", "cuda", "cuda:1".

    Raises:
        VitrailError: unknown name, or a device that this machine does not have.
    """
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return torch.device("cuda", 0) if count else torch.device("cpu")
    kind, _, number = name.partition(":")
    if kind not in ("cpu", "cuda") or (number and not number.isdecimal()):
        raise VitrailError(f"there is no device {name!r}: {nearest(name, ['auto', 'cpu', 'cuda', 'cuda:1'])}")
    if kind == "cpu":
        return torch.device("cpu")
    index = int(number or 0)
    if index >= count:
        have = f"has {count} CUDA device{'s' * (count > 1)}" if count else "has no CUDA device that PyTorch can use"
        raise VitrailError(f"there is no device {name!r}: this machine {have}; use --device auto or --device cpu")
    return torch.device("cuda", index)


def pick_precision(name: str, device: torch.device) -> torch.dtype:
    """Return the dtype of matrix products for a name: "auto", "float32", "bfloat16" or "float16".

    "auto" is bfloat16 if the device has instructions for it (CUDA from Ampere on; a CPU with AMX or
    AVX512-BF16), otherwise float32.

    Raises:
        VitrailError: unknown name; or "float8", which is for engines, see `engines.precision.pick_engine_precision`.
    """
    if name == "float8":
        raise VitrailError(
            "there is no precision 'float8' here: it is for predictions with the engines torch and compiled on a GPU; "
            "use bfloat16"
        )
    if name == "auto":
        return torch.bfloat16 if has_fast_bfloat16(device) else torch.float32
    if name not in PRECISIONS:
        raise VitrailError(f"there is no precision {name!r}: {nearest(name, ['auto', *PRECISIONS])}")
    return PRECISIONS[name]


def has_fast_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    # Private names, here and below, that differ between versions of PyTorch: if one is missing, the answer is no.
    return has_amx() or getattr(torch.cpu, "_is_avx512_bf16_supported", bool)()


def has_float8(device: torch.device) -> bool:
    """Whether the device multiplies 8-bit floating point matrices, with a scale for each row, in hardware."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < (8, 9):
        return False
    return _multiplies_float8(device)


@cache
def _multiplies_float8(device: torch.device) -> bool:
    """Whether a small product is right: for some GPUs of sufficient compute capability PyTorch has no such kernels."""
    ones = torch.ones(32, 32, device=device).to(FLOAT8)
    twos = torch.full((32, 1), 2.0, device=device)
    try:
        found = torch._scaled_mm(ones, ones.t(), scale_a=twos, scale_b=twos.t(), out_dtype=torch.bfloat16)
        return bool((found == 2 * 2 * 32).all())
    except torch.OutOfMemoryError:
        raise
    except (RuntimeError, TypeError):
        return False


def has_onednn_bfloat16() -> bool:
    """Whether oneDNN computes in bfloat16 on this CPU, in hardware or emulated with AVX-512."""
    return torch.backends.mkldnn.is_available() and torch.ops.mkldnn._is_mkldnn_bf16_supported()


def has_amx() -> bool:
    """Whether this CPU multiplies tiles of matrices (Intel AMX)."""
    return getattr(torch.cpu, "_is_amx_tile_supported", bool)()


def _gpus() -> tuple[Gpu, ...]:
    if not torch.cuda.is_available():
        return ()
    found = []
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        found.append(Gpu(name=torch.cuda.get_device_name(index), memory=total, available=free))
    return tuple(found)
