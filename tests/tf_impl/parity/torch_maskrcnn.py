"""Run by the tests in a process of its own: torch_maskrcnn's numbers on random weights, for TensorFlow to meet.

Writes into the folder that it is given, for each case, `<case>.safetensors` (weights) and `<case>.npz` (tensors).
"""

import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch.nn.functional import softplus
from torchvision.ops import batched_nms, roi_align

from backends.torch_impl.maskrcnn import backbone, roi_heads
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.masks import mask_targets
from backends.torch_impl.maskrcnn.matching import Sampler
from backends.torch_impl.maskrcnn.model import MaskRCNN, Target
from backends.torch_impl.maskrcnn.rpn import RPNOutputs

PADDED = (96, 128)
SIZES = [(96, 120), (80, 128)]
BOXES = [[3.0, 4, 50, 60], [0, 0, 120, 96], [20, 30, 21, 31], [10.5, 3.2, 90, 33], [60, 0, 128, 80]]
IMAGE_IDS = (7, 5_000_000_123)
CLASSES = 5


def randomise(model, seed):
    """Weights that keep activations near 1, and statistics and biases that are far from their defaults."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if not tensor.is_floating_point():
            continue
        noise = torch.randn(tensor.shape, generator=generator)
        if name.endswith("running_var") or (tensor.ndim == 1 and name.endswith("weight")):
            tensor.copy_(0.5 + 0.5 * noise.abs().clamp(max=2))
        elif tensor.ndim == 1:
            tensor.copy_(0.2 * noise)
        else:
            tensor.copy_(noise / tensor[0].numel() ** 0.5)
    # random predictors would saturate: these are the published scales
    for layer, deviation in ((model.rpn.head.bbox_pred, 0.01), (model.roi_heads.box_predictor.bbox_pred, 0.001)):
        torch.nn.init.normal_(layer.weight, std=deviation, generator=generator)


def model_of(backbone, channels, seed, **overrides):
    """A random model of the torchvision flavour with live norms."""
    config = MaskRCNNConfig.preset(
        "torchvision", num_classes=CLASSES, backbone=backbone, fpn_channels=channels, norm="batch", **overrides
    )
    model = MaskRCNN(config)
    randomise(model, seed)
    return model.eval()


def save(folder, case, tensors, model=None):
    """The case's tensors, and its weights if it has a model."""
    arrays = {
        name: value.detach().numpy() if isinstance(value, torch.Tensor) else value for name, value in tensors.items()
    }
    np.savez(folder / f"{case}.npz", **arrays)
    if model is not None:
        state = {name: value for name, value in model.state_dict().items() if value.is_floating_point()}
        save_file(state, folder / f"{case}.safetensors", {"layout": "torch", "model": "maskrcnn"})


def pixels(seed, height, width, images):
    """Random images."""
    return torch.randint(
        0, 256, (images, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed)
    )


@torch.no_grad()
def every_tensor(folder, case, model, images, sizes):
    """C2 to the mask logits, on fixed boxes."""
    normal = model.normalize(images, torch.tensor(sizes))
    trunk, pyramid = model.backbone.body(normal), model.features(normal)
    outputs = model.rpn_outputs(pyramid, tuple(normal.shape[-2:]))
    boxes = [torch.tensor(BOXES)] * len(images)
    logits, deltas = model.box_outputs(pyramid, boxes)
    found = {f"C{level + 2}": trunk[str(level)].permute(0, 2, 3, 1) for level in range(4)}
    found |= {f"P{level + 2}": feature.permute(0, 2, 3, 1) for level, feature in enumerate(pyramid)}
    found |= {f"objectness_{level}": part for level, part in enumerate(outputs.logits)}
    found |= {f"rpn_deltas_{level}": part for level, part in enumerate(outputs.deltas)}
    found |= {f"anchors_{level}": part for level, part in enumerate(outputs.anchors)}
    found |= {"class_logits": logits, "box_deltas": deltas, "mask_logits": model.mask_outputs(pyramid, boxes)}
    save(
        folder,
        case,
        {"images": images, "sizes": np.array(sizes, np.int32), "boxes": np.array(BOXES, np.float32), **found},
        model,
    )


