"""Input × gradient: the pixels times the gradient of the target with respect to them."""

from ...nn import VisionModel
from .gradients import Grid, token_grid
from .method import Method
from .passes import Map, Pixels, Targets, pixel_gradient, sum_to_cells


def input_times_gradient(model: VisionModel, pixels: Pixels, targets: Targets, *, grid: Grid = None) -> Map:
    """pixels ∘ gradient, summed over each patch; signed. Integrated gradients with one step at the image itself."""
    found = pixel_gradient(model, pixels, targets)
    return sum_to_cells((pixels * found).sum(dim=1), grid or token_grid(model, pixels))


METHOD = Method("Input × gradient", input_times_gradient)
