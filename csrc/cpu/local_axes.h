// `to_local` of a frame and its derivatives with vectors: the same operations in the same order as in core/.
#pragma once

#include <cstdint>
#include <cstring>

#include "core/local_frame.h"
#include "cpu/lanes.h"

namespace backmap::cpu {

// x, y, z and a fourth number that completes the vector.
template <typename T>
struct PointOf {
  using Values __attribute__((vector_size(4 * sizeof(T)))) = T;
  using Bits __attribute__((vector_size(4 * sizeof(T)))) = typename LanesOf<T>::Integer;
};
template <typename T>
using Point = typename PointOf<T>::Values;
template <typename T>
using PointBits = typename PointOf<T>::Bits;

// Reads four numbers.
template <typename T>
BACKMAP_HD Point<T> load_point(const T* p) {
  Point<T> point;
  std::memcpy(&point, p, sizeof(point));
  return point;
}

template <typename T>
BACKMAP_HD Point<T> to_point(const Vec3<T>& v) {
  return Point<T>{v.x, v.y, v.z, T(0)};
}

template <typename T>
BACKMAP_HD Vec3<T> to_vector(const Point<T>& p) {
  return {p[0], p[1], p[2]};
}

template <typename T>
struct LocalAxes {
  Point<T> x, y, z, origin;  // columns of the rotation

  BACKMAP_HD explicit LocalAxes(const Frame<T>& f)
      : x{f.e1.x, f.e2.x, f.e3.x, T(0)},
        y{f.e1.y, f.e2.y, f.e3.y, T(0)},
        z{f.e1.z, f.e2.z, f.e3.z, T(0)},
        origin(to_point(f.origin)) {}

  BACKMAP_HD Point<T> to_local(const Point<T>& point) const {
    const Point<T> offset = point - origin;
    return x * offset[0] + y * offset[1] + z * offset[2];
  }
};

// Gradients of `to_local`: returns that with respect to the point and sums that with respect to the frame.
template <typename T>
struct LocalAxesGradient {
  Point<T> e1, e2, e3, origin;  // rows of the rotation
  Point<T> sum1{}, sum2{}, sum3{}, sum_origin{};

  BACKMAP_HD explicit LocalAxesGradient(const Frame<T>& f)
      : e1(to_point(f.e1)), e2(to_point(f.e2)), e3(to_point(f.e3)), origin(to_point(f.origin)) {}

  BACKMAP_HD Point<T> backward(const Point<T>& point, const T* grad) {
    const Point<T> offset = point - origin, grad_point = e1 * grad[0] + e2 * grad[1] + e3 * grad[2];
    sum1 += offset * grad[0];
    sum2 += offset * grad[1];
    sum3 += offset * grad[2];
    sum_origin -= grad_point;
    return grad_point;
  }

  BACKMAP_HD void add_to(Frame<T>& grad) const {
    grad.e1 += to_vector<T>(sum1);
    grad.e2 += to_vector<T>(sum2);
    grad.e3 += to_vector<T>(sum3);
    grad.origin += to_vector<T>(sum_origin);
  }
};

}  // namespace backmap::cpu
