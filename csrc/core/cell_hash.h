// Spatial hashing: atoms of one cell of a cubic grid share a bucket, without bounds on the coordinates.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/vec3.h"

namespace backmap {

struct Cell {
  int32_t x, y, z;
};

// Position along one axis in units of the cell, within the range of the integer (clamping keeps order, so
// that atoms near each other stay in cells near each other). In double: float cells blur far from zero.
template <typename T>
BACKMAP_HD double cell_position(T coordinate, double inverse_side) {
  const double limit = 1e9;
  const double p = double(coordinate) * inverse_side;
  return p < -limit ? -limit : (p > limit ? limit : p);
}

template <typename T>
BACKMAP_HD Cell cell_of(const Vec3<T>& v, double inverse_side) {
  return {int32_t(std::floor(cell_position(v.x, inverse_side))), int32_t(std::floor(cell_position(v.y, inverse_side))),
          int32_t(std::floor(cell_position(v.z, inverse_side)))};
}

// The first of the two cells along each axis that a ball of half a cell's side around v can touch.
template <typename T>
BACKMAP_HD Cell lower_cell_of(const Vec3<T>& v, double inverse_side) {
  return {int32_t(std::floor(cell_position(v.x, inverse_side) - 0.5)),
          int32_t(std::floor(cell_position(v.y, inverse_side) - 0.5)),
          int32_t(std::floor(cell_position(v.z, inverse_side) - 0.5))};
}

// Bucket of a cell, for a power of two of buckets: mask = buckets - 1.
BACKMAP_HD uint32_t bucket_of(const Cell& c, uint32_t mask) {
  uint32_t h = uint32_t(c.x) * 73856093u ^ uint32_t(c.y) * 19349663u ^ uint32_t(c.z) * 83492791u;
  h ^= h >> 15;  // the low bits alone would see little of the high ones
  return h & mask;
}

// Smallest power of two of buckets that leaves about one atom a bucket.
BACKMAP_HD int64_t bucket_count(int64_t atoms) {
  int64_t buckets = 1;
  while (buckets < atoms) buckets *= 2;
  return buckets;
}

// Side of the cells for pairs closer than `reach`: twice the reach, and a little for rounding.
BACKMAP_HD double cell_side(double reach) { return 2.002 * reach; }

}  // namespace backmap
