"""Folders of clips: videos, animated images, arrays, or a folder of frames for each clip."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ..errors import VitrailError
from ..task_spec import VIDEO, TaskSpec
from .annotated import task_note
from .folder_source import files_below, has_images, is_image, split_folders, subfolders
from .frame_folder import FramesAt, missing_frames
from .samples import BadFile, FileAt, Location, Sample, Source, Split, natural, normal, order_classes
from .shard_source import shards_in
from .video_file import VIDEO_SUFFIXES

TASKS = ("video",)
OPENS_UNLABELLED = True

_CLIP_SUFFIXES = frozenset((".gif", ".apng", ".npy"))
"""Suffixes of images that are clips by themselves; an animated WebP is known by its header."""

_WANTED = "root/class/clip.mp4, or root/class/clip/ with the frames of a clip"


@dataclass(frozen=True, slots=True)
class _Found:
    """A clip in a folder: its path relative to the folder, where it is, and names of frames that are missing."""

    path: str
    location: Location
    missing: tuple[str, ...] = ()

    @property
    def problem(self) -> str:
        """What is wrong with its files, or nothing."""
        if not self.missing:
            return ""
        more = f" and {len(self.missing) - 1} more" if len(self.missing) > 1 else ""
        verb = "are" if more else "is"
        return f"{self.missing[0]}{more} {verb} missing: add the frames, or number the others without a gap"


def is_clip(path: str) -> bool:
    """Whether a file is a clip by its name, or for WebP by its header."""
    name = os.path.basename(path)
    suffix = os.path.splitext(name)[1].lower()
    if name.startswith("."):
        return False
    return suffix in VIDEO_SUFFIXES or suffix in _CLIP_SUFFIXES or (suffix == ".webp" and _is_animated(path))


def matches(root: Path, task: TaskSpec | None) -> bool:
    """Whether a folder is one of clips: if it has videos and no image; for the task video always, if not of shards."""
    if task is not None:
        return task.name == VIDEO.name and (not shards_in(root) or next(iter(_clips(root)), None) is not None)
    return not has_images(root, below_only=False) and any(
        os.path.splitext(path)[1].lower() in VIDEO_SUFFIXES for path in files_below(root)
    )


def open_folder(root: Path, labelled: bool, task: TaskSpec | None) -> Source:
    """Open `root/class/**/clip`, or `root/{train,val,test}/class/**/clip`; without labels, clips at any depth.

    A clip is a file, or a folder whose images are its frames in natural order. A numbered folder that lacks frames
    becomes a bad file.

    Raises:
        VitrailError: there is no clip, or no class folder.
    """
    found = list(_clips(root))
    if not found:
        raise VitrailError(f"no clips in {root}: give {_WANTED}")
    return _labelled(root, found, task) if labelled else clip_files(str(root))


def clip_files(spec: str, hits: Sequence[str] = ()) -> Source:
    """Open clips without labels: one file, all clips under a folder, or the matches of a pattern.

    Args:
        spec: the file, folder or pattern.
        hits: the paths that match the pattern.
    """
    found: list[_Found] = []
    for name in hits or [spec]:
        if os.path.isdir(name):
            found += [
                _Found(os.path.join(name, clip.path) if clip.path else name, clip.location, clip.missing)
                for clip in _clips(Path(name))
            ]
        elif not hits or is_clip(name):
            found.append(_Found(name, FileAt(name)))
    if not found:
        raise VitrailError(f"no clip in {spec}: name videos, animated images, or folders of frames")
    samples = tuple(Sample(clip.path, (), None, clip.location, clip=True) for clip in found if not clip.problem)
    bad = tuple(BadFile(clip.path, clip.problem) for clip in found if clip.problem)
    return Source(spec, (), samples, bad=bad)


def clip_at(path: str) -> Location:
    """Location of a clip: a file, or a folder of frames."""
    if not os.path.isdir(path):
        return FileAt(path)
    names = sorted((name for name in os.listdir(path) if is_image(name)), key=natural)
    return FramesAt(path, tuple(names))


def _labelled(root: Path, found: list[_Found], task: TaskSpec | None) -> Source:
    splits = split_folders(root, _first_folders(root, found))
    bad: list[BadFile] = []
    used: list[tuple[_Found, str, Split | None]] = []
    for clip in found:
        parts = clip.path.split(os.sep)
        split = splits.get(parts[0])
        inner = parts[1:] if splits else parts
        if problem := _misplaced(clip, inner) or clip.problem:
            bad.append(BadFile(clip.path or str(root), problem))
        else:
            used.append((clip, normal(inner[0]), split))
    if not used:
        raise VitrailError(f"none of the {len(found)} clips of {root} can be used: {bad[0].name}: {bad[0].reason}")
    class_names = order_classes({label for _, label, _ in used}, str(root))
    samples = tuple(
        Sample(clip.path, (class_names.index(label),), split, clip.location, clip=True) for clip, label, split in used
    )
    folders = sum(isinstance(clip.location, FramesAt) for clip, _, _ in used)
    kinds = [f"{folders:,} folders of frames"] * bool(folders) + [f"{len(used) - folders:,} files"] * (
        folders < len(used)
    )
    note = task_note(task, VIDEO, f"clips in {' and '.join(kinds)}")
    return Source(str(root), class_names, samples, VIDEO, tuple(bad), notes=(note,))


def _first_folders(root: Path, found: Sequence[_Found]) -> list[str]:
    """Folders right below the root that have clips in folders of their own, or clips."""
    first = {clip.path.split(os.sep)[0] for clip in found if os.sep in clip.path}
    return [name for name in subfolders(root) if name in first]


def _misplaced(clip: _Found, inner: Sequence[str]) -> str:
    """Why a clip has no class, or nothing; `inner` are the parts of its path without a split."""
    if len(inner) >= 2:
        return ""
    if isinstance(clip.location, FramesAt):
        count = len(clip.location.names)
        images = "1 image that belongs" if count == 1 else f"{count:,} images that belong"
        return f"{images} to no clip: give {_WANTED}"
    return f"no label: it is in no class folder, give {_WANTED}"


def _clips(root: Path) -> Iterator[_Found]:
    """Yield the clips of a folder, in a stable order: files, and folders of images."""
    for folder, paths in groupby(files_below(root), key=os.path.dirname):
        frames: list[str] = []
        for path in sorted(paths, key=natural):
            if is_clip(os.path.join(root, path)):
                yield _Found(path, FileAt(os.path.join(root, path)))
            elif is_image(os.path.basename(path)):
                frames.append(os.path.basename(path))
        if frames:
            at = FramesAt(os.path.join(root, folder) if folder else str(root), tuple(frames))
            yield _Found(folder, at, tuple(missing_frames(frames)))


def _is_animated(path: str) -> bool:
    """Whether a WebP file has the flag of an animation."""
    try:
        with open(path, "rb") as file:
            header = file.read(21)
    except OSError:
        return False
    return header[8:16] == b"WEBPVP8X" and bool(header[20] & 2)
