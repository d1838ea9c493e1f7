"""Predictions, attention maps, rollout and features of one image, as plain values that can be drawn."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from ..errors import VitrailError
from ..nn import ComposedModel, ReducingResidual, Tokens
from ..pages.image import displayable
from .attention_maps import drawn_over, looked_at, looks_at_patches
from .attribution.method import Attribution
from .compiled import original
from .frames import between_frames, frame_names, frames_of_times
from .measures import feature_pca
from .naming import attends_of, find_layer
from .observe import Attention, observe_attention, observe_features
from .outputs import run
from .queries import ObjectMaps, object_maps
from .reading import reading_words
from .rollout import class_token_map, rollout
from .watched import Prediction, Watched, predictions


@dataclass(frozen=True, slots=True)
class Explanation:
    """Predictions and attention maps of one image.

    Attributes:
        name: name of the image, as given by the user.
        image: uint8 (3, H, W), resized and cropped as for the model; the maps are drawn over it. Of a clip it is four
            frames in two rows, and so are the maps.
        predictions: the most probable first; empty for a model that does not classify.
        maps: a map (h, rows, columns) for each layer that attends to patches, see `looked_at`.
        flow: (rows, columns), the rollout of all layers; None if layers have different tokens.
        what: description of the maps, such as "Attention of the class token".
        features: uint8 (3, rows, columns), see `feature_colours`.
        tokens: the tokens that are left after each block that removes or merges some.
        objects: where the queries of a detector's decoder look, see `object_maps`.
        texts: which patches meet texts and their words.
        clip: attention over all frames of a clip; None for an image.
    """

    name: str
    image: UInt8[Tensor, "3 H W"]
    predictions: tuple[Prediction, ...]
    maps: tuple[Float[Tensor, "h rows columns"], ...]
    flow: Float[Tensor, "rows columns"] | None
    what: str
    features: UInt8[Tensor, "3 rows columns"] | None
    tokens: tuple["TokensLeft", ...] = ()
    objects: tuple[ObjectMaps, ...] = ()
    texts: tuple["PhraseMap", ...] = ()
    clip: "ClipMaps | None" = None


@dataclass(frozen=True, slots=True)
class ClipMaps:
    """Attention over the frames of a clip.

    Attributes:
        frames: uint8 (T, 3, H, W), a frame for each time that has tokens.
        names: their names.
        maps: (T, rows, columns) of the last layer, mean over heads.
        times: for each layer that attends to other frames its number, from 1, and (T, T), see `between_frames`, mean
            over heads.
    """

    frames: UInt8[Tensor, "T 3 H W"]
    names: tuple[str, ...]
    maps: Float[Tensor, "T rows columns"]
    times: tuple[tuple[int, Float[Tensor, "T T2"]], ...]


@dataclass(frozen=True, slots=True)
class PhraseMap:
    """A text, or a word of the text before it, with its similarity and its map, see `vitrail.lens.texts`.

    Attributes:
        phrase: name and similarity.
        map: relevance of the patches; negative where they speak against it.
        method: title of the method.
    """

    phrase: Prediction
    map: Float[Tensor, "rows columns"]
    method: str


@dataclass(frozen=True, slots=True)
class TokensLeft:
    """The patch tokens after a block that reduces them.

    Attributes:
        layer: number of the attention layer, from 1, as in the picture.
        cover: the token of each cell, (rows, columns), see `Tokens`.
        count: number of tokens.
    """

    layer: int
    cover: Int[Tensor, "rows columns"]
    count: int


def explain_image(
    watched: Watched, name: str, image: Tensor, *, top_k: int = 5, method: Attribution | None = None
) -> Explanation:
    """Run a model on one image (C, H, W), or one clip (T, C, H, W), and return its maps.

    Args:
        top_k: number of classes.
        method: method for the maps of texts and words; None: they have none.

    Raises:
        VitrailError: no attention in the model, or none whose keys are patches of one regular grid.
    """
    fitted, frames = watched.preprocess.fit(image), watched.preprocess.frames
    with ExitStack() as stack:
        seen = stack.enter_context(observe_attention(watched.model))
        outputs = stack.enter_context(observed_encoder(watched.model))
        reduced = stack.enter_context(observe_features(watched.model, *_reducing(watched.model)))
        stack.enter_context(torch.inference_mode())
        output = run(watched.model, watched.preprocess.normalise(fitted)[None].to(watched.device))
    found = predictions(watched, output, top_k)
    drawn = [layer for layer in seen if looks_at_patches(seen, layer)]
    if not drawn:
        raise VitrailError(
            "no attention of this model has the patches of one regular grid as keys, so there is no map to draw: "
            "`observe_attention` gives the weights as they are"
        )
    return Explanation(
        name=name,
        image=displayable(fitted),
        predictions=() if watched.phrases else tuple(found),
        maps=tuple(
            drawn_over(looked_at(seen[layer], seen.layout(layer), seen.reads)[0].cpu(), seen.layout(layer), frames)
            for layer in drawn
        ),
        flow=_flow(seen, frames) if len(drawn) == len(seen) else None,
        what=reading_words(watched.model, seen.layout(drawn[-1]).prefix),
        features=feature_colours(outputs.get("encoder")),
        tokens=_tokens_left(watched.model, reduced),
        objects=object_maps(watched, seen, output),
        texts=_phrase_maps(watched, image, found, method) if watched.phrases and method else (),
        clip=_clip_maps(seen, drawn, fitted) if frames is not None else None,
    )


def _clip_maps(seen: Attention, drawn: Sequence[int], clip: Tensor) -> ClipMaps | None:
    layout = seen.layout(drawn[-1])
    if len(layout.key_grid) != 3:
        return None
    frames = frames_of_times(clip, layout.key_grid[0])
    maps = looked_at(seen[drawn[-1]], layout, seen.reads)[0].mean(dim=0).cpu()
    times = []
    for number, layer in enumerate(drawn, start=1):
        if len(seen.layout(layer).grid) == 3:
            found = between_frames(seen[layer], seen.layout(layer))[0].mean(dim=0).cpu()
            if (found - found.diag().diag()).any():
                times.append((number, found))
    names = tuple(frame_names(len(frames), len(clip)))
    return ClipMaps(torch.stack([displayable(frame) for frame in frames]), names, maps, tuple(times))


def _phrase_maps(
    watched: Watched, image: Tensor, found: Sequence[Prediction], method: Attribution
) -> tuple[PhraseMap, ...]:
    asked = torch.arange(len(found), device=watched.device)
    maps = method(watched.model, watched.pixels(image).expand(len(found), -1, -1, -1), asked).float().cpu()
    return tuple(PhraseMap(one, values, method.title) for one, values in zip(found, maps, strict=True))


def _reducing(model: nn.Module) -> list[str]:
    """Names of the attentions that remove or merge tokens, in their order."""
    return [name for name, part in original(model).named_modules() if isinstance(part, ReducingResidual)]


def _tokens_left(model: nn.Module, reduced: Mapping[str, Tokens]) -> tuple[TokensLeft, ...]:
    """The tokens of the first image after each of these modules that has fewer than the one before."""
    left: list[TokensLeft] = []
    for name, tokens in reduced.items():
        count = tokens.patches.shape[1]
        fewer = tokens.cover is not None and (not left or count < left[-1].count)
        if fewer and tokens.cover is not None and tokens.cover.ndim == 3:
            left.append(TokensLeft(find_layer(model, name, attends_of(model)) + 1, tokens.cover[0].cpu(), count))
    return tuple(left)


def observed_encoder(model: nn.Module) -> Any:
    """Context of `observe_features` for the encoder of a vitrail model; for other models no module is observed."""
    return observe_features(model, *(["encoder"] if isinstance(original(model), ComposedModel) else []))


def feature_colours(output: Any) -> UInt8[Tensor, "3 rows columns"] | None:
    """Three principal components of the patches of the first image as colours, see `feature_pca`.

    None if the output is not one grid of patches, or has fewer than three.
    """
    tokens = output[-1] if isinstance(output, tuple) and output else output
    if not isinstance(tokens, Tokens) or tokens.lengths or len(tokens.grid) != 2:
        return None
    maps = tokens.map[:1].float()
    if min(maps.shape[1], maps[0, 0].numel()) < 3:
        return None
    return (feature_pca(maps)[0].clamp(0, 1) * 255).round().to(torch.uint8).cpu()


def _flow(seen: Attention, frames: int | None) -> Tensor | None:
    """Rollout of all layers for the tokens that the head reads; a pool's weights are their shares."""
    layers = dict(seen)
    pool = layers.pop(max(seen)).mean(dim=1) if seen.reads.weighted and len(seen) > 1 else None
    layout = seen.layout(max(layers))
    if len({weights.shape[2:] for weights in layers.values()}) > 1 or layout.places is not None:
        return None
    total = rollout(layers.values(), prefix=layout.prefix)
    start = seen.reads.shares(layout.prefix, total.shape[1] - layout.prefix, total) if pool is None else pool
    row = start.expand(len(total), 1, -1) @ total
    return drawn_over(class_token_map(row, layout.grid, layout.prefix, layout.cover)[0].cpu(), layout, frames)
