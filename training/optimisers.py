"""The optimisers that schedules name."""

from __future__ import annotations

import torch
from torch import nn

from training.schedule import Schedule


def make_optimiser(schedule: Schedule, module: nn.Module) -> torch.optim.Optimizer:
    """Returns the optimiser of a network's weights; all of them have the weight decay."""
    weights = list(module.parameters())
    lr, weight_decay = schedule.peak_lr, schedule.weight_decay
    if schedule.optimiser == "sgd":
        return torch.optim.SGD(
            weights, lr=lr, momentum=schedule.momentum, weight_decay=weight_decay, fused=True
        )
    kind = torch.optim.AdamW if schedule.optimiser == "adamw" else torch.optim.Adam
    return kind(weights, lr=lr, weight_decay=weight_decay, fused=True)
