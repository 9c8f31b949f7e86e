"""Anchors of both flavours, made once for each padded shape and device."""

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from backends.torch_impl.kernels import FRAMEWORK, AnchorGrid, Kernels
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig

GridSize = tuple[int, int]


class AnchorMaker:
    """Anchors of a batch, cached by shape and device."""

    def __init__(self, config: MaskRCNNConfig, kernels: Kernels = FRAMEWORK) -> None:
        self.legacy = config.inclusive_boxes
        self.config = config
        self.kernels = kernels
        self._cached = lru_cache(maxsize=64)(self._make)

    def __call__(self, padded: GridSize, grids: Sequence[GridSize], device: torch.device) -> tuple[Tensor, ...]:
        """Anchors of each level, float32 [H·W·A, 4], for a batch padded to `padded` whose levels have these sizes."""
        return self._cached(padded, tuple(grids), device)

    @torch.inference_mode(mode=False)  # the first call may be an inference, the tensors also serve training
    def _make(self, padded: GridSize, grids: tuple[GridSize, ...], device: torch.device) -> tuple[Tensor, ...]:
        ratios = self.config.anchor_ratios
        grid = AnchorGrid(
            convention="legacy" if self.legacy else "torchvision",
            strides=tuple(4 << level for level in range(len(grids))),
            sizes=self.config.anchor_sizes,
            aspects=tuple((1.0, ratio) for ratio in ratios),
            grids=grids,
            steps=tuple(self._step(level, padded, each) for level, each in enumerate(grids)),
        )
        anchors_N4 = self.kernels.anchors(grid, device)
        return torch.split(anchors_N4, [len(ratios) * rows * columns for rows, columns in grids])

    def _step(self, level: int, padded: GridSize, grid: GridSize) -> GridSize:
        # torchvision divides the padded size by the grid: 96 px give P6 two positions 48 px apart, not 64
        return (4 << level, 4 << level) if self.legacy else (padded[0] // grid[0], padded[1] // grid[1])
