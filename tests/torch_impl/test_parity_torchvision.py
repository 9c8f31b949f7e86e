"""The torchvision flavour against torchvision's own model, with everything random and copied by name."""

import copy

import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn
from torchvision.models.detection.backbone_utils import BackboneWithFPN as TorchvisionBackbone
from torchvision.models.detection.backbone_utils import resnet_fpn_backbone
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.mask_rcnn import MaskRCNN as TorchvisionMaskRCNN
from torchvision.models.detection.mask_rcnn import MaskRCNNHeads, MaskRCNNPredictor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.models.resnet import resnet18
from torchvision.ops import FrozenBatchNorm2d, clip_boxes_to_image

from backends.torch_impl.maskrcnn.backbone import BackboneWithFPN
from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.model import MaskRCNN, Sampler, Target
from backends.torch_impl.maskrcnn.rpn import RPNOutputs
from backends.torch_impl.maskrcnn.weights import load_state

pytestmark = pytest.mark.torch

SIDE = 128
PADDED = (96, 128)
SIZES = [(96, 120), (80, 128)]


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


def small():
    """Their model with a ResNet-18 and a quarter of the published channels."""
    trunk = resnet18(weights=None, norm_layer=FrozenBatchNorm2d)
    stages = {f"layer{stage + 1}": str(stage) for stage in range(4)}
    return TorchvisionMaskRCNN(
        TorchvisionBackbone(trunk, stages, [64, 128, 256, 512], 64),
        box_head=TwoMLPHead(64 * 49, 256),
        box_predictor=FastRCNNPredictor(256, 7),
        mask_head=MaskRCNNHeads(64, (64,) * 4, 1),
        mask_predictor=MaskRCNNPredictor(64, 64, 7),
    )


def pair(backbone="resnet18", seed=0, **overrides):
    """Their model and ours with the same random weights, in eval mode."""
    if backbone == "resnet50":
        theirs = maskrcnn_resnet50_fpn(weights=None, weights_backbone=None, num_classes=7)
        config = MaskRCNNConfig.preset("torchvision", num_classes=7, norm="batch")
    else:
        theirs = small()
        config = MaskRCNNConfig.preset(
            "torchvision", num_classes=7, backbone="resnet18", fpn_channels=64, trainable_layers=5, **overrides
        )
    ours = MaskRCNN(config)
    randomise(theirs, seed)
    load_state(ours, theirs.state_dict())
    return theirs.eval(), ours.eval()


@pytest.fixture(scope="module")
def models():
    """Their small model and ours."""
    return pair()


@pytest.fixture(scope="module")
def images():
    """Two normalised images."""
    return torch.randn(2, 3, *PADDED, generator=torch.Generator().manual_seed(5))


def near(found, wanted):
    """Greatest difference over the layer's absolute maximum."""
    assert found.shape == wanted.shape
    return ((found - wanted).abs().max() / wanted.abs().max()).item()


@pytest.mark.parametrize("backbone", ["resnet18", "resnet50"])
def test_every_tensor_equals_torchvisions(backbone):
    """Every tensor from C2 to the mask logits is within 1e-5 of its layer's absolute maximum."""
    theirs, ours = pair(backbone)
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(5))
    boxes = [torch.tensor([[3.0, 4, 50, 60], [0, 0, 96, 64], [20, 30, 21, 31], [10.5, 3.2, 90, 33]])]
    with torch.no_grad():
        trunk, our_trunk = theirs.backbone.body(images), ours.backbone.body(images)
        pyramid, our_pyramid = theirs.backbone(images), ours.features(images)
        logits, deltas = theirs.rpn.head(list(pyramid.values()))
        logits, deltas = concat_box_prediction_layers(logits, deltas)
        outputs = ours.rpn_outputs(our_pyramid, (64, 96))
        heads = theirs.roi_heads
        hidden = heads.box_head(heads.box_roi_pool(pyramid, boxes, [(64, 96)]))
        class_logits, box_deltas = heads.box_predictor(hidden)
        our_class_logits, our_box_deltas = ours.box_outputs(our_pyramid, boxes)
        masks = heads.mask_predictor(heads.mask_head(heads.mask_roi_pool(pyramid, boxes, [(64, 96)])))
        our_masks = ours.mask_outputs(our_pyramid, boxes)
    pairs = {
        **{f"C{level + 2}": (our_trunk[str(level)], trunk[str(level)]) for level in range(4)},
        **{
            f"P{level + 2}": (found, pyramid[key])
            for level, (found, key) in enumerate(zip(our_pyramid, pyramid, strict=True))
        },
        "objectness": (torch.cat(outputs.logits, 1).flatten(), logits.flatten()),
        "rpn deltas": (torch.cat(outputs.deltas, 1).flatten(0, 1), deltas),
        "class logits": (our_class_logits, class_logits),
        "box deltas": (our_box_deltas.flatten(1), box_deltas),
        "mask logits": (our_masks, masks),
    }
    differences = {name: near(*tensors) for name, tensors in pairs.items()}
    assert len(differences) == 14
    assert {name: value for name, value in differences.items() if not value <= 1e-5} == {}


