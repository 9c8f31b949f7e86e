// All kernels of a target as one: TensorFlow's headers take longer to compile than what stands in these files.
#include "focal.cc"
#include "masks.cc"
#include "overlap.cc"
#include "pooling.cc"
#include "selection.cc"
#include "suppression.cc"
