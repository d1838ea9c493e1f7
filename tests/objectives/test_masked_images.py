"""SimMIM, BEiT and inpainting: losses against transformers and against loops, masks, the tokenizer."""

from typing import Any

import pytest
import torch
import transformers
from sklearn.cluster import KMeans
from tests.parity.references import randomise
from torch import Tensor, nn
from torch.nn import functional as F

import vitrail
from vitrail.data.loader import Batch
from vitrail.data.preprocess import Preprocess
from vitrail.errors import VitrailError
from vitrail.models.beit import BEiTConfig
from vitrail.models.registry import model_config
from vitrail.models.swin import SwinConfig
from vitrail.models.vit import ViTConfig
from vitrail.objectives.beit import BEiTObjectiveConfig, block_masks
from vitrail.objectives.encoders import encoder_config
from vitrail.objectives.inpaint import InpaintConfig
from vitrail.objectives.objective import Moment
from vitrail.objectives.simmim import MaskedPixels, SimMIMConfig
from vitrail.objectives.tokenizer import PatchTokenizer, nearest_code

SIZES: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "image_size": 32,
    "patch_size": 8,
}
TINY = model_config(
    "vit_tiny_patch16_224", image_size=16, patch_size=4, embed_dim=16, depth=1, num_heads=2, in_channels=1
)
AT = Moment(0)


def with_their_weights(objective: MaskedPixels, theirs: nn.Module, decoder: nn.Module, token: Tensor) -> None:
    state = {name: tensor for name, tensor in theirs.state_dict().items() if not name.startswith("decoder")}
    objective.model.load_state_dict(vitrail.convert_state_dict(state, objective.model))
    objective.mask_token.data.copy_(token)
    objective.decode.predict.weight.data.copy_(decoder.weight.flatten(1))
    objective.decode.predict.bias.data.copy_(decoder.bias)


def test_simmim_with_a_vit_is_transformers() -> None:
    card = transformers.ViTConfig(**SIZES, encoder_stride=8)
    theirs = randomise(transformers.ViTForMaskedImageModeling(card))
    config = ViTConfig(image_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=0, norm_eps=1e-12)
    objective = SimMIMConfig().build(config.build(), None).eval()
    with_their_weights(objective, theirs, theirs.decoder[0], theirs.vit.embeddings.mask_token)
    pixels = torch.randn(2, 3, 32, 32)
    mask = objective.random_mask(pixels)
    with torch.no_grad():
        expected = theirs(pixels, bool_masked_pos=mask[:, ::8, ::8].flatten(1))
        found = objective.predict(pixels, mask)
    torch.testing.assert_close(found, expected.reconstruction, atol=2e-5, rtol=1e-4)
    torch.testing.assert_close(objective.error(found, pixels, mask), expected.loss, atol=1e-5, rtol=1e-4)


