// A cubic grid of voxels centred at zero, and the cubes of values on it.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap {

template <typename T>
struct VoxelGrid {
  int32_t points;  // along each axis
  T half_spacing;  // nm

  // Centre of voxel k along an axis in half spacings: an integer, hence exact and symmetric about zero.
  BACKMAP_HD T half_steps(int32_t k) const { return T(2 * k + 1 - points); }

  BACKMAP_HD T centre(int32_t k) const { return half_steps(k) * half_spacing; }

  BACKMAP_HD int32_t plane() const { return points * points; }

  BACKMAP_HD int32_t cube() const { return points * points * points; }
};

// The grid with edges of `width` nm.
template <typename T>
VoxelGrid<T> voxel_grid(int64_t points, double width) {
  return {int32_t(points), T(width / double(2 * points))};
}

// One cube per particle. A cube is dense, with axes x, y, z, the last one fastest; there may be gaps between the cubes
// of a frame and between frames.
template <typename T>
struct Cubes {
  T* data;
  int64_t batch, particles;
  int64_t frame_stride, particle_stride;

  BACKMAP_HD int64_t count() const { return batch * particles; }

  // Cube number `item`, counted over all frames.
  BACKMAP_HD T* operator[](int64_t item) const {
    return data + item / particles * frame_stride + item % particles * particle_stride;
  }
};

}  // namespace backmap
