// Sizes padded to whole vectors, panels or chunks.
#pragma once

#include <cstdint>

#include "core/host_device.h"

namespace backmap {

BACKMAP_HD constexpr int64_t round_up(int64_t size, int64_t multiple) {
  return (size + multiple - 1) / multiple * multiple;
}

}  // namespace backmap
