"""EfficientDet D0 to D7, and D0 on the Lite0 backbone."""
