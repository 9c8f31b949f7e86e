"""The TensorFlow models beside their PyTorch peers: the same work at 256 px, each in a process of its own, in turns.

The frameworks cannot share a process. Each peer is a child that does one step for every line it reads and answers with
its seconds; the parent asks them in turns, so that what else the machine does falls on both alike. Training steps are
forward, backward and update with a few objects an image; inference goes from pixels to the last detection, and every
output is read. Random weights; EfficientDet keeps scores below the threshold. The first call of each, which may trace
and compile, is left out.
"""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

SIDE = 256
ROUNDS = 5
BATCH = {"efficientdet": 4, "maskrcnn": 1}
BOXES = ((20.0, 30.0, 120.0, 140.0), (100.0, 90.0, 240.0, 250.0), (10.0, 150.0, 60.0, 220.0))
LABELS = (1, 17, 44)
PEERS = {
    "EfficientDet-D0": ("tf_efficientdet", "effdet"),
    "Mask R-CNN R-50-FPN": ("tf_maskrcnn", "torch_maskrcnn"),
}
Steps = dict[str, Callable[[], object]]


def tf_steps(backend: str, options: dict[str, object], batch: int) -> Steps:
    """Steps of a TensorFlow backend as the harness drives them, on a set in memory."""
    from importlib import import_module  # noqa: PLC0415  the parent has no framework

    from harness.api import Context, Trial  # noqa: PLC0415

    package = f"backends.tf_impl.{backend.removeprefix('tf_').removesuffix('_d0')}"
    data = f"synthetic:{SIDE}x{SIDE}:8"
    context = Context(0, 0, 1, data, data)
    steps: Steps = {}
    for phase, title in (("infer", "inference"), ("train", "training step")):
        trial = Trial(backend=backend, phase=phase, image_size=SIDE, batch_size_per_gpu=batch, options=options)
        work = getattr(import_module(f"{package}.{phase}"), f"open_{phase}")(trial, context)
        first = next(work.batches())
        steps[title] = lambda work=work, first=first: work.read(work.step(first))
    return steps


def tf_efficientdet() -> Steps:
    """Ours in TensorFlow."""
    options = {"labels": "ids", "score_threshold": 0.0, "learning_rate": 0.0}
    return tf_steps("tf_efficientdet_d0", options, BATCH["efficientdet"])


def tf_maskrcnn() -> Steps:
    """Ours in TensorFlow, with torchvision's arithmetic."""
    options = {"flavour": "torchvision", "labels": "ids", "norm": "batch", "learning_rate": 0.0}
    return tf_steps("tf_maskrcnn", options, BATCH["maskrcnn"])


def torch_maskrcnn() -> Steps:
    """Ours in PyTorch, driven in the same way."""
    from backends.torch_impl.maskrcnn.infer import open_infer  # noqa: PLC0415  the parent has no framework
    from backends.torch_impl.maskrcnn.train import open_train  # noqa: PLC0415
    from harness.api import Context, Trial  # noqa: PLC0415

    options = {"flavour": "torchvision", "labels": "ids", "norm": "batch", "learning_rate": 0.0}
    data = f"synthetic:{SIDE}x{SIDE}:8"
    steps: Steps = {}
    for phase, open_, title in (("infer", open_infer, "inference"), ("train", open_train, "training step")):
        trial = Trial(
            backend="torch_maskrcnn",
            phase=phase,
            image_size=SIDE,
            batch_size_per_gpu=BATCH["maskrcnn"],
            options=options,
        )
        work = open_(trial, Context(0, 0, 1, data, data))
        first = next(work.batches())
        steps[title] = lambda work=work, first=first: work.read(work.step(first))
    return steps


def effdet() -> Steps:
    """Ross Wightman's EfficientDet, its labeler, losses and SGD for a step, its decoding and NMS for inference."""
    import torch  # noqa: PLC0415  the parent has no framework
    from effdet import DetBenchPredict, DetBenchTrain, create_model  # noqa: PLC0415

    torch.manual_seed(0)
    batch = BATCH["efficientdet"]
    extra = {"pretrained": False, "pretrained_backbone": False, "image_size": (SIDE, SIDE)}
    images_B3HW = torch.rand(batch, 3, SIDE, SIDE)
    model = create_model("tf_efficientdet_d0", bench_task="", **extra)
    training, predicting = DetBenchTrain(model, create_labeler=True), DetBenchPredict(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0, momentum=0.9)
    boxes_N4 = torch.tensor(BOXES)[:, [1, 0, 3, 2]]
    target = {
        "bbox": [boxes_N4] * batch,
        "cls": [torch.tensor(LABELS)] * batch,
        "img_scale": torch.ones(batch),
        "img_size": torch.full((batch, 2), float(SIDE)),
    }

    def train() -> float:
        training.train()
        optimizer.zero_grad()
        losses = training(images_B3HW, target)
        losses["loss"].backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 10.0)
        optimizer.step()
        return float(losses["loss"].detach())

    def infer() -> float:
        predicting.eval()
        with torch.inference_mode():
            return float(predicting(images_B3HW).sum())

    return {"inference": infer, "training step": train}


def serve(name: str) -> None:
    """Do a step for each title that comes in, and say how long it took; `ready` after the first of each."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the frameworks print is no answer
    steps: Steps = {
        "tf_efficientdet": tf_efficientdet,
        "tf_maskrcnn": tf_maskrcnn,
        "torch_maskrcnn": torch_maskrcnn,
        "effdet": effdet,
    }[name]()
    for step in steps.values():
        step()
    print("ready", file=answers, flush=True)
    for line in sys.stdin:
        start = time.perf_counter()
        steps[line.strip()]()
        print(time.perf_counter() - start, file=answers, flush=True)


class Peer:
    """One child."""

    def __init__(self, name: str) -> None:
        self._child = subprocess.Popen(
            [sys.executable, __file__, name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )
        self._name = name
        self._hear()

    def _hear(self) -> str:
        answer = self._child.stdout.readline().strip() if self._child.stdout else ""
        if not answer:
            raise RuntimeError(f"{self._name} ended; `python {__file__} {self._name}` shows why")
        return answer

    def seconds(self, title: str) -> float:
        """Wall-clock seconds of one step."""
        if self._child.stdin:
            print(title, file=self._child.stdin, flush=True)
        return float(self._hear())

    def end(self) -> None:
        """Let it finish."""
        if self._child.stdin:
            self._child.stdin.close()
        self._child.wait()


def compare(model: str, names: tuple[str, str]) -> None:
    """Print one line for each kind of step."""
    ours, theirs = (Peer(name) for name in names)
    batch = BATCH["efficientdet" if "Efficient" in model else "maskrcnn"]
    for title in ("inference", "training step"):
        pairs = [(ours.seconds(title), theirs.seconds(title)) for _ in range(ROUNDS)]
        our_s, their_s = (statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(their / our for our, their in pairs)
        print(
            f"{model} {title}, {SIDE} px, batch {batch}: {names[0]} {our_s:.3f} s, {names[1]} {their_s:.3f} s"
            f" ({statistics.median(ratios):.2f} ×, {ratios[0]:.2f} to {ratios[-1]:.2f} over {ROUNDS} rounds)",
            flush=True,
        )
    ours.end()
    theirs.end()


def main() -> None:
    """Serve as a child where a name is given; otherwise compare the peers."""
    if len(sys.argv) > 1:
        serve(sys.argv[1])
        return
    for model, names in PEERS.items():
        compare(model, names)


if __name__ == "__main__":
    main()
