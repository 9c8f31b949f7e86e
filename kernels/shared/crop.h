// The part of an image that an RoI's target shows, stretched to the target's pixels.
#pragma once
#include <math.h>

#include "portable.h"

namespace kernels {

struct Crop {
  double x, y;              // of the near corner, in pixels of the image
  double scale_x, scale_y;  // target pixels per image pixel
};

ON_BOTH double stretch(double near, double far, int64_t pixels, double min_side) {
  double side = far - near;
  return (double)pixels / (side < min_side ? min_side : side);  // a side that is NaN stays NaN
}

ON_BOTH Crop crop_of(const double* boxes_R4, int64_t roi, int64_t height, int64_t width, double min_side) {
  const double* box = boxes_R4 + 4 * roi;
  return {box[0], box[1], stretch(box[0], box[2], width, min_side), stretch(box[1], box[3], height, min_side)};
}

// The image's row (or column) under the centre of a target's row (or column); whole, but maybe far outside, or NaN.
ON_BOTH double under_centre(int64_t pixel, double near, double scale) {
  return floor(near + ((double)pixel + 0.5) / scale);
}

}  // namespace kernels
