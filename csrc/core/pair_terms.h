// Terms of pairs of atoms: bond deviation, stretch and overlap, with their gradients; clashes.
#pragma once

#include <cstdint>

#include "core/periodic_box.h"
#include "core/vec3.h"

namespace backmap {

// Whether both atoms of a pair exist.
BACKMAP_HD bool pair_exists(const int64_t* pair, int64_t atoms, const bool* present) {
  const int64_t i = pair[0], j = pair[1];
  return 0 <= i && i < atoms && 0 <= j && j < atoms && present[i] && present[j];
}

// Vector from the second atom of a pair to the nearest image of the first.
template <typename T>
BACKMAP_HD Vec3<T> pair_vector(const int64_t* pair, const T* atoms, const PeriodicBox<T>& box) {
  return minimum_image(load(atoms + 3 * pair[0]) - load(atoms + 3 * pair[1]), box);
}

// Gradient with respect to d of a function of |d|, from its derivative; zero for coinciding atoms.
template <typename T>
BACKMAP_HD Vec3<T> along_pair(const Vec3<T>& d, T length, T derivative) {
  return length == T(0) ? Vec3<T>{T(0), T(0), T(0)} : (derivative / length) * d;
}

// ---- Bonds and angles --------------------------------------------------------------------------

// Relative deviation of the distance between two bonded atoms from the reference length.
template <typename T>
BACKMAP_HD T bond_deviation(const Vec3<T>& d, T reference) {
  return norm(d) / reference - T(1);
}

template <typename T>
BACKMAP_HD Vec3<T> bond_deviation_backward(const Vec3<T>& d, T reference, T grad) {
  return along_pair(d, norm(d), grad / reference);
}

template <typename T>
BACKMAP_HD bool within_tolerance(T deviation, T tolerance) {
  return std::fabs(deviation) <= tolerance;
}

// Gradient of stiffness (|d| - reference)^2 with respect to d of length `length`. Numbers are scalars or vectors.
template <typename N>
BACKMAP_HD Vec3<N> stretch_gradient(const Vec3<N>& d, const N& length, const N& reference, const N& stiffness) {
  return ((stiffness + stiffness) * (length - reference) / length) * d;
}

// Squared difference between the distance of two atoms and the reference length.
template <typename T>
BACKMAP_HD T squared_stretch(const Vec3<T>& d, T reference) {
  const T stretch = norm(d) - reference;
  return stretch * stretch;
}

template <typename T>
BACKMAP_HD Vec3<T> squared_stretch_backward(const Vec3<T>& d, T reference, T grad) {
  const T length = norm(d);
  return length == T(0) ? Vec3<T>{T(0), T(0), T(0)} : stretch_gradient(d, length, reference, grad);
}

// ---- Clashes and overlaps ----------------------------------------------------------------------

// Whether residues i and j follow each other in a chain; following[r] is the residue after r, or -1.
BACKMAP_HD bool are_linked(int64_t i, int64_t j, const int64_t* following) {
  return following[i] == j || following[j] == i;
}

// Whether two atoms of residues i and j can clash at all: atoms of the same residue never do, and between chain
// neighbours only two side-chain atoms do.
BACKMAP_HD bool may_clash(int64_t i, bool i_side, int64_t j, bool j_side, const int64_t* following) {
  return i != j && ((i_side && j_side) || !are_linked(i, j, following));
}

// Whether r is a radius: not negative and finite.
template <typename T>
BACKMAP_HD bool is_radius(T radius) {
  return radius >= T(0) && radius - radius == T(0);
}

// Squared overlap of two spheres whose radii sum to `contact`; zero for NaN.
template <typename T>
BACKMAP_HD T squared_overlap(T squared_distance, T contact) {
  const T overlap = contact - std::sqrt(squared_distance);
  return overlap > T(0) ? overlap * overlap : T(0);
}

// The gradient of `squared_overlap` with respect to the difference d of the centres.
template <typename T>
BACKMAP_HD Vec3<T> squared_overlap_backward(const Vec3<T>& d, T contact, T grad) {
  const T length = norm(d), overlap = contact - length;
  return overlap > T(0) ? along_pair(d, length, T(-2) * grad * overlap) : Vec3<T>{T(0), T(0), T(0)};
}

// The row of an atom in a list of compressed rows; within bounds whatever `start` contains.
struct RowOfList {
  int64_t begin, end;
};
BACKMAP_HD RowOfList row_of_list(const int64_t* start, int64_t atom, int64_t count) {
  const int64_t begin = start[atom], end = start[atom + 1];
  return {begin > 0 ? begin : 0, end < count ? end : count};
}

// Whether the row contains an atom. Rows are short, so that an early exit would cost more than it saves.
BACKMAP_HD bool is_listed(const int64_t* list, const RowOfList& row, int64_t atom) {
  bool listed = false;
  for (int64_t n = row.begin; n < row.end; ++n) listed |= list[n] == atom;
  return listed;
}

}  // namespace backmap
