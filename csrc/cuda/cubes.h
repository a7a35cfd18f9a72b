// Assignment of voxels to threads: one warp per cube of a usual size, one block per cube of any other size. Each thread
// takes neighbouring voxels of one row; 16 bytes of them if all rows are aligned.
#pragma once

#include "core/voxel_grid.h"
#include "cuda/launch.h"

namespace backmap::cuda {

constexpr int most_points = 512;

// Neighbouring voxels, loaded and stored together.
template <typename T, int count>
struct alignas(sizeof(T) * count) Pack {
  T values[count];
};

template <int count, typename T>
__device__ Pack<T, count> load_pack(const T* p) {
  return *reinterpret_cast<const Pack<T, count>*>(p);
}

template <typename T, int count>
__device__ void store_pack(T* p, const Pack<T, count>& pack) {
  *reinterpret_cast<Pack<T, count>*>(p) = pack;
}

// Points along an axis (0: known only at run time) and voxels per pack.
template <int fixed_points, int pack_size>
struct Visit {
  static constexpr int pack = pack_size;
  static constexpr int threads = 256;
  static constexpr int team = fixed_points != 0 ? warp_size : threads;  // threads that share a cube
  static constexpr int teams = threads / team;                          // per block
  static constexpr int points_at_most = fixed_points != 0 ? fixed_points : most_points;

  template <typename T>
  static __device__ VoxelGrid<T> with_points(VoxelGrid<T> grid) {
    if constexpr (fixed_points != 0) grid.points = fixed_points;
    return grid;
  }

  static __device__ int team_of_block() { return int(threadIdx.x) / team; }
  static __device__ int thread_of_team() { return int(threadIdx.x) % team; }
  static __device__ int64_t cube() { return int64_t(blockIdx.x) * teams + team_of_block(); }

  // Sum over the team in a fixed order; all threads receive it.
  template <typename T>
  static __device__ T sum(T value) {
    if constexpr (team == warp_size) return warp_sum(value);
    else return block_sum(value);
  }
};

// Whether every row of every cube is aligned to 16 bytes and consists of whole packs of 16 bytes.
template <typename T>
bool in_packs(const Cubes<T>& cubes, int32_t points) {
  constexpr int64_t pack = 16 / sizeof(T);
  return points % pack == 0 && cubes.particle_stride % pack == 0 && cubes.frame_stride % pack == 0 &&
         reinterpret_cast<uintptr_t>(cubes.data) % 16 == 0;
}

// Calls launch(Visit) with the assignment that fits the grid.
template <typename T, typename Launch>
void choose_visit(int32_t points, bool packs, const Launch& launch) {
  constexpr int pack = 16 / sizeof(T);
  if (!packs) launch(Visit<0, 1>{});
  else if (points == 8) launch(Visit<8, pack>{});
  else if (points == 12) launch(Visit<12, pack>{});
  else if (points == 16) launch(Visit<16, pack>{});
  else launch(Visit<0, pack>{});
}

}  // namespace backmap::cuda
