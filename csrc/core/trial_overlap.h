// Which atoms count for the overlap of trial points: those of residues that are not neighbours of the trial's own.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap {

// Whether the atoms of a residue count for the trials of another: not for its own trials, nor for those of the residues
// before and after it.
BACKMAP_HD bool counts_for_trials(int64_t residue, int64_t of_trials) {
  return residue < of_trials - 1 || residue > of_trials + 1;
}

// Index of the smallest score, the first one on ties; NaN is never the smallest.
template <typename T>
BACKMAP_HD int64_t first_smallest(const T* scores, int64_t count) {
  int64_t smallest = 0;
  for (int64_t t = 1; t < count; ++t)
    if (scores[t] < scores[smallest] || scores[smallest] != scores[smallest]) smallest = t;
  return smallest;
}

}  // namespace backmap