def injected(model, scale, seed):
    """Random logits and offsets over the model's anchors."""
    grids = [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)]
    anchors = model.rpn.make_anchors(PADDED, grids, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    logits = tuple(torch.randn(2, len(part), generator=generator) for part in anchors)
    deltas = tuple(scale * torch.randn(2, len(part), 4, generator=generator) for part in anchors)
    return RPNOutputs(logits, deltas, anchors)


def proposals(folder, model):
    """What the RPN proposes from injected logits."""
    found = {}
    for scale in (0.3, 3.0):
        outputs = injected(model, scale, seed=7)
        for phase in ("train", "test"):
            parts = model.rpn.propose(outputs, SIZES, training=phase == "train")
            found |= {f"{scale}_{phase}_{image}": part for image, part in enumerate(parts)}
        for level in range(5):
            found |= {
                f"{scale}_logits_{level}": outputs.logits[level],
                f"{scale}_deltas_{level}": outputs.deltas[level],
            }
    save(folder, "proposals", {"sizes": np.array(SIZES, np.int32), **found})


def detections(folder, model):
    """What the box head's injected outputs become."""
    found = {}
    for scale in (0.5, 4.0):
        generator = torch.Generator().manual_seed(11)
        corner = torch.rand(2, 150, 2, generator=generator) * 70
        boxes = torch.cat((corner, corner + 2 + torch.rand(2, 150, 2, generator=generator) * 50), 2)
        logits = scale * torch.randn(300, CLASSES, generator=generator)
        deltas = scale * torch.randn(300, CLASSES, 4, generator=generator)
        parts = model.roi_heads.detect(logits, deltas, list(boxes), SIZES)
        found |= {f"{scale}_boxes": boxes, f"{scale}_logits": logits.reshape(2, 150, -1)}
        found |= {f"{scale}_deltas": deltas.reshape(2, 150, -1, 4)}
        for image, part in enumerate(parts):
            found |= {f"{scale}_{name}_{image}": value for name, value in zip(("b", "s", "l"), part, strict=True)}
    save(folder, "detections", {"sizes": np.array(SIZES, np.int32), **found})


def targets(masks=True):
    """Three objects, none."""
    boxes = [torch.tensor([[5.0, 6, 60, 70], [40, 20, 110, 90], [70, 3, 80, 12]]), torch.zeros(0, 4)]
    labels = [torch.tensor([1, 3, 4]), torch.zeros(0, dtype=torch.int64)]
    generator = torch.Generator().manual_seed(3)
    bitmaps = [(torch.rand(len(part), *PADDED, generator=generator) > 0.4).to(torch.uint8) for part in boxes]
    return [
        Target(*parts[:2], parts[2], masks_NHW=parts[3])
        for parts in zip(boxes, labels, IMAGE_IDS, bitmaps, strict=True)
    ]


def smooth(model):
    """Put softplus in every rectifier's place, for good.

    Where rounding moves a rectifier's input past 0 gradients jump, and a million of them meet that in every batch.
    """

    def instead(x, **_):
        return softplus(x)

    torch.Tensor.relu_ = backbone.relu = roi_heads.relu = instead
    for module in list(model.modules()):
        for name, part in module.named_children():
            if isinstance(part, torch.nn.ReLU):
                setattr(module, name, torch.nn.Softplus())


def training(folder, model):
    """Losses and gradients of a batch with the same proposals for both frameworks, softplus for rectifiers."""
    smooth(model)
    images = pixels(5, *PADDED, 2)
    generator = torch.Generator().manual_seed(13)
    corner = torch.rand(2, 200, 2, generator=generator) * 60
    near = torch.tensor([5.0, 6, 60, 70]) + torch.randn(2, 60, 4, generator=generator) * 3
    boxes = torch.cat((torch.cat((corner, corner + 3 + torch.rand(2, 200, 2, generator=generator) * 30), 2), near), 1)
    boxes = torch.stack([model.boxes.clip(part, *size) for part, size in zip(boxes, SIZES, strict=True)])
    before = {name: value.clone() for name, value in model.state_dict().items() if value.is_floating_point()}
    save_file(before, folder / "training.safetensors", {"layout": "torch", "model": "maskrcnn"})
    model.train()
    model.rpn.propose = lambda *_, **__: list(boxes)
    counts = []
    aims, sampler = targets(), Sampler(seed=1 << 33 | 5, step=4)
    losses = model.losses(images, torch.tensor(SIZES), aims, sampler, lambda part: counts.append(part) or part)
    sum(losses.values()).backward()
    found = {f"grad:{name}": value.grad for name, value in model.named_parameters()}
    found |= {f"state:{name}": value for name, value in model.state_dict().items() if "running" in name}
    found |= {"masks": aims[0].masks_NHW, "object_boxes": aims[0].boxes_N4, "labels": aims[0].labels_N}
    save(
        folder,
        "training",
        {"images": images, "sizes": np.array(SIZES, np.int32), "boxes": boxes, "counts": counts[0], **losses, **found},
    )


def pieces(folder):
    """The sampler's draws, RoIAlign with its gradient, NMS, adaptive mask averages and pasted masks."""
    generator = torch.Generator().manual_seed(17)
    state = torch.randint(-1, 2, (2, 3000), generator=generator).to(torch.int8)
    state[1, 40:] = -1
    chosen = {}
    for seed, step in ((0, 0), (-3, 12), (1 << 40 | 9, 1 << 33)):
        rows = [
            Sampler(seed, step).select(part, 256, 0.25, image, 1) for part, image in zip(state, IMAGE_IDS, strict=True)
        ]
        chosen[f"chosen_{seed}_{step}"] = torch.stack(rows)
    feature = torch.randn(2, 6, 12, 16, generator=generator, requires_grad=True)
    corner = torch.rand(2, 30, 2, generator=generator) * 150 - 25
    rois = torch.cat((corner, corner + torch.rand(2, 30, 2, generator=generator) ** 3 * 120), 2)
    index = torch.arange(2).repeat_interleave(30)[:, None].float()
    pooled = roi_align(feature, torch.cat((index, rois.reshape(-1, 4)), 1), 7, 1 / 8, 2, aligned=False)
    upstream = torch.randn(pooled.shape, generator=generator)
    (pooled * upstream).sum().backward()
    scores = torch.rand(2, 400, generator=generator).sort(descending=True).values
    corner = torch.rand(2, 400, 2, generator=generator) * 40
    boxes = torch.cat((corner, corner + torch.rand(2, 400, 2, generator=generator) * 40), 2)
    boxes[0, :5] = 0
    groups = torch.arange(2).repeat_interleave(400)
    kept = torch.zeros(800, dtype=torch.bool)
    kept[batched_nms(boxes.reshape(-1, 4), scores.reshape(-1), groups, 0.7)] = True
    bitmaps = (torch.rand(3, 90, 120, generator=generator) > 0.5).to(torch.uint8)
    areas = torch.cat(
        (torch.rand(20, 2, generator=generator) * 50, 50 + torch.rand(20, 2, generator=generator) * 40), 1
    )
    areas[0] = torch.tensor([10.0, 10, 10, 10])
    objects = torch.arange(20) % 3
    aim = Target(torch.zeros(3, 4), torch.ones(3), 0, masks_NHW=bitmaps)
    masks = torch.rand(20, 28, 28, generator=generator)
    wide = torch.cat((areas[:, :2] - 30, areas[:, 2:] + torch.rand(20, 2, generator=generator) * 30), 1)
    model = MaskRCNN(MaskRCNNConfig.preset("torchvision", num_classes=2, backbone="resnet10", fpn_channels=8))
    found = {"state": state, "feature": feature.permute(0, 2, 3, 1), "rois": rois, "pooled": pooled.permute(0, 2, 3, 1)}
    found |= {"upstream": upstream.permute(0, 2, 3, 1), "feature_grad": feature.grad.permute(0, 2, 3, 1)}
    found |= {
        "nms_boxes": boxes,
        "nms_kept": kept.reshape(2, 400),
        "bitmaps": bitmaps,
        "areas": areas,
        "objects": objects,
    }
    found |= {"averages": mask_targets([aim], [areas], [objects], 28), "masks": masks, "wide": wide}
    save(folder, "pieces", {**found, **chosen, "pasted": model.paste(masks, wide, 90, 120)})


def main(folder):
    """Every case."""
    torch.set_num_threads(1)
    published = model_of("resnet50", 32, seed=0)
    every_tensor(folder, "resnet50", published, pixels(1, 128, 128, 1), [(128, 120)])
    small = model_of("resnet10", 16, seed=1, roi_samples=96)
    every_tensor(folder, "resnet10", small, pixels(2, *PADDED, 2), SIZES)
    proposals(folder, small)
    detections(folder, small)
    pieces(folder)
    training(folder, small)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
