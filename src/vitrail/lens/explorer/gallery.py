"""Gallery of models and images; each pair is a view, computed on first use."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from ...data.samples import short_names
from ...errors import VitrailError, nearest
from ...pages.html import data_uri
from ...pages.image import encode
from ..attribution.method import Attribution
from ..attribution.methods import METHODS
from ..watched import Watched
from .ablate import Region, ablated, without
from .data import Relevance, look, relevance
from .pack import PackedLayer, base64_of, pack_layers

KEPT = 8
"""Number of views in memory; packed, they have a few megabytes each."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Shown:
    """A model on an image, perhaps without some heads and regions: the content of a view."""

    watched: Watched
    image: Tensor
    heads: tuple[tuple[int, int], ...] = ()
    regions: tuple[Region, ...] = ()


@dataclass(frozen=True, slots=True)
class PackedView:
    """A view in the format of the page: `document` has plain JSON values, `layers` the bytes of each layer."""

    document: dict[str, Any]
    layers: list[PackedLayer]


def fitted(watched: Sequence[Watched], image: Shaped[Tensor, "C H W"]) -> tuple[Shaped[Tensor, "C h w"], ...]:
    """Resize and crop an image for each model; those with the same preprocessing share the result."""
    # A crop may be a view, which would keep the whole image in memory.
    known = {subject.preprocess: subject.preprocess.fit(image).clone() for subject in watched}
    return tuple(known[subject.preprocess] for subject in watched)


