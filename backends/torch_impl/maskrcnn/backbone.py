"""Trunk and pyramid: torchvision's ResNet with the normalisation folded into the convolutions where it is constant."""

from collections import OrderedDict
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, relu
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet
from torchvision.ops import FrozenBatchNorm2d

from backends.torch_impl.maskrcnn.config import MaskRCNNConfig
from backends.torch_impl.maskrcnn.fpn import build_fpn

_LAYERS = {
    "resnet10": [1, 1, 1, 1],
    "resnet18": [2, 2, 2, 2],
    "resnet34": [3, 4, 6, 3],
    "resnet50": [3, 4, 6, 3],
    "resnet101": [3, 4, 23, 3],
}
_NORM = ("weight", "bias", "running_mean", "running_var")
_STAGES = ("layer4", "layer3", "layer2", "layer1", "conv1")


def convolve(conv: nn.Conv2d, norm: nn.Module, x: Tensor) -> Tensor:
    """Convolution and normalisation; one convolution with scaled weights where the statistics are constant.

    y = w·x·s + (b - mean·s) with s = gamma / sqrt(var + eps): the scale goes into the weights, which are small, instead
    of two more passes over the activations. Gradients reach the convolution's weights through the product.
    """
    if isinstance(norm, nn.BatchNorm2d) and (norm.training or torch.is_grad_enabled()):
        normalised: Tensor = norm(conv(x))
        return normalised
    weight, bias, mean, var = (cast("Tensor", getattr(norm, name)) for name in _NORM)
    scale = weight * torch.rsqrt(var + cast("float", norm.eps))
    return conv2d(x, conv.weight * scale[:, None, None, None], bias - mean * scale, conv.stride, conv.padding)


class FoldedBasicBlock(BasicBlock):  # type: ignore[misc]
    """torchvision's block of two 3×3 convolutions, with folded normalisation."""

    def forward(self, x: Tensor) -> Tensor:
        """Feature map in, feature map out, NCHW."""
        out = convolve(self.conv1, self.bn1, x).relu_()
        out = convolve(self.conv2, self.bn2, out)
        return relu(out.add_(_shortcut(self.downsample, x)), inplace=True)


class FoldedBottleneck(Bottleneck):  # type: ignore[misc]
    """torchvision's bottleneck with folded normalisation; strides in its 3×3 convolution."""

    def forward(self, x: Tensor) -> Tensor:
        """Feature map in, feature map out, NCHW."""
        out = convolve(self.conv1, self.bn1, x).relu_()
        out = convolve(self.conv2, self.bn2, out).relu_()
        out = convolve(self.conv3, self.bn3, out)
        return relu(out.add_(_shortcut(self.downsample, x)), inplace=True)


class FirstStrideBottleneck(FoldedBottleneck):
    """Bottleneck that strides in its first 1×1 convolution, as Detectron's weights want."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self.conv1.stride, self.conv2.stride = self.conv2.stride, self.conv1.stride


def _shortcut(downsample: nn.Sequential | None, x: Tensor) -> Tensor:
    return x if downsample is None else convolve(cast("nn.Conv2d", downsample[0]), downsample[1], x)


class Body(nn.Module):
    """ResNet without its classifier; submodules are named as torchvision's detectors name them."""

    def __init__(self, config: MaskRCNNConfig) -> None:
        super().__init__()
        trunk = ResNet(_block(config), _LAYERS[config.backbone], norm_layer=_norm(config))
        self.conv1, self.bn1, self.maxpool = trunk.conv1, trunk.bn1, trunk.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = trunk.layer1, trunk.layer2, trunk.layer3, trunk.layer4
        self.channels = [trunk.inplanes >> shift for shift in (3, 2, 1, 0)]
        freeze(self, config.trainable_layers)

    def forward(self, images_B3HW: Tensor) -> "OrderedDict[str, Tensor]":
        """C2..C5 under the names "0".."3", strides 4 to 32."""
        x = self.maxpool(convolve(self.conv1, self.bn1, images_B3HW).relu_())
        features = OrderedDict()
        for name, stage in enumerate((self.layer1, self.layer2, self.layer3, self.layer4)):
            x = features[str(name)] = stage(x)
        return features


class BackboneWithFPN(nn.Module):
    """Trunk and pyramid."""

    def __init__(self, config: MaskRCNNConfig) -> None:
        super().__init__()
        self.body = Body(config)
        self.fpn = build_fpn(self.body.channels, config.fpn_channels)

    def forward(self, images_B3HW: Tensor) -> list[Tensor]:
        """P2..P6, [B, C, H/4, W/4] to [B, C, H/64, W/64]."""
        return list(self.fpn(self.body(images_B3HW)).values())


def freeze(body: Body, trainable_layers: int) -> None:
    """Stop gradients in all but the last stages; 4 trains the stem's convolution too, 5 also its live norm."""
    train = _STAGES[:trainable_layers] + (("bn1",) if trainable_layers == 5 else ())
    for name, parameter in body.named_parameters():
        parameter.requires_grad_(name.startswith(train))


def _block(config: MaskRCNNConfig) -> type[BasicBlock | Bottleneck]:
    if config.backbone in {"resnet10", "resnet18", "resnet34"}:
        return FoldedBasicBlock
    return FirstStrideBottleneck if config.stride_in_1x1 else FoldedBottleneck


def _norm(config: MaskRCNNConfig) -> "partial[nn.Module]":
    kind: type[nn.Module] = FrozenBatchNorm2d if config.norm == "frozen" else nn.BatchNorm2d
    return partial(kind, eps=config.norm_eps)
