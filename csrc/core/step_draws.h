// How many uniform numbers a step of an angle takes; also known to callers that see no formulas.
#pragma once

#include <cstdint>

namespace backmap {

constexpr int64_t step_draws = 5;  // for a step in time

}  // namespace backmap
