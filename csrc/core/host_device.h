// Compiles one definition of a formula for both host and device.
#pragma once

#if defined(__CUDACC__)
#define BACKMAP_HD __host__ __device__ __forceinline__
#else
// Forced, so that the formula is compiled for the instruction set of the kernel that calls it.
#define BACKMAP_HD inline __attribute__((always_inline))
#endif
