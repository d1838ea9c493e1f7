"""Benchmark of whole models: our engines beside the same models of other libraries, on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

from ..engines.engine import ENGINES, engine_names, missing_packages
from ..engines.precision import PRECISIONS, pick_device
from ..errors import VitrailError, nearest
from ..machine.allocator import keep_freed_memory
from ..machine.devices import threads_at_most
from ..machine.facts import cpu_name
from ..planning.speed import matrix_peak
from ..progress import Track, silent
from .contenders import OURS, Contender, formats, runs_with
from .model_race import HeatResults, ModelRace
from .peers import PEERS, installed

_PACKAGES = ("torch", "openvino", "onnxruntime", "timm", "transformers", "torchvision")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelBenchOptions:
    """Options of the benchmark.

    Attributes:
        engines: what runs the models, ours and those of other libraries.
        against: other libraries.
        batch_sizes: images in one forward pass.
        threads: numbers of CPU threads; empty: PyTorch's own number.
        precisions: number formats of the matrix products.
        device: see `make_engine`.
        seconds: time for the rounds of one model with one batch size and one number of threads.
    """

    engines: tuple[str, ...] = tuple(ENGINES)
    against: tuple[str, ...] = tuple(PEERS)
    batch_sizes: tuple[int, ...] = (1, 8)
    threads: tuple[int, ...] = ()
    precisions: tuple[str, ...] = ("float32", "auto")
    device: str = "auto"
    seconds: float = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelBench:
    """Results of the benchmark.

    Attributes:
        options: its options.
        heats: results by model, number of threads and batch size.
        peaks: (threads, number format) -> measured FLOPs a second of a large matrix product.
        machine: name of the device, or of the processor.
        versions: package -> version.
        notes: sentences on what was left out.
    """

    options: ModelBenchOptions
    heats: tuple[HeatResults, ...]
    peaks: Mapping[tuple[int, str], float]
    machine: str
    versions: Mapping[str, str]
    notes: tuple[str, ...]


def bench_models(
    models: Sequence[str], options: ModelBenchOptions | None = None, *, progress: Track = silent
) -> ModelBench:
    """Time engines and other libraries in turn: every contender runs once in each round.

    Args:
        models: names of variants, which get random weights, and checkpoints.
        options: what is compared.
        progress: wraps the pairs of a model and a number of threads.

    Raises:
        VitrailError: an option that is not possible, an unknown model, or no contender that works.
    """
    given = options or ModelBenchOptions()
    _check(models, given)
    keep_freed_memory()
    device = pick_device(given.device)
    contenders, notes = _contenders(given, device)
    heats: list[HeatResults] = []
    peaks: dict[tuple[int, str], float] = {}
    pairs = [(name, threads) for name in models for threads in given.threads or (torch.get_num_threads(),)]
    for name, threads in progress(pairs, len(pairs), "models"):
        with threads_at_most(threads):
            for precision in {each.precision for each in contenders}:
                if (threads, precision) not in peaks:
                    peaks[threads, precision] = matrix_peak(device, PRECISIONS[precision])
            own = {precision: peak for (count, precision), peak in peaks.items() if count == threads}
            race = ModelRace(name, contenders, given.device, given.seconds)
            heats += race.heats(given.batch_sizes, threads, own)
    return ModelBench(
        options=given,
        heats=tuple(heats),
        peaks=peaks,
        machine=torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        versions=_versions(),
        notes=tuple(notes),
    )


def _contenders(options: ModelBenchOptions, device: torch.device) -> tuple[list[Contender], list[str]]:
    """All contenders that can run here, and sentences on what is left out.

    Every library also runs eagerly in float32: the first one is what ratios refer to.
    """
    notes = []
    precisions = formats(options.precisions, device)
    libraries = [OURS, *(library for library in options.against if installed(library))]
    notes += [f"{library} is not installed: left out" for library in options.against if not installed(library)]
    engines = [engine for engine in options.engines if not missing_packages(engine)]
    for engine in options.engines:
        if missing := missing_packages(engine):
            notes.append(f"engine {engine} needs {', '.join(missing)}: left out")
    pairs = [(engine, precision) for engine in engines for precision in precisions]
    possible = [pair for pair in pairs if runs_with(*pair, device)]
    wanted = [(library, *pair) for library in libraries for pair in possible]
    eager = [(library, "torch", "float32") for library in libraries]
    return [Contender(*each) for each in dict.fromkeys([*eager, *wanted])], notes


def _check(models: Sequence[str], options: ModelBenchOptions) -> None:
    """Raise VitrailError if an option is not possible."""
    if not models:
        raise VitrailError("no model is named: give a variant, such as vit_tiny_patch16_224, or a checkpoint")
    for kind, names, valid in (
        ("engine", options.engines, engine_names()),
        ("library", options.against, list(PEERS)),
    ):
        for name in names:
            if name not in valid:
                raise VitrailError(f"there is no {kind} {name!r} to compare with: {nearest(name, valid)}")
    for words, numbers in (("a batch size", options.batch_sizes), ("a number of threads", options.threads)):
        if any(number < 1 for number in numbers):
            raise VitrailError(f"{min(numbers)} is not {words}: use 1 or more")
    if not options.batch_sizes:
        raise VitrailError("no batch size is given: use --batch-sizes 1 8")


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
