"""Cores, memory, devices and precisions."""

import os
from types import SimpleNamespace

import pytest
import torch

from vitrail.errors import VitrailError
from vitrail.machine import devices, facts
from vitrail.machine.cgroup import MemoryLimit, cpu_quota, memory_limit
from vitrail.machine.devices import has_fast_bfloat16


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_version_2_takes_the_tightest_limit_on_the_way_up(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("0::/job/step\n")
    mount = tmp_path / "fs"
    write(mount / "job", cpu__max="150000 100000\n", memory__max="1000\n", memory__current="900\n")
    write(mount / "job", memory__stat="anon 500\ninactive_file 300\n")
    write(mount / "job" / "step", cpu__max="max 100000\n", memory__max="max\n", memory__current="800\n")
    assert cpu_quota(membership, mount) == 2
    assert memory_limit(membership, mount) == MemoryLimit(limit=1000, used=600)


def test_version_1_in_a_container_that_hides_its_path(tmp_path):
    membership = tmp_path / "cgroup"
    membership.write_text("4:memory:/outside/abc\n3:cpu,cpuacct:/outside/abc\n")
    mount = tmp_path / "fs"
    write(mount / "memory", memory__limit_in_bytes="5000\n", memory__usage_in_bytes="700\n")
    write(mount / "memory", memory__stat="total_inactive_file 200\n")
    cpu = {"cpu__cfs_quota_us": "400000\n", "cpu__cfs_period_us": "100000\n"}
    write(mount / "cpu,cpuacct", **cpu)
    assert cpu_quota(membership, mount) == 4
    assert memory_limit(membership, mount) == MemoryLimit(limit=5000, used=500)


def test_no_groups_no_limits(tmp_path):
    assert cpu_quota(tmp_path / "none", tmp_path) is None
    assert memory_limit(tmp_path / "none", tmp_path) is None


def test_memory_is_the_smaller_of_hardware_and_group(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:  1000 kB\nMemFree: 1 kB\nMemAvailable:  600 kB\n")
    monkeypatch.setattr(facts, "memory_limit", lambda: None)
    assert facts.main_memory(meminfo) == (1000 * 1024, 600 * 1024)
    monkeypatch.setattr(facts, "memory_limit", lambda: MemoryLimit(500 * 1024, 100 * 1024))
    assert facts.main_memory(meminfo) == (500 * 1024, 400 * 1024)


def test_cores_respect_affinity_and_quota(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 3, 5, 6}, raising=False)
    monkeypatch.setattr(facts, "cpu_quota", lambda: None)
    assert facts.usable_cores() == 4
    monkeypatch.setattr(facts, "cpu_quota", lambda: 3)
    assert facts.usable_cores() == 3


def test_this_machine_has_something():
    here = devices.this_machine()
    assert here.cores >= 1
    assert 0 < here.available <= here.memory


def test_devices(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert devices.pick_device("auto") == torch.device("cpu")
    with pytest.raises(VitrailError, match=r"no device 'cuda'.*no CUDA device"):
        devices.pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert devices.pick_device("auto") == torch.device("cuda", 0)
    assert devices.pick_device("cuda:1") == torch.device("cuda", 1)
    with pytest.raises(VitrailError, match="has 2 CUDA devices"):
        devices.pick_device("cuda:2")
    with pytest.raises(VitrailError, match="did you mean cuda"):
        devices.pick_device("cida")


def test_precision_follows_the_instructions_of_the_device(monkeypatch):
    cpu = torch.device("cpu")
    monkeypatch.setattr(devices, "has_fast_bfloat16", has_fast_bfloat16)  # the rule itself, not what tests put there
    monkeypatch.setattr(devices.torch, "cpu", SimpleNamespace(_is_amx_tile_supported=lambda: True))
    assert devices.pick_precision("auto", cpu) == torch.bfloat16
    monkeypatch.setattr(devices.torch, "cpu", SimpleNamespace())
    assert devices.pick_precision("auto", cpu) == torch.float32
    assert devices.pick_precision("float16", cpu) == torch.float16
    with pytest.raises(VitrailError, match="did you mean bfloat16"):
        devices.pick_precision("bfloat", cpu)
