// The overlap rule: if several local points are placed on one atom, the last one counts.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap {

// No local point: the atom stays where it is.
constexpr int64_t nothing_placed = -1;

// Local point i of a frame (slot i % slots of query i / slots) claims an atom if its target is one of the atoms.
BACKMAP_HD bool claims_an_atom(int64_t target, int64_t atoms) { return 0 <= target && target < atoms; }

}  // namespace backmap
