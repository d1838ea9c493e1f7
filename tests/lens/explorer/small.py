"""Small models, pictures and galleries for the explorer's tests."""

import torch
from torch import Tensor, nn

from vitrail.data.preprocess import Preprocess
from vitrail.lens.attribution.method import Method
from vitrail.lens.explorer.gallery import Gallery, fitted
from vitrail.lens.watched import Watched
from vitrail.models.registry import create_model

NAMES = ("cat", '<b>"dog" & co</b>', "猫", "</script><script>alert(1)</script>", "$x$")


def picture(seed: int = 0, size: tuple[int, int] = (32, 32)) -> Tensor:
    """Noise with a bright corner."""
    noise = torch.randint(0, 120, (3, *size), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    noise[:, : size[0] // 2, : size[1] // 2] += 130
    return noise


def watched(
    name: str = "vit_tiny_patch16_224", *, image_size: int = 32, classes: int = 5, **changed: object
) -> Watched:
    """A model with weights that make its attention uneven."""
    torch.manual_seed(0)
    model = create_model(name, image_size=image_size, num_classes=classes, **changed).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return Watched(name, model, Preprocess(image_size=(image_size, image_size), crop=1.0), NAMES[:classes])


def vit(**changed: object) -> Watched:
    """Four by four patches, three layers, two heads."""
    options: dict[str, object] = {"patch_size": 8, "depth": 3, "embed_dim": 24, "num_heads": 2}
    return watched(**{**options, **changed})


def by_class(model: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
    """A method whose map is bright at the patch with the class's number, and dark at the next."""
    maps = torch.zeros(len(pixels), 16)
    maps[torch.arange(len(pixels)), classes.cpu()] = 1.0
    maps[torch.arange(len(pixels)), classes.cpu() + 1] = -0.5
    return maps.unflatten(1, (4, 4))


def for_all(model: nn.Module, pixels: Tensor, classes: Tensor) -> Tensor:
    """A method that does not depend on the class, and is asked once."""
    assert len(pixels) == len(classes) == 1
    return torch.arange(16.0).unflatten(0, (4, 4)).expand(len(pixels), -1, -1)


METHODS = {"by class": Method("By class", by_class), "for all": Method("For all", for_all, by_class=False)}


def gallery(*models: Watched, pictures: int = 2, **options: object) -> Gallery:
    shown = models or (vit(),)
    images = [(f"folder/{number}.png", fitted(shown, picture(number))) for number in range(pictures)]
    return Gallery(shown, images, **{"methods": METHODS, **options})
