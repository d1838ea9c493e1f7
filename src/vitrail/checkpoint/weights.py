"""Files of weights: which are pickles, and the tensors of a folder, also in several files."""

from pathlib import Path

from torch import Tensor

from ..errors import VitrailError
from .card import read_json
from .native import WEIGHTS, read_tensors
from .open_clip_card import OPEN_CLIP

INDEX = f"{WEIGHTS}.index.json"
"""File that names the shard of each tensor, if the weights are in several files."""
OPEN_CLIP_WEIGHTS = ("open_clip_model.safetensors", WEIGHTS)
_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pyth")
_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""First bytes of the files of torch.save: an archive, or a pickle of an older version."""


def is_pickle(path: Path) -> bool:
    """Whether a file is a pickle of tensors: by its suffix (also .pth.tar, of timm), or by its first bytes."""
    suffix = path.suffixes[-2] if path.suffix == ".tar" and len(path.suffixes) > 1 else path.suffix
    if suffix in _PICKLES:
        return True
    if suffix in (".safetensors", ".npz") or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4).startswith(_MAGIC)


def read_weights(folder: Path) -> dict[str, Tensor]:
    """Tensors of a folder of another library: model.safetensors, its shards, or open_clip's file.

    Raises:
        VitrailError: there is no such file, or a shard is missing.
    """
    names = [WEIGHTS, *(OPEN_CLIP_WEIGHTS if (folder / OPEN_CLIP).is_file() else ())]
    for name in names:
        if (folder / name).is_file():
            return read_tensors(folder / name)[0]
    if (folder / INDEX).is_file():
        return _read_shards(folder)
    others = ", ".join(sorted(file.name for file in folder.iterdir() if file.is_file() and is_pickle(file)))
    hint = f"{others} is a pickle: `vitrail convert` reads it" if others else "check the folder"
    raise VitrailError(f"{folder} has no {WEIGHTS}: {hint}")


def shard_names(index: Path) -> list[str]:
    """Names of the files of an index, sorted.

    Raises:
        VitrailError: an index of another form, or a name that leaves the folder.
    """
    places = read_json(index).get("weight_map")
    names = sorted({str(name) for name in places.values()}) if isinstance(places, dict) else []
    if not names:
        raise VitrailError(f"{index} has no weight_map from tensors to files: get the file again")
    for name in names:
        if Path(name).name != name or not name.endswith(".safetensors"):
            raise VitrailError(f"{index} names {name!r}: shards must be .safetensors files in the same folder")
    return names


def _read_shards(folder: Path) -> dict[str, Tensor]:
    state: dict[str, Tensor] = {}
    for name in shard_names(folder / INDEX):
        if not (folder / name).is_file():
            raise VitrailError(f"{folder} lacks {name}, a shard of {INDEX}: get the file too")
        state |= read_tensors(folder / name)[0]
    missing = sorted(set(read_json(folder / INDEX)["weight_map"]) - state.keys())
    if missing:
        raise VitrailError(f"the shards in {folder} lack {', '.join(missing[:5])}: get the files again")
    return state
