"""Our Mask R-CNN beside torchvision's: the same weights, the same images, the same work, in turns.

Both get one image of 256 × 256 and give 100 detections with masks pasted at full size; a training step is forward
and backward with three objects, from the same state. Scores below the threshold are kept, so that random weights
give as many detections as trained ones.
"""

import statistics
import time
from collections.abc import Callable

import torch
from torchvision.models.detection import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection import maskrcnn_resnet50_fpn

from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.matching import Sampler
from backends.torch_impl.maskrcnn.model import MaskRCNN
from backends.torch_impl.maskrcnn.targets import Target
from backends.torch_impl.maskrcnn.weights import load_state

SIDE = 256
ROUNDS = 5
BOXES_N4 = torch.tensor([[20.0, 30, 120, 140], [100, 90, 240, 250], [10, 150, 60, 220]])
LABELS_N = torch.tensor([1, 17, 44])


def models() -> tuple[MaskRCNN, TorchvisionMaskRCNN]:
    """Ours and theirs with equal random weights."""
    torch.manual_seed(0)
    theirs = maskrcnn_resnet50_fpn(
        weights=None, weights_backbone=None, min_size=SIDE, max_size=SIDE, box_score_thresh=0.0
    )
    config = MaskRCNNConfig.preset("torchvision", num_classes=91, norm="batch", trainable_layers=5, score_threshold=0.0)
    ours = MaskRCNN(config)
    load_state(ours, theirs.state_dict())
    return ours.to(memory_format=torch.channels_last), theirs


def masks() -> torch.Tensor:
    """Each object fills its box."""
    masks_NHW = torch.zeros(len(BOXES_N4), SIDE, SIDE, dtype=torch.uint8)
    for mask_HW, (x1, y1, x2, y2) in zip(masks_NHW, BOXES_N4.int().tolist(), strict=True):
        mask_HW[y1:y2, x1:x2] = 1
    return masks_NHW


def steps() -> dict[str, tuple[Callable[[], object], Callable[[], object]]]:
    """What is timed, by title: ours and theirs."""
    ours, theirs = models()
    image_HW3 = torch.randint(0, 256, (SIDE, SIDE, 3), dtype=torch.uint8)
    images_BHW3, sizes_B2 = image_HW3[None], torch.tensor([[SIDE, SIDE]])
    image_3HW = image_HW3.permute(2, 0, 1).float() / 255
    target = {"boxes": BOXES_N4, "labels": LABELS_N, "masks": masks()}

    def our_inference() -> object:
        ours.eval()
        with torch.inference_mode():
            (found,) = ours.predict(images_BHW3, sizes_B2)
            return ours.paste(found.masks_NSS, found.boxes_N4, SIDE, SIDE)

    def their_inference() -> object:
        theirs.eval()
        with torch.inference_mode():
            return theirs([image_3HW])

    def our_training() -> None:
        ours.train()
        ours.zero_grad()
        objects = [Target(BOXES_N4, LABELS_N, 1, masks_NHW=target["masks"])]
        torch.stack(list(ours.losses(images_BHW3, sizes_B2, objects, Sampler(0, 0)).values())).sum().backward()

    def their_training() -> None:
        theirs.train()
        theirs.zero_grad()
        torch.stack(list(theirs([image_3HW], [dict(target)]).values())).sum().backward()

    return {"inference": (our_inference, their_inference), "training step": (our_training, their_training)}


def seconds(function: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def main() -> None:
    """Print one line for each."""
    for title, (ours, theirs) in steps().items():
        ours(), theirs()
        pairs = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
        our_s, their_s = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(theirs / ours for ours, theirs in pairs)
        print(
            f"Mask R-CNN R-50-FPN {title}, {SIDE} px, batch 1: {our_s:.2f} s, torchvision {their_s:.2f} s"
            f" ({statistics.median(ratios):.2f} ×, {ratios[0]:.2f} to {ratios[-1]:.2f} over {ROUNDS} rounds)"
        )


if __name__ == "__main__":
    main()
