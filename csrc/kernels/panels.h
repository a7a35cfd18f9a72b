// Weights in panels: features that are computed together lie together.
#pragma once

#include <cstdint>

#include "core/host_device.h"
#include "core/round_up.h"

namespace backmap {

// Features of a panel. The weights (width, inputs) of a layer in panels are (panels, inputs, panel_width), and zero
// beyond the last feature.
constexpr int64_t panel_width = 16;

// Where the weight of a feature for the first input lies; those for the next inputs are panel_width apart.
BACKMAP_HD constexpr int64_t panel_offset(int64_t feature, int64_t inputs) {
  return feature / panel_width * panel_width * inputs + feature % panel_width;
}

// Numbers of a layer in panels.
BACKMAP_HD constexpr int64_t panel_numbers(int64_t width, int64_t inputs) {
  return round_up(width, panel_width) * inputs;
}

}  // namespace backmap
