"""Run folders of earlier versions, whose data.json has fewer fields."""

import json
from pathlib import Path

from vitrail.training.publish.next_steps import next_steps


def test_what_comes_after_a_run_of_an_earlier_version(tmp_path: Path) -> None:
    former = {"source": "photos", "skip_bad": False, "task": "single", "class_names": ["a", "b"], "threads": 1}
    (tmp_path / "data.json").write_text(json.dumps(former))
    steps = next_steps(tmp_path, {"test_top1": 0.75})
    assert "test_top1 0.7500" in steps
    assert f"vitrail eval {tmp_path} photos" in steps
