"""Occlusion: decrease of the target's score if patches are hidden."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...errors import VitrailError
from ...nn import Tokens, VisionModel
from .method import Method
from .passes import Map, Pixels, Targets, cell_of, encoded, grid_of, scores_of, target_scores


def occlusion(
    model: VisionModel,
    pixels: Pixels,
    targets: Targets,
    *,
    side: int | None = None,
    baseline: float | None = None,
    batch: int = 64,
) -> Map:
    """Decrease of the target's score if a square of patches is hidden; signed. One forward pass for each square.

    After Zeiler and Fergus (2014, "Visualizing and understanding convolutional networks", section 4.2). Of a clip a
    square is hidden for a seventh of the time, at least one step. If a ViT's embedding is the only part that depends on
    positions, hidden tokens are removed. For all other models their pixels are replaced by `baseline`.

    Args:
        side: squares of side × side patches are hidden, of a clip for as many steps of time, at every position; the
            value of a patch is the mean over the squares that contain it. A seventh of the grid by default, as a single
            patch can often be inferred from its neighbours.
        baseline: value of hidden pixels, in normalised units; by default tokens are removed if the model allows it, and
            hidden pixels are 0 otherwise.
        batch: number of passes at once.
    """
    with torch.no_grad():
        embedded = model.embed(pixels)
        whole = encoded(model, pixels)
        grid = grid_of(whole, pixels)
        squares = squares_of(grid, _sides(grid) if side is None else (side,) * len(grid))
        squares = squares.to(pixels.device)
        before = target_scores(model, whole, targets)
        if baseline is None and sees_places_only_in_embedding(model, embedded, whole):
            after = _without_tokens(model, embedded, targets, squares, batch)
        else:
            after = _under_cover(model, pixels, targets, squares, grid, baseline or 0.0, batch)
        losses = before.unsqueeze(1) - after
        covers = losses.new_zeros(len(squares), torch.Size(grid).numel()).scatter(1, squares, 1.0)
        return ((losses @ covers) / covers.sum(dim=0)).unflatten(1, grid)


def squares_of(grid: tuple[int, ...], sides: tuple[int, ...]) -> Int[Tensor, "S P"]:
    """Indices of the patches in each square, or block, of a grid.

    Raises:
        VitrailError: none fits.
    """
    if not all(1 <= side <= cells for side, cells in zip(sides, grid, strict=True)):
        wanted, there = (" × ".join(map(str, sizes)) for sizes in (sides, grid))
        raise VitrailError(f"squares of {wanted} do not fit a grid of {there}: choose a smaller side")
    numbers = torch.arange(torch.Size(grid).numel()).unflatten(0, grid)
    for axis, side in enumerate(sides):
        numbers = numbers.unfold(axis, side, 1)
    return numbers.flatten(len(grid)).flatten(0, len(grid) - 1)


def _sides(grid: tuple[int, ...]) -> tuple[int, ...]:
    """Sides of a square, a seventh of the shorter side of the image, and of the time of a clip."""
    *times, rows, columns = grid
    side = max(1, min(rows, columns) // 7)
    return (*(max(1, time // 7) for time in times), side, side)


def sees_places_only_in_embedding(model: VisionModel, embedded: Tokens, whole: Tokens) -> bool:
    """Whether the encoder treats patches as a set, so that some can be left out; tested on random tokens.

    In reversed order and without a grid, the outputs must be the same. Encoders with relative or rotary positions,
    windows or convolutions fail.
    """
    turned = torch.cat([embedded.x[:, : embedded.prefix], embedded.patches.flip(1)], dim=1)
    try:
        again = model.encoder(Tokens(turned, (), embedded.prefix))
    except (ValueError, RuntimeError, IndexError, TypeError):
        return False  # a module needs the grid
    if again.x.shape != whole.x.shape:
        return False
    back = torch.cat([again.x[:, : again.prefix], again.patches.flip(1)], dim=1)
    return torch.allclose(back, whole.x, rtol=1e-3, atol=1e-3 * float(whole.x.abs().max()))


def _without_tokens(
    model: VisionModel, embedded: Tokens, targets: Targets, squares: Int[Tensor, "S P"], batch: int
) -> Float[Tensor, "B S"]:
    kept = torch.ones(len(squares), embedded.patches.shape[1], dtype=torch.bool, device=squares.device)
    kept = kept.scatter(1, squares, False)
    rest = kept.nonzero()[:, 1].unflatten(0, (len(squares), -1))
    if not rest.shape[1]:
        raise VitrailError("the square covers the whole image, and no token would be left: choose a smaller side")
    prefix = torch.arange(embedded.prefix, device=rest.device).expand(len(rest), -1)
    index = torch.cat([prefix, rest + embedded.prefix], dim=1)

    def scores(image: Tensor, square: Tensor) -> Tensor:
        x = embedded.x[image.unsqueeze(1), index[square]]
        tokens = model.encoder(Tokens(x, (rest.shape[1],), embedded.prefix))
        return target_scores(model, tokens, targets.to(image.device)[image])

    return _each(scores, len(embedded.x), len(squares), batch, squares.device)


def _under_cover(
    model: VisionModel,
    pixels: Pixels,
    targets: Targets,
    squares: Int[Tensor, "S P"],
    grid: tuple[int, ...],
    baseline: float,
    batch: int,
) -> Float[Tensor, "B S"]:
    places = [cell_of(side, cells, pixels.device) for side, cells in zip(pixels.shape[2:], grid, strict=True)]
    cell = torch.arange(torch.Size(grid).numel(), device=pixels.device).unflatten(0, grid)
    for axis, owner in enumerate(places):
        cell = cell.index_select(axis, owner)
    covers = torch.zeros(len(squares), torch.Size(grid).numel(), dtype=torch.bool, device=pixels.device)
    covers = covers.scatter(1, squares, True)

    def scores(image: Tensor, square: Tensor) -> Tensor:
        hidden = covers[square][:, cell].unsqueeze(1)
        return scores_of(model(pixels[image].masked_fill(hidden, baseline)), targets.to(image.device)[image])

    return _each(scores, len(pixels), len(squares), batch, pixels.device)


def _each(
    scores: Callable[[Tensor, Tensor], Tensor], images: int, squares: int, batch: int, device: torch.device
) -> Float[Tensor, "B S"]:
    """Scores of every pair of image and square; `scores` takes their indices, for a batch of pairs at a time."""
    jobs = torch.cartesian_prod(torch.arange(images), torch.arange(squares)).to(device)
    return torch.cat([scores(*part.unbind(1)) for part in jobs.split(batch)]).unflatten(0, (images, squares))


METHOD = Method("Occlusion", occlusion)
