// The residues of all frames in groups near each other in space, to find those nearest to a point.
//
// The order of residues is that of the cells their centres lie in, of a box halved into as many cells. Each 32 in this
// order are a block, each 32 blocks a region, and both have bounds that contain their atoms. Within a cell the order
// varies from run to run; what a search finds does not depend on it.
#pragma once

#include <cstdint>

#include "core/bounds.h"
#include "core/halving.h"
#include "core/nearest.h"
#include "cuda/launch.h"
#include "cuda/linked_lists.h"
#include "kernels/canonical_alignment.h"

namespace backmap::cuda {

constexpr int64_t block_residues = warp_size, region_residues = warp_size * block_residues;

template <typename T>
struct ResidueBlocks {
  int64_t batch, residues, cells, blocks, regions;  // of one frame, most that there may be
  HalvedBox<T>* space;                              // (batch)
  Vec3<T>* centre;                                  // (batch, residues), of atoms that count, moved into the box
  int32_t* cell;                                    // (batch, residues), -1 without such an atom that is finite
  int32_t* place;                                   // (batch, residues), within the cell
  int32_t* start;                                   // (batch, cells): the first place of each cell
  int32_t* members;                                 // (batch): residues with atoms that count
  int32_t* order;                                   // (batch, residues)
  Bounds<T>* of_block;                              // (batch, blocks)
  Bounds<T>* of_region;                             // (batch, regions)
};

template <typename T>
ResidueBlocks<T> take_residue_blocks(Workspace& workspace, int64_t batch, int64_t residues) {
  ResidueBlocks<T> b{};
  b.batch = batch;
  b.residues = residues;
  b.cells = int64_t(1) << halvings_for(residues);
  b.blocks = blocks_for(residues, block_residues);
  b.regions = blocks_for(residues, region_residues);
  b.space = workspace.take<HalvedBox<T>>(batch);
  b.centre = workspace.take<Vec3<T>>(batch * residues);
  b.cell = workspace.take<int32_t>(batch * residues);
  b.place = workspace.take<int32_t>(batch * residues);
  b.start = workspace.take<int32_t>(batch * b.cells);
  b.members = workspace.take<int32_t>(batch);
  b.order = workspace.take<int32_t>(batch * residues);
  b.of_block = workspace.take<Bounds<T>>(batch * b.blocks);
  b.of_region = workspace.take<Bounds<T>>(batch * b.regions);
  return b;
}

// The atoms of one frame, and which of them count.
template <typename T>
struct CountedAtoms {
  const T* atoms;
  const bool* present;
  const bool* selectable;
  int64_t slots;

  __device__ bool counts(int64_t i) const { return present[i] && selectable[i]; }

