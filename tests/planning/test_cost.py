"""Memory that is planned against memory that is measured."""

import copy
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from vitrail.checkpoint.contract import Checkpoint, save
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.nn import checkpoint_activations
from vitrail.objectives.regression import NumberLoss
from vitrail.planning.cost import configure, plan
from vitrail.planning.workload import Workload
from vitrail.training.optimizer import make_optimizers
from vitrail.training.recipe import Recipe

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def measured_peak(work) -> int:
    """The most that PyTorch's CPU allocator held while `work` ran."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as found:
        work()
    events = [event for event in found.profiler.kineto_results.events() if event.name() == "[memory]"]
    now = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        now += event.nbytes()
        peak = max(peak, now)
    return peak


def train_twice(config, batch, dtype, checkpointing=False):
    model = config.build().train()
    if checkpointing:
        checkpoint_activations(model)
    average = [parameter.detach().clone() for parameter in model.parameters()]
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    for _ in range(2):
        pixels = torch.zeros(batch, config.in_channels, config.image_size, config.image_size)
        targets = torch.zeros(batch, config.num_classes)
        with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
            logits = model(pixels)
        F.cross_entropy(logits.float(), targets).backward()
        optimizer.step()
        optimizer.zero_grad()
        torch._foreach_lerp_(average, [parameter.detach() for parameter in model.parameters()], 0.1)


def infer(config, batch, dtype):
    model = config.build().eval()
    pixels = torch.zeros(batch, config.in_channels, config.image_size, config.image_size)
    with torch.inference_mode(), torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        return model(pixels).float()


CASES = [
    pytest.param("vit_tiny_patch16_224", 4, {}, marks=pytest.mark.exhaustive),
    pytest.param("vit_small_patch16_224", 2, {"depth": 3}, marks=pytest.mark.exhaustive),
    ("compact_small_32", 32, {}),
]


@pytest.mark.filterwarnings("ignore")  # the profiler's, about the machine
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "batch", "overrides"), CASES)
def test_training_memory_is_within_5_percent_of_the_measured_peak(name, batch, overrides, precision):
    config = model_config(name, **overrides)
    planned = plan(config, batch_size=batch, precision=precision).training_bytes
    measured = measured_peak(lambda: train_twice(config, batch, DTYPES[precision]))
    assert planned == pytest.approx(measured, rel=0.05)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize(("name", "batch", "overrides"), CASES)
def test_inference_memory_is_within_5_percent_of_the_measured_peak(name, batch, overrides, precision):
    config = model_config(name, **overrides)
    planned = plan(config, batch_size=batch, precision=precision).inference_bytes
    measured = measured_peak(lambda: infer(config, batch, DTYPES[precision]))
    assert planned == pytest.approx(measured, rel=0.05)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.exhaustive
def test_checkpointing_is_planned_as_it_is_done():
    config = model_config("vit_tiny_patch16_224", depth=6)
    planned = plan(config, batch_size=4, checkpointing=True)
    measured = measured_peak(lambda: train_twice(config, 4, torch.float32, checkpointing=True))
    assert planned.training_bytes == pytest.approx(measured, rel=0.05)
    assert planned.activations < plan(config, batch_size=4).activations / 2


def test_parts_add_up_and_options_change_them():
    full = plan("vit_tiny_patch16_224", batch_size=2, image_size=64, num_classes=10)
    assert full.image_size == (64, 64)
    assert full.weights == 4 * full.parameters == full.gradients == full.ema == full.optimizer / 2
    held = full.weights + full.gradients + full.optimizer + full.ema
    assert full.training_bytes == held + full.activations
    lean = plan("vit_tiny_patch16_224", batch_size=2, image_size=64, num_classes=10, ema=False, optimizer="muon")
    assert lean.ema == 0
    blocks = 12 * 12 * 192**2 * 4  # bytes of qkv, projection and both layers of the MLP, in twelve blocks
    assert lean.optimizer == full.optimizer - blocks


SMALL = {
    "swin_tiny_patch4_window7_224": {"image_size": 56, "depths": (1, 1), "num_heads": (3, 6)},
    "beit_base_patch16_224": {"image_size": 32, "depth": 1},
    "levit_128s": {"image_size": 64},
    "vit_tiny_patch16_224": {"image_size": 32, "depth": 1},
    "videomae_small_patch16_224": {"image_size": 32, "depth": 1},
}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_state_of_the_optimizer_is_planned_as_the_trainer_makes_it(name, optimizer):
    config = model_config(name, num_classes=3, **SMALL[name])
    model = config.build()
    recipe = Recipe(optimizer=optimizer, lr=1e-3, muon_lr=0.02, batch_size=1)
    optimizers = make_optimizers(NumberLoss(model), recipe)
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    for each in optimizers:
        each.step()
    states = [state for each in optimizers for state in each.state.values()]
    held = sum(value.nbytes for state in states for value in state.values() if value.ndim)
    work = Workload(
        config=config,
        device=torch.device("cpu"),
        precision=torch.float32,
        optimizer=optimizer,
        ema=False,
        checkpointing=False,
    )
    assert work.optimizer_bytes == held


GROW = """
from pathlib import Path
import torch
from vitrail import Recipe, create_model
from vitrail.planning.cost import plan
from vitrail.machine.facts import resident_bytes
from vitrail.machine.allocator import keep_freed_memory
from vitrail.objectives.regression import NumberLoss
from vitrail.training.optimizer import make_optimizers
keep_freed_memory()
def train(name, side, batch):
    model = create_model(name).train()
    optimizers = make_optimizers(NumberLoss(model), Recipe(lr=1e-3, batch_size=batch, optimizer="adamw"))
    for _ in range(3):
        model(torch.randn(batch, 3, side, side)).square().mean().backward()
        optimizers[0].step()
        optimizers[0].zero_grad(set_to_none=True)
