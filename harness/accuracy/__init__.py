"""COCO scoring, one judge for every backend."""