  // Calls visit(position) for the atoms of a residue that count.
  template <typename Visit>
  __device__ void for_atoms(int64_t residue, const Visit& visit) const {
    for (int64_t i = residue * slots; i < (residue + 1) * slots; ++i)
      if (counts(i)) visit(load(atoms + 3 * i));
  }
};

template <typename T>
__device__ CountedAtoms<T> atoms_of_frame(const AlignmentArguments<T>& args, int64_t b) {
  return {args.atoms + 3 * args.residues * args.slots * b, args.present + args.present_stride * b,
          args.selectable + args.selectable_stride * b, args.slots};
}

// One thread per residue.
template <typename T>
__global__ void find_centres(AlignmentArguments<T> args, ResidueBlocks<T> blocks) {
  const int64_t item = thread_of_grid();
  if (item >= args.batch * args.residues) return;
  const int64_t b = item / args.residues;
  Vec3<T> sum{T(0), T(0), T(0)};
  int32_t count = 0;
  atoms_of_frame(args, b).for_atoms(item % args.residues, [&](const Vec3<T>& p) {
    if (!is_finite(p)) return;
    sum += p;
    ++count;
  });
  blocks.cell[item] = count > 0 ? 0 : -1;
  if (count > 0)
    blocks.centre[item] = moved_into_box(T(1) / T(count) * sum, box_of_frame(args.box, args.box_stride, b));
}

// One block of threads per frame: the space that contains all centres, and empty cells.
template <typename T>
__global__ void prepare_cells(AlignmentArguments<T> args, ResidueBlocks<T> blocks) {
  const int64_t b = blockIdx.x;
  for (int64_t c = threadIdx.x; c < blocks.cells; c += blockDim.x) blocks.start[b * blocks.cells + c] = 0;
  HalvedBox<T> space{box_of_frame(args.box, args.box_stride, b), {}, {}, halvings_for(args.residues)};
  if (space.box.exists) {
    const Vec3<double> size = face_distances(space.box);
    space.size = {T(size.x), T(size.y), T(size.z)};
  } else {
    Extent<T> extent;
    for (int64_t item = b * args.residues + threadIdx.x; item < (b + 1) * args.residues; item += blockDim.x)
      if (blocks.cell[item] >= 0) extent.include(blocks.centre[item]);
    space.low = {-block_max(-extent.low.x), -block_max(-extent.low.y), -block_max(-extent.low.z)};
    const Vec3<T> high{block_max(extent.high.x), block_max(extent.high.y), block_max(extent.high.z)};
    space.size = high - space.low;
  }
  if (threadIdx.x == 0) blocks.space[b] = space;
}

// One thread per residue, which takes the next place in its cell.
template <typename T>
__global__ void fill_cells(ResidueBlocks<T> blocks) {
  const int64_t item = thread_of_grid();
  if (item >= blocks.batch * blocks.residues || blocks.cell[item] < 0) return;
  const int64_t b = item / blocks.residues;
  const int32_t cell = int32_t(cell_of(blocks.centre[item], blocks.space[b]));
  blocks.cell[item] = cell;
  blocks.place[item] = atomicAdd(blocks.start + b * blocks.cells + cell, 1);
}

constexpr int counting_threads = 256, cells_per_thread = 16;

// One block of threads per frame: from the number of residues in each cell to the first place of each.
template <typename T>
__global__ void find_starts(ResidueBlocks<T> blocks) {
  __shared__ int32_t of_thread[counting_threads], of_warp[counting_threads / warp_size];
  const int64_t b = blockIdx.x;
  const int warp = threadIdx.x / warp_size;
  int32_t* const start = blocks.start + b * blocks.cells;
  int32_t before = 0;
  for (int64_t first = 0; first < blocks.cells; first += counting_threads * cells_per_thread) {
    const int64_t own = first + threadIdx.x * cells_per_thread;
    int32_t sum = 0;
    for (int64_t c = own; c < own + cells_per_thread && c < blocks.cells; ++c) sum += start[c];
    of_thread[threadIdx.x] = sum;
    const int32_t sum_of_warp = warp_sum(sum);
    if (threadIdx.x % warp_size == 0) of_warp[warp] = sum_of_warp;
    __syncthreads();
    int32_t next = before;
    for (int w = 0; w < counting_threads / warp_size; ++w) {
      if (w < warp) next += of_warp[w];
      before += of_warp[w];
    }
    for (int t = warp * warp_size; t < int(threadIdx.x); ++t) next += of_thread[t];
    for (int64_t c = own; c < own + cells_per_thread && c < blocks.cells; ++c) {
      const int32_t count = start[c];
      start[c] = next;
      next += count;
    }
    __syncthreads();  // both arrays are read before they are written again
  }
  if (threadIdx.x == 0) blocks.members[b] = before;
}

// One thread per residue.
template <typename T>
__global__ void sort_residues(ResidueBlocks<T> blocks) {
  const int64_t item = thread_of_grid();
  if (item >= blocks.batch * blocks.residues || blocks.cell[item] < 0) return;
  const int64_t b = item / blocks.residues, r = item % blocks.residues;
  const int32_t first = blocks.start[b * blocks.cells + blocks.cell[item]];
  blocks.order[b * blocks.residues + first + blocks.place[item]] = int32_t(r);
}

// One warp per group of `size` residues in this order: bounds of their atoms.
template <typename T>
__global__ void find_bounds(AlignmentArguments<T> args, ResidueBlocks<T> blocks, int64_t size, int64_t groups,
                            Bounds<T>* bounds) {
  const int64_t item = thread_of_grid() / warp_size, b = item / groups, first = item % groups * size;
  if (b >= args.batch || first >= blocks.members[b]) return;
  const int lane = threadIdx.x % warp_size;
  const int64_t end = first + size < blocks.members[b] ? first + size : blocks.members[b];
  const int32_t* order = blocks.order + b * args.residues;
  const CountedAtoms<T> counted = atoms_of_frame(args, b);
  const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
  Bounds<T> found{};
  T reach = T(0), radius = T(0);
  if (box.exists) {
    Vec3<T> sum{T(0), T(0), T(0)};
    for (int64_t i = first + lane; i < end; i += warp_size) sum += blocks.centre[b * args.residues + order[i]];
    found.centre = T(1) / T(end - first) * Vec3<T>{warp_sum(sum.x), warp_sum(sum.y), warp_sum(sum.z)};
    reach = norm(box.a) + norm(box.b) + norm(box.c);
  }
  Extent<T> extent;
  for (int64_t i = first + lane; i < end; i += warp_size)
    counted.for_atoms(order[i], [&](const Vec3<T>& p) {
      if (!is_finite(p)) return;
      const Vec3<T> away = minimum_image(p - found.centre, box);
      const T length = norm(away), far = farthest_coordinate(p);
      extent.include(away);
      radius = length > radius ? length : radius;
      reach = far > reach ? far : reach;
    });
  found.extent.low = {-warp_max(-extent.low.x), -warp_max(-extent.low.y), -warp_max(-extent.low.z)};
  found.extent.high = {warp_max(extent.high.x), warp_max(extent.high.y), warp_max(extent.high.z)};
  found.radius = warp_max(radius);
  found.rounding = rounding_of_images(warp_max(reach));
  if (lane == 0) bounds[item] = found;
}

// The batch must not be empty, and frames must have residues.
template <typename T>
void build_residue_blocks(const AlignmentArguments<T>& args, const ResidueBlocks<T>& blocks, void* stream) {
  constexpr int threads = 128, warps = threads / warp_size;
  const int64_t per_residue = blocks_for(args.batch * args.residues, threads);
  BACKMAP_LAUNCH(find_centres<T>, per_residue, threads, stream, args, blocks);
  BACKMAP_LAUNCH(prepare_cells<T>, args.batch, counting_threads, stream, args, blocks);
  BACKMAP_LAUNCH(fill_cells<T>, per_residue, threads, stream, blocks);
  BACKMAP_LAUNCH(find_starts<T>, args.batch, counting_threads, stream, blocks);
  BACKMAP_LAUNCH(sort_residues<T>, per_residue, threads, stream, blocks);
  BACKMAP_LAUNCH(find_bounds<T>, blocks_for(args.batch * blocks.blocks, warps), threads, stream, args, blocks,
                 block_residues, blocks.blocks, blocks.of_block);
  BACKMAP_LAUNCH(find_bounds<T>, blocks_for(args.batch * blocks.regions, warps), threads, stream, args, blocks,
                 region_residues, blocks.regions, blocks.of_region);
}

// ---- Searching ---------------------------------------------------------------------------------

// Calls visit(lane) for the lanes whose bound is within `high`, which visits lower, in ascending order.
template <typename T, typename Visit>
__device__ void for_lanes_within(T bound, const T& high, const Visit& visit) {
  if (!reachable(bound)) bound = std::numeric_limits<T>::infinity();  // not NaN
  while (true) {
    const T least = -warp_max(-bound);
    if (!reachable(least) || !(least <= high)) return;
    const unsigned votes = __ballot_sync(whole_warp, bound == least);
    const int first = __popc((votes & (0u - votes)) - 1u);  // the lowest lane
    if (int(threadIdx.x % warp_size) == first) bound = std::numeric_limits<T>::infinity();
    visit(first);
  }
}

// Calls visit(residue) in all lanes of a warp, for 32 residues at a time (-1 for none), until all residues of frame b
// within the squared distance `high` of a point were visited. Visits lower `high`, so near regions and blocks come
// first.
template <typename T, typename Visit>
__device__ void for_residues_near(const ResidueBlocks<T>& blocks, int64_t b, const Vec3<T>& point, const T& high,
                                  const Visit& visit) {
  const int lane = threadIdx.x % warp_size;
  const int64_t members = blocks.members[b];
  if (members == 0) return;
  const HalvedBox<T>& space = blocks.space[b];
  const T rounding = rounding_of_images(farthest_coordinate(point)), nowhere = std::numeric_limits<T>::infinity();
  const auto visit_region = [&](int64_t region) {
    const int64_t block = region * warp_size + lane;
    const Bounds<T>* of_block = blocks.of_block + b * blocks.blocks;
    const T bound = block * block_residues < members
                        ? least_squared_distance(point, of_block[block], space.box, rounding)
                        : nowhere;
    for_lanes_within(bound, high, [&](int of_lane) {
      const int64_t i = (region * warp_size + of_lane) * block_residues + lane;
      visit(i < members ? blocks.order[b * blocks.residues + i] : -1);
    });
  };
  // First the region that the point lies in, which gives a good bound for the others.
  const int64_t place = blocks.start[b * blocks.cells + cell_of(point, space)];
  const int64_t own = (place < members ? place : members - 1) / region_residues;
  for (int64_t first = -warp_size; first * region_residues < members; first += warp_size) {
    const int64_t region = first + lane;
    T bound = lane == 0 ? T(0) : nowhere;
    if (first >= 0)
      bound = region * region_residues < members && region != own
                  ? least_squared_distance(point, blocks.of_region[b * blocks.regions + region], space.box, rounding)
                  : nowhere;
    for_lanes_within(bound, high, [&](int of_lane) { visit_region(first < 0 ? own : first + of_lane); });
  }
}

}  // namespace backmap::cuda