train("compact_tiny_16", 16, 2)  # what is loaded late is loaded now
before = resident_bytes()
train("vit_tiny_patch16_224", 224, 12)
peak = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
grown = int(peak[0].split()[1]) * 1024 - before
planned = plan("vit_tiny_patch16_224", batch_size=12, ema=False)
print((before + planned.training_process_bytes - planned.runtime_bytes) / (before + grown))
"""


@pytest.mark.exhaustive
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system does not say what a process holds")
def test_the_process_is_planned_within_a_tenth_of_what_it_holds():
    done = subprocess.run([sys.executable, "-c", GROW], capture_output=True, text=True, check=True)
    assert float(done.stdout) == pytest.approx(1, abs=0.1)


@pytest.mark.exhaustive
def test_the_second_copy_of_the_weights_is_planned_where_the_engine_makes_one(monkeypatch):
    linear = 12 * (4 * 192**2 + 2 * 4 * 192**2) + 12 * (3 + 1 + 4 + 1) * 192 + 1000 * 193  # ViT-Ti without its patches

    def process(precision: str) -> int:
        found = plan("vit_tiny_patch16_224", batch_size=1, precision=precision)
        return found.inference_process_bytes - found.runtime_bytes

    monkeypatch.setattr("vitrail.planning.workload.can_prepack", lambda device, precision: False)
    without = process("float32"), process("bfloat16")
    monkeypatch.setattr("vitrail.planning.workload.can_prepack", lambda device, precision: True)
    assert (process("float32") - without[0], process("bfloat16") - without[1]) == (4 * linear, 2 * linear)


def test_a_huge_model_is_planned_without_its_memory():
    huge = plan("vit_huge_patch14_224", batch_size=64, checkpointing=True, device="cuda", precision="bfloat16")
    assert huge.parameters == 632_045_800
    assert huge.training_bytes > 16 * huge.parameters


def test_the_largest_batch_fits_and_one_more_does_not():
    budget = 6 * 10**8
    config = model_config("vit_tiny_patch16_224", image_size=64, depth=2)
    words = {"num_classes": 10, "device": "cuda", "ema": False}
    found = plan(config, budget=budget, **words)
    best = found.largest_training_batch
    fits, too_much = (plan(config, batch_size=batch, **words) for batch in (best, best + 1))
    assert fits.training_bytes + fits.runtime_bytes <= budget < too_much.training_bytes + too_much.runtime_bytes
    assert found.largest_inference_batch > best


@pytest.mark.exhaustive
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    "name",
    [
        "vit_tiny_patch16_224",
        "deit_tiny_distilled_patch16_224",
        "compact_small_32",
    ],
)
def test_two_depths_give_any_other(name, checkpointing, monkeypatch):
    config = model_config(name, depth=7, image_size=64)
    quick = plan(config, batch_size=8, checkpointing=checkpointing)
    monkeypatch.setattr("vitrail.planning.trace._LEAST_DEPTH", 100)
    slow = plan(config, batch_size=8, checkpointing=checkpointing)
    assert quick.inference_bytes == slow.inference_bytes
    assert quick.training_bytes == pytest.approx(slow.training_bytes, rel=0.01)


def test_the_model_that_was_given_stays_as_it_is():
    config = model_config("vit_tiny_patch32_224")
    before = copy.deepcopy(config)
    plan(config, batch_size=2, image_size=32)
    assert config == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"model": "vit_bace_patch16_224"}, "did you mean vit_base_patch16_224"),
        ({"model": "vit_tiny_patch16_224", "batch_size": 0}, "batch size 0"),
        ({"model": "vit_tiny_patch16_224", "device": "tpu"}, "no device 'tpu'"),
        ({"model": "vit_tiny_patch16_224", "optimizer": "adam"}, "did you mean adamw"),
        ({"model": "vit_tiny_patch16_224", "precision": "float8"}, "no precision 'float8'"),
    ],
)
def test_errors_name_the_way_out(words, message):
    with pytest.raises(VitrailError, match=message):
        plan(**words)


def test_names_in_papers_are_no_hub_ids():
    assert configure("ViT-Ti/16", {"image_size": 64}) == model_config("vit_tiny_patch16_224", image_size=64)


def test_a_checkpoint_is_planned_by_its_path(tmp_path):
    config = model_config("vit_tiny_patch16_224", depth=2, num_classes=7, image_size=64)
    checkpoint = Checkpoint(config.build(), (), Preprocess(image_size=(64, 64)))
    save(checkpoint, tmp_path / "runs" / "checkpoints" / "best")
    save(checkpoint, tmp_path / "model.safetensors")
    expected = plan(config, batch_size=2)
    for path in (tmp_path / "runs", tmp_path / "runs" / "checkpoints" / "best", tmp_path / "model.safetensors"):
        found = plan(str(path), batch_size=2)
        assert (found.parameters, found.flops) == (expected.parameters, expected.flops)
        assert (found.num_classes, found.training_bytes) == (7, expected.training_bytes)
    assert plan(str(tmp_path / "runs"), batch_size=2, num_classes=3).parameters < expected.parameters
    with pytest.raises(VitrailError, match="is not a checkpoint"):
        plan(str(tmp_path))
