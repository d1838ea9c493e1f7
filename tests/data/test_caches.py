"""Caches that are damaged, full, locked or nowhere: nothing wrong is read from them, and nothing fails for them."""

import os
from pathlib import Path

import numpy as np
import pytest

from vitrail.data import user_folders
from vitrail.data.facts_cache import Facts, FactsCache, key
from vitrail.data.user_folders import cache_folder
from vitrail.planning.costs_cache import CostsCache
from vitrail.planning.flops import Count

TRUTH = {key(f"file {i}"): Facts(100 + i, 200 + i, 3, f"{i:032x}", 1) for i in range(40)}


def flips(data: bytes, count: int) -> list[bytes]:
    random = np.random.default_rng(0)
    damaged = []
    for _ in range(count):
        place = int(random.integers(len(data)))
        damaged.append(data[:place] + bytes([data[place] ^ (1 << int(random.integers(8)))]) + data[place + 1 :])
    return damaged


def test_damaged_facts_are_not_used_and_made_again(tmp_path: Path):
    cache = FactsCache(tmp_path)
    cache.put(TRUTH.items())
    whole = cache.path.read_bytes()
    assert cache.get(list(TRUTH)) == TRUTH
    for damaged in flips(whole, 60):
        cache.path.write_bytes(damaged)
        assert cache.get(list(TRUTH)).items() <= TRUTH.items()
    for damaged in (b"no database", whole[: len(whole) // 2], whole.replace(b"checked", b"xhecked")):
        cache.path.write_bytes(damaged)
        cache.put(TRUTH.items())
        assert cache.get(list(TRUTH)) == TRUTH


def test_damaged_costs_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("vitrail.planning.costs_cache.count", lambda config: Count(1000, 2000))
    cache = CostsCache(tmp_path)
    assert cache.count("small") == Count(1000, 2000)
    cache.save()
    whole = cache.path.read_bytes()
    assert CostsCache(tmp_path).known == {"'small'": [1000, 2000]}
    for damaged in [*flips(whole, 100), b"[]", b'{"stamp": 1}', b"[" * 100_000, whole[:-1], b"\xff"]:
        cache.path.write_bytes(damaged)
        assert CostsCache(tmp_path).known in ({}, cache.known)


def test_a_cache_out_of_reach_is_ignored(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    cache = FactsCache(tmp_path / "file/below")
    cache.put(TRUTH.items())
    assert cache.get(list(TRUTH)) == {}
    if os.geteuid() == 0:
        return  # root may write to a read-only folder
    (tmp_path / "read").mkdir(mode=0o500)
    FactsCache(tmp_path / "read").put(TRUTH.items())
    assert FactsCache(tmp_path / "read").get(list(TRUTH)) == {}


def test_a_user_without_a_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def nowhere() -> Path:
        raise RuntimeError("Could not determine home directory.")

    for name in ("VITRAIL_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(Path, "home", nowhere)
    monkeypatch.setattr(user_folders.tempfile, "tempdir", str(tmp_path))
    user_folders._temporary_folder.cache_clear()
    folder = cache_folder()
    assert folder == tmp_path / f"vitrail-{os.getuid()}"
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o777)  # somebody else's, or open to others
    user_folders._temporary_folder.cache_clear()
    assert cache_folder() not in (folder, tmp_path)
    assert cache_folder().parent == tmp_path
    user_folders._temporary_folder.cache_clear()
