"""The benchmark of models: equal outputs of other libraries, races by a clock that the contenders move, its files."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vitrail.bench import model_race, models
from vitrail.bench.contenders import Contender, formats, runs_with
from vitrail.bench.model_race import Heat, HeatResults, ModelRace, Result
from vitrail.bench.models import ModelBench, ModelBenchOptions, bench_models
from vitrail.bench.models_page import files
from vitrail.bench.peers import build_peer
from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.cli.main import main
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.machine.devices import threads_at_most
from vitrail.machine.facts import usable_cores
from vitrail.machine.race import Spread
from vitrail.models.registry import create_model
from vitrail.nn import joined
from vitrail.pages.files import results_page
from vitrail.planning.speed import matrix_peak

CPU = torch.device("cpu")
SMALL: dict[str, dict[str, Any]] = {
    "vit_tiny_patch16_224": {"image_size": 32, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 5},
    "swin_tiny_patch4_window7_224": {
        "image_size": 56,
        "embed_dim": 16,
        "depths": (1, 2),
        "num_heads": (1, 2),
        "num_classes": 5,
    },
    "convnext_tiny": {"image_size": 32, "embed_dim": 8, "depths": (1, 1, 1, 1), "num_classes": 5},
    "deit_tiny_distilled_patch16_224": {
        "image_size": 32,
        "embed_dim": 32,
        "depth": 2,
        "num_heads": 2,
        "num_classes": 5,
    },
}
LIBRARIES = {
    "vit_tiny_patch16_224": ("timm", "transformers", "torchvision"),
    "swin_tiny_patch4_window7_224": ("timm", "transformers", "torchvision"),
    "convnext_tiny": ("timm", "transformers", "torchvision"),
    "deit_tiny_distilled_patch16_224": ("timm",),
}
EAGER = tuple(Contender(library, "torch", "float32") for library in ("vitrail", "timm"))


def small(name: str) -> Any:
    model = create_model(name, **SMALL[name]).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


@pytest.fixture
def checkpoint(tmp_path: Path) -> str:
    model = small("vit_tiny_patch16_224")
    save(Checkpoint(model, (), Preprocess(image_size=(32, 32)), {}), tmp_path / "model")
    return str(tmp_path / "model")


@pytest.mark.parametrize(("name", "library"), [(name, each) for name, all_ in LIBRARIES.items() for each in all_])
def test_other_libraries_have_the_same_outputs(name: str, library: str) -> None:
    model = small(name)
    theirs = build_peer(library, model, name)
    side = SMALL[name]["image_size"]
    pixels = torch.randn(2, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(theirs(pixels), joined(model(pixels)), rtol=1e-4, atol=1e-4)


def test_models_that_other_libraries_lack() -> None:
    with pytest.raises(VitrailError, match="builds no transformers model for DistilledDeiTConfig"):
        build_peer("transformers", small("deit_tiny_distilled_patch16_224"), "deit_tiny_distilled_patch16_224")
    with pytest.raises(VitrailError, match="timm has no model like"):
        build_peer("timm", create_model("universal_vit_tiny_patch16_224", depth=1), "universal_vit_tiny_patch16_224")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[float]]:
    """Library -> durations of its next calls, by a clock that only they move; the first two are not timed."""
    now = 0.0
    left: dict[str, list[float]] = {}

    def moving(run: Callable[[Tensor], Any], library: str) -> Callable[[Tensor], Any]:
        def moved(pixels: Tensor) -> Any:
            nonlocal now
            now += left[library].pop(0)
            return run(pixels)

        return moved

    build = ModelRace._build
    monkeypatch.setattr("vitrail.machine.race.time.perf_counter", lambda: now)
    monkeypatch.setattr(model_race, "PAUSE", 0.0)
    monkeypatch.setattr(ModelRace, "_build", lambda race, each: moving(build(race, each), each.library))
    return left


def test_a_race_gives_medians_ratios_and_shares(checkpoint: str, clock: dict[str, list[float]]) -> None:
    """Ratios are paired by round: 4 / 2, 9 / 3 and 8 / 1 have the median 3, and the medians are 8 and 2."""
    clock |= {"vitrail": [0, 0, 2.0, 3.0, 1.0], "timm": [0, 0, 4.0, 9.0, 8.0]}
    race = ModelRace(checkpoint, EAGER, "cpu", seconds=0)
    (found,) = race.heats([2], 1, {"float32": 8.0 * race.flops})
    ours, theirs = found.results
    assert found.baseline == theirs.contender == EAGER[1]
    assert ours.seconds == Spread(1.0, 1.5, 2.0, 2.5)
    assert (ours.ratio, theirs.ratio) == (3.0, 1.0)
    assert ours.share == pytest.approx(2 / 2 / 8)
    assert max(ours.difference, theirs.difference) < 1e-5


def test_other_outputs_are_a_failure(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(nn.Module):
        def forward(self, pixels: Tensor) -> Tensor:
            return torch.ones(len(pixels), 5)

    monkeypatch.setattr(model_race, "build_peer", lambda library, model, name: Other())
    (found,) = ModelRace(checkpoint, EAGER, "cpu", seconds=0).heats([1], 1, {"float32": 1e9})
    assert found.baseline == EAGER[0]
    assert found.results[1].contender == EAGER[1]
    assert "its outputs differ by" in str(found.results[1].failed)
    assert found.results[1].seconds is None


def test_a_library_that_cannot_build_the_model_is_one_row(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(library: str, model: nn.Module, name: str) -> nn.Module:
        raise VitrailError("no such model")

    monkeypatch.setattr(model_race, "build_peer", refuse)
    contenders = (*EAGER, Contender("timm", "torch", "bfloat16"))
    (found,) = ModelRace(checkpoint, contenders, "cpu", seconds=0).heats([1], 1, {"float32": 1e9})
    assert [(result.contender.library, result.failed) for result in found.results] == [
        ("vitrail", None),
        ("timm", "no such model"),
    ]


def test_nothing_works(checkpoint: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*given: Any) -> Any:
        raise RuntimeError("broken")

    monkeypatch.setattr(model_race, "build_ours", refuse)
    with pytest.raises(VitrailError, match="nothing could be measured: broken"):
        list(ModelRace(checkpoint, EAGER[:1], "cpu", seconds=0).heats([1], 1, {"float32": 1e9}))


def test_formats_and_engines() -> None:
    assert formats(("float32", "auto", "bfloat16"), CPU)[0] == "float32"
    assert set(formats(("float32", "auto", "bfloat16"), CPU)) == {"float32", "bfloat16"}
    assert runs_with("onnxruntime", "float32", CPU)
    assert not runs_with("onnxruntime", "bfloat16", CPU)
    assert not runs_with("openvino", "float32", torch.device("cuda"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engines": ("torhc",)}, "there is no engine 'torhc' to compare with: did you mean torch"),
        ({"against": ("tim",)}, "there is no library 'tim' to compare with: did you mean timm"),
        ({"batch_sizes": (0,)}, "0 is not a batch size"),
        ({"threads": (-1,)}, "-1 is not a number of threads"),
        ({"precisions": ("float3",)}, "there is no precision 'float3'"),
    ],
)
def test_options_that_are_not_possible(options: dict[str, Any], message: str) -> None:
    with pytest.raises(VitrailError, match=message):
        bench_models(["vit_tiny_patch16_224"], ModelBenchOptions(**options))


def test_models_that_cannot_be_raced() -> None:
    with pytest.raises(VitrailError, match="takes more than images"):
        ModelRace("mae_vit_base_patch16", EAGER, "cpu", seconds=0)


def test_threads_at_most() -> None:
    before = torch.get_num_threads(), usable_cores()
    with threads_at_most(1):
        assert (torch.get_num_threads(), usable_cores()) == (1, 1)
    assert (torch.get_num_threads(), usable_cores()) == before


def test_the_peak_is_that_of_the_fastest_product(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock: 2 · 256³ operations in 0.01 s, 2 · 512³ in 0.04 s, 2 · 1024³ in 1 s, after which it ends."""
    times = iter([0.01] * 5 + [0.04] * 5 + [1.0] * 5)
    monkeypatch.setattr("vitrail.planning.speed.timed", lambda runner, device: next(times))
    assert matrix_peak(CPU, torch.float32) == 2 * 512**3 / 0.04
    assert not list(times)


