"""Mask R-CNN with a feature pyramid, in two flavours."""
