"""Pools and heads against what they are said to be."""

from functools import partial

import pytest
import torch
import torch.nn.functional as F
from timm.layers import AttentionPoolLatent
from torch import Tensor, nn

from vitrail.lens.observe import observe_attention
from vitrail.nn import (
    MLP,
    AttentionWeightedPool,
    CausalMask,
    EndOfText,
    JoinedTokens,
    LastToken,
    MLPHead,
    MultiHeadAttentionPool,
    TextEmbed,
    Tokens,
    VisionModel,
)

from ..parity.references import randomise


def tokens(dim: int = 12, dtype: torch.dtype = torch.float64) -> Tokens:
    return Tokens(torch.randn(3, 2 + 20, dim, dtype=dtype), grid=(4, 5), prefix=2)


def test_multi_head_attention_pool_is_torchs_attention_from_a_query() -> None:
    pool = randomise(MultiHeadAttentionPool(12, 3, MLP(12, 20))).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    attention, t = pool.attention, tokens()
    parts = (attention.q, attention.k, attention.v)
    theirs.in_proj_weight.data = torch.cat([part.weight for part in parts])
    theirs.in_proj_bias.data = torch.cat([part.bias for part in parts])
    theirs.out_proj.load_state_dict(attention.project.state_dict())
    found = theirs(pool.query.expand(3, -1, -1), t.x, t.x)[0][:, 0]
    mlp, norm = pool.refine.branch, pool.refine.norm
    normed = F.layer_norm(found, (12,), norm.weight, norm.bias, 1e-6)
    expected = found + mlp.contract(F.gelu(mlp.expand(normed)))
    assert (pool(t) - expected).abs().max() < 1e-12


def test_multi_head_attention_pool_is_timms() -> None:
    pool = randomise(MultiHeadAttentionPool(12, 3, MLP(12, 48))).double()
    theirs = AttentionPoolLatent(12, num_heads=3, norm_layer=partial(nn.LayerNorm, eps=1e-6)).double()
    ours = pool.state_dict()
    state = {"latent": ours["query"]}
    for kind in ("weight", "bias"):
        state[f"q.{kind}"] = ours[f"attention.q.{kind}"]
        state[f"kv.{kind}"] = torch.cat([ours[f"attention.k.{kind}"], ours[f"attention.v.{kind}"]])
        state[f"proj.{kind}"] = ours[f"attention.project.{kind}"]
        state[f"norm.{kind}"] = ours[f"refine.norm.{kind}"]
        state[f"mlp.fc1.{kind}"], state[f"mlp.fc2.{kind}"] = (
            ours[f"refine.branch.{layer}.{kind}"] for layer in ("expand", "contract")
        )
    theirs.load_state_dict(state)
    t = tokens()
    assert (pool(t) - theirs(t.x)).abs().max() < 1e-12


@pytest.mark.parametrize("grad", [True, False])  # the explicit and the fused path of `Attend`
def test_attention_weighted_pool_is_its_closed_form(grad: bool) -> None:
    pool, t = randomise(AttentionWeightedPool(12)), tokens(dtype=torch.float32)
    with torch.set_grad_enabled(grad):
        scores = t.x @ pool.score.weight[0] + pool.score.bias
        expected = (scores.softmax(dim=1).unsqueeze(-1) * t.x).sum(dim=1)
        assert (pool(t) - expected).abs().max() < 1e-6


def test_attention_weighted_pool_of_equal_scores_is_the_mean_and_can_be_observed() -> None:
    pool, t = AttentionWeightedPool(12).double(), tokens()
    pool.score.weight.data.zero_()
    model = VisionModel(nn.Identity(), nn.Identity(), pool, config=None)
    with observe_attention(model) as seen, torch.no_grad():
        assert torch.allclose(pool(t), t.x.mean(dim=1))
    assert torch.allclose(seen[0], torch.full((3, 1, 1, 22), 1 / 22, dtype=torch.float64))


def test_joined_tokens_stand_side_by_side() -> None:
    t = tokens()
    assert torch.equal(JoinedTokens(2)(t), torch.cat([t.x[:, 0], t.x[:, 1]], dim=1))


def test_mlp_head_is_two_layers_and_tanh() -> None:
    head, x = MLPHead(4, 6, 3), torch.randn(2, 4)
    inner, outer = head.expand, head.classify
    assert torch.equal(head(x), outer(torch.tanh(inner(x))))
    assert isinstance(MLPHead(4, 6, 3, activation=nn.GELU).activation, nn.GELU)


def test_words_and_places_add_up() -> None:
    embed = TextEmbed(vocab_size=10, dim=4, context_length=5)
    ids = torch.tensor([[3, 1, 9]])
    t = embed(ids)
    assert t.grid == (3,)
    rows = [embed.words.weight[word] + embed.positions[0, place] for place, word in enumerate([3, 1, 9])]
    assert torch.equal(t.x[0], torch.stack(rows))
    with pytest.raises(ValueError, match="texts of 6 tokens are longer than the context of 5"):
        embed(torch.zeros(1, 6, dtype=torch.long))


def test_the_causal_mask_hides_what_comes_later() -> None:
    mask = CausalMask()(Tokens(torch.randn(2, 4, 3), grid=(4,)))
    for query in range(4):
        for key in range(4):
            assert mask[query, key] == (-torch.inf if key > query else 0)


@pytest.mark.parametrize(
    ("pool", "places"), [(EndOfText(), [2, 4]), (LastToken(), [4, 4])], ids=["end of text", "last"]
)
def test_texts_are_pooled_where_they_end(pool: nn.Module, places: list[int]) -> None:
    ids = torch.tensor([[7, 3, 9, 9, 0], [7, 1, 2, 3, 9]])
    x: Tensor = torch.randn(2, 5, 4)
    expected = torch.stack([x[row, place] for row, place in enumerate(places)])
    assert torch.equal(pool(Tokens(x, grid=(5,)), ids), expected)