def test_simmim_with_a_pyramid_is_transformers() -> None:
    sizes: dict[str, Any] = {"embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "window_size": 4}
    card = transformers.SwinConfig(image_size=64, patch_size=4, encoder_stride=8, **sizes)
    theirs = randomise(transformers.SwinForMaskedImageModeling(card))
    config = SwinConfig(image_size=64, num_classes=0, **sizes)
    objective = SimMIMConfig(mask_size=16).build(config.build(), None).eval()
    with_their_weights(objective, theirs, theirs.decoder[0], theirs.swin.embeddings.mask_token)
    pixels = torch.randn(2, 3, 64, 64)
    mask = objective.random_mask(pixels)
    with torch.no_grad():
        expected = theirs(pixels, bool_masked_pos=mask[:, ::4, ::4].flatten(1))
        found = objective.predict(pixels, mask)
    torch.testing.assert_close(objective.error(found, pixels, mask), expected.loss, atol=1e-5, rtol=1e-4)


def test_beit_is_transformers() -> None:
    card = transformers.BeitConfig(**SIZES, use_relative_position_bias=True, vocab_size=11, use_mask_token=True)
    theirs = randomise(transformers.BeitForMaskedImageModeling(card))
    config = BEiTConfig(image_size=32, patch_size=8, embed_dim=32, depth=2, num_heads=2, num_classes=0, norm_eps=1e-12)
    objective = BEiTObjectiveConfig(codes=11).build(config.build(), None).eval()
    encoder = {name.removeprefix("beit."): value for name, value in theirs.state_dict().items()}
    for name in ("embeddings.mask_token", "lm_head.weight", "lm_head.bias", "layernorm.weight", "layernorm.bias"):
        encoder.pop(name)
    norm = {f"pooler.layernorm.{name}": theirs.layernorm.state_dict()[name] for name in ("weight", "bias")}
    whole = {f"beit.{name}": value for name, value in (encoder | norm).items()}
    objective.model.load_state_dict(vitrail.convert_state_dict(whole, objective.model))
    objective.read.norm.load_state_dict(theirs.layernorm.state_dict())
    objective.read.norm.eps = 1e-12
    objective.mask_token.data.copy_(theirs.beit.embeddings.mask_token)
    objective.classify.load_state_dict(theirs.lm_head.state_dict())
    pixels = torch.randn(3, 3, 32, 32)
    objective.prepare(iter([torch.randn(64, 3, 32, 32)]))
    hidden = objective.hidden_patches(pixels)
    mask = torch.zeros(3, 16, dtype=torch.bool).scatter(1, hidden, value=True)
    codes = objective.tokenize(pixels)
    with torch.no_grad():
        expected = theirs(pixels, bool_masked_pos=mask, labels=codes[mask])
        logits = objective.logits(pixels, hidden)
    loss = F.cross_entropy(logits.flatten(0, 1), codes.gather(1, hidden).flatten())
    torch.testing.assert_close(loss, expected.loss, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("config", [SimMIMConfig(), InpaintConfig(), BEiTObjectiveConfig(codes=4)])
def test_what_is_hidden_reaches_the_loss_and_not_the_model(config: Any, seeded: None) -> None:
    objective = config.build(config.model_config(TINY).build(), None).eval()
    pixels = torch.randn(2, 1, 16, 16)
    objective.prepare(iter([torch.randn(40, 1, 16, 16)]))
    seen: list[Tensor] = []
    objective.model.encoder.register_forward_hook(lambda module, inputs, output: seen.append(output.x))
    mask = _mask(config, objective, pixels)
    changed = torch.where(mask.unsqueeze(1), torch.randn_like(pixels), pixels)
    with torch.no_grad():
        for images in (pixels, changed):
            torch.manual_seed(5)
            objective(Batch(images, None), AT)
    torch.testing.assert_close(seen[0], seen[1])


def _mask(config: Any, objective: Any, pixels: Tensor) -> Tensor:
    torch.manual_seed(5)
    if config.name == "simmim":
        return objective.random_mask(pixels)
    if config.name == "inpaint":
        return objective.random_hole(pixels)
    cells = torch.zeros(2, 16, dtype=torch.bool).scatter(1, objective.hidden_patches(pixels), value=True)
    return cells.view(2, 4, 4).repeat_interleave(4, 1).repeat_interleave(4, 2)


def test_the_error_of_a_hole_is_that_of_a_loop(seeded: None) -> None:
    config = InpaintConfig(area=0.3)
    objective = config.build(config.model_config(TINY).build(), None).eval()
    pixels, found = torch.randn(3, 1, 16, 16), torch.randn(3, 1, 16, 16)
    hole = objective.random_hole(pixels)
    errors = [
        (found[i, 0, y, x].double() - pixels[i, 0, y, x].double()) ** 2
        for i in range(3)
        for y in range(16)
        for x in range(16)
        if hole[i, y, x]
    ]
    assert objective.error(found, pixels, hole).item() == pytest.approx((sum(errors) / len(errors)).item(), rel=1e-5)
    sizes = [hole[i].any(1).sum().item() * hole[i].any(0).sum().item() for i in range(3)]
    assert [hole[i].sum().item() for i in range(3)] == sizes, "a rectangle"
    assert all(0.2 * 256 < size < 0.4 * 256 for size in sizes)


@pytest.mark.parametrize("config", [SimMIMConfig(), InpaintConfig()])
def test_the_trivial_prediction_has_the_loss_of_zeros(config: Any, seeded: None) -> None:
    objective = config.build(config.model_config(TINY).build(), None).eval()
    pixels, everything = torch.randn(3, 1, 16, 16), torch.ones(3, 16, 16, dtype=torch.bool)
    expected = objective.error(torch.zeros_like(pixels), pixels, everything)
    torch.testing.assert_close(objective.trivial(Batch(pixels, None)).loss, expected)


def test_blocks_hide_the_same_number_of_patches_and_hang_together(seeded: None) -> None:
    hidden = block_masks(200, (14, 14), 0.4, torch.device("cpu"))
    assert hidden.shape == (200, 78)
    assert all(len(row.unique()) == 78 for row in hidden)
    mask = torch.zeros(200, 196).scatter(1, hidden, 1.0).view(200, 1, 14, 14)
    neighbours = F.conv2d(mask, torch.tensor([[[[0.0, 1, 0], [1, 0, 1], [0, 1, 0]]]]), padding=1)
    assert (neighbours * mask).sum() / mask.sum() > 2.5, "1.5 if patches were drawn one by one"
    rate = mask.mean(dim=(0, 1))
    assert rate.min() > 0.01, "no cell is always visible, though corners are hidden less often"


def test_the_tokenizer_is_k_means(seeded: None) -> None:
    tokenizer = PatchTokenizer(5, 1, (4, 4))
    centres = 3 * torch.randn(5, 16)
    patches = centres[torch.arange(320) % 5] + 0.1 * torch.randn(320, 16)
    images = patches.view(20, 4, 4, 4, 4).transpose(2, 3).reshape(20, 1, 16, 16)
    tokenizer.fit(iter([images]))
    codes = tokenizer(images).flatten()
    expected = KMeans(5, n_init=3, random_state=0).fit(patches.numpy())
    error = (patches - tokenizer.codebook[codes]).square().sum().item()
    assert error == pytest.approx(expected.inertia_, rel=1e-3)
    distances = torch.cdist(patches.double(), tokenizer.codebook.double())
    assert torch.equal(nearest_code(patches, tokenizer.codebook), distances.argmin(dim=1))
    with pytest.raises(VitrailError, match="the training images have 2 different patches"):
        tokenizer.fit(iter([torch.stack([torch.zeros(1, 16, 16), torch.ones(1, 16, 16)] * 10)]))


@pytest.mark.parametrize("config", [SimMIMConfig(), InpaintConfig(), BEiTObjectiveConfig(codes=4)])
def test_reports_draw_a_row_for_each_image(config: Any, seeded: None) -> None:
    preprocess = Preprocess(image_size=(16, 16), channels=1, mean=(0.5,), std=(0.5,))
    objective = config.build(config.model_config(TINY).build(), None)
    objective.prepare(iter([torch.randn(40, 1, 16, 16)]))
    (html,) = objective.report(Batch(torch.randn(9, 1, 16, 16), None), preprocess)
    assert html.count("<img") == (4 if config.name == "beit" else 3) * 6


@pytest.mark.parametrize(
    ("config", "model", "words"),
    [
        (SimMIMConfig(), "detr_resnet50", "trains the encoder of an image classifier, and DETR is for detection"),
        (BEiTObjectiveConfig(), "swin_tiny_patch4_window7_224", "Swin merges patches: choose a vit_"),
        (SimMIMConfig(mask_size=24), "vit_tiny_patch16_224", "multiple of the patches of 16×16 pixels"),
    ],
)
def test_models_that_do_not_fit_are_sentences(config: Any, model: str, words: str) -> None:
    with torch.device("meta"), pytest.raises(VitrailError, match=words):
        config.build(config.model_config(model_config(model)).build(), None)


def test_an_encoder_has_neither_classes_nor_a_decoder() -> None:
    for name in ("mae_vit_base_patch16", "dino_vits16_pretraining", "deit_tiny_patch16_224", "compact_small_32"):
        config = encoder_config(model_config(name), "simmim")
        assert (config.num_outputs, config.task.name) == (0, "embedding")
