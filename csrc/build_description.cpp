#include "build_description.h"

namespace backmap {

BuildDescription build_description() {
  return {BACKMAP_VERSION, BACKMAP_COMPILER, BACKMAP_TORCH_VERSION, BACKMAP_CUDA_VERSION, BACKMAP_CUDA_ARCHITECTURES};
}

}  // namespace backmap
