"""Detected objects as a COCO JSON, which annotation tools and pycocotools read."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import count
from typing import Any

from ..data.coco_ids import CocoIds
from .object_prediction import ObjectPrediction


class CocoDocument:
    """Collects predictions; `content` is a data set of COCO's format, whose annotations have a score.

    Files that could not be read are listed under "errors".

    Args:
        names: names of the classes.
        ids: ids of the data set that the images are from; those that it lacks, and all without it, are the next whole
            numbers, from 1 on.
    """

    def __init__(self, names: Sequence[str], ids: CocoIds | None = None) -> None:
        self.given = ids or CocoIds({}, {})
        known, free = self.given.categories, _free(self.given.categories.values())
        self.ids = {name: known[name] if name in known else next(free) for name in names}
        self.free = _free(self.given.images.values())
        self.images: list[dict[str, Any]] = []
        self.annotations: list[dict[str, Any]] = []
        self.errors: list[dict[str, Any]] = []

    def add(self, prediction: ObjectPrediction) -> None:
        """Add the objects of an image."""
        if prediction.objects is None or prediction.size is None:
            self.errors.append({"file_name": prediction.path, "error": prediction.error})
            return
        height, width = prediction.size
        known = self.given.image(prediction.path)
        number = next(self.free) if known is None else known
        self.images.append({"id": number, "file_name": prediction.path, "width": width, "height": height})
        for one in prediction.objects:
            left, top = one.left * width, one.top * height
            sides = (one.right - one.left) * width, (one.bottom - one.top) * height
            self.annotations.append(
                {
                    "id": len(self.annotations) + 1,
                    "image_id": number,
                    "category_id": self.ids[one.name],
                    "bbox": [round(value, 3) for value in (left, top, *sides)],
                    "area": round(sides[0] * sides[1], 3),
                    "iscrowd": 0,
                    "score": round(one.score, 6),
                }
            )

    def content(self) -> dict[str, Any]:
        """The data set."""
        categories = [{"id": number, "name": name} for name, number in self.ids.items()]
        found = {"images": self.images, "annotations": self.annotations, "categories": categories}
        return {**found, "errors": self.errors} if self.errors else found


def _free(taken: Iterable[Any]) -> Iterator[int]:
    """Whole numbers that are not taken, above those that are."""
    return count(1 + max((number for number in taken if isinstance(number, int)), default=0))
