// Terms of pairs of atoms: bond deviation, clash, overlap energy.
#pragma once

#include <cstdint>

#include "core/vec3.h"

namespace backmap {

// Relative deviation of the distance between two bonded atoms from its reference length.
template <typename T>
BACKMAP_HD T bond_deviation(const Vec3<T>& a, const Vec3<T>& b, T reference) {
  return norm(a - b) / reference - T(1);
}

// Gradient of `bond_deviation` with respect to a (that of b is its negative), zero for coinciding atoms.
template <typename T>
BACKMAP_HD Vec3<T> bond_deviation_backward(const Vec3<T>& a, const Vec3<T>& b, T reference, T grad) {
  const Vec3<T> d = a - b;
  const T length = norm(d);
  return length > T(0) ? (grad / (reference * length)) * d : Vec3<T>{T(0), T(0), T(0)};
}

template <typename T>
BACKMAP_HD bool within_tolerance(T deviation, T tolerance) {
  return std::fabs(deviation) <= tolerance;
}

// Whether residues i and j follow each other in a chain; linked[r] joins r and r + 1.
BACKMAP_HD bool are_linked(int64_t i, int64_t j, const bool* linked) {
  return (j == i + 1 && linked[i]) || (i == j + 1 && linked[j]);
}

// Whether two atoms of residues i and j may count as a clash at all: atoms of one residue never do, and
// between chain neighbours only side chain against side chain does.
BACKMAP_HD bool may_clash(int64_t i, bool i_side, int64_t j, bool j_side, const bool* linked) {
  return i != j && ((i_side && j_side) || !are_linked(i, j, linked));
}

// Squared overlap of two spheres whose radii sum to `contact`; zero for NaN.
template <typename T>
BACKMAP_HD T squared_overlap(T squared_distance, T contact) {
  const T overlap = contact - std::sqrt(squared_distance);
  return overlap > T(0) ? overlap * overlap : T(0);
}

}  // namespace backmap
