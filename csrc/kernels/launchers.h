// The seam between tensors and kernels: raw pointers and sizes, the same for the CPU and for CUDA.
//
// All arrays are contiguous and row-major. `batch` is the number of frames; shapes in the headers are those of one
// frame, and every array has one block per frame unless its comment says otherwise. A stride (`*_stride`) is the number
// of elements from one frame to the next in an array that all frames may share; it is 0 if they do.
#pragma once

#include <cstdint>
#include <stdexcept>

// Launchers of csrc/cuda are only declared here. If csrc/cuda is not part of the library, they refuse to launch.
#if defined(BACKMAP_WITHOUT_CUDA)

namespace backmap::cuda {

[[noreturn]] inline void refuse() {
  throw std::runtime_error(
      "backmap was built without CUDA: move the tensors to the CPU, or install the CUDA toolkit (nvcc) and build "
      "again");
}

}  // namespace backmap::cuda

#define BACKMAP_CUDA_BODY \
  {                       \
    refuse();             \
  }

#else

#define BACKMAP_CUDA_BODY ;

#endif

// Declares `cpu::name(args)` and `cuda::name(args, stream)`. The stream is a cudaStream_t. The CUDA launcher throws
// std::runtime_error if CUDA reports an error or if it is not part of the library.
#define BACKMAP_LAUNCHERS(name, Arguments)                                    \
  namespace cpu {                                                             \
  template <typename T>                                                       \
  void name(const Arguments<T>& args);                                        \
  }                                                                           \
  namespace cuda {                                                            \
  template <typename T>                                                       \
  void name(const Arguments<T>& /*args*/, void* /*stream*/) BACKMAP_CUDA_BODY \
  }

// Declares `cuda::name<T>(sizes)`: the bytes of working memory of a CUDA launcher.
#define BACKMAP_CUDA_WORKSPACE(name, ...)     \
  namespace cuda {                            \
  template <typename T>                       \
  int64_t name(__VA_ARGS__) BACKMAP_CUDA_BODY \
  }
