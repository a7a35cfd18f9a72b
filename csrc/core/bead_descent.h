// Descent of atoms whose weighted means stay on beads. Numbers are scalars, or vectors of one number per frame.
#pragma once

#include <cmath>

#include "core/pair_terms.h"
#include "core/vec3.h"

namespace backmap {

// What scalars and vectors compute in different ways; csrc/cpu adds vectors.
template <typename N>
struct Elementary {
  static BACKMAP_HD N root(const N& v) { return std::sqrt(v); }
  static BACKMAP_HD N smaller(const N& a, const N& b) { return a < b ? a : b; }
  static BACKMAP_HD N larger(const N& a, const N& b) { return a > b ? a : b; }
};

template <typename N>
struct DescentSettings {
  N step_size, momentum, largest_step;
  N least;  // lengths are taken as this long at least, so that none is divided by zero
};

template <typename N>
BACKMAP_HD N length_of(const Vec3<N>& v, const N& least) {
  return Elementary<N>::larger(Elementary<N>::root(dot(v, v)), least);
}

// Gradient of stiffness (|d| - length)^2 with respect to the atom that d points to.
template <typename N>
BACKMAP_HD Vec3<N> spring_gradient(const Vec3<N>& d, const N& length, const N& stiffness, const N& least) {
  return stretch_gradient(d, length_of(d, least), length, stiffness);
}

// Gradient of stiffness (V - volume)^2 with respect to one of four atoms, the centre being the first. V is the triple
// product of the vectors from the centre to the others.
template <typename N>
BACKMAP_HD Vec3<N> volume_gradient(int64_t corner, const Vec3<N>& centre, const Vec3<N>& a, const Vec3<N>& b,
                                   const Vec3<N>& c, const N& volume, const N& stiffness) {
  const Vec3<N> first = a - centre, second = b - centre, third = c - centre;
  const Vec3<N> by_third = cross(first, second);
  const N force = (stiffness + stiffness) * (dot(by_third, third) - volume);
  if (corner == 3) return force * by_third;
  if (corner == 2) return force * cross(third, first);
  const Vec3<N> by_first = cross(second, third);
  if (corner == 1) return force * by_first;
  return -force * (by_first + cross(third, first) + by_third);
}

// Where an atom is after a step down its gradient; it moves by `largest_step` at most.
template <typename N>
BACKMAP_HD Vec3<N> step_down(const Vec3<N>& ahead, const Vec3<N>& gradient, const DescentSettings<N>& settings) {
  const Vec3<N> step = settings.step_size * gradient;
  const N length = length_of(step, settings.least);
  return ahead - (Elementary<N>::smaller(length, settings.largest_step) / length) * step;
}

// Where the motion from `before` leads.
template <typename N>
BACKMAP_HD Vec3<N> look_ahead(const Vec3<N>& place, const Vec3<N>& before, const DescentSettings<N>& settings) {
  return place + settings.momentum * (place - before);
}

}  // namespace backmap