def test_mask_of_a_class_is_that_channel_of_all(models, images):
    """Computing the predicted class alone gives that class's channel of the full logits."""
    _, ours = models
    labels_R = torch.tensor([1, 6, 3])
    boxes = [torch.tensor([[3.0, 4, 50, 60], [0, 0, 90, 64]]), torch.tensor([[20.0, 30, 70, 71]])]
    with torch.no_grad():
        pyramid = ours.features(images)
        hidden = ours.roi_heads.mask_features(pyramid, boxes)
        full = ours.mask_outputs(pyramid, boxes)[torch.arange(3), labels_R]
        assert near(ours.roi_heads.mask_predictor.of_class(hidden, labels_R), full) <= 1e-5


def test_anchors_equal_torchvisions(models, images):
    """Anchors of all levels are equal, also where the padded size is no multiple of the last stride."""
    theirs, ours = models
    with torch.no_grad():
        pyramid = ours.features(images)
        found = torch.cat(ours.rpn_outputs(pyramid, PADDED).anchors)
    assert torch.equal(found, theirs.rpn.anchor_generator(ImageList(images, SIZES), pyramid)[0])


def injected_outputs(ours, scale, seed):
    """Random logits and offsets over the model's anchors, with the level sizes of PADDED."""
    grids = [(24, 32), (12, 16), (6, 8), (3, 4), (2, 2)]
    anchors = ours.rpn.make_anchors(PADDED, grids, torch.device("cpu"))
    generator = torch.Generator().manual_seed(seed)
    logits = [torch.randn(2, len(part), generator=generator) for part in anchors]
    deltas = [scale * torch.randn(2, len(part), 4, generator=generator) for part in anchors]
    return RPNOutputs(tuple(logits), tuple(deltas), anchors)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_proposals_equal_torchvisions_on_the_same_logits(models, training, scale):
    """Injected logits give exactly torchvision's proposals, in its order."""
    theirs, ours = models
    outputs = injected_outputs(ours, scale, seed=7)
    anchors = torch.cat(outputs.anchors)
    theirs.rpn.train(training)
    decoded = theirs.rpn.box_coder.decode(torch.cat(outputs.deltas, 1).flatten(0, 1), [anchors, anchors])
    wanted, _ = theirs.rpn.filter_proposals(
        decoded.view(2, -1, 4), torch.cat(outputs.logits, 1), SIZES, [len(part) for part in outputs.anchors]
    )
    theirs.rpn.eval()
    found = ours.rpn.propose(outputs, SIZES, training=training)
    assert [len(boxes) for boxes in found] == [len(boxes) for boxes in wanted]
    assert all(torch.equal(*boxes) for boxes in zip(found, wanted, strict=True))


@pytest.mark.parametrize("scale", [0.5, 4.0])
def test_detections_equal_torchvisions_on_the_same_logits(models, scale):
    """Injected logits give exactly torchvision's boxes, scores and labels, in its order."""
    theirs, ours = models
    generator = torch.Generator().manual_seed(11)
    corner = torch.rand(300, 2, generator=generator) * 70
    boxes = torch.cat((corner, corner + 2 + torch.rand(300, 2, generator=generator) * 50), 1)
    logits = scale * torch.randn(300, 7, generator=generator)
    deltas = scale * torch.randn(300, 28, generator=generator)
    proposals = [boxes[:180], boxes[180:]]
    wanted = theirs.roi_heads.postprocess_detections(logits, deltas, proposals, SIZES)
    found = ours.roi_heads.detect(logits, deltas.reshape(300, 7, 4), proposals, SIZES)
    for image in range(2):
        for part in range(3):
            assert torch.equal(found[image][part], wanted[part][image])


