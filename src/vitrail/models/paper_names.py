"""Model names in papers, mapped to the names of variants by the rules of all families.

A rule is (pattern, variant). `<patch>` in the pattern matches a number that replaces `{patch}` in the variant, where
`{patch:16}` has a default. Names are matched in lower case, with "-" between their parts.
"""

import re
from collections.abc import Mapping
from functools import cache

from .families import NameRules, families

_WORDS = {
    **dict.fromkeys(("ti", "t"), "tiny"),
    "a": "atto",
    "f": "femto",
    "p": "pico",
    "n": "nano",
    "s": "small",
    "m": "medium",
    "b": "base",
    "l": "large",
    "xl": "xlarge",
    "xxl": "xxlarge",
    "h": "huge",
    "g": "giant",
    "bigg": "gigantic",
    "gopt": "giantopt",
    "so400m": "so400m",
    "s+": "small_plus",
    "h+": "huge_plus",
    "7b": "7b",
}
"""Size in papers -> size in our names; our words match too."""
_GROUPS = {
    "size": "|".join(sorted(map(re.escape, {*_WORDS, *_WORDS.values()}), key=len, reverse=True)),
    "patch": r"\d{1,2}",
    "image": r"\d{3}",
    "number": r"\d+",
}
_SEPARATORS = re.compile(r"[\s_/@↑-]+")


def paper_name(name: str) -> str:
    """Convert a paper's name to a variant's name, which need not exist; other names are returned in our spelling.

    >>> paper_name("Swin-T"), paper_name("DINOv2 ViT-S/14")
    ('swin_tiny_patch4_window7_224', 'vit_small_patch14_dinov2')
    """
    text = _SEPARATORS.sub("-", name.strip().lower()).strip("-")
    for pattern, template in rules():
        match = _pattern(pattern).fullmatch(text)
        if match:
            return _fill(template, match.groupdict())
    return text.replace("-", "_")


@cache
def rules() -> NameRules:
    """Rules of all families."""
    return tuple(rule for family in families().values() for rule in family.paper_names)


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"(?<!\?P)<(\w+)>", lambda found: f"(?P<{found[1]}>{_GROUPS[found[1]]})", text))


def _fill(template: str, found: Mapping[str, str | None]) -> str:
    def value(place: re.Match[str]) -> str:
        text = found[place[1]] or place[2]
        return _WORDS.get(text, text).replace(".", "_") if place[1] in ("size", "flops") else text

    return re.sub(r"\{(\w+):?(\d*)\}", value, template)
