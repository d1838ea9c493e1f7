"""Attention of clips, in space and time, against loops over the weights between all tokens."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from vitrail.lens.attention_maps import looked_at
from vitrail.lens.explanation import explain_image
from vitrail.lens.explorer.ablate import Region, without
from vitrail.lens.explorer.data import look
from vitrail.lens.explorer.gallery import Gallery
from vitrail.lens.explorer.rows import LayerRows
from vitrail.lens.frames import Mosaic, between_frames, frame_names, frames_of_times
from vitrail.lens.layout import over_image
from vitrail.lens.observe import Attention, observe_attention
from vitrail.lens.sheet import write_sheet

from .clips import KINDS, clip, video
from .explorer.test_data import spread


def seen_in(kind: str) -> Attention:
    watched = video(kind)
    watched.model.double()
    with observe_attention(watched.model) as seen, torch.no_grad():
        watched.model(watched.pixels(clip(kind)).double())
    return seen


@pytest.mark.parametrize("kind", KINDS)
def test_frames_that_the_patches_of_a_frame_look_at(kind: str) -> None:
    seen = seen_in(kind)
    for layer in seen:
        layout = seen.layout(layer)
        times, cells = layout.grid[0], layout.grid[1] * layout.grid[2]
        assert times == KINDS[kind][3]
        whole = over_image(seen[layer], layout)[0, :, layout.prefix :, layout.key_prefix :]
        expected = torch.zeros(2, times, times, dtype=torch.float64)
        for query in range(times * cells):
            for key in range(times * cells):
                expected[:, query // cells, key // cells] += whole[:, query, key] / cells
        torch.testing.assert_close(between_frames(seen[layer], layout)[0], expected, rtol=0, atol=1e-12)
    if kind == "divided":
        along, inside = (between_frames(seen[layer], seen.layout(layer))[0] for layer in (0, 1))
        torch.testing.assert_close(along.sum(dim=2), torch.ones(2, 4, dtype=torch.float64))
        assert torch.equal(inside * (1 - torch.eye(4)), torch.zeros_like(inside))


@pytest.mark.parametrize(
    ("times", "expected"), [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (5, (1, 5)), (8, (2, 4)), (96, (8, 12))]
)
def test_the_mosaic_has_no_gaps_and_each_token_in_its_place(times: int, expected: tuple[int, int]) -> None:
    mosaic = Mosaic.of(times)
    assert (mosaic.rows, mosaic.columns, mosaic.times) == (*expected, times)
    values = torch.arange(times * 6).unflatten(0, (times, 2, 3))
    joined = mosaic.joined(values)
    assert joined.shape == (2 * expected[0], 3 * expected[1])
    for time in range(times):
        row, column = divmod(time, expected[1])
        assert torch.equal(joined[2 * row : 2 * row + 2, 3 * column : 3 * column + 3], values[time])
    assert torch.equal(mosaic.order((times, 2, 3)), joined.flatten())


def test_a_picture_has_the_first_frame_of_each_time() -> None:
    frames = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1).expand(8, 3, 2, 2)
    assert frames_of_times(frames, 4)[:, 0, 0, 0].tolist() == [0, 2, 4, 6]
    assert Mosaic.of(4, 8).picture(frames)[0, ::2, ::2].tolist() == [[0, 2], [4, 6]]
    assert frame_names(4, 8) == ["frames 1 to 2", "frames 3 to 4", "frames 5 to 6", "frames 7 to 8"]
    assert frame_names(2, 2) == ["frame 1", "frame 2"]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_the_explorer_are_the_weights_in_the_order_of_the_mosaic(kind: str) -> None:
    watched = video(kind)
    view = look(watched, clip(kind))
    times = KINDS[kind][3]
    assert view.mosaic == Mosaic.of(times, KINDS[kind][2])
    with observe_attention(watched.model) as seen, torch.no_grad():
        watched.model(watched.pixels(clip(kind)))
    for layer, (_, rows) in enumerate(view.layers):
        assert isinstance(rows, LayerRows), rows
        layout = seen.layout(layer)
        whole = over_image(seen[layer], layout)[0]
        prefix = rows.queries.prefix
        along_time = kind == "divided" and layer % 2 == 0
        assert prefix == rows.keys.prefix == (0 if along_time else layout.prefix)
        # Cell (y, x) of the mosaic is a patch of the frame there.
        high, wide = layout.grid[1:]
        columns = rows.queries.grid[1]
        order = [layout.prefix + place for place in moved(times, high, wide, columns)]
        tokens = [*range(prefix), *order]
        torch.testing.assert_close(spread(rows), whole[:, tokens][:, :, tokens])


def moved(times: int, high: int, wide: int, columns: int) -> list[int]:
    across = columns // wide
    found = []
    for y in range(times // across * high):
        for x in range(columns):
            time = y // high * across + x // wide
            found.append(time * high * wide + y % high * wide + x % wide)
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_explanations_have_every_frame_and_the_layers_that_look_at_others(kind: str, tmp_path: Path) -> None:
    watched = video(kind)
    found = explain_image(watched, "a", clip(kind))
    assert found.clip is not None
    with observe_attention(watched.model) as seen, torch.no_grad():
        watched.model(watched.pixels(clip(kind)))
    expected = looked_at(seen[-1], seen.layout(-1), seen.reads)[0].mean(dim=0)
    torch.testing.assert_close(found.clip.maps, expected)
    assert [number for number, _ in found.clip.times] == {"divided": [1, 3], "space": []}.get(kind, [1, 2])
    assert all(maps.max() > 0 for maps in found.maps), "a layer along the time has no class token, and is drawn"
    assert found.clip.frames.shape == (KINDS[kind][3], 3, 32, 32)
    write_sheet(found, tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as drawn:
        assert min(drawn.size) > 500


def test_class_tokens_of_frames_have_names_and_are_read_together() -> None:
    watched, images = video("space"), clip("space")
    view = look(watched, images)
    assert view.prefix_names == tuple(f"class token of frame {number}" for number in (1, 2, 3, 4))
    assert view.reads.prefix == (0, 1, 2, 3)
    seen = seen_in("space")
    found = looked_at(seen[-1], seen.layout(-1), seen.reads)
    # Groups of one frame: its class token, then its patches.
    each = seen[-1].unflatten(0, (-1, 4))[:, :, :, 0, 1:].transpose(1, 2)
    torch.testing.assert_close(found.flatten(3), each / 4)
    words = explain_image(watched, "a", images).what
    assert words == "Attention of the class token of each frame"


def test_along_the_time_the_map_is_what_each_patch_receives() -> None:
    seen = seen_in("divided")
    whole = over_image(seen[0], seen.layout(0))[:, :, 1:, 1:]
    torch.testing.assert_close(looked_at(seen[0], seen.layout(0)).flatten(2), whole.mean(dim=2), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", ["divided", "joint"])
def test_taking_out_a_patch_of_a_frame_puts_the_mean_in_its_place(kind: str) -> None:
    watched = video(kind)
    pixels = watched.pixels(clip(kind))
    with torch.no_grad():
        tokens = watched.model.embed(pixels)
        with without(watched.model, [], [Region(0.5, 0.25, 0.75, 0.5)]):
            found = watched.model.embed(pixels)
    # Row 2, column 1 of a mosaic of 4 by 4 patches: frame 3, its first row and second column.
    expected = tokens.x.clone()
    expected[:, tokens.prefix + 2 * 4 + 1] = tokens.patches.mean(dim=1)
    torch.testing.assert_close(found.x, expected)


def test_heads_can_be_taken_out_of_a_model_of_clips() -> None:
    shown = Gallery([video("joint")], [("a", [clip("joint")])], methods={})
    changed = shown.ablate(0, [(0, 0)], [])
    assert {one["name"] for one in changed["predictions"]} == {"left", "right", "up"}
    assert shown.view(changed["view"]).document["frames"] == {"rows": 2, "columns": 2, "each": 2}
