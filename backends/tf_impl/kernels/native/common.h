// What the operations of the binding share: checked inputs, outputs and workspaces, errors, and the device's stream.
//
// The same text makes CPU kernels, and with -DKERNEL_TARGET_CUDA GPU kernels: KERNEL(name) is a target's own function.
// Numbers in double precision are attributes in decimal digits, since TensorFlow's float attributes are single.
#pragma once
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <initializer_list>
#include <string>
#include <vector>

#include "kernel.h"
#include "tensorflow/core/framework/op_kernel.h"

#if defined(KERNEL_TARGET_CUDA)
#include "xla/stream_executor/stream.h"
#define KERNEL_DEVICE ::tensorflow::DEVICE_GPU
constexpr bool kOnHost = false;
#else
#define KERNEL_DEVICE ::tensorflow::DEVICE_CPU
constexpr bool kOnHost = true;
#endif

namespace binding {

using tensorflow::OpInputList;
using tensorflow::OpKernel;
using tensorflow::OpKernelConstruction;
using tensorflow::OpKernelContext;
using tensorflow::OpOutputList;
using tensorflow::Tensor;
using tensorflow::TensorShape;

constexpr int64_t kAny = -1;
using Sizes = std::initializer_list<int64_t>;

// Where the device's work is queued; null on the CPU. No CUDA header is needed: TensorFlow tells the handle.
inline void* stream_of(OpKernelContext* context) {
#if defined(KERNEL_TARGET_CUDA)
  return context->op_device_context()->stream()->platform_specific_handle().stream;
#else
  (void)context;
  return nullptr;
#endif
}

inline absl::Status fill_with_zeros(OpKernelContext* context, Tensor* tensor) {
  uint64_t bytes = tensor->TotalBytes();
  if (bytes == 0) return absl::OkStatus();
#if defined(KERNEL_TARGET_CUDA)
  stream_executor::DeviceAddressBase memory(tensor->data(), bytes);
  return context->op_device_context()->stream()->MemZero(&memory, bytes);
#else
  (void)context;
  memset(tensor->data(), 0, bytes);
  return absl::OkStatus();
#endif
}

// Addresses of values; tensors may be slices that begin anywhere.
template <class T>
const T* values(const Tensor& tensor) {
  return static_cast<const T*>(tensor.data());
}

template <class T>
T* values(Tensor* tensor) {
  return static_cast<T*>(tensor->data());
}

inline std::string in_words(const Sizes& sizes) {
  std::string words;
  for (int64_t size : sizes) words += (words.empty() ? "" : ", ") + (size == kAny ? "any" : std::to_string(size));
  return "[" + words + "]";
}

inline absl::Status refused(OpKernelContext* context, const std::string& words) {
  return absl::InvalidArgumentError(context->op_kernel().type_string() + ": " + words);
}

// Refuses an input of another shape; kAny stands for any size.
inline absl::Status shaped(OpKernelContext* context, const char* name, const Tensor& tensor, Sizes sizes) {
  bool fits = tensor.dims() == (int)sizes.size();
  for (int axis = 0; fits && axis < tensor.dims(); ++axis) {
    int64_t size = sizes.begin()[axis];
    fits = size == kAny || size == tensor.dim_size(axis);
  }
  if (fits) return absl::OkStatus();
  return refused(context, name + (" is " + tensor.shape().DebugString()) + "; " + in_words(sizes) + " is needed");
}

inline absl::Status allocate(OpKernelContext* context, int output, Sizes sizes, Tensor** tensor) {
  TensorShape shape;
  absl::Status status = TensorShape::BuildTensorShape(sizes, &shape);
  return status.ok() ? context->allocate_output(output, shape, tensor) : status;
}

// bytes: what <operation>_workspace tells; below 0 for sizes that it does not take.
inline absl::Status allocate_workspace(OpKernelContext* context, int64_t bytes, Tensor* workspace) {
  if (bytes < 0) return refused(context, "a size is more than the kernel takes");
  return context->allocate_temp(tensorflow::DT_INT8, TensorShape({bytes}), workspace);
}

// Turns what a kernel returns into the operation's outcome.
inline void finish(OpKernelContext* context, int code) {
  if (code == 0) return;
  const std::string words = context->op_kernel().type_string() + " failed with code " + std::to_string(code) + ": " +
                            KERNEL(message)(code);
  constexpr int kDeviceMemory = 2;  // cudaErrorMemoryAllocation
  if (code == KERNEL_OUT_OF_MEMORY || code == kDeviceMemory) context->SetStatus(absl::ResourceExhaustedError(words));
  else if (code == KERNEL_BAD_ARGUMENT) context->SetStatus(absl::InvalidArgumentError(words));
  else context->SetStatus(absl::InternalError(words));
}

inline absl::Status parse(const std::string& digits, double* number) {
  char* end = nullptr;
  *number = strtod(digits.c_str(), &end);
  if (end != digits.c_str() && *end == 0) return absl::OkStatus();
  return absl::InvalidArgumentError("'" + digits + "' is no number");
}

// An attribute that holds a number in digits.
inline absl::Status get_number(OpKernelConstruction* construction, const char* name, double* number) {
  std::string digits;
  absl::Status status = construction->GetAttr(name, &digits);
  return status.ok() ? parse(digits, number) : status;
}

inline absl::Status get_numbers(OpKernelConstruction* construction, const char* name, std::vector<double>* numbers) {
  std::vector<std::string> all;
  absl::Status status = construction->GetAttr(name, &all);
  for (size_t i = 0; status.ok() && i < all.size(); ++i) {
    numbers->push_back(0);
    status = parse(all[i], &numbers->back());
  }
  return status;
}

}  // namespace binding