class FixedChoice:
    """Stands in for torchvision's sampler and draws what ours draws."""

    def __init__(self, sampler, stream, count, fraction):
        self.sampler, self.stream, self.count, self.fraction = sampler, stream, count, fraction

    def __call__(self, states):
        chosen = [
            self.sampler.select(state.clamp(max=1).to(torch.int8), self.count, self.fraction, image, self.stream)
            for image, state in enumerate(states)
        ]
        positive = [(c & (s >= 1)).to(torch.uint8) for c, s in zip(chosen, states, strict=True)]
        negative = [(c & (s == 0)).to(torch.uint8) for c, s in zip(chosen, states, strict=True)]
        return positive, negative


def training_targets():
    """Three objects, two objects, with full-image masks."""
    boxes = [
        torch.tensor([[5.0, 6, 60, 70], [40, 20, 110, 90], [70, 3, 80, 12]]),
        torch.tensor([[10.0, 10, 100, 60], [60, 30, 127, 79]]),
    ]
    labels = [torch.tensor([1, 3, 6]), torch.tensor([2, 1])]
    generator = torch.Generator().manual_seed(3)
    masks = [(torch.rand(len(b), *PADDED, generator=generator) > 0.4).to(torch.uint8) for b in boxes]
    return [
        Target(b, lab, index, masks_NHW=m) for index, (b, lab, m) in enumerate(zip(boxes, labels, masks, strict=True))
    ]


def test_training_losses_and_gradients_equal_torchvisions(images):
    """With the same anchors and RoIs drawn, the five losses agree within 1e-5 and the gradients within 1e-4."""
    theirs, ours = pair(seed=2, roi_samples=96)
    for model in (theirs, ours):
        # random heads would saturate: these are the published scales
        for layer, std in ((model.rpn.head.bbox_pred, 0.01), (model.roi_heads.box_predictor.bbox_pred, 0.001)):
            torch.nn.init.normal_(layer.weight, std=std, generator=torch.Generator().manual_seed(1))
    theirs.train(), ours.train()
    sampler, targets = Sampler(seed=1, step=4), training_targets()
    theirs.rpn.fg_bg_sampler = FixedChoice(sampler, 0, 256, 0.5)
    theirs.roi_heads.fg_bg_sampler = FixedChoice(sampler, 1, 96, 0.25)
    dicts = [{"boxes": t.boxes_N4, "labels": t.labels_N, "masks": t.masks_NHW} for t in targets]
    pyramid = theirs.backbone(images)
    proposals, rpn_losses = theirs.rpn(ImageList(images, SIZES), pyramid, dicts)
    _, wanted = theirs.roi_heads(pyramid, proposals, SIZES, dicts)
    wanted |= rpn_losses
    ours.normalize = lambda *_: images
    found = ours.losses(torch.zeros(2, *PADDED, 3, dtype=torch.uint8), torch.tensor(SIZES), targets, sampler)
    names = {
        "loss_objectness": "loss_objectness",
        "loss_rpn_box_reg": "loss_rpn_box",
        "loss_classifier": "loss_class",
        "loss_box_reg": "loss_box",
        "loss_mask": "loss_mask",
    }
    for theirs_name, our_name in names.items():
        assert wanted[theirs_name] > 0
        assert found[our_name].item() == pytest.approx(wanted[theirs_name].item(), rel=1e-5)
    sum(wanted.values()).backward()
    sum(found.values()).backward()
    gradients = {name: p.grad for name, p in theirs.named_parameters() if p.requires_grad}
    assert {name for name, p in ours.named_parameters() if p.requires_grad} == gradients.keys()
    worst = max((near(p.grad, gradients[name]), name) for name, p in ours.named_parameters() if p.requires_grad)
    assert worst[0] <= 1e-4, worst


