// Energies of pairs of atoms by their classes, tabulated in the squared distance.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap {

// The knots of a pair of classes are evenly spaced in the squared distance, from 0 to the square of the reach.
template <typename T>
struct ContactTable {
  const T* energy;  // (classes, classes, knots), null for none
  int64_t classes, knots;
  T reach;

  // Knots per squared length.
  BACKMAP_HD T scale() const { return T(knots - 1) / (reach * reach); }

  // The knots of two atoms; null if the class of one has no row.
  BACKMAP_HD const T* knots_of(int64_t first, int64_t second) const {
    if (!energy || first < 0 || first >= classes || second < 0 || second >= classes) return nullptr;
    return energy + (first * classes + second) * knots;
  }
};

// The value at a place counted in knots, between 0 and the last one; zero beyond, and for NaN.
template <typename T>
BACKMAP_HD T interpolate(const T* knot, T place, int32_t last) {
  const bool inside = place < T(last);
  const int32_t at = inside ? int32_t(place) : 0;
  const T part = place - T(at);
  return inside ? knot[at] + part * (knot[at + 1] - knot[at]) : T(0);
}

// Radius at which spheres of two atoms touch whenever the atoms are in reach of each other or overlap. Negative radii
// and NaN, which belong to no atom, stay.
template <typename T>
BACKMAP_HD T radius_in_reach(T radius, T reach) {
  return radius >= T(0) && radius < T(0.5) * reach ? T(0.5) * reach : radius;
}

}  // namespace backmap
