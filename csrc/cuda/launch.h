// Kernel launches, and functions that kernels share: warps, sums over blocks.
//
// The kernels use few features: one-dimensional grids, static shared memory, whole warps. They therefore also compile
// as plain C++ under a small emulation, which is how they are tested without a GPU.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/vec3.h"

#if defined(BACKMAP_CUDA_ON_CPU)
#include "cuda_on_cpu.h"
#else
#include <cuda_runtime.h>
#define BACKMAP_LAUNCH(kernel, blocks, threads, stream, ...) \
  kernel<<<unsigned(blocks), unsigned(threads), 0, static_cast<cudaStream_t>(stream)>>>(__VA_ARGS__)
#endif

namespace backmap::cuda {

constexpr int warp_size = 32;
constexpr unsigned whole_warp = 0xffffffffu;

inline int64_t blocks_for(int64_t items, int64_t threads) { return (items + threads - 1) / threads; }

// Throws if CUDA reports an error of the last launch; the message names the operator.
inline void check_launch(const char* op) {
  const cudaError_t error = cudaGetLastError();
  if (error != cudaSuccess) throw std::runtime_error(std::string(op) + ": CUDA error: " + cudaGetErrorString(error));
}

// Index of this thread in the grid.
__device__ inline int64_t thread_of_grid() { return int64_t(blockIdx.x) * blockDim.x + threadIdx.x; }

// Sum over the lanes of a warp in a fixed order; all lanes receive it.
template <typename T>
__device__ T warp_sum(T value) {
  for (int step = warp_size / 2; step > 0; step /= 2) value += __shfl_xor_sync(whole_warp, value, step);
  return value;
}

// Largest value of a warp; all lanes receive it.
template <typename T>
__device__ T warp_max(T value) {
  for (int step = warp_size / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(whole_warp, value, step);
    value = other > value ? other : value;
  }
  return value;
}

// Sum over a block of whole warps in a fixed order; all threads receive it.
template <typename T>
__device__ T block_sum(T value) {
  __shared__ T of_warp[warp_size];
  const int warp = threadIdx.x / warp_size;
  value = warp_sum(value);
  __syncthreads();  // the array may still be read from the call before
  if (threadIdx.x % warp_size == 0) of_warp[warp] = value;
  __syncthreads();
  T sum = T(0);
  for (int w = 0; w < int(blockDim.x) / warp_size; ++w) sum += of_warp[w];
  return sum;
}

// Largest value of a block of whole warps; all threads receive it.
template <typename T>
__device__ T block_max(T value) {
  __shared__ T of_warp[warp_size];
  value = warp_max(value);
  __syncthreads();  // the array may still be read from the call before
  if (threadIdx.x % warp_size == 0) of_warp[threadIdx.x / warp_size] = value;
  __syncthreads();
  for (int w = 0; w < int(blockDim.x) / warp_size; ++w) value = of_warp[w] > value ? of_warp[w] : value;
  return value;
}

// Lists the items that threads of a block of whole warps chose, in the order of the threads; returns their number.
__device__ inline int list_chosen(bool chosen, int64_t item, int32_t* list) {
  __shared__ int of_warp[warp_size];
  const int warp = threadIdx.x / warp_size, lane = threadIdx.x % warp_size;
  const unsigned votes = __ballot_sync(whole_warp, chosen);
  if (lane == 0) of_warp[warp] = __popc(votes);
  __syncthreads();
  int before = 0, total = 0;
  for (int w = 0; w < int(blockDim.x) / warp_size; ++w) {
    if (w < warp) before += of_warp[w];
    total += of_warp[w];
  }
  if (chosen) list[before + __popc(votes & ((1u << lane) - 1u))] = int32_t(item);
  __syncthreads();
  return total;
}

// Adds to a sum of many threads. The order, and with it the last bits, varies from run to run.
template <typename T>
__device__ void add_atomically(T* p, const Vec3<T>& v) {
  atomicAdd(p, v.x);
  atomicAdd(p + 1, v.y);
  atomicAdd(p + 2, v.z);
}

}  // namespace backmap::cuda
