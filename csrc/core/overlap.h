// The overlap rule: where several local points are placed on one atom, the last of them counts.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap {

// Stands for no local point: the atom keeps its place.
constexpr int64_t nothing_placed = -1;

// Local point i of a frame (slot i % slots of query i / slots) claims an atom unless its target is none of them.
BACKMAP_HD bool claims_an_atom(int64_t target, int64_t atoms) { return 0 <= target && target < atoms; }

}  // namespace backmap
