"""Members of a tar archive by their place, with a check that the archive is whole."""

import os
import posixpath
import tarfile
from collections.abc import Iterator
from pathlib import Path

from .file_bytes import read_file
from .samples import MemberAt

_BLOCK = tarfile.BLOCKSIZE
_CHUNK = 2**20
_MOST_ZEROS = 2 * _BLOCK + tarfile.RECORDSIZE
"""The end, and the filling of the last record."""


class DamagedArchiveError(Exception):
    """An archive is damaged, with what is wrong."""


def members(path: Path) -> Iterator[tuple[str, MemberAt | None]]:
    """Iterate over the files of an uncompressed archive: (name, place); None for a link to nothing in the archive.

    Hard links, and symbolic links inside the archive, have the place of their target. Links to later members come
    last. A name that occurs twice, as after `tar --append`, is yielded twice.

    Raises:
        DamagedArchiveError: after the members before the damage. An archive is whole if every header has its checksum
            (in tar, contents have none), every member fits into the file, and two blocks of zeros end it.
    """
    found: dict[str, MemberAt] = {}
    late: list[tuple[str, str]] = []
    for name, target, at in _files(path):
        if at is None and target in found:
            at = found[target]
        if at is None:
            late.append((name, target))
            continue
        found[name] = at
        yield name, at
    for name, target in late:
        yield name, found.get(target)


def read_whole(at: MemberAt) -> bytes:
    """Read a small member whose content has no checksum, such as a label.

    Raises:
        OSError: it cannot be read, or other data follow in its last block, which archives fill with zeros: a block is
            lost, and the next header, or a part of another file, would be taken for the content.
    """
    filled = -(-at.size // _BLOCK) * _BLOCK
    block = read_file(at.path, offset=at.offset, size=filled)
    if any(block[at.size :]):
        raise OSError("is damaged: its last block is not filled with zeros")
    return block[: at.size]


def _files(path: Path) -> Iterator[tuple[str, str, MemberAt | None]]:
    """(name, target if it is a link, place if it is none) of each file and link; the whole archive is checked."""
    size, end = os.path.getsize(path), 0
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                if member.size < 0 or member.offset_data < end:
                    raise DamagedArchiveError(f"the header of {member.name} is wrong")
                end = member.offset_data
                name = posixpath.normpath(member.name)
                if member.islnk():
                    yield name, posixpath.normpath(member.linkname), None
                elif member.issym():
                    yield name, posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)), None
                elif member.isreg():
                    end += member.size
                    if end > size:
                        raise DamagedArchiveError(f"{member.name} is cut short")
                    if not member.issparse():
                        yield name, "", MemberAt(str(path), member.offset_data, member.size)
            place = archive.offset
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as error:
        raise DamagedArchiveError(str(error) or type(error).__name__) from error
    _require_end(path, place)


def _require_end(path: Path, place: int) -> None:
    """Raise DamagedArchiveError unless zeros follow, two blocks or more: tarfile also stops at a damaged header."""
    with open(path, "rb") as file:
        file.seek(place)
        first = file.read(2 * _BLOCK)
        if any(first[:_BLOCK]):
            raise DamagedArchiveError(f"the header at byte {place:,} is wrong")
        if len(first) < 2 * _BLOCK:
            raise DamagedArchiveError("its end is missing")
        rest, zeros = first[_BLOCK:], _BLOCK
        while rest:
            if any(rest):
                raise DamagedArchiveError("data follow its end")
            zeros += len(rest)
            rest = file.read(_CHUNK)
    if zeros > _MOST_ZEROS:  # as a download that was broken off, or a full disk, leaves it
        raise DamagedArchiveError(
            f"{zeros:,} zeros end it, and archives end with {_MOST_ZEROS:,} at most: its end may be lost"
        )
