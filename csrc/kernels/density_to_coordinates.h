// Centres of densities on voxels.
#pragma once

#include <cstdint>

#include "core/voxel_grid.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct MomentsArguments {
  VoxelGrid<T> grid;
  bool logits;
  Cubes<const T> density;
  T* coordinates;  // out (particles, 3)
  T* total;        // out (particles)
};

template <typename T>
struct MomentsBackwardArguments {
  VoxelGrid<T> grid;
  bool logits;
  const T* grad;  // (particles, 3)
  Cubes<const T> density;
  const T* coordinates;   // (particles, 3)
  const T* total;         // (particles)
  Cubes<T> grad_density;  // out
};

BACKMAP_LAUNCHERS(density_to_coordinates, MomentsArguments);
BACKMAP_LAUNCHERS(density_to_coordinates_backward, MomentsBackwardArguments);

}  // namespace backmap
