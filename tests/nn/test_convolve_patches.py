"""The product of patches is the convolution, in both layouts, forwards and backwards."""

import pytest
import torch
import torch.nn.functional as F

from vitrail.nn import PatchConv, PatchEmbed


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("channels", "patch", "grid"), [(3, (4, 2), (3, 5)), (1, (2, 2), (4, 4)), (8, (1, 1), (3, 2))])
def test_values_and_gradients(
    channels: int, patch: tuple[int, int], grid: tuple[int, int], layout: torch.memory_format
) -> None:
    layer = PatchConv(channels, 6, patch).double()
    layer.weight.data = layer.weight.data.contiguous(memory_format=layout)
    size = (grid[0] * patch[0], grid[1] * patch[1])
    image = torch.randn(2, channels, *size, dtype=torch.float64).contiguous(memory_format=layout).requires_grad_()
    found, expected = layer(image), F.conv2d(image, layer.weight, layer.bias, stride=patch)
    torch.testing.assert_close(found, expected)
    weights = torch.randn_like(expected)
    inputs = [image, layer.weight, layer.bias]
    for mine, theirs in zip(
        torch.autograd.grad((found * weights).sum(), inputs),
        torch.autograd.grad((expected * weights).sum(), inputs),
        strict=True,
    ):
        torch.testing.assert_close(mine, theirs)


def test_graphs_have_the_convolution() -> None:
    embed = PatchEmbed(3, 8, (4, 4)).eval()
    program = torch.export.export(embed.project, (torch.randn(2, 3, 8, 8),))
    names = [str(node.target) for node in program.graph.nodes if node.op == "call_function"]
    assert names == ["aten.conv2d.default"]
