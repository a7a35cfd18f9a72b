// From tensors to launchers: element type, device and stream.
#pragma once

#include <ATen/ATen.h>
#include <c10/core/DeviceGuard.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <optional>

namespace backmap {

// Calls body with a float or a double, depending on the dtype of `like`.
template <typename Body>
void with_scalar_of(const at::Tensor& like, const Body& body) {
  if (like.scalar_type() == at::kDouble) body(double{});
  else body(float{});
}

// Calls on_cpu() or on_cuda(stream), depending on the device of `like`. The stream comes from c10's registry of
// devices, so that the library uses no CUDA symbol of torch and also loads with a CPU-only torch.
template <typename OnCpu, typename OnCuda>
void launch(const at::Tensor& like, const OnCpu& on_cpu, const OnCuda& on_cuda) {
  if (!like.is_cuda()) return on_cpu();
  const c10::DeviceGuard guard(like.device());
  const c10::impl::VirtualGuardImpl device(like.device().type());
  on_cuda(device.getStream(like.device()).native_handle());
}

// Elements from one frame to the next; 0 for a tensor without batch dimensions.
inline int64_t frame_stride(const at::Tensor& tensor, int64_t trailing_dimensions) {
  if (tensor.dim() == trailing_dimensions) return 0;
  int64_t elements = 1;
  for (int64_t d = 1; d <= trailing_dimensions; ++d) elements *= tensor.size(-d);
  return elements;
}

// Number of frames: the product of the batch dimensions.
inline int64_t frame_count(const at::Tensor& tensor, int64_t trailing_dimensions) {
  int64_t frames = 1;
  for (int64_t d = 0; d < tensor.dim() - trailing_dimensions; ++d) frames *= tensor.size(d);
  return frames;
}

// ---- Arguments that may be missing -------------------------------------------------------------

inline at::Tensor contiguous_or_undefined(const std::optional<at::Tensor>& tensor) {
  return tensor ? tensor->contiguous() : at::Tensor();
}

template <typename T>
const T* data_or_null(const at::Tensor& tensor) {
  return tensor.defined() ? tensor.const_data_ptr<T>() : nullptr;
}

// Working memory of bytes() bytes for a kernel; empty on the CPU, where kernels allocate their own.
template <typename Bytes>
at::Tensor cuda_workspace(const at::Tensor& like, const Bytes& bytes) {
  return at::empty({like.is_cuda() ? bytes() : 0}, like.options().dtype(at::kByte));
}

}  // namespace backmap
