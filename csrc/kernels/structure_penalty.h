// Structure penalty.
#pragma once

#include <cstdint>

#include "core/host_device.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct PenaltyInputs {
  int64_t batch, residues, slots, bonds, angles, exclusions;
  T bond_strength, angle_strength, repulsion_strength;  // kT / nm^2
  T radius_scale;
  const T* atoms;       // (residues, slots, 3)
  const bool* present;  // (residues, slots)
  int64_t present_stride;
  const int64_t* bond;   // (bonds, 2) flat atom indices, shared by all frames
  const T* bond_length;  // (bonds)
  int64_t bond_length_stride;
  const int64_t* angle;  // (angles, 2) flat indices of the outer atoms, shared by all frames
  const T* angle_span;   // (angles)
  int64_t angle_span_stride;
  const T* radius;                 // (residues, slots), shared by all frames
  const int64_t* exclusion_start;  // (residues * slots + 1), shared by all frames
  const int64_t* exclusion;        // (exclusions), shared by all frames
  const T* box;                    // (3, 3), null for none
  int64_t box_stride;
  void* workspace;  // CUDA only, penalty_workspace bytes
};

// Atoms in contact are searched for only if overlaps count.
template <typename T>
BACKMAP_HD bool searches_contacts(const PenaltyInputs<T>& inputs) {
  return inputs.repulsion_strength != T(0);
}

template <typename T>
struct PenaltyArguments {
  PenaltyInputs<T> inputs;
  T* energy;  // out (3): bonds, angles, repulsion, in kT
};

template <typename T>
struct PenaltyBackwardArguments {
  PenaltyInputs<T> inputs;
  const T* grad;  // (3)
  T* grad_atoms;  // out (residues, slots, 3)
};

BACKMAP_LAUNCHERS(structure_penalty, PenaltyArguments);
BACKMAP_LAUNCHERS(structure_penalty_backward, PenaltyBackwardArguments);
BACKMAP_CUDA_WORKSPACE(penalty_workspace, int64_t /*batch*/, int64_t /*atoms*/, int64_t /*bonds*/, int64_t /*angles*/);

}  // namespace backmap