def bench() -> ModelBench:
    """A made-up result."""
    heat = Heat(model="vit", batch_size=4, threads=2)
    done = (
        Result(contender=EAGER[0], seconds=Spread(0.1, 0.2, 0.25, 0.5), ratio=2.0, share=0.5, difference=1e-6),
        Result(contender=EAGER[1], seconds=Spread(0.5, 0.5, 0.5, 0.5), ratio=1.0, share=0.25, difference=1e-7),
        Result(contender=Contender("torchvision", "torch", "float32"), failed="<no> model"),
    )
    return ModelBench(
        options=ModelBenchOptions(),
        heats=(HeatResults(heat=heat, baseline=EAGER[1], results=done),),
        peaks={(2, "float32"): 1e11},
        machine="cpu",
        versions={"torch": "2"},
        notes=("transformers is not installed: left out",),
    )


def test_the_table_and_the_page() -> None:
    found = files(bench())
    assert found.table is not None
    head, rows = found.table
    assert all(len(row) == len(head) for row in rows)
    assert rows[0][4:9] == ["250.0", "200.0–500.0", "16.0", "2.00×", "50 %"]
    assert rows[2][-1] == "failed"
    assert found.cautions == ["torchvision torch float32 failed for vit, batch 4, 2 threads: <no> model"]
    page = results_page(found)
    assert "&lt;no&gt; model" in page
    assert "vitrail torch float32: 16, quartiles 8 and 20" in page
    assert "100 GFLOP/s" in page


def test_the_command_writes_a_table_and_a_page(
    checkpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "matrix_peak", lambda device, dtype: 1e11)
    out = tmp_path / "bench"
    given = ["--engines", "torch", "--against", "timm", "--batch-sizes", "1", "2", "--threads", "1", "--seconds", "0"]
    words = ["bench", "models", checkpoint, *given, "--precisions", "float32", "--device", "cpu", "-o", str(out)]
    with pytest.raises(SystemExit) as end:
        main(words)
    assert not end.value.code
    assert "timm torch float32" in capsys.readouterr().out
    with open(out / "models.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["library"], row["batch_size"]) for row in rows if row["failed"] == ""].count(("timm", "2")) == 1
    assert len(rows) == 4
    assert (out / "models.html").read_text().count("<svg") == 3  # the mark and two charts
