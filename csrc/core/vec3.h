// Vectors in three dimensions.
#pragma once

#include <cmath>

#include "core/host_device.h"

namespace backmap {

template <typename T>
struct Vec3 {
  T x, y, z;
};

template <typename T>
BACKMAP_HD Vec3<T> load(const T* p) {
  return {p[0], p[1], p[2]};
}

template <typename T>
BACKMAP_HD void store(T* p, const Vec3<T>& v) {
  p[0] = v.x;
  p[1] = v.y;
  p[2] = v.z;
}

template <typename T>
BACKMAP_HD Vec3<T> operator+(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.x + b.x, a.y + b.y, a.z + b.z};
}

template <typename T>
BACKMAP_HD Vec3<T> operator-(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.x - b.x, a.y - b.y, a.z - b.z};
}

template <typename T>
BACKMAP_HD Vec3<T> operator*(T s, const Vec3<T>& v) {
  return {s * v.x, s * v.y, s * v.z};
}

template <typename T>
BACKMAP_HD Vec3<T>& operator+=(Vec3<T>& a, const Vec3<T>& b) {
  return a = a + b;
}

template <typename T>
BACKMAP_HD Vec3<T>& operator-=(Vec3<T>& a, const Vec3<T>& b) {
  return a = a - b;
}

template <typename T>
BACKMAP_HD T dot(const Vec3<T>& a, const Vec3<T>& b) {
  return a.x * b.x + a.y * b.y + a.z * b.z;
}

template <typename T>
BACKMAP_HD Vec3<T> cross(const Vec3<T>& a, const Vec3<T>& b) {
  return {a.y * b.z - a.z * b.y, a.z * b.x - a.x * b.z, a.x * b.y - a.y * b.x};
}

template <typename T>
BACKMAP_HD T norm(const Vec3<T>& v) {
  return std::sqrt(dot(v, v));
}

template <typename T>
BACKMAP_HD T squared_distance(const Vec3<T>& a, const Vec3<T>& b) {
  const Vec3<T> d = a - b;
  return dot(d, d);
}

template <typename T>
BACKMAP_HD bool is_finite(const Vec3<T>& v) {
  // x - x is zero unless x is infinite or NaN.
  return v.x - v.x == T(0) && v.y - v.y == T(0) && v.z - v.z == T(0);
}

}  // namespace backmap
