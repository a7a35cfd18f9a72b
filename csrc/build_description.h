// How the library was built.
#pragma once

namespace backmap {

struct BuildDescription {
  const char* version;
  const char* compiler;
  const char* torch;
  const char* cuda;  // version of the CUDA compiler, empty if the kernels were left out
  const char* cuda_architectures;
};

BuildDescription build_description();

}  // namespace backmap
