// How many uniform numbers the draws of angles take; also known to callers that see no formulas.
#pragma once

#include <cstdint>

namespace backmap {

constexpr int64_t step_draws = 5;  // for a step in time
constexpr int64_t bin_draws = 2;   // for a bin and a place in it

}  // namespace backmap
