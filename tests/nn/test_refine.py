"""Queries and keys before they meet, and gated layers, against timm's layers and by what they promise."""

import timm
import torch
from torch import nn

from tests.parity.references import randomise
from vitrail.nn import MultiHeadAttention, QKNorm, RotaryPositions, SwiGLU, Tokens, attention_scores


def test_norms_of_queries_and_keys() -> None:
    theirs = randomise(timm.layers.Attention(48, 3, qkv_bias=True, qk_norm=True, norm_layer=nn.LayerNorm))
    ours = MultiHeadAttention(48, 3, refine=QKNorm(nn.LayerNorm(16), nn.LayerNorm(16))).eval()
    names = {"qkv": "qkv", "project": "proj", "refine.queries": "q_norm", "refine.keys": "k_norm"}
    state = theirs.state_dict()
    ours.load_state_dict({f"{a}.{part}": state[f"{b}.{part}"] for a, b in names.items() for part in ("weight", "bias")})
    x = torch.randn(2, 7, 48)
    assert torch.allclose(ours(Tokens(x, (7,))).x, theirs(x), atol=1e-5)


def test_gated_layers_with_a_norm() -> None:
    theirs = randomise(timm.layers.SwiGLU(24, 40, norm_layer=nn.LayerNorm))
    ours, state = SwiGLU(24, 40, norm=nn.LayerNorm(40)).eval(), theirs.state_dict()
    for part in ("weight", "bias"):
        gate, value = state[f"fc1_g.{part}"], state[f"fc1_x.{part}"]
        getattr(ours.expand, part).data = torch.cat([gate, value])
        getattr(ours.norm, part).data = state[f"norm.{part}"]
        getattr(ours.contract, part).data = state[f"fc2.{part}"]
    x = torch.randn(2, 5, 24)
    assert torch.allclose(ours(Tokens(x, (5,))).x, theirs(x), atol=1e-5)


def test_turned_scores_depend_on_the_offset_only() -> None:
    grid, prefix = (4, 6), 2
    q, k = (torch.randn(1, 1, 1, 16, dtype=torch.float64).expand(1, 1, prefix + 24, 16) for _ in "qk")
    tokens = Tokens(torch.zeros(1, prefix + 24, 16), grid, prefix)
    scores = attention_scores(*RotaryPositions(16)(q, k, tokens))[0, 0]
    patches = scores[prefix:, prefix:].reshape(*grid, *grid)
    assert torch.allclose(patches[0, 1, 2, 4], patches[1, 2, 3, 5])  # two down, three to the right
    assert not torch.allclose(patches[0, 1, 2, 4], patches[0, 1, 2, 5])
    assert torch.equal(scores[:prefix, :prefix], attention_scores(q, k)[0, 0, :prefix, :prefix])


def test_low_precision_stays_low() -> None:
    tokens = Tokens(torch.zeros(1, 9, 16), (3, 3))
    q = torch.randn(1, 2, 9, 8)
    low, _ = RotaryPositions(8)(q.bfloat16(), q.bfloat16(), tokens)
    exact, _ = RotaryPositions(8)(q, q, tokens)
    assert low.dtype == torch.bfloat16
    assert torch.allclose(low.float(), exact, atol=0.03)
