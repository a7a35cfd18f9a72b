// Side-chain packing.
#pragma once

#include <cstdint>

#include "core/contact_energy.h"
#include "kernels/launchers.h"

namespace backmap {

template <typename T>
struct PackArguments {
  int64_t batch, residues, candidates, side_slots, backbone_slots, sweeps;
  T strength;
  const T* candidate;             // (residues, candidates, side_slots, 3)
  const bool* candidate_present;  // (residues, side_slots), shared by all frames
  const T* backbone;              // (residues, backbone_slots, 3)
  const bool* backbone_present;   // (residues, backbone_slots)
  int64_t backbone_present_stride;
  const T* side_radius;      // (residues, side_slots), shared by all frames
  const T* backbone_radius;  // (residues, backbone_slots), shared by all frames
  const int64_t* following;  // (residues), shared by all frames
  const T* uniform;          // (sweeps, residues)
  const T* own_energy;       // (residues, candidates), null for none
  ContactTable<T> contacts;
  const int64_t* side_class;      // (residues, side_slots), shared by all frames, null without contacts
  const int64_t* backbone_class;  // (residues, backbone_slots), shared by all frames, null without contacts
  const T* box;                   // (3, 3), null for none
  int64_t box_stride;
  int64_t* choice;  // out (residues)
  T* energy;        // out (residues)
  void* workspace;  // CUDA only, pack_workspace bytes
};

BACKMAP_LAUNCHERS(pack_side_chains, PackArguments);
BACKMAP_CUDA_WORKSPACE(pack_workspace, int64_t /*batch*/, int64_t /*residues*/, int64_t /*candidates*/);

}  // namespace backmap
