// Removal of noise from the points of residues, in all steps of a diffusion.
#pragma once

#include <cstdint>

#include "core/noise_removal.h"
#include "kernels/launchers.h"
#include "kernels/panels.h"

namespace backmap {

// The weights and the tables of steps are shared by all residues; weights lie in panels (kernels/panels.h).
template <typename T>
struct RemoveNoiseArguments {
  int64_t batch, points, hidden, layers, atoms, steps, noise_rows;
  const T* given;            // (3 points)
  const bool* generated;     // (points)
  const bool* empty;         // (points)
  const T* normal;           // (noise_rows, 3 points): the start, then what each step except the last one adds, if any
  const T* features;         // (hidden)
  const T* modulation;       // (layers, 2 hidden): scale, shift
  const T* pair;             // (4, pairs): mean and variance of the distance, gain, whether both points exist
  const T* atom;             // (3, atoms)
  const T* level;            // (steps, 6)
  const T* move;             // (steps, 3)
  const T* step_features;    // (steps, hidden)
  const T* step_modulation;  // (steps, layers, 2 hidden)
  const T* entry;            // panels of (hidden, 7 points + pairs)
  const T* layer;            // (layers, 2), panels of (hidden, hidden)
  const T* layer_bias;       // (layers, 2, hidden)
  const T* leave;            // panels of (3 points + pairs, hidden)
  const T* leave_bias;       // (3 points + pairs)
  T clip, furthest;
  T* point;      // out (3 points)
  T* workspace;  // CUDA only
};

// Random numbers that a step adds to the points of a residue; null if there are none.
template <typename T>
BACKMAP_HD const T* fresh_normals(const RemoveNoiseArguments<T>& args, int64_t row, int64_t step) {
  if (step + 1 >= args.noise_rows) return nullptr;
  return args.normal + (row * args.noise_rows + step + 1) * 3 * args.points;
}

BACKMAP_LAUNCHERS(remove_noise, RemoveNoiseArguments);
BACKMAP_CUDA_WORKSPACE(remove_noise_workspace, int64_t /*batch*/, int64_t /*points*/, int64_t /*hidden*/);

}  // namespace backmap
