// Checks of arguments. Each error names the operator, the argument, the expected value and the given one.
//
// Sizes are symbolic (`SymInt`), because the same checks also run when torch traces with symbolic shapes.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <initializer_list>

namespace backmap::checks {

using Sizes = c10::SymDimVector;

// An argument of an operator, with its name in the schema.
struct Argument {
  const char* op;
  const char* name;
  const at::Tensor& tensor;
};

inline Sizes join(const Sizes& batch, std::initializer_list<c10::SymInt> trailing) {
  Sizes all(batch);
  all.append(trailing.begin(), trailing.end());
  return all;
}

// All but the last `count` sizes.
inline Sizes without_last(const at::Tensor& tensor, int64_t count) {
  const auto sizes = tensor.sym_sizes();
  return Sizes(sizes.begin(), sizes.end() - count);
}

inline void is_floating(const Argument& a) {
  TORCH_CHECK_TYPE(a.tensor.scalar_type() == at::kFloat || a.tensor.scalar_type() == at::kDouble, a.op, ": ", a.name,
                   " must have dtype float32 or float64, got ", a.tensor.scalar_type());
}

inline void has_dtype(const Argument& a, at::ScalarType expected) {
  TORCH_CHECK_TYPE(a.tensor.scalar_type() == expected, a.op, ": ", a.name, " must have dtype ", expected, ", got ",
                   a.tensor.scalar_type());
}

// `first` is the argument that determines the device.
inline void is_beside(const Argument& a, const Argument& first) {
  TORCH_CHECK_VALUE(a.tensor.device() == first.tensor.device(), a.op, ": ", a.name, " must be on the device of ",
                    first.name, " (", first.tensor.device(), "), got ", a.tensor.device());
}

// At least as many dimensions as `form` has after the batch, the last one with three coordinates.
inline void holds_points(const Argument& a, int64_t dimensions, const char* form) {
  TORCH_CHECK_VALUE(a.tensor.dim() >= dimensions && a.tensor.sym_size(-1) == 3, a.op, ": ", a.name, " must have shape ",
                    form, ", got ", a.tensor.sym_sizes());
}

inline void has_dimensions(const Argument& a, int64_t dimensions, const char* form) {
  TORCH_CHECK_VALUE(a.tensor.dim() == dimensions, a.op, ": ", a.name, " must have shape ", form, ", got ",
                    a.tensor.sym_sizes());
}

inline void has_shape(const Argument& a, const Sizes& expected) {
  TORCH_CHECK_VALUE(a.tensor.sym_sizes() == c10::SymIntArrayRef(expected), a.op, ": ", a.name, " must have shape ",
                    c10::SymIntArrayRef(expected), ", got ", a.tensor.sym_sizes());
}

// A scalar argument in nm.
inline void is_length(const char* op, const char* name, double value) {
  TORCH_CHECK_VALUE(value > 0 && std::isfinite(value), op, ": ", name, " must be finite and more than 0 nm, got ",
                    value);
}

// The number of voxels along an edge of a cube. It is limited because kernels count the voxels of a cube in an int32
// and keep the factors of a particle in the shared memory of a block.
inline void is_grid(const char* op, const char* name, const c10::SymInt& points) {
  TORCH_CHECK_VALUE(points >= 1 && points <= 512, op, ": ", name, " must lie in [1, 512], got ", points);
}

// Values on a cubic grid, one cube per particle. Returns the dimensions of the particles.
inline Sizes holds_cubes(const Argument& a) {
  const bool cubic = a.tensor.dim() >= 4 && a.tensor.sym_size(-1) == a.tensor.sym_size(-2) &&
                     a.tensor.sym_size(-1) == a.tensor.sym_size(-3);
  TORCH_CHECK_VALUE(cubic, a.op, ": ", a.name, " must have shape (*, particles, d, d, d), got ", a.tensor.sym_sizes());
  is_grid(a.op, a.name, a.tensor.sym_size(-1));
  return without_last(a.tensor, 3);
}

// The shape must be `trailing` (shared by all frames), or `trailing` after the batch dimensions.
inline void has_shape_or_shared(const Argument& a, const Sizes& batch, std::initializer_list<c10::SymInt> trailing) {
  const Sizes shared(trailing);
  if (a.tensor.sym_sizes() == c10::SymIntArrayRef(shared)) return;
  const Sizes full = join(batch, trailing);
  TORCH_CHECK_VALUE(a.tensor.sym_sizes() == c10::SymIntArrayRef(full), a.op, ": ", a.name, " must have shape ",
                    c10::SymIntArrayRef(full), " or ", c10::SymIntArrayRef(shared), ", got ", a.tensor.sym_sizes());
}

// Coordinates, masks and indices that belong to the first argument: their dtype and device.
inline void goes_with(const Argument& a, const Argument& first, at::ScalarType dtype) {
  has_dtype(a, dtype);
  is_beside(a, first);
}

// Values of an index in [begin, end). They are checked only if reading them needs no synchronisation; CUDA kernels read
// no memory for values out of range.
inline void check_range(const Argument& a, int64_t end, int64_t begin = 0) {
  if (!a.tensor.is_cpu() || a.tensor.numel() == 0) return;
  const auto [low, high] = a.tensor.aminmax();
  const int64_t lowest = low.item<int64_t>(), highest = high.item<int64_t>();
  TORCH_CHECK_VALUE(lowest >= begin && highest < end, a.op, ": ", a.name, " must lie in [", begin, ", ", end, "), got ",
                    lowest < begin ? lowest : highest);
}

// Smoothing passes of distributions over bins.
inline void check_passes(const char* op, int64_t passes) {
  constexpr int64_t most = 4096;
  TORCH_CHECK_VALUE(0 <= passes && passes <= most, op, ": smoothing_passes must lie in [0, ", most, "], got ", passes);
}

}  // namespace backmap::checks
