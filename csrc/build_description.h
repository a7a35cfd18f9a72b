// How the library was built.
#pragma once

namespace backmap {

struct BuildDescription {
  const char* version;
  const char* compiler;
  const char* torch;
  const char* cuda;  // version of the CUDA compiler, empty without CUDA kernels
  const char* cuda_architectures;
};

BuildDescription build_description();

}  // namespace backmap
