"""VideoMAE's loss beside transformers', its tube masks, and what becomes of its encoder."""

import pytest
import torch
from transformers import VideoMAEConfig as TheirConfig
from transformers import VideoMAEForPreTraining

from vitrail.data.loader import Batch
from vitrail.errors import VitrailError
from vitrail.models.registry import model_config
from vitrail.models.videomae import VideoMAEConfig
from vitrail.models.videomae_pretraining import VideoMAEPretrainingConfig
from vitrail.nn.tubes import hidden_tubes, tubify, untubify
from vitrail.objectives.objective import Moment
from vitrail.objectives.videomae import TubeReconstruction, VideoMAEObjectiveConfig

SIZES = {"image_size": 16, "patch_size": 4, "num_frames": 4, "tubelet_frames": 2, "mask_ratio": 0.7}
WIDTHS = {"embed_dim": 24, "depth": 2, "num_heads": 3, "decoder_dim": 12, "decoder_depth": 2, "decoder_heads": 2}


def ours(channels: int = 3) -> VideoMAEPretrainingConfig:
    return VideoMAEPretrainingConfig(in_channels=channels, norm_eps=1e-12, **SIZES, **WIDTHS)


def theirs() -> VideoMAEForPreTraining:
    config = TheirConfig(
        image_size=16,
        patch_size=4,
        num_channels=1,
        num_frames=4,
        tubelet_size=2,
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=96,
        decoder_hidden_size=12,
        decoder_num_hidden_layers=2,
        decoder_num_attention_heads=2,
        decoder_intermediate_size=48,
        use_mean_pooling=False,
        attn_implementation="eager",
    )
    torch.manual_seed(0)
    model = VideoMAEForPreTraining(config).double().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


def block(state: dict, old: str, new: str) -> dict:
    """Tensors of one of transformers' layers under our names."""
    attention = f"{old}.attention.attention"
    biases = [state[f"{attention}.{part}.bias"] for part in ("query", "value")]
    found = {
        "attention.branch.qkv.weight": torch.cat([state[f"{attention}.{p}.weight"] for p in ("query", "key", "value")]),
        "attention.branch.qkv.bias": torch.cat(biases),
    }
    pairs = (
        ("attention.norm", "layernorm_before"),
        ("mlp.norm", "layernorm_after"),
        ("attention.branch.project", "attention.output.dense"),
        ("mlp.branch.expand", "intermediate.dense"),
        ("mlp.branch.contract", "output.dense"),
    )
    for mine, other in pairs:
        found |= {f"{mine}.{kind}": state[f"{old}.{other}.{kind}"] for kind in ("weight", "bias")}
    return {f"{new}.{name}": tensor for name, tensor in found.items()}


def renamed(state: dict) -> dict:
    """transformers' tensors under our names."""
    found = {
        "head.mask_token": state["mask_token"],
        "head.embed.weight": state["encoder_to_decoder.weight"],
        **block(state, "videomae.encoder.layer.0", "encoder.blocks.0"),
        **block(state, "videomae.encoder.layer.1", "encoder.blocks.1"),
        **block(state, "decoder.decoder_layers.0", "head.encoder.blocks.0"),
        **block(state, "decoder.decoder_layers.1", "head.encoder.blocks.1"),
    }
    pairs = (
        ("embed.patches.project", "videomae.embeddings.patch_embeddings.projection"),
        ("encoder.norm", "videomae.layernorm"),
        ("head.encoder.norm", "decoder.norm"),
        ("head.predict", "decoder.head"),
    )
    for mine, other in pairs:
        found |= {f"{mine}.{kind}": state[f"{other}.{kind}"] for kind in ("weight", "bias")}
    return found


