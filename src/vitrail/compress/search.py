"""Measures the ways to run a checkpoint in rounds, each on the best of those before."""

import time
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import torch

from ..checkpoint.contract import Checkpoint
from ..checkpoint.fold_preprocess import keeping_values
from ..engines.choice import Setting
from ..engines.engine import Engine
from ..engines.setting import prepared, run_setting
from ..engines.stored_files import GRAPHS
from ..engines.stored_graph import ModelGraph
from ..errors import VitrailError, is_out_of_memory, last_line
from ..nn import Tokens
from ..progress import Say
from ..rewrites.base import Rewrite
from ..rewrites.registry import name_of, replay
from ..rewrites.sharing import shared_copy
from . import candidates
from .decide import best
from .graph import to_graph
from .int8 import best_quantised, calibration_batches, dynamically_quantised, partly_quantised, quantised
from .measure import EXACT, Bench, Outcome, together
from .options import OptimizeOptions

_ROUNDS = 2
"""Best settings of a round that the next one builds on."""


class Search:
    """Measures settings in rounds: engines, then streams, then fewer tokens, each on the best of those before.

    Args:
        checkpoint: what is run.
        bench: measures a setting.
        options: settings of the search.
        say: receives a line for each setting.

    Attributes:
        outcomes: what was measured.
        notes: what was not tried, in sentences.
    """

    def __init__(self, checkpoint: Checkpoint, bench: Bench, options: OptimizeOptions, say: Say) -> None:
        self.checkpoint, self.bench, self.options, self.say = checkpoint, bench, options, say
        none = None if bench.images is None else 0.0
        self.outcomes: list[Outcome] = [Outcome(setting=None, speedup=1.0, difference=0.0, drop=none, changed=none)]
        self.notes: list[str] = []
        self.graphs: dict[tuple[str, bool, bool, Rewrite | None], ModelGraph] = {}
        self.ends = time.monotonic() + 60 * options.minutes
        self.skipped = 0
        self.alpha: float | None = None

    def run(self) -> None:
        """Measure all rounds."""
        self._rounds()
        self._confirm()
        if self.bench.times:
            self.outcomes[0] = replace(self.outcomes[0], seconds=median(self.bench.times))

    def _confirm(self) -> None:
        """Measure the leader again, and keep the slower result, until a leader has been measured twice.

        The fastest of many is partly the luckiest: other load on the machine favours some of them.
        """
        seen: set[Setting] = set()
        while (leading := self._leading(1)) and leading[0] not in seen:
            seen.add(leading[0])
            place = next(index for index, outcome in enumerate(self.outcomes) if outcome.setting == leading[0])
            again = self._measured(leading[0])
            if again.failed or again.speedup < self.outcomes[place].speedup:
                self.outcomes[place] = again

    def _rounds(self) -> None:
        device, images = self.bench.unmodified.device, self.bench.images
        names = candidates.engines(device, self.options.engines)
        self._round(candidates.plain(device, names, images is not None))
        self._round([more for setting in self._leading() for more in candidates.with_streams(setting)])
        if images is not None:
            for setting in self._leading(1):
                changes = self._possible(candidates.reductions(self._patches()))
                self._round([replace(setting, reduction=change) for change in changes])
        if absent := candidates.missing(device):
            self.notes.append(f'not installed, and not tried: {", ".join(absent)}; pip install "vitrail[optimize]"')
        if self.skipped:
            self.notes.append(f"{self.skipped} settings were not tried in {self.options.minutes:g} minutes")

    def _possible(self, changes: list[Rewrite]) -> list[Rewrite]:
        """The changes that the model takes; why it does not take the others is said once."""
        refused: dict[str, list[str]] = {}
        possible: list[Rewrite] = []
        for change in changes:
            try:
                replay(shared_copy(self.checkpoint.model).eval(), [change])
                possible.append(change)
            except VitrailError as error:
                refused.setdefault(str(error), []).append(name_of(change))
        self.notes += [f"not tried: {', '.join(dict.fromkeys(names))}, as {why}" for why, names in refused.items()]
        return possible

    def graph(self, setting: Setting) -> ModelGraph | None:
        """The graph of a setting, made once; None for engines of PyTorch."""
        if setting.engine not in GRAPHS:
            return None
        key = (setting.engine, setting.int8, setting.dynamic, setting.reduction)
        if key not in self.graphs:
            whole = self.graph(replace(setting, int8=False, dynamic=False)) if setting.int8 else None
            if whole is None:
                self.graphs[key] = to_graph(prepared(self.checkpoint, setting), setting.engine)
            elif setting.dynamic:
                self.graphs[key] = replace(whole, content=dynamically_quantised(whole.content))
            else:
                self.graphs[key] = self._int8(whole)
        return self.graphs[key]

    def _int8(self, graph: ModelGraph) -> ModelGraph:
        """The graph with 8-bit products; where that loses too much, without the layers that lose most."""
        assert self.bench.images is not None
        preprocess = keeping_values(self.checkpoint.preprocess)
        values = [preprocess.normalise(image) for image in self.bench.images.images]
        batches = calibration_batches(values)
        if self.alpha is None:
            content, self.alpha = best_quantised(graph.content, values)
        else:  # of the whole model: fewer tokens have the same outliers
            content = quantised(graph.content, batches, self.alpha)
        whole = replace(graph, content=content)
        lost = self._lost(whole)
        if lost <= self.options.max_drop:
            return whole
        self.say(f"  8-bit products in all layers lose {lost:.1f} points: leaving out those that lose most")
        score = partial(self._score, graph=graph, batches=values)
        content = partly_quantised(graph.content, batches, score, self.options.max_drop)
        return replace(graph, content=content)

    def _lost(self, graph: ModelGraph) -> float:
        engine, preprocess = run_setting(self.checkpoint, Setting(engine="openvino"), graph)
        return self.bench.lost(self.bench.outputs(engine, preprocess))

    def _score(self, compiled: Any, *, graph: ModelGraph, batches: list[torch.Tensor]) -> float:
        """Points that a compiled model with the outputs of a graph has left of 100."""
        found = [[torch.from_numpy(one) for one in compiled(batch[None].numpy()).values()] for batch in batches]
        return 100 - self.bench.lost(together([graph.prediction(outputs) for outputs in found]))

    def _round(self, settings: list[Setting]) -> None:
        for setting in settings:
            if time.monotonic() > self.ends:
                self.skipped += 1
                continue
            outcome = self._measured(setting)
            self.outcomes.append(outcome)
            self.say(f"  {outcome.name}: {outcome.failed or f'{outcome.speedup:.2f}×'}")

    def _measured(self, setting: Setting) -> Outcome:
        try:
            return self.bench.measured(setting, *self.engine(setting))
        except VitrailError as error:
            return Outcome(setting=setting, failed=str(error))
        except RuntimeError as error:  # of a runtime: the other settings may work
            if is_out_of_memory(error):
                raise
            return Outcome(setting=setting, failed=last_line(error))

    def smallest_drop(self, chosen: Outcome | None) -> float | None:
        """Smallest drop of the chosen setting that differs from none; None if it is exact, or there are no images."""
        if chosen is None or chosen.setting is None or chosen.drop is None or chosen.difference <= EXACT:
            return None
        return self.bench.smallest_drop(chosen, *self.engine(chosen.setting))

    def engine(self, setting: Setting) -> tuple[Engine, Any]:
        """The engine of a setting, and the preprocessing of its images."""
        return run_setting(self.checkpoint, setting, self.graph(setting), device=self.options.device)

    def _leading(self, count: int = _ROUNDS) -> list[Setting]:
        """The fastest settings so far that may be taken."""
        images = len(self.bench.images.images) if self.bench.images else 0
        rest = list(self.outcomes)
        found: list[Setting] = []
        while len(found) < count and (leader := best(rest, self.options.max_drop, images)):
            rest.remove(leader)
            assert leader.setting is not None
            found.append(leader.setting)
        return found

    def _patches(self) -> int:
        """Number of patches of an image."""
        preprocess = self.checkpoint.preprocess
        pixels = torch.zeros(1, preprocess.channels, *preprocess.image_size)
        with torch.inference_mode():
            tokens = self.checkpoint.model.forward_features(pixels.to(self.bench.unmodified.device))
        last = tokens if isinstance(tokens, Tokens) else tokens[-1]
        return int(torch.tensor(last.grid).prod())
