// Conversion of tensors (*, particles, points, points, points) to cubes in memory.
#pragma once

#include <ATen/ATen.h>

#include <optional>

#include "core/voxel_grid.h"

namespace backmap {

// Whether the last three dimensions are contiguous among themselves.
inline bool has_dense_cubes(const at::Tensor& tensor) {
  int64_t elements = 1;
  for (int64_t d = 1; d <= 3; ++d) {
    if (tensor.size(-d) != 1 && tensor.stride(-d) != elements) return false;
    elements *= tensor.size(-d);
  }
  return true;
}

// Elements from one frame to the next, if a single number describes all dimensions before the particles.
inline std::optional<int64_t> even_frame_stride(const at::Tensor& tensor) {
  int64_t stride = 0, frames = 1;
  for (int64_t d = tensor.dim() - 5; d >= 0; --d) {
    if (tensor.size(d) == 1) continue;
    if (frames == 1) stride = tensor.stride(d);
    else if (tensor.stride(d) != frames * stride) return std::nullopt;
    frames *= tensor.size(d);
  }
  return stride;
}

// The tensor itself if kernels can read its cubes in place, as in a slice of channels of a larger tensor; else a copy.
inline at::Tensor with_cubes(const at::Tensor& tensor) {
  return has_dense_cubes(tensor) && even_frame_stride(tensor) ? tensor : tensor.contiguous();
}

// The cubes at `data` of a tensor whose frames are evenly spaced.
template <typename T>
Cubes<T> cubes_of(const at::Tensor& tensor, T* data) {
  int64_t batch = 1;
  for (int64_t d = 0; d < tensor.dim() - 4; ++d) batch *= tensor.size(d);
  return {data, batch, tensor.size(-4), *even_frame_stride(tensor), tensor.stride(-4)};
}

}  // namespace backmap
