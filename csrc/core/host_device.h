// Lets one definition of a formula compile for the host and for the device.
#pragma once

#if defined(__CUDACC__)
#define BACKMAP_HD __host__ __device__ __forceinline__
#else
// Forced, so that the formula takes on the instruction set of the kernel it is used in.
#define BACKMAP_HD inline __attribute__((always_inline))
#endif
