// Basins of distributions on a circle, and steps of angles in time. The rows are independent.
#pragma once

#include <cstdint>

#include "core/step_draws.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct FindBasinsArguments {
  int64_t rows, bins, passes;
  const T* probability;  // (rows, bins)
  char* workspace;       // CUDA only, of basins_workspace() bytes
  int64_t* basin;        // out (rows, bins)
};

template <typename T>
struct StepAngleArguments {
  int64_t rows, bins, passes;
  const T* probability;  // (rows, bins)
  const T* before;       // (rows)
  const T* rate;         // (rows)
  const T* window;       // (rows)
  const T* uniform;      // (rows, 5)
  char* workspace;       // CUDA only
  T* angle;              // out (rows)
  bool* left;            // out (rows)
};

BACKMAP_LAUNCHERS(find_basins, FindBasinsArguments);
BACKMAP_LAUNCHERS(step_angle, StepAngleArguments);
BACKMAP_CUDA_WORKSPACE(basins_workspace, int64_t /*rows*/, int64_t /*bins*/);

}  // namespace backmap
