"""Statistics of published tables under names of their own, to reproduce those tables; none is a percentile.

Sources: NVIDIA DeepLearningExamples, TensorFlow2/Detection/Efficientdet/model/inference.py (trimmed mean),
TensorFlow2/Segmentation/MaskRCNN/mrcnn_tf2/runtime/callbacks.py (confidence limit of the mean), and
TensorFlow2/Segmentation/MaskRCNN/mask_rcnn/evaluation.py (average over warm-up and samples).
"""

from statistics import NormalDist

import numpy as np

from harness.statistics.percentiles import Samples, finite


def legacy_trimmed_mean(samples: Samples, share: float) -> float:
    """Return the mean of the fastest `share` of the samples (0.9 for the published "latency 90 %").

    Raises:
        ValueError: share is not inside (0, 1], or of so few samples nothing is left.
    """
    if not 0 < share <= 1:
        raise ValueError(f"share {share}; it must be above 0 and at most 1")
    values_N = np.sort(finite(samples))
    kept = int(len(values_N) * share)
    if not kept:
        raise ValueError(f"the fastest {share} of {len(values_N)} samples is no sample")
    return float(values_N[:kept].mean())


def legacy_mean_ucl(samples: Samples, share: float) -> float:
    """Return mean + z * std / sqrt(n), the upper limit of a two-sided confidence interval of the mean.

    As published: z to three decimals (1.645, 1.960, 2.576 for 0.9, 0.95, 0.99), std divided by n and not n - 1.

    Raises:
        ValueError: share is not inside (0, 1), or there is no sample.
    """
    if not 0 < share < 1:
        raise ValueError(f"share {share}; it must be between 0 and 1")
    values_N = finite(samples)
    if not len(values_N):
        raise ValueError("no samples; a mean needs at least one")
    z = round(NormalDist().inv_cdf((1 + share) / 2), 3)
    return float(values_N.mean() + z * values_N.std() / np.sqrt(len(values_N)))


def legacy_with_warmup_average(warmup: Samples, samples: Samples) -> float:
    """Return the mean of warm-up and samples together.

    Raises:
        ValueError: there is neither.
    """
    values_N = np.concatenate([finite(warmup), finite(samples)])
    if not len(values_N):
        raise ValueError("no samples; a mean needs at least one")
    return float(values_N.mean())
