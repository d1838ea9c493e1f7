"""Where the queries of a decoder look, against the attention worked out from the module's own inputs."""

from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from vitrail.data.preprocess import Preprocess
from vitrail.lens.drawn_objects import boxed_objects, object_galleries
from vitrail.lens.explanation import explain_image
from vitrail.lens.explorer.data import look
from vitrail.lens.explorer.gallery import Gallery
from vitrail.lens.explorer.rows import LayerRows, Side, Unseen
from vitrail.lens.observe import observe_attention
from vitrail.lens.sheet import write_sheet
from vitrail.lens.watched import Watched
from vitrail.models.registry import create_model
from vitrail.tasks.registry import resolve

from .detectors import OBJECTS, detr
from .explorer.small import picture


def by_hand(watched: Watched, pixels: Tensor, block: int) -> Tensor:
    """Softmax of the queries of a decoder block and the cells of the image: (h, Q, H W)."""
    cross = watched.model.head.decoder.blocks[block].cross.branch
    given: list[tuple[Tensor, Tensor]] = []
    hook = cross.attention.register_forward_pre_hook(lambda module, args: given.append(args[:2]))
    with torch.no_grad():
        watched.model(pixels)
        hook.remove()
        ((query, key),) = given
        q = cross.attention.q(query)[0].unflatten(1, (2, 8)).transpose(0, 1)
        k = cross.attention.k(key)[0].unflatten(1, (2, 8)).transpose(0, 1)
        return (q @ k.transpose(1, 2) / 8**0.5).softmax(dim=2)


@pytest.mark.parametrize("queries", [4, 7])
def test_rows_of_the_cross_attention_are_queries_and_its_keys_the_cells_of_the_image(queries: int) -> None:
    """Also where there are as many queries as cells."""
    watched = detr(queries=queries)
    pixels = watched.pixels(picture(size=(64, 64)))
    with observe_attention(watched.model) as seen, torch.no_grad():
        watched.model(pixels)
    for block, layer in enumerate((2, 4)):
        layout = seen.layout(layer)
        assert (layout.grid, layout.prefix, layout.key_grid, layout.key_prefix) == ((queries,), 0, (2, 2), 0)
        torch.testing.assert_close(seen[layer][0], by_hand(watched, pixels, block))
        assert seen.layout(layer - 1).key_grid == (queries,)


def test_each_object_has_the_maps_of_the_query_that_found_it() -> None:
    watched = detr()
    image = picture(size=(64, 64))
    explanation = explain_image(watched, "a.png", image)
    pixels = watched.pixels(image)
    with torch.no_grad():
        output = watched.model(pixels)
    probabilities = output.logits[0].softmax(dim=1)[:, :3]
    order = probabilities.max(dim=1).values.argsort(descending=True).tolist()
    expected = [query for query in order if probabilities[query].max() >= 0.3]
    assert 1 < len(expected) < 5
    assert [one.query for one in explanation.objects] == expected
    for one in explanation.objects:
        x, y, width, height = output.boxes[0, one.query].tolist()
        assert one.found.score == pytest.approx(probabilities[one.query].max().item())
        assert one.found.name == OBJECTS[probabilities[one.query].argmax()]
        assert one.found.left == pytest.approx(max(0, x - width / 2), abs=1e-6)
        assert one.found.bottom == pytest.approx(min(1, y + height / 2), abs=1e-6)
        for block, maps in enumerate(one.maps):
            torch.testing.assert_close(maps.flatten(1), by_hand(watched, pixels, block)[:, one.query])


def test_without_an_object_the_best_query_is_shown_and_named_as_below_the_threshold(tmp_path: Path) -> None:
    explanation = explain_image(detr(threshold=1.0), "a.png", picture(size=(64, 64)))
    (one,) = explanation.objects
    assert not one.shown
    galleries = object_galleries(explanation.image, explanation.objects)
    assert galleries[0][1][0][0].endswith("(below the threshold)")
    assert [label for label, _ in galleries[1][1]] == [
        "decoder layer 1", "decoder layer 2", "last layer, head 1", "last layer, head 2"
    ]  # fmt: skip
    assert boxed_objects(explanation.image, explanation.objects).shape == (3, 256, 256)
    write_sheet(explanation, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as drawn:
        assert min(drawn.size) > 500


@pytest.mark.parametrize("variant", ["compact_detector_small_128", "universal_vit_tiny_patch16_224"])
def test_detectors_without_queries_have_no_objects_and_those_of_several_tasks_do(variant: str) -> None:
    model = create_model(variant).eval()
    side = model.config.pixels_shape[1:]
    watched = Watched("m", model, Preprocess(image_size=side, crop=1.0), (), resolve(model.config.task))
    if variant.startswith("universal"):
        names = tuple(f"thing {index}" for index in range(model.config.object_classes))
        task = resolve(model.config.task.without("object_names"))
        watched = Watched("m", model, watched.preprocess, (), type(task)(tasks=task.tasks, object_names=names))
    view = look(watched, picture(size=side))
    assert len(view.objects) == (model.config.num_queries if variant.startswith("universal") else 0)
    assert explain_image(watched, "a", picture(size=side)).objects[1:] == ()


def test_the_explorer_has_every_query_with_its_object() -> None:
    watched = detr()
    view = look(watched, picture(size=(64, 64)))
    kinds = [type(rows) for _, rows in view.layers]
    assert kinds == [LayerRows, Unseen, LayerRows, Unseen, LayerRows]
    rows = view.layers[4][1]
    assert isinstance(rows, LayerRows)
    assert (rows.queries, rows.keys) == (Side((0, 0), 4, free=True), Side((2, 2), 0))
    document = Gallery([watched], [("a", [picture(size=(64, 64))])]).view(0).document
    assert [one["name"] for one in document["objects"]] == [one.found.name for one in view.objects]
    shown = {one.query for one in explain_image(watched, "a", picture(size=(64, 64))).objects}
    assert {query for query, one in enumerate(document["objects"]) if one["shown"]} == shown
