"""Files of what was compiled: the same outputs as those of the model, and which sizes use them."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from tests.evaluation.small_checkpoint import tiny_checkpoint
from vitrail.checkpoint.atomic import write_folder
from vitrail.engines.program import to_program

pytest.importorskip("openvino")
from vitrail.engines.openvino_convert import to_openvino
from vitrail.engines.openvino_graph import OpenVINOGraph
from vitrail.engines.openvino_runtime import compiled_bytes, settings_for, taking_uint8
from vitrail.engines.stored_files import compiled_files, compiled_name

pytestmark = pytest.mark.filterwarnings("ignore")  # of exporters


def images(count: int) -> torch.Tensor:
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8)


@pytest.fixture
def model() -> object:
    return to_openvino(to_program(tiny_checkpoint().model.eval(), torch.zeros(2, 3, 8, 8)))


def files(folder: Path, model: object, precision: str, streams: int, sizes: tuple[int, ...]) -> dict[int, Path]:
    taking = taking_uint8(model.clone())  # type: ignore[attr-defined]
    for size in sizes:
        content = compiled_bytes(taking, size, settings_for(precision, streams))
        if content is None:
            pytest.skip("this OpenVINO cannot write what it compiled")
        (folder / compiled_name(size)).write_bytes(content)
    write_folder(folder / "choice", {file.name: file.read_bytes() for file in folder.glob("*.blob")} | {"a.xml": b"a"})
    (folder / "choice" / compiled_name(7)).write_bytes(b"not in the manifest")
    return compiled_files(folder / "choice")


@pytest.mark.parametrize("precision", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("streams", [1, 2])
def test_outputs_are_those_of_the_model(precision: torch.dtype, streams: int, tmp_path: Path, model: object) -> None:
    found = files(tmp_path, model, str(precision).removeprefix("torch."), streams, (1, 4))
    assert set(found) == {1, 4}
    stored = OpenVINOGraph(model.clone(), precision, streams=streams, dtype=torch.uint8, compiled=found)
    plain = OpenVINOGraph(model, precision, streams=streams, dtype=torch.uint8)
    for count in (4 * streams, 1):
        batch = images(count)
        assert torch.equal(stored(batch)[0], plain(batch)[0])


def test_stored_sizes_do_not_count(tmp_path: Path, model: object) -> None:
    stored = OpenVINOGraph(model, dtype=torch.uint8, compiled=files(tmp_path, model, "float32", 1, (1, 8)))
    plain = OpenVINOGraph(model, dtype=torch.uint8)
    for count, size in ((5, 8), (3, 3), (12, 12), (1, 1), (2, 3), (30, 30), (100, 0)):
        batch = images(count)
        torch.testing.assert_close(stored(batch)[0], plain(batch)[0], rtol=1e-4, atol=1e-5)
        assert size in stored.requests
    assert set(stored.requests) == {8, 3, 12, 1, 30, 0}


@pytest.mark.parametrize("damage", ["empty", "half", "another file", "missing"])
def test_what_cannot_be_read_is_compiled(damage: str, tmp_path: Path, model: object) -> None:
    file = files(tmp_path, model, "float32", 1, (2,))[2]
    content = {"empty": b"", "half": file.read_bytes()[: file.stat().st_size // 2], "another file": b"x" * 5000}
    file.unlink()
    if damage in content:
        file.write_bytes(content[damage])
    stored = OpenVINOGraph(model, dtype=torch.uint8, compiled={2: file})
    batch = images(2)
    assert torch.equal(stored(batch)[0], OpenVINOGraph(model, dtype=torch.uint8)(batch)[0])


def test_threads_share_a_graph(model: object) -> None:
    graph = OpenVINOGraph(model, dtype=torch.uint8)
    batches = [images(1 + number % 3) for number in range(60)]
    expected = [graph(batch)[0] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda batch: graph(batch)[0], batches))
    assert all(torch.equal(*pair) for pair in zip(found, expected, strict=True))
