"""Costs of many models: counted once, remembered, and counted again where the memory is of no use."""

import json
from pathlib import Path

import pytest

from vitrail.models.registry import model_config
from vitrail.planning import costs_cache
from vitrail.planning.costs_cache import CostsCache
from vitrail.planning.flops import Count, count
from vitrail.planning.listing import list_costs

CONFIG = model_config("vit_tiny_patch32_224", depth=1)


def test_what_was_counted_is_not_counted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = CostsCache(tmp_path)
    assert cache.count(CONFIG) == count(CONFIG)
    cache.save()
    monkeypatch.setattr(costs_cache, "count", lambda config: Count(1, 2))
    again = CostsCache(tmp_path)
    assert again.count(CONFIG) == count(CONFIG)
    assert again.count(model_config("vit_tiny_patch32_224", depth=2)) == Count(1, 2)


@pytest.mark.parametrize("content", [b"", b"[]", b'{"stamp": "vitrail 0", "counts": {"x": [1, 2]}}'])
def test_a_memory_of_no_use_is_begun_anew(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "costs.json").write_bytes(content)
    cache = CostsCache(tmp_path)
    assert cache.known == {}
    cache.count(CONFIG)
    cache.save()
    assert list(json.loads((tmp_path / "costs.json").read_bytes())["counts"]) == [repr(CONFIG)]


def test_a_folder_that_cannot_be_written_costs_only_time(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    cache = CostsCache(tmp_path / "file")
    assert cache.count(CONFIG) == count(CONFIG)
    cache.save()


def test_the_list_is_that_of_the_pattern() -> None:
    assert [cost.name for cost in list_costs("deit_tiny*")] == [
        "deit_tiny_distilled_patch16_224",
        "deit_tiny_patch16_224",
    ]
