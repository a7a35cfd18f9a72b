// Densities of particles on voxels.
#pragma once

#include <cstdint>

#include "core/gaussian_density.h"
#include "core/voxel_grid.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct VoxelizeArguments {
  VoxelGrid<T> grid;
  Gaussian<T> gaussian;
  const T* coordinates;  // (particles, 3)
  Cubes<T> density;      // out
};

template <typename T>
struct VoxelizeBackwardArguments {
  VoxelGrid<T> grid;
  Gaussian<T> gaussian;
  Cubes<const T> grad;
  const T* coordinates;  // (particles, 3)
  T* grad_coordinates;   // out (particles, 3)
};

BACKMAP_LAUNCHERS(voxelize, VoxelizeArguments);
BACKMAP_LAUNCHERS(voxelize_backward, VoxelizeBackwardArguments);

}  // namespace backmap
