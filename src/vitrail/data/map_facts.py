"""Facts about maps, masks and depths: their sizes and values, read once in threads and cached."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..machine.facts import usable_cores
from .decode import BadImage
from .facts_cache import Facts, FactsCache, key
from .samples import BadFile, FileAt
from .user_folders import cache_folder


@dataclass(frozen=True, slots=True)
class MapFacts:
    """Facts about one map.

    Attributes:
        height, width: in pixels.
        bands: 1, or 3 for colours.
        values: its different values in ascending order (colours as 65536 red + 256 green + blue), or the lowest and the
            highest of depths that are known.
    """

    height: int
    width: int
    bands: int
    values: tuple[float, ...]


def map_facts(paths: Sequence[str], kind: str, inspect: Callable[[str], MapFacts]) -> list[MapFacts | BadFile]:
    """Inspect each file, in threads; what was found is cached by path, size, time and kind.

    Args:
        paths: paths of the files.
        kind: name of what `inspect` does.
        inspect: reads a file; raises BadImage.
    """
    cache = FactsCache(cache_folder())
    keys = [_key(path, kind) for path in paths]
    known = cache.get([stamp for stamp in keys if stamp])
    found: dict[str, MapFacts | BadFile] = {
        path: _read(known[stamp]) for path, stamp in zip(paths, keys, strict=True) if stamp in known
    }
    fresh = [path for path in paths if path not in found]
    with ThreadPoolExecutor(max_workers=usable_cores()) as pool:
        found.update(zip(fresh, pool.map(lambda path: _inspected(path, inspect), fresh), strict=True))
    rows = ((stamp, found[path]) for path, stamp in zip(paths, keys, strict=True) if stamp and stamp not in known)
    cache.put((stamp, _written(facts)) for stamp, facts in rows if isinstance(facts, MapFacts))
    return [found[path] for path in paths]


def _inspected(path: str, inspect: Callable[[str], MapFacts]) -> MapFacts | BadFile:
    try:
        return inspect(path)
    except BadImage as error:
        return BadFile(path, error.reason)


def _key(path: str, kind: str) -> bytes | None:
    try:
        return key(f"{FileAt(path).stamp()}|{kind}")
    except OSError:
        return None


def _written(facts: MapFacts) -> Facts:
    """As the cache of the survey stores facts, with the values in place of the hash of the contents."""
    return Facts(facts.height, facts.width, facts.bands, json.dumps(facts.values))


def _read(facts: Facts) -> MapFacts:
    return MapFacts(facts.height, facts.width, facts.channels, tuple(json.loads(facts.digest)))
