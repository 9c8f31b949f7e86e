"""What PyTorch's Mask R-CNN is given, written to a file for a process of another framework to compare.

Arguments: the train set, the val set, the file to write. The shares and sizes are those of `test_tf_data.py`.
"""

import sys
from contextlib import closing
from itertools import islice

import numpy as np

from backends.torch_impl.maskrcnn.inputs import Feed
from backends.torch_impl.maskrcnn.target_rules import TargetRules
from harness.data import Resizing, Share, label_map, open_dataset


def main() -> None:
    """Write images, sizes and ids of the first training steps of one of two ranks, and of all its val batches."""
    train, val, path = sys.argv[1:]
    found = {}
    for method in ("opencv", "pillow"):
        resizing = Resizing(80, 133, "floor", method, 32)
        dataset = open_dataset(train)
        feed = Feed(dataset, resizing, Share(1, 2, 3, 2), threads=2, depth=2, pinned=False)
        rules = TargetRules(False, True, label_map(dataset.category_ids, "contiguous"))
        with closing(feed.train_batches(rules, seed=5)) as batches:
            for step, batch in enumerate(islice(batches, 6)):
                for part, inputs in enumerate(batch.payload):
                    ids = [target.image_id for target in inputs.targets]
                    found |= record(f"{method}/train/{step}/{part}", inputs, ids)
        feed = Feed(open_dataset(val), resizing, Share(1, 2, 3), threads=2, depth=2, pinned=False)
        for step, batch in enumerate(feed.inference_batches(endless=False)):
            ids = [frame.image_id for frame in batch.payload.frames]
            found |= record(f"{method}/eval/{step}/0", batch.payload, ids)
    np.savez(path, **found)


def record(name, inputs, ids):
    """One batch by name."""
    return {
        f"{name}/images": inputs.images_BHW3.numpy(),
        f"{name}/sizes": inputs.sizes_B2.numpy(),
        f"{name}/ids": np.array(ids),
    }


if __name__ == "__main__":
    main()
