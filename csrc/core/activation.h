// The activation of the networks, without branches, so that loops over it vectorise.
#pragma once

#include "core/exponential.h"

namespace backmap {

// x times the logistic function of x.
template <typename T>
BACKMAP_HD T silu(T x) {
  const T decayed = decaying_exponential(x > T(0) ? -x : x);
  return x * ((x > T(0) ? T(1) : decayed) / (T(1) + decayed));
}

}  // namespace backmap
