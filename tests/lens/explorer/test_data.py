"""What the explorer is given, against what `observe_attention` sees, for every kind of layer; and taking parts out."""

import base64
import threading

import pytest
import torch
from torch import nn

from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.lens.attribution.method import Method
from vitrail.lens.attribution.methods import METHODS as OURS
from vitrail.lens.edit import edit_features
from vitrail.lens.explanation import explain_image
from vitrail.lens.explorer.ablate import Region, ablated, without
from vitrail.lens.explorer.data import look, relevance
from vitrail.lens.explorer.gallery import Gallery
from vitrail.lens.explorer.pack import unpack_layer
from vitrail.lens.explorer.rows import LayerRows, Side, Unseen, layer_rows
from vitrail.lens.layout import over_image
from vitrail.lens.observe import observe_attention
from vitrail.lens.outputs import image_model
from vitrail.lens.watched import Watched
from vitrail.models.registry import create_model

from .small import METHODS, NAMES, for_all, gallery, picture, vit, watched

KINDS = {
    "class token": lambda: vit(),
    "distillation": lambda: vit(name="deit_tiny_distilled_patch16_224"),
    "registers": lambda: watched("vit_small_patch14_reg4_dinov2", image_size=42, depth=2, embed_dim=24, num_heads=2),
    "mean pool": lambda: vit(name="simple_vit_tiny_patch16_224"),
    "windows": lambda: watched(
        "swin_tiny_patch4_window7_224", image_size=64, embed_dim=8, depths=(2, 2), num_heads=(1, 2)
    ),
    "reduced keys": lambda: watched("pvt_v2_b0", image_size=64, depths=(1, 1, 1, 1)),
    "class attention": lambda: watched("cait_xxs24_224", patch_size=8, depth=1),
    "learned query": lambda: watched("vit_base_patch16_siglip_224", patch_size=8, depth=1, embed_dim=24, num_heads=2),
    "fewer queries": lambda: watched("levit_128s", image_size=64, depths=(1, 1, 1)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_the_weights_over_the_picture(kind: str) -> None:
    subject = KINDS[kind]()
    size = subject.preprocess.image_size
    view = look(subject, picture(size=size))
    with observe_attention(subject.model) as seen, torch.inference_mode():
        subject.model(subject.pixels(picture(size=size)))
    assert len(view.layers) == len(seen)
    for layer, (_, rows) in enumerate(view.layers):
        assert isinstance(rows, LayerRows), rows
        expected = over_image(seen[layer], seen.layout(layer))[0]
        torch.testing.assert_close(spread(rows), expected[:, : rows.queries.count])


def spread(rows: LayerRows) -> torch.Tensor:
    if rows.cells is None:
        return rows.weights
    out = rows.weights.new_zeros(*rows.weights.shape[:2], rows.keys.count + 1)
    cells = rows.cells.where(rows.cells >= 0, rows.keys.count).expand_as(rows.weights)
    return out.scatter_add_(2, cells, rows.weights)[..., :-1]


def test_a_learned_query_is_none_of_the_tokens_that_lead_the_patches() -> None:
    view = look(KINDS["learned query"](), picture())
    assert view.prefix_names == ()
    (_, rows) = view.layers[-1]
    assert isinstance(rows, LayerRows)
    assert (rows.queries, rows.keys) == (Side((0, 0), 1, free=True), Side((4, 4), 0))


def test_patches_of_several_sizes_lie_where_they_were_cut() -> None:
    subject, image = adaptive(), corner()
    view = look(subject, image)
    assert view.prefix_names == ("class token",)
    (_, rows) = view.layers[-1]
    assert isinstance(rows, LayerRows)
    # Plain at the right and below: three patches of two by two cells, behind the four small ones.
    cover = (0, 1, 4, 4, 2, 3, 4, 4, 5, 5, 6, 6, 5, 5, 6, 6)
    assert rows.queries == rows.keys == Side((4, 4), 1, cover)
    with observe_attention(subject.model) as seen, torch.inference_mode():
        subject.model(subject.pixels(image))
    assert torch.equal(rows.weights, seen[-1][0])


def test_a_masked_encoder_is_drawn_on_the_cells_that_it_sees() -> None:
    sizes = {"embed_dim": 24, "depth": 1, "num_heads": 2, "decoder_dim": 24, "decoder_depth": 1, "decoder_heads": 2}
    model = create_model("mae_vit_base_patch16", image_size=32, patch_size=8, **sizes).eval()
    with observe_attention(model) as seen, torch.no_grad():
        model(vit().preprocess(picture())[None])
    encoder, decoder = (layer_rows(seen, layer) for layer in seen)
    assert isinstance(encoder, LayerRows)
    assert isinstance(decoder, LayerRows)
    assert encoder.queries == encoder.keys
    assert (encoder.queries.grid, encoder.queries.prefix, encoder.queries.count) == ((4, 4), 1, 1 + 4)
    assert sorted(encoder.queries.cover) == [-1] * 12 + [0, 1, 2, 3]
    assert encoder.weights.shape == (2, 5, 5)
    assert decoder.queries == Side((4, 4), 1)


def adaptive() -> Watched:
    return watched("adaptive_vit_tiny_patch16_224", patch_size=8, depth=2, embed_dim=24, num_heads=2, levels=2)


def corner() -> torch.Tensor:
    """Noise in a corner of a plain picture."""
    image = torch.full((3, 32, 32), 90, dtype=torch.uint8)
    image[:, :16, :16] = picture()[:, :16, :16]
    return image


def test_names_of_tokens_and_classes() -> None:
    assert look(KINDS["registers"](), picture(size=(42, 42))).prefix_names == (
        "class token", "register 1", "register 2", "register 3", "register 4"
    )  # fmt: skip
    assert look(KINDS["distillation"](), picture()).prefix_names == ("class token", "distillation token")
    view = look(vit(), picture(), top_k=9)
    assert {prediction.name for prediction in view.predictions} == set(NAMES)
    assert sum(prediction.probability for prediction in view.predictions) == pytest.approx(1, abs=1e-5)


def test_a_model_without_classes_predicts_none() -> None:
    subject = vit(classes=0)
    view = look(subject, picture())
    assert (view.predictions, view.output) == ((), "embedding")
    assert view.features is not None
    assert list(relevance(subject, picture(), "a", METHODS["for all"], []).maps) == [None]
    # A method that knows classes only has a problem; ours explain the direction of the embedding.
    assert relevance(subject, picture(), "a", METHODS["by class"], []).problem
    found = relevance(subject, picture(), "input_gradient", OURS["input_gradient"], [])
    given = subject.pixels(picture()).requires_grad_()
    subject.model(given).norm().backward()
    expected = (given.grad * given.detach()).sum(1).unflatten(2, (-1, 8)).unflatten(1, (-1, 8)).sum((2, 4))[0]
    torch.testing.assert_close(found.maps[None], expected, rtol=1e-3, atol=1e-5)
    shown = gallery(subject)
    assert shown.ablate(0, [(0, 0)], []) == {"view": 2, "predictions": []}
    assert shown.view(2).document["features"] != shown.view(0).document["features"]


def test_a_model_without_attention_says_so() -> None:
    with pytest.raises(VitrailError, match="no attention to observe"):
        look(Watched("cnn", nn.Conv2d(3, 4, 1), vit().preprocess), picture())


def test_too_many_weights_are_refused_before_they_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vitrail.lens.explorer.data.MOST_WEIGHTS", 1000)
    subject = vit()
    with pytest.raises(VitrailError, match="smaller image_size"):
        look(subject, picture())
    assert not any(module._forward_pre_hooks for module in subject.model.modules())


def test_relevance_is_by_class_only_where_it_differs() -> None:
    assert list(relevance(vit(), picture(), "a", METHODS["by class"], [3, 1]).maps) == [3, 1]
    assert list(relevance(vit(), picture(), "a", METHODS["for all"], [3, 1]).maps) == [None]


def test_a_method_that_does_not_apply_says_why() -> None:
    def fails(*given: object) -> torch.Tensor:
        raise VitrailError("no class token here")

    assert relevance(vit(), picture(), "a", Method("Fails", fails), [0]).problem == "no class token here"


def test_taking_out_a_head_is_zeroing_its_output_and_leaves_no_trace() -> None:
    subject, pixels = vit(), vit().pixels(picture())
    with torch.no_grad():
        before = subject.model(pixels)
        with without(subject.model, [(1, 0)], []):
            found = subject.model(pixels)
        # The same by hand: what the projection takes of the first head, of two with 12 channels each, is nothing.
        project = subject.model.encoder.blocks[1].attention.branch.project
        kept = project.weight.clone()
        project.weight[:, :12] = 0
        torch.testing.assert_close(found, subject.model(pixels))
        project.weight.copy_(kept)
        assert torch.equal(subject.model(pixels), before)
    assert not torch.allclose(found, before)
    assert not any(module._forward_hooks for module in subject.model.modules())


def test_taking_out_a_patch_puts_the_mean_in_its_place() -> None:
    subject, pixels = vit(), vit().pixels(picture())
    with torch.no_grad():
        tokens = subject.model.embed(pixels)
        with without(subject.model, [], [Region(0.25, 0.5, 0.5, 0.75)]):
            found = subject.model.embed(pixels)
    expected = tokens.x.clone()
    expected[:, 1 + 6] = tokens.patches.mean(dim=1)
    torch.testing.assert_close(found.x, expected)


def test_nothing_taken_out_changes_nothing_and_unknown_parts_are_named() -> None:
    subject = vit()
    assert ablated(subject, picture(), [], []) == pytest.approx(
        [p.probability for p in sorted(look(subject, picture()).predictions, key=lambda p: p.index)], abs=1e-6
    )
    with pytest.raises(VitrailError, match="no layer 3: the model has 3"):
        ablated(subject, picture(), [(3, 0)], [])
    with pytest.raises(VitrailError, match="layer 0 has no head 2: it has 2"):
        ablated(subject, picture(), [(0, 2)], [])


def test_what_is_there_does_not_wait_for_a_method_at_work() -> None:
    working, go_on = threading.Event(), threading.Event()

    def slow(model: nn.Module, pixels: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        working.set()
        assert go_on.wait(20)
        return for_all(model, pixels, classes)

    shown = gallery(vit(), methods={"slow": Method("Slow", slow)})
    view = shown.view(0)
    at_work = threading.Thread(target=shown.relevance, args=(0, "slow"))
    at_work.start()
    assert working.wait(20)
    assert shown.view(0) is view
    go_on.set()
    at_work.join()


def test_a_gallery_packs_what_was_looked_at_and_shortens_names() -> None:
    shown = gallery(vit(), vit(name="deit_tiny_distilled_patch16_224"))
    assert len(shown) == 4
    assert shown.outline()["images"] == ["0.png", "1.png"]
    assert Gallery([vit()], [("a/1.png", [picture()]), ("b/1.png", [picture()])]).outline()["images"] == [
        "a/1.png", "b/1.png"
    ]  # fmt: skip
    view = shown.view(1)
    expected = look(vit(), picture(1)).layers[2][1]
    assert not isinstance(expected, Unseen)
    torch.testing.assert_close(unpack_layer(view.layers[2]), expected.weights, atol=2e-3, rtol=0)
    assert shown.view(1) is view
    with pytest.raises(VitrailError, match="no view 4: there are 4"):
        shown.view(4)
    with pytest.raises(VitrailError, match="did you mean by class"):
        shown.relevance(0, "by clas")
    with pytest.raises(VitrailError, match="nothing to explore"):
        Gallery([vit()], [])


@pytest.mark.parametrize(
    ("name", "options", "output"),
    [
        ("segformer_b0", {"image_size": 64}, "other"),
        ("mae_vit_base_patch16", {"image_size": 32, "depth": 1, "embed_dim": 48, "num_heads": 3}, "other"),
        ("clip_vit_base_patch16", {"image_size": 32, "depth": 1, "text_depth": 1}, "embedding"),
        ("vit_small_patch14_dinov2", {"image_size": 42, "depth": 1, "embed_dim": 24, "num_heads": 2}, "embedding"),
    ],
)
def test_other_models_show_attention_and_features_and_no_probabilities(name: str, options: dict, output: str) -> None:
    size = options["image_size"]
    model = image_model(create_model(name, **options)).eval()
    subject = Watched(name, model, Preprocess(image_size=(size, size), crop=1.0))
    view = look(subject, picture(size=(size, size)))
    assert (view.predictions, view.output) == ((), output)
    assert view.features is not None
    assert any(isinstance(rows, LayerRows) for _, rows in view.layers)
    assert explain_image(subject, "x", picture(size=(size, size))).predictions == ()


def test_feature_colours_are_the_principal_components_of_the_last_patches() -> None:
    subject = vit()
    with torch.no_grad():
        tokens = subject.model.forward_features(subject.pixels(picture()))
    flat = tokens.patches[0].double()
    values, vectors = torch.linalg.eigh((flat - flat.mean(0)).T @ (flat - flat.mean(0)))
    first = (flat - flat.mean(0)) @ vectors[:, values.argmax()]
    found = look(subject, picture()).features
    assert found is not None
    correlation = torch.corrcoef(torch.stack([found[0].flatten().double(), first]))[0, 1]
    assert abs(correlation) > 0.999


def test_a_view_without_parts_of_the_model_is_that_of_the_changed_model() -> None:
    shown, region = gallery(vit(), methods={"rollout": OURS["rollout"]}), Region(0, 0, 0.25, 0.25)
    found = shown.ablate(1, [(1, 0)], [region])
    assert found["view"] == 2
    assert shown.ablate(1, [(1, 0)], [region])["view"] == 2
    assert shown.ablate(1, [], [])["view"] == 1
    subject = vit()
    with torch.no_grad():  # the same head, without its part of the projection
        subject.model.encoder.blocks[1].attention.branch.project.weight[:, :12] = 0
    patches = lambda tokens: tokens.patches.mean(1, keepdim=True)  # noqa: E731
    with edit_features(subject.model, {"embed": lambda tokens: tokens.with_x(
        torch.cat([tokens.x[:, :1], patches(tokens), tokens.x[:, 2:]], dim=1)
    )}):  # fmt: skip
        expected = look(subject, picture(1))
        rolled = relevance(subject, picture(1), "rollout", OURS["rollout"], []).maps[None]
    packed = shown.view(2)
    for layer, (_, rows) in zip(packed.layers, expected.layers, strict=True):
        torch.testing.assert_close(unpack_layer(layer), rows.weights, rtol=0.02, atol=0.01)
    found_top = packed.document["predictions"][0]
    assert found_top["name"] == expected.predictions[0].name
    assert found_top["probability"] == pytest.approx(expected.predictions[0].probability, abs=1e-4)
    after = {row["name"]: row["after"] for row in found["predictions"]}
    assert after[found_top["name"]] == pytest.approx(found_top["probability"], abs=1e-6)
    (values,) = shown.relevance(2, "rollout")["maps"]
    coded = torch.frombuffer(bytearray(base64.b64decode(values["values"])), dtype=torch.int16) * values["step"]
    torch.testing.assert_close(coded.unflatten(0, (4, 4)), rolled, rtol=1e-3, atol=1e-4)
    with pytest.raises(VitrailError, match="there is no view 3"):
        shown.view(3)
    with pytest.raises(VitrailError, match="there is no view 2 of a model and an image"):
        shown.ablate(2, [(0, 0)], [])