def test_the_loss_is_that_of_transformers_with_its_weights_and_masks() -> None:
    # Of three channels transformers would undo a normalisation that it assumes: one channel is taken as it is.
    reference = theirs()
    model = ours(1).build().double().eval()
    model.load_state_dict(renamed(reference.state_dict()))
    model.head.encoder.norm.eps = 1e-5  # all others are 1e-12
    pixels, noise = torch.randn(3, 1, 4, 16, 16, dtype=torch.float64), torch.rand(3, 16, dtype=torch.float64)
    hidden = hidden_tubes(noise, (2, 4, 4), 0.7)
    expected = reference(pixels.transpose(1, 2), bool_masked_pos=hidden)
    objective = TubeReconstruction(model)
    output = model(pixels, noise)
    assert torch.equal(output.mask.bool(), hidden)
    torch.testing.assert_close(output.patches[hidden].view_as(expected.logits), expected.logits, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(objective.error(output, pixels), expected.loss, atol=1e-9, rtol=1e-6)


def test_colours_are_standardised_one_by_one() -> None:
    video = torch.rand(2, 3, 4, 16, 16, dtype=torch.float64)
    objective = TubeReconstruction(ours().build())
    target = objective.target(video).unflatten(2, (-1, 3))
    first = video[1, 2, 2:4, 4:8, 12:16].flatten()  # third tubelet row of the second pair of frames
    index = 1 * 16 + 1 * 4 + 3
    expected = (first - first.mean()) / (first.std() + 1e-6)
    torch.testing.assert_close(target[1, index, :, 2], expected)
    torch.testing.assert_close(target.mean(dim=2), torch.zeros(2, 32, 3, dtype=torch.float64), atol=1e-9, rtol=0)


def test_the_same_places_are_hidden_in_all_frames_and_only_visible_tokens_are_encoded() -> None:
    model, seen = ours().build().eval(), []
    model.encoder.register_forward_hook(lambda module, given, tokens: seen.append(tokens.x.shape))
    mask = model(torch.randn(5, 3, 4, 16, 16)).mask.unflatten(1, (2, 16))
    assert torch.equal(mask[:, 0], mask[:, 1])
    assert mask.sum(dim=2).tolist() == [[11.0, 11.0]] * 5  # 0.7 of 16, rounded down
    assert len({tuple(row) for row in mask[:, 0].tolist()}) > 1
    assert seen == [(5, 2 * 5, 24)]


def test_hidden_pixels_do_not_reach_the_output() -> None:
    model, noise = ours().build().eval(), torch.rand(1, 16)
    video = torch.randn(1, 3, 4, 16, 16)
    hidden = hidden_tubes(noise, (2, 4, 4), 0.7)
    changed = tubify(video, (2, 4, 4))
    changed[hidden] = torch.randn_like(changed[hidden])
    other = untubify(changed, (2, 4, 4), (2, 4, 4))
    assert not torch.equal(video, other)
    assert torch.equal(model(video, noise).patches, model(other, noise).patches)


def test_tubelets_are_cut_where_the_embedding_cuts_them() -> None:
    video = torch.randn(2, 3, 4, 8, 12)
    tubelets = tubify(video, (2, 4, 4))
    assert torch.equal(tubelets[1, 2 * 3 + 1 * 3 + 2, 1 * 16 + 2 * 4 + 3], video[1, :, 2 + 1, 4 + 2, 8 + 3])
    assert torch.equal(untubify(tubelets, (2, 2, 3), (2, 4, 4)), video)


def test_drawn_reconstructions_are_the_pixels_where_the_output_is_the_target() -> None:
    video, objective = torch.rand(2, 3, 4, 16, 16), TubeReconstruction(ours().build())
    output = objective.model(video)
    perfect = type(output)(objective.target(video), output.mask)
    seen, painted = objective.videos(perfect, video)
    torch.testing.assert_close(painted, video, atol=1e-5, rtol=0)
    shown = tubify(seen, (2, 4, 4)).flatten(2).abs().sum(dim=2) > 0
    assert torch.equal(shown, ~output.mask.bool())


def test_the_fine_tuned_model_computes_what_the_encoder_does() -> None:
    config = ours()
    model = config.build().eval()
    tuned = config.fine_tuned().build().eval()
    tuned.load_state_dict(config.fine_tuned_state(model.state_dict()))
    video = torch.randn(2, 3, 4, 16, 16)
    features = model.forward_features(video).x
    blocks = tuned.forward_features(video).x
    torch.testing.assert_close(model.encoder.norm(blocks), features)
    torch.testing.assert_close(tuned(video), tuned.head.norm(blocks.mean(dim=1)))


def test_the_trivial_loss_is_that_of_zeros() -> None:
    video, objective = torch.rand(2, 3, 4, 16, 16), TubeReconstruction(ours().build())
    count = 2 * 4 * 4
    loss = objective.trivial(Batch(video, None)).loss
    torch.testing.assert_close(loss, torch.tensor((count - 1) / count), atol=1e-4, rtol=0)
    assert objective(Batch(video, None), Moment(0)).total.item() > 0


def test_models_of_images_and_masks_that_hide_nothing_are_sentences() -> None:
    with pytest.raises(VitrailError, match="hides tubelets of a ViT, and ViT is none"):
        VideoMAEObjectiveConfig().model_config(model_config("vit_tiny_patch16_224"))
    small = VideoMAEPretrainingConfig(**{**SIZES, **WIDTHS, "image_size": 4, "mask_ratio": 0.5})
    with pytest.raises(VitrailError, match="hides none of 1 patches"):
        TubeReconstruction(small.build())
    found = VideoMAEObjectiveConfig(decoder_dim=64).model_config(VideoMAEConfig(embed_dim=192, num_heads=3, depth=2))
    assert (found.decoder_dim, found.decoder_heads, found.embed_dim, found.mask_ratio) == (64, 2, 192, 0.9)
