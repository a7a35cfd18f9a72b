// Local coordinate frames of three points, and their derivatives.
#pragma once

#include <cstdint>

#include "core/vec3.h"

namespace backmap {

// How three points (p0, p1, p2) define a frame. The values are part of the operator's schema.
enum class FrameRule : int64_t {
  // Origin p1; e1 along p2 - p1; e2 along the part of p0 - p1 orthogonal to e1; e3 = e1 x e2.
  GramSchmidt = 0,
  // Least-squares superposition of the points on an isosceles triangle: equal sides 0.381 nm, apex
  // angle 106 degrees at p1, centroid at the origin, in the xy plane, p1 on +y, p0 on the -x side.
  Isosceles = 1,
};

// An orthonormal right-handed basis and its origin, or the gradient with respect to one.
template <typename T>
struct Frame {
  Vec3<T> e1, e2, e3, origin;
};

template <typename T>
struct Triangle {
  Vec3<T> p0, p1, p2;
};

template <typename T>
BACKMAP_HD Frame<T> load_frame(const T* p) {
  return {load(p), load(p + 3), load(p + 6), load(p + 9)};
}

template <typename T>
BACKMAP_HD void store_frame(T* p, const Frame<T>& f) {
  store(p, f.e1);
  store(p + 3, f.e2);
  store(p + 6, f.e3);
  store(p + 9, f.origin);
}

template <typename T>
BACKMAP_HD Triangle<T> load_triangle(const T* p) {
  return {load(p), load(p + 3), load(p + 6)};
}

template <typename T>
BACKMAP_HD void store_triangle(T* p, const Triangle<T>& t) {
  store(p, t.p0);
  store(p + 3, t.p1);
  store(p + 6, t.p2);
}

template <typename T>
BACKMAP_HD Vec3<T> rotate_in(const Frame<T>& f, const Vec3<T>& v) {
  return {dot(f.e1, v), dot(f.e2, v), dot(f.e3, v)};
}

template <typename T>
BACKMAP_HD Vec3<T> rotate_out(const Frame<T>& f, const Vec3<T>& v) {
  return v.x * f.e1 + v.y * f.e2 + v.z * f.e3;
}

template <typename T>
BACKMAP_HD Vec3<T> to_local(const Frame<T>& f, const Vec3<T>& point) {
  return rotate_in(f, point - f.origin);
}

template <typename T>
BACKMAP_HD Vec3<T> to_global(const Frame<T>& f, const Vec3<T>& local) {
  return f.origin + rotate_out(f, local);
}

// Adds the gradient of `to_local` with respect to the frame to `grad`, and returns that with respect to the point.
template <typename T>
BACKMAP_HD Vec3<T> to_local_backward(const Frame<T>& f, const Vec3<T>& point, const Vec3<T>& grad,
                                     Frame<T>& grad_frame) {
  const Vec3<T> offset = point - f.origin;
  const Vec3<T> grad_point = rotate_out(f, grad);
  grad_frame.e1 += grad.x * offset;
  grad_frame.e2 += grad.y * offset;
  grad_frame.e3 += grad.z * offset;
  grad_frame.origin -= grad_point;
  return grad_point;
}

// Adds the gradient of `to_global` with respect to the frame, and returns that with respect to the local point.
template <typename T>
BACKMAP_HD Vec3<T> to_global_backward(const Frame<T>& f, const Vec3<T>& local, const Vec3<T>& grad,
                                      Frame<T>& grad_frame) {
  grad_frame.e1 += local.x * grad;
  grad_frame.e2 += local.y * grad;
  grad_frame.e3 += local.z * grad;
  grad_frame.origin += grad;
  return rotate_in(f, grad);
}

// Points count as collinear if the sine of the angle between the edges is below this.
template <typename T>
BACKMAP_HD constexpr T collinear_sine() {
  return sizeof(T) == sizeof(float) ? T(1e-5) : T(1e-10);
}

// The part of `v` orthogonal to the unit vector `axis`.
template <typename T>
BACKMAP_HD Vec3<T> orthogonal_part(const Vec3<T>& v, const Vec3<T>& axis) {
  return v - dot(v, axis) * axis;
}

// A unit vector orthogonal to `axis`, made from the coordinate axis least parallel to it (the first one on ties).
template <typename T>
BACKMAP_HD Vec3<T> any_perpendicular(const Vec3<T>& axis) {
  const T ax = std::fabs(axis.x), ay = std::fabs(axis.y), az = std::fabs(axis.z);
  Vec3<T> coordinate{T(0), T(0), T(0)};
  if (ax <= ay && ax <= az) {
    coordinate.x = T(1);
  } else if (ay <= az) {
    coordinate.y = T(1);
  } else {
    coordinate.z = T(1);
  }
  const Vec3<T> v = orthogonal_part(coordinate, axis);
  return (T(1) / norm(v)) * v;
}

// v / |v|, or the x axis if v vanishes.
template <typename T>
BACKMAP_HD Vec3<T> direction(const Vec3<T>& v) {
  const T length = norm(v);
  return length > T(0) ? (T(1) / length) * v : Vec3<T>{T(1), T(0), T(0)};
}

// Gradient of `direction`, zero if v vanishes; `unit` is its result.
template <typename T>
BACKMAP_HD Vec3<T> direction_backward(const Vec3<T>& v, const Vec3<T>& unit, const Vec3<T>& grad) {
  const T length = norm(v);
  return length > T(0) ? (T(1) / length) * orthogonal_part(grad, unit) : Vec3<T>{T(0), T(0), T(0)};
}

// `direction` of a vector that is orthogonal to the unit vector `axis` except for rounding. Rounding matters if the
// vector is a small difference; a second projection makes it orthogonal to the last bit.
template <typename T>
BACKMAP_HD Vec3<T> orthogonal_direction(const Vec3<T>& v, const Vec3<T>& axis) {
  return direction(orthogonal_part(direction(v), axis));
}

// ---- Gram-Schmidt ------------------------------------------------------------------------------

template <typename T>
BACKMAP_HD Frame<T> gram_schmidt_frame(const Triangle<T>& t) {
  const Vec3<T> e1 = direction(t.p2 - t.p1);
  const Vec3<T> w = t.p0 - t.p1;
  const Vec3<T> v = orthogonal_part(w, e1);
  const bool collinear = norm(v) <= collinear_sine<T>() * norm(w);
  const Vec3<T> e2 = collinear ? any_perpendicular(e1) : orthogonal_direction(v, e1);
  return {e1, e2, cross(e1, e2), t.p1};
}

template <typename T>
BACKMAP_HD Triangle<T> gram_schmidt_backward(const Triangle<T>& t, const Frame<T>& grad) {
  const Frame<T> f = gram_schmidt_frame(t);
  const Vec3<T> w = t.p0 - t.p1;
  const Vec3<T> v = orthogonal_part(w, f.e1);
  // e3 = e1 x e2
  Vec3<T> grad_e1 = grad.e1 + cross(f.e2, grad.e3);
  const Vec3<T> grad_e2 = grad.e2 + cross(grad.e3, f.e1);
  // e2 = v / |v|; a substituted e2 is a constant.
  Vec3<T> grad_v{T(0), T(0), T(0)};
  if (norm(v) > collinear_sine<T>() * norm(w)) grad_v = direction_backward(v, f.e2, grad_e2);
  // v = w - (w . e1) e1
  const Vec3<T> grad_w = orthogonal_part(grad_v, f.e1);
  grad_e1 -= dot(w, f.e1) * grad_v + dot(grad_v, f.e1) * w;
  const Vec3<T> grad_u = direction_backward(t.p2 - t.p1, f.e1, grad_e1);
  return {grad_w, grad.origin - grad_u - grad_w, grad_u};
}

// ---- Isosceles superposition -------------------------------------------------------------------

template <typename T>
struct IsoscelesTemplate {
  // 0.381 sin(53 deg) and 0.381 cos(53 deg): corners (-b, -h/3), (0, 2h/3), (b, -h/3).
  static constexpr T half_base = T(0.30428012932801857);
  static constexpr T height = T(0.22929152382093043);
};

// Intermediate results of the superposition. The optimal rotation of planar points onto a planar template takes plane
// onto plane (e3 = normal). Within the plane, e1 is along sum_i Qx_i p'_i - Qy_i (n x p'_i), which for this template
// is `in_plane` = b (p2 - p0) - h (n x apex), with apex = p1 - centroid.
template <typename T>
struct IsoscelesParts {
  Vec3<T> edge0, edge2, apex, area, normal, in_plane;
  bool collinear;
};

template <typename T>
BACKMAP_HD IsoscelesParts<T> isosceles_parts(const Triangle<T>& t) {
  IsoscelesParts<T> s;
  s.edge0 = t.p0 - t.p1;
  s.edge2 = t.p2 - t.p1;
  s.apex = T(-1) / T(3) * (s.edge0 + s.edge2);
  s.area = cross(s.edge0, s.edge2);
  s.collinear = norm(s.area) <= collinear_sine<T>() * norm(s.edge0) * norm(s.edge2);
  const Vec3<T> line = dot(s.edge0, s.edge0) > dot(s.edge2, s.edge2) ? s.edge0 : s.edge2;
  s.normal = s.collinear ? any_perpendicular(direction(line)) : direction(s.area);
  s.in_plane =
      IsoscelesTemplate<T>::half_base * (s.edge2 - s.edge0) - IsoscelesTemplate<T>::height * cross(s.normal, s.apex);
  return s;
}

template <typename T>
BACKMAP_HD Frame<T> isosceles_frame(const Triangle<T>& t) {
  const IsoscelesParts<T> s = isosceles_parts(t);
  const Vec3<T> e1 = orthogonal_direction(s.in_plane, s.normal);
  return {e1, cross(s.normal, e1), s.normal, t.p1 - s.apex};
}

template <typename T>
BACKMAP_HD Triangle<T> isosceles_backward(const Triangle<T>& t, const Frame<T>& grad) {
  const T b = IsoscelesTemplate<T>::half_base, h = IsoscelesTemplate<T>::height;
  const IsoscelesParts<T> s = isosceles_parts(t);
  const Vec3<T> e1 = orthogonal_direction(s.in_plane, s.normal);
  // e2 = n x e1 and e3 = n
  const Vec3<T> grad_e1 = grad.e1 + cross(grad.e2, s.normal);
  Vec3<T> grad_normal = grad.e3 + cross(e1, grad.e2);
  // in_plane = b (edge2 - edge0) - h (n x apex)
  const Vec3<T> grad_in_plane = direction_backward(s.in_plane, e1, grad_e1);
  grad_normal -= h * cross(s.apex, grad_in_plane);
  Vec3<T> grad_apex = T(-1) * (h * cross(grad_in_plane, s.normal));
  // origin = p1 - apex
  grad_apex -= grad.origin;
  // apex = -(edge0 + edge2) / 3
  const Vec3<T> shared = T(-1) / T(3) * grad_apex;
  Vec3<T> grad_edge0 = shared - b * grad_in_plane;
  Vec3<T> grad_edge2 = shared + b * grad_in_plane;
  // n = area / |area|; a substituted normal is a constant.
  if (!s.collinear) {
    const Vec3<T> grad_area = direction_backward(s.area, s.normal, grad_normal);
    grad_edge0 += cross(s.edge2, grad_area);
    grad_edge2 += cross(grad_area, s.edge0);
  }
  return {grad_edge0, grad.origin - grad_edge0 - grad_edge2, grad_edge2};
}

// ---- Choice by rule ----------------------------------------------------------------------------

template <typename T>
BACKMAP_HD Frame<T> frame_of(FrameRule rule, const Triangle<T>& t) {
  return rule == FrameRule::GramSchmidt ? gram_schmidt_frame(t) : isosceles_frame(t);
}

template <typename T>
BACKMAP_HD Triangle<T> frame_backward(FrameRule rule, const Triangle<T>& t, const Frame<T>& grad) {
  return rule == FrameRule::GramSchmidt ? gram_schmidt_backward(t, grad) : isosceles_backward(t, grad);
}

}  // namespace backmap
