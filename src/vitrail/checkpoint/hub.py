"""Downloads weights from the Hugging Face hub, or finds them in its cache."""

from collections.abc import Iterable
from pathlib import Path

from ..data.tokenize import FILE as TOKENIZER
from ..errors import VitrailError
from ..progress import Say
from .atomic import MANIFEST, read_manifest
from .foreign_config import CARDS
from .native import MODEL, WEIGHTS
from .weights import INDEX, OPEN_CLIP_WEIGHTS, shard_names

_FOREIGN = (*CARDS, "preprocessor_config.json", TOKENIZER)
_ENOUGH = {WEIGHTS, INDEX, *OPEN_CLIP_WEIGHTS}
"""Any of these files names or holds all weights."""
_PATIENCE = 20  # seconds


def fetch(repository: str, say: Say) -> tuple[Path, str]:
    """Download the files of a model to the hub's cache, or find them there.

    HF_ENDPOINT, HF_HUB_OFFLINE, HF_HOME and the user's token are honoured by `huggingface_hub`.

    Returns:
        folder of the files, and the licence from the model card ("" if it has none).

    Raises:
        VitrailError: no such model, no network and no cached copy, or a model without safetensors.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HTTPError, RepositoryNotFoundError

    try:
        info = HfApi().model_info(repository, timeout=_PATIENCE)
    except GatedRepoError:
        raise VitrailError(
            f"{repository} requires consent: give it on the model's page and run `hf auth login`"
        ) from None
    except RepositoryNotFoundError:
        raise VitrailError(f"there is no file or folder {repository}, and no model of that name on the hub") from None
    except (OSError, HTTPError) as error:
        return _cached(repository, error, say), ""
    names = {file.rfilename for file in info.siblings or ()}
    license = (info.card_data.get("license") if info.card_data else None) or ""
    say(f"{repository}: licence {license or 'not stated on the model card'}")
    if not names & _ENOUGH:
        raise VitrailError(f"{repository} has no {WEIGHTS}: files with pickles are not read from the hub")
    return _download(repository, names, cache_only=False), str(license)


def _cached(repository: str, error: Exception, say: Say) -> Path:
    from huggingface_hub import try_to_load_from_cache

    wanted = (MODEL, *_FOREIGN, *_ENOUGH)
    names = {name for name in wanted if isinstance(try_to_load_from_cache(repository, name), str)}
    if not names & _ENOUGH:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise VitrailError(
            f"there is no file or folder {repository}, and the hub cannot be reached ({reason}): "
            "check the path, the network, HF_ENDPOINT and HF_HUB_OFFLINE"
        )
    say(f"{repository}: the hub cannot be reached, the cached copy is used")
    return _download(repository, names, cache_only=True)


def _download(repository: str, names: Iterable[str], *, cache_only: bool) -> Path:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HTTPError

    def get(name: str) -> Path:
        return Path(hf_hub_download(repository, name, etag_timeout=_PATIENCE, local_files_only=cache_only))

    try:
        if MODEL in names:
            wanted = [*read_manifest(get(MANIFEST).parent)]
        else:
            wanted = [name for name in _FOREIGN if name in names]
            weights = next(name for name in (WEIGHTS, INDEX, *OPEN_CLIP_WEIGHTS) if name in names)
            wanted += [weights, *(shard_names(get(INDEX)) if weights == INDEX else ())]
        files = [get(name) for name in wanted]
        return files[0].parent
    except (OSError, HTTPError) as error:
        raise VitrailError(f"the download of {repository} failed ({error}): try again") from None
