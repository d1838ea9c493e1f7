"""Solver `lbfgs`: fits the last layer of a frozen model to its features, which are computed once, in one step."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from ..data.seeds import derive
from ..engines.precision import on_device
from ..engines.predictor import Predictor
from ..engines.torch_engine import TorchEngine
from ..errors import VitrailError
from ..evaluation.feature_cache import cached_features, model_identity
from ..evaluation.probe.logistic import LossFunction, fit_best_logistic
from ..evaluation.probe.ridge import LinearFit, fit_best_ridge
from ..models.fields import ModelConfig
from ..nn import BaseVisionModel
from ..objectives.distill import DistillConfig
from ..objectives.objective import Objective
from ..objectives.regression import RegressionConfig
from ..objectives.supervised import Supervised, SupervisedConfig
from ..progress import Track
from ..tasks.embedding import Embedding
from .loop import Trainer
from .measure import BATCH_SIZE
from .recipe import Recipe, chosen
from .setup import RunSetup

_WAY_OUT = "train the head by steps, --set solver=steps"


def check_solver(recipe: Recipe, *, own_transform: bool) -> None:
    """Raise VitrailError if the settings of a recipe with solver lbfgs ask for something that it does not do."""
    objective, refused = chosen(recipe.objective), dict[str, bool]()
    if isinstance(objective, SupervisedConfig):
        refused |= {"mixup or cutmix": objective.mixup > 0 or objective.cutmix > 0}
        refused |= {"sampler balanced": objective.sampler == "balanced"}
    elif isinstance(objective, RegressionConfig):
        refused |= {"loss quantile, which L-BFGS cannot minimise": objective.loss == "quantile"}
    else:
        refused |= {f"objective {objective.name}": True}
    refused |= {
        "no weights to start from (--weights)": recipe.weights is None,
        "a teacher": isinstance(objective, DistillConfig),
        "LoRA": recipe.lora is not None,
        "a moving average (ema)": recipe.ema > 0,
        "a transform from Python": own_transform,
    }
    for name, given in refused.items():
        if given:
            raise VitrailError(
                f"solver lbfgs fits the last layer of trained weights to features that are computed once, and this "
                f"recipe has {name}: {_WAY_OUT}, or leave it out"
            )


class HeadSolver:
    """Fits the output layer of a run's model to the training images; the step of a run with solver lbfgs.

    Classification: the objective's own loss by L-BFGS, with an L2 penalty. Regression: ridge for squared errors, L-BFGS
    for Huber's loss. The strength of the penalty is chosen on a fifth of the training images. Each of several output
    layers, as of a distilled model, is fitted by itself.

    Args:
        setup: the run.
        trainer: its trainer; features are those of its model.
        progress: counts the images.

    Raises:
        VitrailError: the model's output is not that of linear layers.
    """

    def __init__(self, setup: RunSetup, trainer: Trainer, progress: Track) -> None:
        self.setup = setup
        self.layers = output_layers(trainer.model.eval(), setup)
        self.features = _features(setup, trainer.model, self.layers, progress)

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Fit and write the layers of the trainer's model; the loss on the training images as "loss"."""
        targets = self.setup.data.targets(self.setup.part("train"))
        loss, outputs = _loss(trainer.objective, self.setup), []
        for (name, layer), features in zip(self.layers.items(), self.features, strict=True):
            fit = self._fit(features, targets, loss, derive(self.setup.recipe.seed, "solver", name))
            outputs.append(fit(features))
            with torch.no_grad():
                layer.weight.copy_(fit.weight)
                layer.bias.copy_(fit.bias)
        return {"loss": loss(torch.stack(outputs).mean(dim=0), targets.double()).item()}

    def _fit(self, features: Tensor, targets: Tensor, loss: LossFunction, seed: int) -> LinearFit:
        objective = self.setup.objective_config
        if isinstance(objective, RegressionConfig) and objective.loss == "mse":
            return fit_best_ridge(features, targets, seed=seed)[0]
        return fit_best_logistic(features, targets, loss, seed=seed)[0]


def _loss(objective: Objective, setup: RunSetup) -> LossFunction:
    """The objective's loss of float64 outputs on the CPU."""
    if isinstance(objective, Supervised):
        found: LossFunction = copy.deepcopy(objective.loss).double().cpu()
        return found
    config = setup.objective_config
    assert isinstance(config, RegressionConfig)
    return config.error_loss


def output_layers(model: BaseVisionModel[ModelConfig], setup: RunSetup) -> dict[str, nn.Linear]:
    """Linear layers whose outputs are the model's output, by name: one, or those of a distilled model.

    Raises:
        VitrailError: the output is not that of linear layers with a bias.
    """
    found: dict[int, str] = {}
    linear = {name: each for name, each in model.named_modules() if isinstance(each, nn.Linear)}

    def keep(layer: nn.Module, given: object, output: Tensor, *, name: str) -> None:
        found[id(output)] = name

    handles = [layer.register_forward_hook(partial(keep, name=name)) for name, layer in linear.items()]
    try:
        with torch.inference_mode():
            black = setup.preprocess.normalise(torch.zeros(1, *setup.preprocess.fitted_shape))
            leaves = tree_leaves(model(on_device(black, setup.device)))
    finally:
        for handle in handles:
            handle.remove()
    names = [found.get(id(leaf)) for leaf in leaves]
    layers = {name: linear[name] for name in names if name is not None}
    if len(layers) < len(leaves) or any(layer.bias is None for layer in layers.values()):
        raise VitrailError(f"the output of this model is not that of a linear layer with a bias: {_WAY_OUT}")
    return layers


class _LayerInputs(nn.Module):
    """Inputs of linear layers of a model, side by side, for engines: (B, C, H, W) -> (B, sum of widths)."""

    def __init__(self, model: nn.Module, layers: Mapping[str, nn.Linear]) -> None:
        super().__init__()
        self.model = model
        self.names = tuple(layers)

    def forward(self, pixels: Float[Tensor, "B C H W"]) -> Float[Tensor, "B D"]:
        given: dict[str, Tensor] = {}

        def keep(layer: nn.Module, args: tuple[Tensor], *, name: str) -> None:
            given[name] = args[0]

        hooks = [self.model.get_submodule(n).register_forward_pre_hook(partial(keep, name=n)) for n in self.names]
        try:
            self.model(pixels)
        finally:
            for hook in hooks:
                hook.remove()
        return torch.cat([given[name].float() for name in self.names], dim=1)


def _features(
    setup: RunSetup, model: BaseVisionModel[ModelConfig], layers: Mapping[str, nn.Linear], progress: Track
) -> list[Float[Tensor, "n D"]]:
    """Inputs of each layer for the training images, as in evaluation."""
    engine = TorchEngine(_LayerInputs(model, layers), str(setup.device), chosen(setup.recipe.precision))
    predictor = Predictor(engine, setup.preprocess, Embedding(), (), batch_size=BATCH_SIZE)
    part = setup.part("train")
    samples = [replace(sample, strict=False) for sample in part.samples]  # the survey has checked every file
    digests = [facts.digest for facts in part.facts]
    identity = model_identity(model, f"inputs of {', '.join(layers)}", without=tuple(layers))
    vectors = cached_features(predictor, samples, digests, identity, progress=progress)
    return list(vectors.split([layer.in_features for layer in layers.values()], dim=1))
