"""The named recipes, with what each is for and where its numbers come from."""

from collections.abc import Mapping
from dataclasses import dataclass

from ..data.augment_options import Augment
from ..errors import VitrailError, nearest
from ..objectives.mae import MAEObjectiveConfig
from ..objectives.supervised import SupervisedConfig
from ..rewrites.lora import LoRA
from .recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedRecipe:
    """A recipe with its description.

    Attributes:
        recipe: the settings; open fields are chosen from the data and the machine.
        purpose: what it is for.
        source: paper, table or file of its numbers, and where this recipe differs from it.
        command: how to run it; SOURCE is the data.
    """

    recipe: Recipe
    purpose: str
    source: str
    command: str


_INCEPTION_CROP = (0.08, 1.0)

NAMED_RECIPES: Mapping[str, NamedRecipe] = {
    "default": NamedRecipe(
        recipe=Recipe(),
        purpose="Everything is chosen from the data and the machine.",
        source="training/choose.py; LOG.md has the measurements.",
        command="vitrail train SOURCE",
    ),
    "small": NamedRecipe(
        recipe=Recipe(
            optimizer="muon",
            lr=2e-3,
            muon_lr=0.02,
            warmup=0.1,
            schedule="cosine",
            objective=SupervisedConfig(label_smoothing=0.1),
        ),
        purpose="From scratch on up to 100,000 small images: what `default` chooses for them, held fixed.",
        source="Muon: Jordan et al. (2024). Model, size, batch, epochs and crops follow the images; see LOG.md.",
        command="vitrail train SOURCE --recipe small",
    ),
    "speedrun": NamedRecipe(
        recipe=Recipe(
            model="whitened_deep_32",
            batch_size=256,
            optimizer="muon",
            lr=2e-3,
            muon_lr=0.02,
            warmup=0.05,
            schedule="linear",
            augment=Augment(crop="shift", shift=0.0625, flip=0.5, flip_mode="alternate"),
            objective=SupervisedConfig(label_smoothing=0.2),
        ),
        purpose="The highest accuracy on CIFAR-10, or similar small images, in half an hour.",
        source=(
            'Jordan (2024), "94% on CIFAR-10 in 3.29 seconds on a single GPU": stem, identity starts, filters of kept '
            "norm, label smoothing, alternating flip. Differs: a transformer block on its 7×7 map ends it; see LOG.md."
        ),
        command="vitrail train SOURCE --recipe speedrun --minutes 30",
    ),
    "finetune": NamedRecipe(
        recipe=Recipe(layer_decay=0.75, weight_decay=0.05, drop_path=0.1),
        purpose="Fine-tuning all weights of a pre-trained checkpoint.",
        source=(
            'He et al. (2022), "MAE", table 9. Differs: the learning rate follows the width and the batch, and weights '
            "that Muon has trained go on with Muon; see LOG.md."
        ),
        command="vitrail train SOURCE --recipe finetune --weights CHECKPOINT",
    ),
    "lora": NamedRecipe(
        recipe=Recipe(optimizer="adamw", weight_decay=0.0, lora=LoRA()),
        purpose="Fine-tuning small updates of a pre-trained checkpoint's weights, and the head.",
        source=(
            "Hu et al. (2022), LoRA; all linear layers of the encoder have updates, not queries and values alone. The "
            "learning rate follows the width and the batch."
        ),
        command="vitrail train SOURCE --recipe lora --weights CHECKPOINT",
    ),
    "probe": NamedRecipe(
        recipe=Recipe(
            solver="lbfgs",
            optimizer="adamw",
            lr=3e-3,
            weight_decay=0.0,
            freeze=("embed.*", "encoder.*"),
            augment=Augment(crop="none"),
            objective=SupervisedConfig(label_smoothing=0.0),
        ),
        purpose="A linear head on a frozen encoder.",
        source="Linear probing without augmentation.",
        command="vitrail train SOURCE --recipe probe --weights CHECKPOINT",
    ),
    "imagenet-deit": NamedRecipe(
        recipe=Recipe(
            epochs=300,
            batch_size=1024,
            optimizer="adamw",
            lr=5e-4,
            lr_batch=512,
            weight_decay=0.05,
            warmup="5 epochs",
            final_lr=0.01,
            clip=0.0,
            drop_path=0.1,
            start_size=1.0,
            augment=Augment(
                crop_scale=_INCEPTION_CROP,
                randaugment="rand-m9-mstd0.5-inc1",
                erasing=0.25,
                erasing_mode="pixel",
                repeats=3,
            ),
            objective=SupervisedConfig(label_smoothing=0.1, mixup=0.8, cutmix=1.0),
        ),
        purpose="ViT from scratch on ImageNet-1k: DeiT-B reaches 81.8 % there.",
        source=(
            'Touvron et al. (2021), "DeiT", table 9, column DeiT-B, and the defaults of main.py (final rate 1e-5, no '
            "clipping; its colour jitter is unused beside RandAugment). Differs: the warm-up begins at peak / steps, "
            "not at 1e-6; mean and deviation are those of the training images; the centre crop is 0.9, not 0.875."
        ),
        command="vitrail train SOURCE --recipe imagenet-deit --model deit_base_patch16_224",
    ),
    "imagenet-deit3": NamedRecipe(
        recipe=Recipe(
            epochs=800,
            batch_size=2048,
            optimizer="lamb",
            lr=4e-3,
            lr_batch=2048,
            weight_decay=0.05,
            warmup="5 epochs",
            final_lr=0.0025,
            clip=1.0,
            drop_path=0.05,
            start_size=1.0,
            augment=Augment(crop_scale=_INCEPTION_CROP, three_augment=True, color_jitter=0.3, repeats=3),
            objective=SupervisedConfig(loss="bce", label_smoothing=0.0, mixup=0.8, cutmix=1.0),
        ),
        purpose="ViT from scratch on ImageNet-1k, longer and simpler: DeiT III's ViT-S reaches 81.4 % there.",
        source=(
            'Touvron et al. (2022), "DeiT III", table 1, and the command for deit_small_patch16_LS in '
            "README_revenge.md. For ViT-B: lr 3e-3, drop_path 0.2, image_size 192. Differs as `imagenet-deit` does."
        ),
        command="vitrail train SOURCE --recipe imagenet-deit3 --model deit3_small_patch16_224",
    ),
    "imagenet-augreg": NamedRecipe(
        recipe=Recipe(
            epochs=300,
            batch_size=4096,
            optimizer="adamw",
            lr=1e-3,
            lr_batch=4096,
            weight_decay=0.1,
            warmup="10000 steps",
            clip=1.0,
            start_size=1.0,
            augment=Augment(crop_scale=(0.05, 1.0), randaugment="rand-n2-m15-p1-mmax15"),
            objective=SupervisedConfig(label_smoothing=0.0, mixup=0.5),
        ),
        purpose='ViT from scratch on ImageNet-1k with the augmentation "medium2", which suits ViT-B/16 best.',
        source=(
            'Steiner et al. (2022), "How to train your ViT?", figure 4; big_vision/configs/vit_i1k.py, variant B/16. '
            "Its weight decay 1e-4 is not multiplied by the rate: 0.1 here. Differs: RandAugment has no Cutout, shifts "
            "by 0.45 of the side, not 100 pixels, at level 10, and fills with the mean; bicubic, not bilinear."
        ),
        command="vitrail train SOURCE --recipe imagenet-augreg --model vit_base_patch16_224",
    ),
    "plain-vit-90ep": NamedRecipe(
        recipe=Recipe(
            epochs=90,
            batch_size=1024,
            optimizer="adamw",
            lr=1e-3,
            lr_batch=1024,
            weight_decay=0.1,
            warmup="10000 steps",
            clip=1.0,
            start_size=1.0,
            augment=Augment(crop_scale=(0.05, 1.0), randaugment="rand-n2-m10-p1"),
            objective=SupervisedConfig(label_smoothing=0.0, mixup=0.2),
        ),
        purpose="A plain ViT-S/16 on ImageNet-1k in 90 epochs: 76.5 % there.",
        source=(
            'Beyer et al. (2022), "Better plain ViT baselines for ImageNet-1k"; big_vision/configs/vit_s16_i1k.py. '
            "Differs as `imagenet-augreg` does."
        ),
        command="vitrail train SOURCE --recipe plain-vit-90ep --model simple_vit_small_patch16_224",
    ),
    "mae": NamedRecipe(
        recipe=Recipe(
            objective=MAEObjectiveConfig(),
            optimizer="adamw",
            lr=6e-4,
            betas=(0.9, 0.95),
            start_size=1.0,
            augment=Augment(crop_scale=(0.2, 1.0)),
        ),
        purpose="Masked autoencoding of images without labels.",
        source='He et al. (2022), "MAE", table 8; a higher learning rate (1.5e-4 there), for shorter runs.',
        command="vitrail pretrain SOURCE --objective mae",
    ),
}

ALIASES: Mapping[str, str] = {"deit": "imagenet-deit"}
"""Other name -> name of a recipe."""

RECIPES: Mapping[str, Recipe] = {name: named.recipe for name, named in NAMED_RECIPES.items()}


def list_recipes() -> list[str]:
    """The names of the recipes, for `train(source, "finetune")` and --recipe."""
    return list(RECIPES)


def is_recipe(name: str) -> bool:
    """Whether a recipe has this name, or this other name."""
    return ALIASES.get(name, name) in RECIPES


def named_recipe(name: str) -> Recipe:
    """Return a recipe by its name.

    Raises:
        VitrailError: no recipe has it.
    """
    return described_recipe(name).recipe


def described_recipe(name: str) -> NamedRecipe:
    """Return a recipe with its description, by its name.

    Raises:
        VitrailError: no recipe has it.
    """
    known = ALIASES.get(name, name)
    if known not in NAMED_RECIPES:
        names = [*NAMED_RECIPES, *ALIASES]
        raise VitrailError(f"there is no recipe {name!r}: {nearest(name, names)}, or give a recipe.yaml file")
    return NAMED_RECIPES[known]