def test_pasted_masks_equal_torchvisions():
    """Pasting agrees at every pixel whose probability is not at the threshold itself."""
    generator = torch.Generator().manual_seed(9)
    masks = torch.rand(40, 28, 28, generator=generator)
    corner = torch.rand(40, 2, generator=generator) * 120 - 20
    boxes = torch.cat((corner, corner + torch.rand(40, 2, generator=generator) ** 2 * 150), 1)
    boxes = clip_boxes_to_image(boxes, (90, 110))  # torchvision's loop fails on boxes outside the image
    model = MaskRCNN(MaskRCNNConfig.preset("torchvision", num_classes=2, backbone="resnet10", fpn_channels=8))
    soft = paste_masks_in_image(masks[:, None], boxes, (90, 110))[:, 0]
    found = model.paste(masks, boxes, 90, 110)
    assert found.any(dim=(1, 2)).sum() > 30
    assert torch.equal(found[(soft - 0.5).abs() > 1e-5], (soft > 0.5)[(soft - 0.5).abs() > 1e-5])


def test_images_normalise_as_torchvisions():
    """Pixels are scaled, shifted and divided as torchvision's transform does, and padding is zero."""
    model = MaskRCNN(MaskRCNNConfig.preset("torchvision", num_classes=2, backbone="resnet10", fpn_channels=8))
    theirs = small().transform
    pixels = torch.randint(0, 256, (1, 64, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    found = model.normalize(pixels, torch.tensor([[50, 70]]))
    wanted = theirs.normalize(pixels[0, :50, :70].permute(2, 0, 1).float() / 255)
    torch.testing.assert_close(found[0, :, :50, :70], wanted, rtol=0, atol=1e-6)
    assert found[0, :, 50:].abs().max() == 0
    assert found[0, :, :, 70:].abs().max() == 0


def test_parameter_counts_equal_torchvisions():
    """With COCO's 91 classes the counts are those of the published model, live and frozen."""
    with torch.device("meta"):
        live = MaskRCNN(MaskRCNNConfig.preset("torchvision", num_classes=91, norm="batch"))
        frozen = MaskRCNN(MaskRCNNConfig.preset("torchvision", num_classes=91))
    count = lambda model, all_: sum(p.numel() for p in model.parameters() if all_ or p.requires_grad)  # noqa: E731
    assert [count(live, True), count(live, False)] == [44_454_513, 44_454_513]
    assert [count(frozen, True), count(frozen, False)] == [44_401_393, 44_178_993]


def test_frozen_layers_are_torchvisions():
    """Each number of trainable layers freezes the same parameters as torchvision does."""
    for layers in range(6):
        config = MaskRCNNConfig.preset(
            "torchvision", num_classes=2, backbone="resnet18", norm="batch", trainable_layers=layers
        )
        with torch.device("meta"):
            trunk = resnet_fpn_backbone(
                backbone_name="resnet18", weights=None, trainable_layers=layers, norm_layer=torch.nn.BatchNorm2d
            )
            ours = BackboneWithFPN(config)
        wanted = {name for name, p in trunk.named_parameters() if p.requires_grad}
        assert {name for name, p in ours.named_parameters() if p.requires_grad} == wanted


def test_live_norm_trains_as_torchvisions(images):
    """A trunk with live statistics gives torchvision's features in training and updates them alike."""
    trunk = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, trainable_layers=5, norm_layer=torch.nn.BatchNorm2d
    )
    ours = MaskRCNN(MaskRCNNConfig.preset("torchvision", num_classes=2, backbone="resnet18", norm="batch")).backbone
    randomise(trunk, 4)
    ours.load_state_dict(trunk.state_dict())
    found, wanted = ours.train()(images), trunk.train()(images)
    assert max(near(*features) for features in zip(found, wanted.values(), strict=True)) <= 1e-5
    for name, statistic in trunk.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], statistic)


def test_folding_equals_a_float64_referee(images):
    """Folded normalisation is as close to float64 as torchvision's unfolded one is, within 1e-5."""
    theirs, ours = pair(seed=6)
    assert any(isinstance(module, FrozenBatchNorm2d) for module in ours.modules())
    referee = copy.deepcopy(theirs).double()
    with torch.no_grad():
        exact = referee.backbone.body(images.double())
        found = ours.backbone.body(images)
    assert max(near(found[key].double(), exact[key]) for key in exact) <= 1e-5