class Gallery:
    """Views of the explorer, indexed by `model * len(images) + image`, then those of `ablate`. Thread-safe.

    Args:
        watched: the models, the first is shown first.
        images: (name, the image as each model takes it, see `fitted`).
        methods: attribution methods by name.
        top_k: number of classes shown.
        most: largest size of the weights of a view, in bytes of base64; None for the finest steps.
        unreadable: (name, reason) of images that could not be read, which the page lists.

    Raises:
        VitrailError: no model or no image.
    """

    def __init__(
        self,
        watched: Sequence[Watched],
        images: Sequence[tuple[str, Sequence[Tensor]]],
        *,
        methods: Mapping[str, Attribution] = METHODS,
        top_k: int = 5,
        most: int | None = None,
        unreadable: Sequence[tuple[str, str]] = (),
    ) -> None:
        if not watched or not images:
            raise VitrailError("there is nothing to explore: name a model and at least one image that can be read")
        self.watched, self.images, self.methods = list(watched), list(images), dict(methods)
        self.unreadable = tuple(unreadable)
        self._top_k, self._most = top_k, most
        self._ablated: dict[tuple[Any, ...], int] = {}  # (view, heads, regions) -> number of the view without them
        self._views: OrderedDict[Any, Any] = OrderedDict()
        self._shelf = threading.Lock()
        self._one_at_a_time = threading.RLock()  # models have hooks, which are not thread-safe

    def __len__(self) -> int:
        return len(self.watched) * len(self.images)

    def outline(self) -> dict[str, Any]:
        """Names of models, images and methods, before any view is made."""
        return {
            "models": [watched.name for watched in self.watched],
            "images": short_names([name for name, _ in self.images]),
            "methods": [[name, method.title, method.by_class] for name, method in self.methods.items()],
            "unreadable": [list(pair) for pair in self.unreadable],
        }

    def view(self, number: int) -> PackedView:
        """Return the packed view of a model and an image."""
        return self._kept(("view", self._checked(number)), lambda: self._look(number))

    def relevance(self, number: int, method: str, only: int | None = None) -> dict[str, Any]:
        """Return the maps of a method, in the format of the page, for the view's predicted classes or one of them."""
        if method not in self.methods:
            raise VitrailError(f"there is no method {method!r}: {nearest(method, self.methods)}")
        key = ("relevance", self._checked(number), method, only)
        return self._kept(key, lambda: self._relevance(number, method, only))

    def ablate(self, number: int, heads: Sequence[tuple[int, int]], regions: Sequence[Region]) -> dict[str, Any]:
        """Return the number of a view without heads and regions, and its predictions before and after ablation.

        Args:
            number: a view of a model and an image.
            heads, regions: as in `without`.

        Returns:
            {"view": number for `view` and `relevance`, "predictions": one entry for each class, none for a model that
            does not classify}.
        """
        if not 0 <= number < len(self):
            raise VitrailError(f"there is no view {number} of a model and an image: there are {len(self)}, from 0")
        shown = self._shown(number)
        with self._one_at_a_time:
            before = ablated(shown.watched, shown.image, [], [])
            after = ablated(shown.watched, shown.image, heads, regions)
        return {
            "view": self._numbered(number, tuple(heads), tuple(regions)),
            "predictions": self._changes(shown.watched, before, after) if before and after else [],
        }

    def _numbered(self, number: int, heads: tuple[Any, ...], regions: tuple[Any, ...]) -> int:
        if not heads and not regions:
            return number
        with self._shelf:
            return self._ablated.setdefault((number, heads, regions), len(self) + len(self._ablated))

    def _changes(self, watched: Watched, before: list[float], after: list[float]) -> list[dict[str, Any]]:
        order = lambda values: sorted(range(len(values)), key=values.__getitem__, reverse=True)[: self._top_k]  # noqa: E731
        shown = sorted({*order(before), *order(after)}, key=after.__getitem__, reverse=True)
        if watched.phrases:
            shown = list(range(len(after)))
        kinds = [phrase.kind for phrase in watched.phrases] or ["class"] * len(after)
        return [
            {
                "index": index,
                "name": watched.class_name(index),
                "kind": kinds[index],
                "before": before[index],
                "after": after[index],
            }
            for index in shown
        ]

    def _checked(self, number: int) -> int:
        if not 0 <= number < len(self) + len(self._ablated):
            raise VitrailError(f"there is no view {number}: there are {len(self)}, counted from 0")
        return number

    def _shown(self, number: int) -> _Shown:
        heads, regions = (), ()
        if number >= len(self):
            number, heads, regions = list(self._ablated)[number - len(self)]
        model, image = divmod(number, len(self.images))
        return _Shown(self.watched[model].of_fitted, self.images[image][1][model], heads, regions)

    def _kept(self, key: Any, make: Callable[[], T]) -> T:
        found = self._found(key)  # cached views need not wait for a slow method
        if found is not None:
            return found
        with self._one_at_a_time:
            found = self._found(key)
            return self._put(key, make()) if found is None else found

    def _found(self, key: Any) -> Any:
        with self._shelf:
            if key in self._views:
                self._views.move_to_end(key)
            return self._views.get(key)

    def _put(self, key: Any, made: T) -> T:
        with self._shelf:
            self._views[key] = made
            while sum(kind == "view" for kind, *_ in self._views) > KEPT:
                self._views.pop(next(old for old in self._views if old[0] == "view"))
        return made

    def _look(self, number: int) -> PackedView:
        shown = self._shown(number)
        with without(shown.watched.model, shown.heads, shown.regions):
            view = look(shown.watched, shown.image, self._top_k)
        layers = pack_layers(view.layers, self._most)
        document = {
            "image": data_uri(*encode(view.image)),
            "size": list(view.image.shape[1:]),
            "output": view.output,
            "features": None if view.features is None else data_uri(*encode(view.features)),
            "predictions": [asdict(prediction) for prediction in view.predictions],
            "prefix": list(view.prefix_names),
            "reads": asdict(view.reads),
            "frames": None if view.mosaic is None else asdict(view.mosaic),
            "objects": [{**asdict(one.found), "shown": one.shown} for one in view.objects],
            "layers": [layer.meta for layer in layers],
        }
        return PackedView(document, layers)

    def _relevance(self, number: int, method: str, only: int | None) -> dict[str, Any]:
        shown = self._shown(number)
        classes = [prediction["index"] for prediction in self.view(number).document["predictions"]]
        if only is not None and only not in classes:
            raise VitrailError(f"class {only} is none of those that the view predicts: {classes}")
        classes = classes if only is None else [only]
        with without(shown.watched.model, shown.heads, shown.regions):
            return _packed_relevance(relevance(shown.watched, shown.image, method, self.methods[method], classes))


def _packed_relevance(found: Relevance) -> dict[str, Any]:
    maps = []
    for index, values in found.maps.items():
        top = float(values.abs().max()) or 1.0
        coded = np.round(values.numpy() / top * 32767).astype("<i2")
        maps.append(
            {"class": index, "grid": list(values.shape), "step": top / 32767, "values": base64_of(coded.tobytes())}
        )
    return {"method": found.method, "problem": found.problem, "maps": maps}
