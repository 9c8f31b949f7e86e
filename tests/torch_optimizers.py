"""What torch's own optimisers make of given gradients: `python torch_optimizers.py IN OUT`, files of numpy.

A process of its own, because TensorFlow and torch cannot share one.
"""

import sys

import numpy as np
import torch


def moved(optimizer, arrays):
    """The parameters after each step, flat, one row a step."""
    weight, bias = (torch.nn.Parameter(torch.from_numpy(arrays[name].copy())) for name in ("weight", "bias"))
    sgd = optimizer == "sgd"
    groups = [
        {"params": [weight], "lr": 0.05, "weight_decay": 0.02},
        {"params": [bias], "lr": 0.1 if sgd else 0.05, "weight_decay": 0.0},
    ]
    made = torch.optim.SGD(groups, lr=0.05, momentum=0.9) if sgd else torch.optim.AdamW(groups, lr=0.05)
    rows = []
    for weight.grad, bias.grad in zip(
        torch.from_numpy(arrays["weight_gradients"]), torch.from_numpy(arrays["bias_gradients"]), strict=True
    ):
        made.step()
        rows.append(torch.cat([weight.detach().flatten(), bias.detach()]).numpy().copy())
    return np.stack(rows)


if __name__ == "__main__":
    given = dict(np.load(sys.argv[1]))
    np.savez(sys.argv[2], **{optimizer: moved(optimizer, given) for optimizer in ("sgd", "adamw")})
