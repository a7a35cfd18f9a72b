// The seam between tensors and kernels: raw pointers and sizes, the same for the CPU and for CUDA.
//
// All arrays are contiguous, row-major. `batch` counts frames, over which every array repeats unless it says
// otherwise. A stride (`*_stride`) is the number of elements from one frame to the next of an array that may
// be shared by all frames: then it is 0.
#pragma once

#include <cstdint>
#include <stdexcept>

// Launchers of csrc/cuda are only declared, or, where it was left out of the library, refuse to launch.
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

// Declares `cpu::name(args)` and `cuda::name(args, stream)`. The stream is a cudaStream_t; the launcher on CUDA
// throws std::runtime_error when CUDA reports an error, or when it was left out of the library.
#define BACKMAP_LAUNCHERS(name, Arguments)                                    \
  namespace cpu {                                                             \
  template <typename T>                                                       \
  void name(const Arguments<T>& args);                                        \
  }                                                                           \
  namespace cuda {                                                            \
  template <typename T>                                                       \
  void name(const Arguments<T>& /*args*/, void* /*stream*/) BACKMAP_CUDA_BODY \
  }

// Declares `cuda::name<T>(sizes)`: bytes of memory that a launcher on CUDA works in.
#define BACKMAP_CUDA_WORKSPACE(name, ...)     \
  namespace cuda {                            \
  template <typename T>                       \
  int64_t name(__VA_ARGS__) BACKMAP_CUDA_BODY \
  }
