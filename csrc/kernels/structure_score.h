// Structure score.
#pragma once

#include <cstdint>

#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct ScoreArguments {
  int64_t batch, residues, slots, bonds;
  T bond_tolerance, clash_distance;
  const T* atoms;       // (residues, slots, 3)
  const bool* present;  // (residues, slots)
  int64_t present_stride;
  const bool* side_chain;    // (residues, slots), shared by all frames
  const int64_t* following;  // (residues), shared by all frames
  const int64_t* bond;       // (bonds, 2) flat atom indices, shared by all frames
  const T* reference;        // (bonds)
  int64_t reference_stride;
  const T* box;  // (3, 3), null for none
  int64_t box_stride;
  T* deviation;     // out (bonds)
  bool* clash;      // out (residues)
  int64_t* counts;  // out (3): bonds within tolerance, bonds present, clashing residues
  void* workspace;  // CUDA only, score_workspace bytes
};

template <typename T>
struct ScoreBackwardArguments {
  int64_t batch, residues, slots, bonds;
  const T* grad_deviation;  // (bonds)
  const T* atoms;
  const bool* present;
  int64_t present_stride;
  const int64_t* bond;
  const T* reference;
  int64_t reference_stride;
  const T* box;  // (3, 3), null for none
  int64_t box_stride;
  T* grad_atoms;    // out (residues, slots, 3)
  void* workspace;  // CUDA only, score_backward_workspace bytes
};

BACKMAP_LAUNCHERS(structure_score, ScoreArguments);
BACKMAP_LAUNCHERS(structure_score_backward, ScoreBackwardArguments);
BACKMAP_CUDA_WORKSPACE(score_workspace, int64_t /*batch*/, int64_t /*atoms*/);
BACKMAP_CUDA_WORKSPACE(score_backward_workspace, int64_t /*atoms*/, int64_t /*bonds*/);

}  // namespace backmap
