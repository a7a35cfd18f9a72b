// Side-chain atoms on ideal bonds, from torsions. Sites and candidates are independent.
#pragma once

#include <cstdint>

#include "kernels/launchers.h"

namespace backmap {

constexpr int64_t backbone_atoms = 4;  // N, CA, C, O; parents are numbered from N on, CB is the next

template <typename T>
struct PlaceSideChainsArguments {
  int64_t batch, candidates, torsions, kinds, atoms;
  const T* backbone;          // (4, 3)
  const T* beta;              // (3)
  const int64_t* type;        // ()
  const T* torsion;           // (candidates, torsions)
  const int64_t* rule;        // (kinds, atoms), shared by all sites like the other tables
  const int64_t* parent;      // (kinds, atoms, 3), less than 4 + the atom's own number
  const int64_t* torsion_of;  // (kinds, atoms); `torsions` where the offset is the torsion
  const T* geometry;          // (kinds, atoms, 3): bond length, angle, offset of the torsion
  const T* ring;              // (7)
  const T* known;             // (atoms, 3), or null
  const bool* known_present;  // (atoms)
  T* placed;                  // out (candidates, atoms, 3)
};

BACKMAP_LAUNCHERS(place_side_chains, PlaceSideChainsArguments);

}  // namespace backmap
