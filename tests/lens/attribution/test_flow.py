"""Attention flow against NetworkX, on graphs small enough for it."""

import builtins
from collections.abc import Iterable
from typing import Any

import networkx
import pytest
import torch
from torch import Tensor

from vitrail.errors import VitrailError
from vitrail.lens.attribution.flow import attention_flow, flow_map, pipes
from vitrail.lens.attribution.flow_proof import reaches_bound
from vitrail.lens.attribution.flow_search import MinimumCuts
from vitrail.lens.capture import capture
from vitrail.progress import Total

from .plain import build, pictures, vit


def random_weights(depth: int, count: int, sharpness: float, heads: int, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (1, heads, count, count)
    scores = (torch.randn(shape, generator=generator, dtype=torch.float64) * sharpness for _ in range(depth))
    return [layer.softmax(-1).mean(1) for layer in scores]


def network(layers: list[Tensor], start: Tensor) -> networkx.DiGraph:
    graph, top = networkx.DiGraph(), len(layers)
    for i in start.nonzero().flatten().tolist():
        graph.add_edge("source", (top, i), capacity=float(start[i]))
    for level, layer in enumerate(layers):
        for i, j in layer.nonzero().tolist():
            graph.add_edge((level + 1, i), (level, j), capacity=float(layer[i, j]))
    return graph


@pytest.mark.parametrize("seed", range(16))
def test_values_and_cuts_equal_networkx(seed: int) -> None:
    depth, count = 1 + seed % 6, 6
    layers = [layer[0] for layer in pipes(random_weights(depth, count, 4, 1, seed))]
    start = torch.rand(count, dtype=torch.float64) if seed % 2 else torch.eye(count, dtype=torch.float64)[0]
    flow, graph = attention_flow(layers, start), network(layers, start)
    for target in range(count):
        expected = networkx.maximum_flow_value(graph, "source", (0, target))
        assert float(flow.values[target]) == pytest.approx(expected, abs=1e-6)
        edges = flow.cut(target)
        assert sum(edge.capacity for edge in edges) == pytest.approx(expected, abs=1e-6)
        bound = min(float(start.sum()), float(layers[0][:, target].sum()))
        assert bool(flow.trivial[target]) == (abs(expected - bound) < 1e-6)
        for edge in edges:  # without the cut nothing gets through
            pair = ("source", (depth, edge.key)) if edge.layer is None else None
            graph_edge = pair or ((edge.layer + 1, edge.query), (edge.layer, edge.key))
            assert graph.edges[graph_edge]["capacity"] == pytest.approx(edge.capacity)
        without = graph.copy()
        without.remove_edges_from(
            ("source", (depth, e.key)) if e.layer is None else ((e.layer + 1, e.query), (e.layer, e.key)) for e in edges
        )
        assert not networkx.has_path(without, "source", (0, target))


def test_some_are_proven_and_some_are_not() -> None:
    """The cases of the test above are of every kind."""
    kinds = set()
    for seed in range(16):
        layers = tuple(layer[0] for layer in pipes(random_weights(1 + seed % 6, 6, 4, 1, seed)))
        start = torch.eye(6, dtype=torch.float64)[0]
        proven = reaches_bound(layers, start, layers[0].sum(0).clamp(max=1))
        trivial = attention_flow(layers, start).trivial
        assert not (proven & ~trivial).any()
        kinds |= set(zip(proven.tolist(), trivial.tolist(), strict=True))
    assert kinds == {(True, True), (False, True), (False, False)}


def test_class_tokens_that_join_late_and_rows_that_are_not_asked_for() -> None:
    generator = torch.Generator().manual_seed(0)
    patches = [torch.rand(1, 4, 4, generator=generator, dtype=torch.float64).softmax(-1) for _ in range(2)]
    joined = [torch.rand(1, 1, 5, generator=generator, dtype=torch.float64).softmax(-1) for _ in range(2)]
    layers = [layer[0] for layer in pipes([*patches, *joined])]
    assert [tuple(layer.shape) for layer in layers] == [(4, 4), (4, 4), (5, 4), (5, 5)]
    start = torch.eye(5, dtype=torch.float64)[0]
    graph, flow = network(layers, start), attention_flow(layers, start)
    for target in range(4):
        expected = networkx.maximum_flow_value(graph, "source", (0, target))
        assert float(flow.values[target]) == pytest.approx(expected, abs=1e-6)


def test_nothing_is_searched_for_in_a_picture_of_197_tokens_and_12_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    def searched(*args: object) -> None:
        raise AssertionError("a search")

    monkeypatch.setattr(MinimumCuts, "to", searched)
    layers = [layer[0] for layer in pipes(random_weights(12, 197, 6, 12))]
    flow = attention_flow(layers, torch.eye(197, dtype=torch.float64)[0], most=0)
    assert flow.trivial.all()
    torch.testing.assert_close(flow.values, layers[0].sum(0).clamp(max=1))


def test_the_search_is_bounded_and_reports_its_progress() -> None:
    layers = [layer[0] for layer in pipes(random_weights(4, 6, 4, 1, 3))]
    start = torch.eye(6, dtype=torch.float64)[0]
    left = int((~reaches_bound(tuple(layers), start, layers[0].sum(0).clamp(max=1))).sum())
    assert left > 0
    seen: list[tuple[int, str]] = []

    def note(items: Iterable[Any], total: Total, label: str) -> Iterable[Any]:
        seen.append((len(list(items)), label))
        assert seen[-1][0] == total
        return items

    work = left * 4 * 36
    flow = attention_flow(layers, start, most=work, progress=note)
    assert {label for _, label in seen} == {"attention flow"}
    assert seen[0][0] == left or sum(count for count, _ in seen) <= 2 * left
    torch.testing.assert_close(flow.values, attention_flow(layers, start).values)
    with pytest.raises(
        VitrailError, match=rf"of {left} of 6 tokens must be searched for, each among 144 edges.*rollout"
    ):
        attention_flow(layers, start, most=work - 1)


@pytest.mark.parametrize("mean", [False, True])
def test_map_of_a_model(mean: bool) -> None:
    model, pixels = vit("mean" if mean else "class", depth=2), pictures()
    with capture(model) as seen, torch.no_grad():
        model(pixels)
    found = flow_map(model, pixels, torch.zeros(2, dtype=torch.long))
    start = torch.full((17,), float(mean) / 16, dtype=torch.float64)
    start[0] = 1 - float(mean)
    for picture in range(2):
        layers = [(look.weights()[picture].mean(0) + torch.eye(17)) / 2 for look in seen.values()]
        graph = network(layers, start)
        expected = [networkx.maximum_flow_value(graph, "source", (0, 1 + patch)) for patch in range(16)]
        torch.testing.assert_close(found[picture].flatten(), torch.tensor(expected).double(), rtol=0, atol=1e-6)


def test_errors_name_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    start = torch.eye(4, dtype=torch.float64)[0]
    with pytest.raises(VitrailError, match="at least one layer"):
        attention_flow([], start)
    with pytest.raises(VitrailError, match=r"a layer of \(5, 5\) has not the 4 outputs"):
        attention_flow([torch.eye(5)], start)
    swin = build("swin_tiny_patch4_window7_224", image_size=56, depths=(1, 1), num_heads=(2, 2), embed_dim=16)
    with pytest.raises(VitrailError, match="in windows or on another grid"):
        flow_map(swin, pictures(1, 56), torch.zeros(1, dtype=torch.long))
    real = builtins.__import__

    def without_scipy(name, *rest):
        if name.startswith("scipy"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_scipy)
    with pytest.raises(VitrailError, match=r"vitrail\[flow\]"):
        attention_flow([layer[0] for layer in pipes(random_weights(2, 4, 4, 1))], start)
