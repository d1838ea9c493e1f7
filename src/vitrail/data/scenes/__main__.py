"""Writes scenes as files: python -m vitrail.data.scenes FORM FOLDER [OPTIONS].

    python -m vitrail.data.scenes coco shapes size=128,train=2000,val=250,test=500
    python -m vitrail.data.scenes classes emoji-scenes size=64,cutouts=EMOJI

FORM and the files of each: see `write_scenes`. OPTIONS are those after `scenes:`.
"""

import sys
from pathlib import Path

from ...errors import VitrailError
from .write import write_scenes


def main(words: list[str]) -> int:
    """Write scenes; returns the exit status."""
    if len(words) not in (2, 3) or words[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if words[:1] in (["-h"], ["--help"]) else 2
    form, folder, *options = words
    try:
        count = write_scenes(Path(folder), form, *options)
    except (VitrailError, OSError) as error:
        print(f"vitrail: {error}", file=sys.stderr)
        return 1
    print(f"{count:,} scenes are in {folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
