"""Stores the setting that a search chose, beside the checkpoint."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from ..checkpoint.contract import Checkpoint
from ..engines.choice import (
    ONE_TENSOR,
    Choice,
    Setting,
    content_digest,
    machine_name,
    packages_of,
    remove_choice,
    write_choice,
)
from ..engines.openvino_convert import write_openvino
from ..engines.openvino_runtime import compiled_bytes, settings_for, taking_uint8
from ..engines.stored_files import BATCH_SIZES, FOLDER, GRAPHS, compiled_name
from ..engines.stored_graph import ModelGraph
from ..errors import VitrailError
from ..training.run_lock import RunLock
from .measure import Outcome


@contextmanager
def storing(folder: Path) -> Iterator[None]:
    """Context manager in which this process alone searches for a checkpoint and stores the result.

    Two searches at once would also measure each other.

    Raises:
        VitrailError: the folder cannot be written to, which is better known before the search; or another process
            searches.
    """
    place = folder / FOLDER
    lock = RunLock(place)
    try:
        place.mkdir(exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise VitrailError(
            f"the result is stored in {place}, which cannot be written to ({error.strerror}): copy the checkpoint to "
            "another folder"
        ) from error
    try:
        yield
    finally:
        lock.release()
        with suppress(OSError):  # it has choices
            place.rmdir()


def store(
    checkpoint: Checkpoint,
    folder: Path,
    chosen: Outcome | None,
    graph: ModelGraph | None,
    batch_size: int,
    *,
    replace_by_none: bool,
) -> Path | None:
    """Store the chosen setting and return its folder; without one, remove what an earlier search stored here.

    Args:
        checkpoint: what was measured.
        folder: its folder.
        chosen: what was chosen.
        graph: graph of its setting, if its engine runs a stored one.
        batch_size: images of a batch when it was measured.
        replace_by_none: whether an earlier choice is removed if nothing was chosen; not after a search that was cut
            short, which may have missed it.
    """
    if chosen is None or chosen.setting is None:
        if replace_by_none:
            remove_choice(folder)
        return None
    choice = Choice(
        setting=chosen.setting,
        machine=machine_name(),
        packages=packages_of(chosen.setting.engine),
        content=content_digest(checkpoint),
        batch_size=batch_size,
        speedup=chosen.speedup,
        drop=chosen.drop,
        structure=ONE_TENSOR if graph is None else graph.structure,
    )
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        if graph is not None:
            _write_graph(place, chosen.setting, graph)
        # Copied file by file: together they take several times the memory of the model.
        return write_choice(folder, choice, {file.name: partial(_copy, file) for file in sorted(place.iterdir())})


def _write_graph(place: Path, setting: Setting, graph: ModelGraph) -> None:
    """Write the graph of a setting into a folder, one of OpenVINO also as it is compiled for `BATCH_SIZES`."""
    file = place / GRAPHS[setting.engine]
    if isinstance(graph.content, bytes):
        file.write_bytes(graph.content)
        return
    write_openvino(graph.content, file, {"setting": str(setting)}, half=False)
    if not setting.int8 and setting.reduction is None:
        return  # it is compiled as fast as such a file is read
    model, settings = taking_uint8(graph.content.clone()), settings_for(setting.precision, setting.streams)
    for size in sorted({-(-batch // setting.streams) for batch in BATCH_SIZES}):
        if (content := compiled_bytes(model, size, settings)) is not None:
            (place / compiled_name(size)).write_bytes(content)


def _copy(file: Path, target: Path) -> None:
    shutil.copyfile(file, target)
