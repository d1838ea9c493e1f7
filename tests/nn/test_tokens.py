"""`Tokens`: which cells of the image each token stands for, held against loops and cases made by hand."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils.checkpoint import checkpoint

from vitrail.nn import NO_TOKEN, DropPath, PrefixTokens, RegisterTokens, Tokens, fold, pack, pack_tokens, sizes

# Two images of 2 × 3 cells. Token 1 of the first has two cells that are not adjacent; one cell has no token.
COVER = torch.tensor([[[0, 1, NO_TOKEN], [2, 3, 1]], [[3, 3, 3], [0, 1, 2]]])


def merged(prefix: int = 1, dim: int = 5) -> Tokens:
    return Tokens(torch.randn(2, prefix + 4, dim, dtype=torch.float64), (2, 3), prefix, cover=COVER)


def test_index_and_size_by_hand() -> None:
    assert merged().index.tolist() == [[0, 1, 3, 4], [3, 4, 5, 0]]
    assert merged().size.tolist() == [[1, 2, 1, 1], [1, 1, 1, 3]]
    plain = Tokens(torch.randn(1, 6, 4), (2, 3))
    assert plain.index is None
    assert plain.size is None
    assert sizes(COVER, 5).tolist() == [[1, 2, 1, 1, 0], [1, 1, 1, 3, 0]]


def test_map_puts_each_token_on_its_cells() -> None:
    tokens = merged()
    assert torch.equal(tokens.map, by_loops(tokens.patches, COVER))
    weights = torch.randn(2, 3, 4)
    assert torch.equal(fold(weights, COVER), by_loops(weights.transpose(1, 2), COVER))


def by_loops(values: Tensor, cover: Tensor) -> Tensor:
    """(B, P, D) -> (B, D, *grid), cell by cell."""
    found = values.new_zeros(len(cover), values.shape[2], *cover.shape[1:])
    for image, row, column in torch.ones(cover.shape).nonzero().tolist():
        token = cover[image, row, column]
        if token >= 0:
            found[image, :, row, column] = values[image, token]
    return found


def test_kept_patches_stay_on_their_cells() -> None:
    whole = Tokens(torch.randn(2, 7, 4), (2, 3), prefix=1)
    kept = whole.keep(torch.tensor([[4, 0, 5], [2, 1, 3]]))
    assert kept.index.tolist() == [[4, 0, 5], [2, 1, 3]]
    expected = whole.map.clone()
    expected[0, :, 0, 1:] = expected[0, :, 1, 0] = 0
    expected[1, :, 0, 0] = expected[1, :, 1, 1] = expected[1, :, 1, 2] = 0
    assert torch.equal(kept.map, expected)
    assert torch.equal(kept.prefix_tokens, whole.prefix_tokens)
    again = kept.keep(torch.tensor([[2, 0], [1, 2]]))
    assert again.index.tolist() == [[5, 4], [1, 3]]
    several = merged().keep(torch.tensor([[1, 3], [3, 0]]))
    assert several.cover.tolist() == [[[-1, 0, -1], [-1, 1, 0]], [[0, 0, 0], [1, -1, -1]]]


def test_packed_images_are_told_apart() -> None:
    alone = [Tokens(torch.randn(1, 5, 4), (2, 3), 1, cover=COVER[:1]), Tokens(torch.randn(1, 3, 4), (1, 2), 1)]
    packed = pack_tokens(alone)
    assert (packed.grid, packed.lengths, packed.prefix) == ((2, 3), (5, 3), 1)
    assert packed.index.tolist() == [[0, 1, 3, 4, 0, 1]]
    assert packed.size.tolist() == [[1, 2, 1, 1, 1, 1]]
    assert torch.equal(packed.patches, torch.cat([tokens.patches for tokens in alone], dim=1))
    assert torch.equal(packed.prefix_tokens, torch.cat([tokens.prefix_tokens for tokens in alone]))
    assert torch.equal(packed.map[0], alone[0].map[0])
    assert torch.equal(packed.map[1, :, :1, :2], alone[1].map[0])
    assert not packed.map[1, :, 1].any()
    assert not packed.map[1, :, :, 2].any()


def test_prefix_tokens_lead_each_packed_image() -> None:
    sequences = [torch.randn(length, 4) for length in (3, 5)]
    for part in (PrefixTokens(4, 2), RegisterTokens(4, 2)):
        nn.init.normal_(part.weight)
        found = part(PrefixTokens(4)(pack(sequences, (1, 5))))
        each = [part(PrefixTokens(4)(Tokens(sequence[None], (1, len(sequence))))) for sequence in sequences]
        assert found.lengths == (6, 8)
        assert found.prefix == 3
        assert (found.x[0] - torch.cat([tokens.x[0] for tokens in each])).abs().max() < 1e-4  # class tokens are random
        assert torch.equal(found.without_prefix().x, torch.cat(sequences)[None])
        assert found.without_prefix().lengths == (3, 5)


def test_the_cover_goes_through_pytrees() -> None:
    for tokens in (merged(), replace(merged(), counted=merged().size.double()), Tokens(torch.randn(1, 6, 4), (2, 3))):
        leaves, spec = pytree.tree_flatten(tokens)
        assert len(leaves) == 1 + (tokens.cover is not None) + (tokens.counted is not None)
        again = pytree.tree_unflatten(leaves, pytree.treespec_loads(pytree.treespec_dumps(spec)))
        assert (again.grid, again.prefix, again.lengths) == (tokens.grid, tokens.prefix, tokens.lengths)
        assert again.x is tokens.x
        assert again.cover is tokens.cover
        assert again.counted is tokens.counted


class Doubled(nn.Module):
    def forward(self, tokens: Tokens) -> Tokens:
        return tokens.with_x(2 * tokens.x)


def test_the_cover_stands_activation_checkpointing_export_and_compile() -> None:
    tokens = merged()
    x = tokens.x.clone().requires_grad_()
    found = checkpoint(Doubled(), tokens.with_x(x), use_reentrant=False)
    found.map.sum().backward()
    cells = torch.cat([torch.zeros(2, 1), sizes(COVER, 4)], dim=1)
    assert torch.equal(x.grad, 2 * cells[..., None].double().expand_as(x))

    class Kept(nn.Module):
        def forward(self, x: Tensor, chosen: Tensor) -> tuple[Tokens, Tensor]:
            kept = Doubled()(Tokens(x, (2, 3)).keep(chosen))
            return kept, kept.map

    given = torch.randn(2, 6, 4), torch.tensor([[4, 0], [1, 2]])
    expected, image = Kept()(*given)
    for run in (torch.export.export(Kept(), given).module(), torch.compile(Kept(), backend="eager", fullgraph=True)):
        found, found_image = run(*given)
        assert torch.equal(found.cover, expected.cover)
        assert torch.equal(found_image, image)


def test_drop_path_takes_the_cover_of_the_images_that_it_keeps() -> None:
    seen = []

    def branch(tokens: Tokens) -> Tokens:
        seen.append(tokens)
        return tokens

    tokens = merged()
    DropPath(0.5).train()(tokens, branch)
    (kept,) = seen
    image = [torch.equal(kept.x[0], x) for x in tokens.x].index(True)
    assert torch.equal(kept.cover, COVER[image : image + 1])
