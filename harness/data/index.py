"""A COCO set packed into a few arrays: quick to read, and shared by threads and forks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.data.masks import Segmentation
from harness.data.records import Annotations, ImageRecord
from harness.data.rle import Rle, counts_to_string


@dataclass(frozen=True, slots=True)
class PackedPolygons:
    """All polygons: p is coordinates[start[p] : start[p + 1]]; annotation a has those from first[a] to first[a + 1]."""

    coordinates: NDArray[np.float64]
    start: NDArray[np.int64]
    first: NDArray[np.int64]

    def of(self, annotation: int) -> tuple[NDArray[np.float64], ...]:
        """Return the polygons of one annotation."""
        polygons = range(int(self.first[annotation]), int(self.first[annotation + 1]))
        return tuple(self.coordinates[self.start[p] : self.start[p + 1]] for p in polygons)


@dataclass(frozen=True, slots=True)
class Index:
    """I images and A annotations in the file's order; those of image i are order_A[first[i] : first[i + 1]]."""

    image_ids: tuple[int, ...]
    file_names: tuple[str, ...]
    sizes_I2: NDArray[np.int64]
    """Width and height."""
    first: NDArray[np.int64]
    order_A: NDArray[np.int64]
    ids_A: NDArray[np.int64]
    labels_A: NDArray[np.int64]
    boxes_A4: NDArray[np.float64]
    """As the file has them: x, y, width, height."""
    area_A: NDArray[np.float64]
    crowd_A: NDArray[np.bool_]
    polygons: PackedPolygons
    run_lengths: Mapping[int, Rle]
    """By place of the annotation; the others have polygons or nothing."""
    categories: Mapping[int, str]

    def image(self, index: int) -> ImageRecord:
        """Return one image's record."""
        width, height = self.sizes_I2[index].tolist()
        return ImageRecord(self.image_ids[index], self.file_names[index], width, height)

    def annotations(self, index: int) -> Annotations:
        """Return one image's objects."""
        if not 0 <= index < len(self.image_ids):
            raise IndexError(f"image {index} of {len(self.image_ids)}")
        places = self.order_A[self.first[index] : self.first[index + 1]]
        boxes_N4 = self.boxes_A4[places]
        boxes_N4[:, 2:] += boxes_N4[:, :2]
        return Annotations(
            boxes_N4=boxes_N4.astype(np.float32),
            labels_N=self.labels_A[places],
            crowd_N=self.crowd_A[places],
            area_N=self.area_A[places],
            ids_N=self.ids_A[places],
            segmentations=tuple(self._segmentation(a) for a in places.tolist()),
        )

    def coco(self) -> dict[str, Any]:
        """Return a COCO dict of the same content, in the same order."""
        images = [self.image(i)._asdict() for i in range(len(self.image_ids))]
        owner_A = np.empty(len(self.order_A), dtype=np.int64)
        owner_A[self.order_A] = np.repeat(np.array(self.image_ids, dtype=np.int64), np.diff(self.first))
        return {
            "images": images,
            "annotations": [self._raw(a, image_id) for a, image_id in enumerate(owner_A.tolist())],
            "categories": [{"id": key, "name": name} for key, name in self.categories.items()],
        }

    def _segmentation(self, annotation: int) -> Segmentation:
        return self.run_lengths.get(annotation) or self.polygons.of(annotation)

    def _raw(self, annotation: int, image_id: int) -> dict[str, Any]:
        return {
            "id": int(self.ids_A[annotation]),
            "image_id": image_id,
            "category_id": int(self.labels_A[annotation]),
            "bbox": self.boxes_A4[annotation].tolist(),
            "area": float(self.area_A[annotation]),
            "iscrowd": int(self.crowd_A[annotation]),
            "segmentation": raw_segmentation(self._segmentation(annotation)),
        }


def raw_segmentation(segmentation: Segmentation) -> Any:
    """Return an object as COCO files hold it: lists of numbers, or run lengths as a compressed string."""
    if isinstance(segmentation, Rle):
        size = [segmentation.height, segmentation.width]
        return {"size": size, "counts": counts_to_string(segmentation.counts_R)}
    return [polygon.tolist() for polygon in segmentation]
