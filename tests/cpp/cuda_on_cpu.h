// A small emulation of CUDA on one CPU thread, to run kernels in tests where there is no GPU.
//
// The threads of a block are fibers, which switch only at barriers and warp operations; blocks run one after the
// other. Results are therefore deterministic, and races do not show: this checks indexing, reductions and matching
// barriers; only a GPU (with compute-sanitizer) checks the rest. Masks of warp operations are ignored: whole warps
// take part.
#pragma once

#include <ucontext.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <vector>

#define __host__
#define __device__
#define __global__
#define __forceinline__ inline
#define __shared__ static

#define BACKMAP_LAUNCH(kernel, blocks, threads, stream, ...) \
  (static_cast<void>(stream), cuda_on_cpu::launch(int64_t(blocks), int(threads), [=] { kernel(__VA_ARGS__); }))

enum cudaError_t { cudaSuccess };
inline cudaError_t cudaGetLastError() { return cudaSuccess; }
inline const char* cudaGetErrorString(cudaError_t) { return ""; }

struct dim3 {
  unsigned x = 1, y = 1, z = 1;
};
inline dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace cuda_on_cpu {

// A point at which the threads of a warp or a block wait for each other.
struct Barrier {
  int waiting = 0;
  int64_t generation = 0;
};

struct Fiber {
  ucontext_t context;
  std::unique_ptr<char[]> stack;
  bool finished = false;
};

struct Block {
  ucontext_t scheduler;
  std::vector<Fiber> fibers;
  std::function<void()> body;
  Barrier all;
  std::vector<Barrier> warps;
  std::vector<uint64_t> exchanged;  // one word per thread, for warp operations
  int64_t progress = 0;             // barriers completed and threads finished
};
inline Block block;

constexpr int warp_size = 32;
constexpr size_t stack_bytes = 128 * 1024;

inline void yield() {
  const unsigned me = threadIdx.x;
  swapcontext(&block.fibers[me].context, &block.scheduler);
}

inline void wait(Barrier& barrier, int participants) {
  const int64_t generation = barrier.generation;
  if (++barrier.waiting == participants) {
    barrier.waiting = 0;
    ++barrier.generation;
    ++block.progress;
    return;
  }
  while (barrier.generation == generation) yield();
}

inline void wait_for_warp() { wait(block.warps[threadIdx.x / warp_size], warp_size); }

inline void run_fiber() {
  block.body();
  block.fibers[threadIdx.x].finished = true;
  ++block.progress;
  yield();
}

// Runs one block to its end; stops the program if its threads deadlock.
inline void run_block(int threads) {
  block.all = {};
  block.warps.assign((threads + warp_size - 1) / warp_size, {});
  block.exchanged.assign(threads, 0);
  for (Fiber& fiber : block.fibers) {
    fiber.finished = false;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = stack_bytes;
    fiber.context.uc_link = &block.scheduler;
    makecontext(&fiber.context, run_fiber, 0);
  }
  for (bool running = true; running;) {
    running = false;
    const int64_t before = block.progress;
    for (int t = 0; t < threads; ++t) {
      if (block.fibers[t].finished) continue;
      threadIdx.x = unsigned(t);
      swapcontext(&block.scheduler, &block.fibers[t].context);
      running = running || !block.fibers[t].finished;
    }
    if (running && block.progress == before) {
      std::fprintf(stderr, "cuda_on_cpu: divergent barrier\n");
      std::abort();
    }
  }
}

inline void launch(int64_t blocks, int threads, std::function<void()> body) {
  block.body = std::move(body);
  block.fibers.resize(threads);
  for (Fiber& fiber : block.fibers)
    if (!fiber.stack) fiber.stack = std::make_unique<char[]>(stack_bytes);
  blockDim.x = unsigned(threads);
  gridDim.x = unsigned(blocks);
  for (int64_t b = 0; b < blocks; ++b) {
    blockIdx.x = unsigned(b);
    run_block(threads);
  }
}

template <typename T>
uint64_t to_word(T value) {
  static_assert(sizeof(T) <= sizeof(uint64_t));
  uint64_t word = 0;
  __builtin_memcpy(&word, &value, sizeof(T));
  return word;
}

template <typename T>
T from_word(uint64_t word) {
  T value;
  __builtin_memcpy(&value, &word, sizeof(T));
  return value;
}

}  // namespace cuda_on_cpu

inline void __syncthreads() { cuda_on_cpu::wait(cuda_on_cpu::block.all, int(blockDim.x)); }

inline void __syncwarp() { cuda_on_cpu::wait_for_warp(); }

template <typename T>
T __shfl_xor_sync(unsigned, T value, int mask) {
  using namespace cuda_on_cpu;
  block.exchanged[threadIdx.x] = to_word(value);
  wait_for_warp();
  const T other = from_word<T>(block.exchanged[threadIdx.x ^ unsigned(mask)]);
  wait_for_warp();
  return other;
}

inline unsigned __ballot_sync(unsigned, bool vote) {
  using namespace cuda_on_cpu;
  block.exchanged[threadIdx.x] = vote;
  wait_for_warp();
  const unsigned first = threadIdx.x / warp_size * warp_size;
  unsigned votes = 0;
  for (unsigned lane = 0; lane < unsigned(warp_size); ++lane) votes |= unsigned(block.exchanged[first + lane]) << lane;
  wait_for_warp();
  return votes;
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }

template <typename T>
T atomicAdd(T* p, T value) {
  const T before = *p;
  *p += value;
  return before;
}

template <typename T>
T atomicMax(T* p, T value) {
  const T before = *p;
  if (value > before) *p = value;
  return before;
}

template <typename T>
T atomicExch(T* p, T value) {
  const T before = *p;
  *p = value;
  return before;
}
