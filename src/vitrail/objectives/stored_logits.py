"""Logits of a teacher, computed once for augmented images and stored on disk."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors.torch import save
from torch import Tensor

from ..checkpoint.atomic import write_file
from ..checkpoint.native import read_tensors
from ..data.loader import Key
from ..errors import VitrailError
from ..plain import Unreadable, read_json
from ..tables import check_folder
from ..typed import build

FACTS = "logits.json"


@dataclass(frozen=True, kw_only=True)
class LogitFacts:
    """Description of a folder of stored logits.

    Attributes:
        teacher: name of the teacher.
        classes: the student's classes, in the order of the logits.
        images: digest of the augmented images, see `Labels.images`.
        count: number of training images.
        epochs: number of epochs whose images were augmented.
        top_k: number of logits stored for each image, the largest ones.
        temperature: temperature at which the mass of the other classes is exact.
        weights: digest of the teacher's tensors; empty in folders of earlier versions.
    """

    teacher: str
    classes: tuple[str, ...]
    images: str
    count: int
    epochs: int
    top_k: int
    temperature: float
    weights: str = ""


class StoredLogits:
    """Logits by the key of a sample, from a folder that `write_epoch` filled.

    The largest logits of an image are exact. The others are equal, such that their probabilities sum to the teacher's
    at the temperature of the folder (Wu et al., 2022, "TinyViT", section 3.1).

    Args:
        folder: the folder.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.facts = read_facts(folder)
        self._epoch = lru_cache(maxsize=2)(self._read)

    def __call__(self, pixels: Float[Tensor, "B C H W"], keys: Sequence[Key]) -> Float[Tensor, "B K"]:
        """Logits of the samples of a batch, on the device of its pixels."""
        rows = [self._epoch(epoch) for epoch, _, _ in keys]
        picked = [[part[index] for part in row] for row, (_, index, _) in zip(rows, keys, strict=True)]
        values, places, rest = (torch.stack(parts) for parts in zip(*picked, strict=True))
        others = len(self.facts.classes) - self.facts.top_k
        fill = rest - (torch.tensor(float(others)).log() if others else 0.0)
        logits = (self.facts.temperature * fill).unsqueeze(1).repeat(1, len(self.facts.classes))
        return logits.scatter(1, places.long(), values).to(pixels.device)

    def _read(self, epoch: int) -> tuple[Tensor, Tensor, Tensor]:
        tensors, _ = read_tensors(_file(self.folder, epoch))
        return tensors["values"], tensors["places"], tensors["rest"]


def write_facts(folder: Path, facts: LogitFacts) -> None:
    """Create the folder with its facts; if it has some already, they must be equal.

    Raises:
        VitrailError: the folder has logits of something else, or other files.
    """
    if (folder / FACTS).exists():
        former = read_facts(folder)
        facts = _of_same_teacher(facts, former, folder)
        if former == replace(facts, epochs=former.epochs) != facts:
            raise VitrailError(
                f"{folder} has logits of {former.epochs} epochs, not {facts.epochs}, and its students repeat their "
                "images after these: choose another folder"
            )
        if former != facts:
            raise VitrailError(f"{folder} has logits of another teacher, source or recipe: choose another folder")
        return
    check_folder(folder)
    if folder.is_dir() and (other := sorted(path.name for path in folder.iterdir())):
        raise VitrailError(f"{folder} has other files, such as {other[0]}: choose another folder for the logits")
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(asdict(facts), indent=2) + "\n"
    write_file(folder / FACTS, text.encode())


def _of_same_teacher(facts: LogitFacts, former: LogitFacts, folder: Path) -> LogitFacts:
    """The facts with the teacher of the folder, if it has the same weights, wherever they are now.

    Raises:
        VitrailError: the teacher has the name of the folder's, and other weights.
    """
    if not (facts.weights and former.weights):
        return replace(facts, weights=former.weights)  # only names can be compared
    if facts.weights == former.weights:
        return replace(facts, teacher=former.teacher)
    if facts.teacher == former.teacher:
        raise VitrailError(
            f"{folder} has logits of other weights than {facts.teacher} has now: choose another folder for the logits"
        )
    return facts


def read_facts(folder: Path) -> LogitFacts:
    """The facts of a folder of logits.

    Raises:
        VitrailError: it has none, or they are damaged.
    """
    try:
        return build(LogitFacts, read_json(folder / FACTS), FACTS)
    except (OSError, Unreadable) as error:
        raise VitrailError(f"{folder} has no stored logits that can be read ({error}): store them again") from None


def has_epoch(folder: Path, epoch: int) -> bool:
    """Whether the logits of an epoch are stored."""
    return _file(folder, epoch).exists()


def write_epoch(folder: Path, facts: LogitFacts, epoch: int, batches: Iterable[Float[Tensor, "B K"]]) -> None:
    """Store the logits of an epoch's images, which come in the order of their indices; atomic."""
    kept = [_largest(logits.float().cpu(), facts) for logits in batches]
    values, places, rest = (torch.cat(parts) for parts in zip(*kept, strict=True))
    content = save({"values": values, "places": places, "rest": rest})
    write_file(_file(folder, epoch), content)


def _largest(logits: Float[Tensor, "B K"], facts: LogitFacts) -> tuple[Tensor, Tensor, Tensor]:
    values, places = logits.topk(facts.top_k, dim=1)
    others = torch.ones_like(logits, dtype=torch.bool).scatter(1, places, value=False)
    rest = (logits / facts.temperature).masked_fill(~others, -torch.inf).logsumexp(dim=1)
    # Without other classes it is -inf, and times a temperature it is never read.
    return values, places.int(), rest.nan_to_num(neginf=0.0) if facts.top_k == logits.shape[1] else rest


def _file(folder: Path, epoch: int) -> Path:
    return folder / f"epoch-{epoch:05d}.safetensors"
