"""The names that papers and people use, as rules that give our variants' names."""

import re
from collections.abc import Mapping
from functools import cache

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
"""What papers' sizes are in our names; the words themselves will do as well."""
_GROUPS = {
    "size": "|".join(sorted(map(re.escape, {*_WORDS, *_WORDS.values()}), key=len, reverse=True)),
    "patch": r"\d{1,2}",
    "image": r"\d{3}",
    "number": r"\d+",
}
_SEPARATORS = re.compile(r"[\s_/@↑-]+")

RULES: tuple[tuple[str, str], ...] = (
    (r"vit-<size>(-?<patch>)?(-<image>)?", "vit_{size}_patch{patch:16}_{image:224}"),
    (r"simple-?vit-<size>(-?<patch>)?(-<image>)?", "simple_vit_{size}_patch{patch:16}_{image:224}"),
    (r"deit-<size>(-?<patch>)?(-<image>)?", "deit_{size}_patch{patch:16}_{image:224}"),
    (r"deit-<size>(-distilled|⚗)(-?<patch>)?(-<image>)?", "deit_{size}_distilled_patch{patch:16}_{image:224}"),
    (r"deit-?(3|iii)-(h|huge)(-14)?(-<image>)?", "deit3_huge_patch14_{image:224}"),
    (r"deit-?(3|iii)-<size>(-?<patch>)?(-<image>)?", "deit3_{size}_patch{patch:16}_{image:224}"),
    (r"r(?P<layers>50|26)\+(vit-)?<size>-?<patch>(-<image>)?", "vit_{size}_r{layers}_s{patch}_{image:224}"),
    (r"r\+(vit-)?ti-?16(-<image>)?", "vit_tiny_r_s16_p8_{image:224}"),
    (r"vit-?c-<number>gf", "vitc_{number}gf"),
    (r"flexi-?vit-<size>", "flexivit_{size}"),
    (r"mixer-(?P<letter>[sblh])-?<patch>", "mixer_{letter}{patch}_224"),
    (r"swin-<size>(-224)?", "swin_{size}_patch4_window7_224"),
    (r"swin-<size>-384", "swin_{size}_patch4_window12_384"),
    (r"swin-?v2-(?P<size>t|s|b|tiny|small|base)(-256)?", "swinv2_{size}_window8_256"),
    (r"swin-?v2-<size>(-192)?", "swinv2_{size}_window12_192"),
    (r"convnext-<size>(-224)?", "convnext_{size}"),
    (r"convnext-?v2-<size>(-224)?", "convnextv2_{size}"),
    (r"cait-xs-?24(-384)?", "cait_xs24_384"),
    (r"cait-(?P<kind>[sm])-?36(-384)?", "cait_{kind}36_384"),
    (r"cait-m-?48(-448)?", "cait_m48_448"),
    (r"cait-(?P<kind>xxs|s)-?<number>(-<image>)?", "cait_{kind}{number}_{image:224}"),
    (r"levit-<number>(?P<s>s?)", "levit_{number}{s}"),
    (r"pvt-<size>(-224)?", "pvt_{size}_224"),
    (r"pvt-?v2-b<number>", "pvt_v2_b{number}"),
    (r"pvt-?v2-b2-li(near)?", "pvt_v2_b2_li"),
    (r"cvt-<number>(-<image>)?", "cvt_{number}_{image:224}"),
    (r"cvt-w24(-384)?", "cvt_w24_384"),
    (r"mit-b<number>", "mit_b{number}"),
    (r"segformer-b<number>", "segformer_b{number}"),
    (r"beit-<size>(-?<patch>)?(-<image>)?", "beit_{size}_patch{patch:16}_{image:224}"),
    (r"beit-?v2-<size>(-?<patch>)?(-<image>)?", "beitv2_{size}_patch{patch:16}_{image:224}"),
    (r"mae-(vit-)?(h|huge)(-14)?", "mae_vit_huge_patch14"),
    (r"mae-(vit-)?<size>(-?<patch>)?", "mae_vit_{size}_patch{patch:16}"),
    (r"dino-vit-?(?P<letter>[sb])-?<patch>", "dino_vit{letter}{patch}"),
    (r"dinov2-(vit-?)?<size>(-?<patch>)?", "vit_{size}_patch{patch:14}_dinov2"),
    (r"dinov2-(vit-?)?<size>(-?<patch>)?-(with-)?reg(isters|4)?", "vit_{size}_patch{patch:14}_reg4_dinov2"),
    (r"dinov3-(vit-?)?<size>(-?<patch>)?", "vit_{size}_patch{patch:16}_dinov3"),
    (r"clip-(vit-)?<size>-<patch>", "clip_vit_{size}_patch{patch}"),
    (r"clip-(vit-)?<size>-<patch>-336(px)?", "clip_vit_{size}_patch{patch}_336"),
    (r"siglip-(vit-)?<size>(-<patch>)?(-<image>)?", "siglip_{size}_patch{patch:16}_{image:224}"),
    (r"siglip-?2-(vit-)?<size>(-<patch>)?(-<image>)?", "siglip2_{size}_patch{patch:16}_{image:224}"),
    (r"videomae-(vit-)?<size>", "videomae_{size}_patch16_224"),
    (r"timesformer", "timesformer_base_patch16_224"),
    (r"timesformer-hr", "timesformer_hr_patch16_448"),
    (r"timesformer-l", "timesformer_large_patch16_224"),
    (r"detr-r(esnet-?)?<number>", "detr_resnet{number}"),
    (r"detr-dc5-r(esnet-?)?<number>", "detr_resnet{number}_dc5"),
    (r"detr-r(esnet-?)?<number>-dc5", "detr_resnet{number}_dc5"),
    (r"dpt-<size>", "dpt_{size}_384"),
    (r"resnet-<number>", "resnet{number}"),
    (r"efficientnet-b<number>", "efficientnet_b{number}"),
    (r"regnet-?(?P<letter>[xy])-(?P<flops>[\d.]+)(?P<unit>[gm])f", "regnet_{letter}_{flops}{unit}f"),
    (r"mobilenet-?v2", "mobilenet_v2"),
)
"""What a name may be, and the variant it means. `<patch>` in a name fills `{patch}`, or what follows a colon there."""


def paper_name(name: str) -> str:
    """The variant that a name of a paper means, whether or not it is there; other names in the form of ours.

    >>> paper_name("Swin-T"), paper_name("DINOv2 ViT-S/14")
    ('swin_tiny_patch4_window7_224', 'vit_small_patch14_dinov2')
    """
    text = _SEPARATORS.sub("-", name.strip().lower()).strip("-")
    for pattern, template in RULES:
        match = _pattern(pattern).fullmatch(text)
        if match:
            return _fill(template, match.groupdict())
    return text.replace("-", "_")


@cache
def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"(?<!\?P)<(\w+)>", lambda found: f"(?P<{found[1]}>{_GROUPS[found[1]]})", text))


def _fill(template: str, found: Mapping[str, str | None]) -> str:
    def value(place: re.Match[str]) -> str:
        text = found[place[1]] or place[2]
        return _WORDS.get(text, text).replace(".", "_") if place[1] in ("size", "flops") else text

    return re.sub(r"\{(\w+):?(\d*)\}", value, template)
