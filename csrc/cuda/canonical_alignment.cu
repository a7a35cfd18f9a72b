// Residues nearest to a point, in its local frame, and placement in global coordinates. One warp per point.
#include "core/local_frame.h"
#include "core/nearest.h"
#include "cuda/launch.h"
#include "cuda/linked_lists.h"
#include "cuda/residue_blocks.h"
#include "kernels/canonical_alignment.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128, warps = threads / warp_size;

// The point of this warp. Warps of the last block may have none.
__device__ int64_t warp_of_grid() { return int64_t(blockIdx.x) * warps + threadIdx.x / warp_size; }
__device__ int lane_of_warp() { return threadIdx.x % warp_size; }

// One query, and the atoms of its frame.
template <typename T>
struct Query {
  CountedAtoms<T> frame;
  Vec3<T> point;
  int64_t excluded;
  PeriodicBox<T> box;
};

template <typename T>
__device__ T squared_distance_to_residue(const Query<T>& query, int64_t residue) {
  T nearest = std::numeric_limits<T>::infinity();
  query.frame.for_atoms(residue, [&](const Vec3<T>& p) {
    const Vec3<T> offset = minimum_image(p - query.point, query.box);
    const T d = dot(offset, offset);
    nearest = d < nearest ? d : nearest;
  });
  return nearest;
}

// Candidates of a warp for the nearest residues, in shared memory.
template <typename T>
struct Candidates {
  static constexpr int room = 256;
  // Most residues chosen in one round; room for one residue per lane remains.
  static constexpr int most_chosen = room - warp_size;

  T squared[room];
  int32_t residue[room];

  __device__ Neighbour<T> at(int i) const { return {squared[i], residue[i]}; }
  __device__ void put(int i, const Neighbour<T>& n) {
    squared[i] = n.squared;
    residue[i] = n.residue;
  }
};

// Adds the residues of all lanes within a bound; returns the new number of candidates.
template <typename T>
__device__ int add_within(Candidates<T>& candidates, int count, const Neighbour<T>& n, T bound) {
  const bool chosen = reachable(n.squared) && n.squared <= bound;
  const unsigned votes = __ballot_sync(whole_warp, chosen);
  if (chosen) candidates.put(count + __popc(votes & ((1u << lane_of_warp()) - 1)), n);
  __syncwarp();
  return count + __popc(votes);
}

// Sorts the candidates and drops all but the first `kept`; returns how many remain.
template <typename T>
__device__ int keep_nearest(Candidates<T>& candidates, int count, int kept) {
  constexpr int share = Candidates<T>::room / warp_size;
  Neighbour<T> own[share];
  int rank[share];
#pragma unroll
  for (int s = 0; s < share; ++s) {
    const int i = s * warp_size + lane_of_warp();
    rank[s] = kept;
    if (i >= count) continue;
    own[s] = candidates.at(i);
    rank[s] = 0;
    for (int j = 0; j < count; ++j) rank[s] += nearer(candidates.at(j), own[s]);
  }
  __syncwarp();  // all lanes read before any lane writes
#pragma unroll
  for (int s = 0; s < share; ++s)
    if (rank[s] < kept) candidates.put(rank[s], own[s]);
  __syncwarp();
  return count < kept ? count : kept;
}

// ---- A scan of all residues --------------------------------------------------------------------

// The shared memory of a warp: candidates, and the distances of the first residues.
template <typename T>
struct Scan {
  static constexpr int known = 4096 / sizeof(T);

  Candidates<T> candidates;
  T squared_of_first[known];
};

// This lane's residue among those from `first` on, if it comes after `last` and may be chosen. Distances that fit into
// shared memory are computed only once.
template <typename T>
__device__ Neighbour<T> measure(const AlignmentArguments<T>& args, const Query<T>& query, int64_t first,
                                const Neighbour<T>& last, bool again, Scan<T>& scan) {
  const int64_t r = first + lane_of_warp();
  if (r >= args.residues || r == query.excluded) return nobody<T>();
  Neighbour<T> n{T(0), int32_t(r)};
  if (again && r < Scan<T>::known) {
    n.squared = scan.squared_of_first[r];
  } else {
    n.squared = squared_distance_to_residue(query, r);
    if (r < Scan<T>::known) scan.squared_of_first[r] = n.squared;
  }
  return nearer(last, n) ? n : nobody<T>();
}

// The wanted-th smallest number of the warp, which has two per lane; infinity if there are fewer.
template <typename T>
__device__ T smallest_of_warp(T a, T b, int wanted) {
  int not_above_a = 0, not_above_b = 0;
#pragma unroll
  for (int lane = 0; lane < warp_size; ++lane) {
    const T other_a = __shfl_xor_sync(whole_warp, a, lane), other_b = __shfl_xor_sync(whole_warp, b, lane);
    not_above_a += (other_a <= a) + (other_b <= a);
    not_above_b += (other_a <= b) + (other_b <= b);
  }
  T smallest = std::numeric_limits<T>::infinity();
  if (not_above_a >= wanted) smallest = a;
  if (not_above_b >= wanted && b < smallest) smallest = b;
  return -warp_max(-smallest);
}

// A squared distance that covers at least `wanted` residues, from the nearest residues of two groups per lane.
template <typename T>
__device__ T bound_of_nearest(const AlignmentArguments<T>& args, const Query<T>& query, const Neighbour<T>& last,
                              bool again, int wanted, Scan<T>& scan) {
  T even = std::numeric_limits<T>::infinity(), odd = even;
  for (int64_t first = 0; first < args.residues; first += 2 * warp_size) {
    const T a = measure(args, query, first, last, again, scan).squared;
    const T b = measure(args, query, first + warp_size, last, again, scan).squared;
    even = a < even ? a : even;
    odd = b < odd ? b : odd;
  }
  return smallest_of_warp(even, odd, wanted);
}

// Finds the `wanted` nearest residues after `last`, in order; returns how many there are.
template <typename T>
__device__ int choose(const AlignmentArguments<T>& args, const Query<T>& query, const Neighbour<T>& last, bool again,
                      int wanted, Scan<T>& scan) {
  T bound = bound_of_nearest(args, query, last, again, wanted, scan);
  int count = 0;
  for (int64_t first = 0; first < args.residues; first += warp_size) {
    count = add_within(scan.candidates, count, measure(args, query, first, last, true, scan), bound);
    if (count <= Candidates<T>::most_chosen) continue;
    count = keep_nearest(scan.candidates, count, wanted);
    bound = scan.candidates.squared[wanted - 1];
  }
  return keep_nearest(scan.candidates, count, wanted);
}

// ---- A search of blocks near the point ---------------------------------------------------------

// From where on sorting pays, by a count of operations per query. A scan measures R residues and looks at each distance
// twice. A search in structures as dense as proteins visits about 14 blocks, thus measures 450 residues; to rank the
// candidates after each block costs as much again (some 50 candidates, each compared with all), and bounds are compared
// of R / 1024 regions and of 32 blocks in each of 3 to 5: together about 1000 residues measured. Sorting takes some 50
// operations per atom and residue, and 7 launches; 32 queries share them.
constexpr int64_t longest_scan = 1024, fewest_sorted = 32;

bool sorts_residues(int64_t residues, int64_t queries) { return residues > longest_scan && queries >= fewest_sorted; }

// The same as `choose`.
template <typename T>
__device__ int choose_near(const ResidueBlocks<T>& blocks, int64_t b, const Query<T>& query, const Neighbour<T>& last,
                           int wanted, Candidates<T>& candidates) {
  T bound = std::numeric_limits<T>::infinity();
  int count = 0;
  for_residues_near(blocks, b, query.point, bound, [&](int64_t residue) {
    Neighbour<T> n = nobody<T>();
    if (residue >= 0 && residue != query.excluded) n = {squared_distance_to_residue(query, residue), int32_t(residue)};
    const int before = count;
    count = add_within(candidates, count, nearer(last, n) ? n : nobody<T>(), bound);
    if (count == before || count < wanted) return;
    count = keep_nearest(candidates, count, wanted);
    bound = candidates.squared[wanted - 1];
  });
  return keep_nearest(candidates, count, wanted);
}

// ---- Environments ------------------------------------------------------------------------------

// Writes the nearest residues in order, then -1 if there are fewer; in rounds if a warp cannot hold all of them.
// choose_after(last, again, wanted) finds those after `last` among the candidates.
template <typename T, typename ChooseAfter>
__device__ void choose_all(int64_t neighbours, const Candidates<T>& candidates, int64_t* index,
                           const ChooseAfter& choose_after) {
  constexpr int most = Candidates<T>::most_chosen;
  Neighbour<T> last{T(-1), -1};
  for (int64_t done = 0; done < neighbours; done += most) {
    const int wanted = int(neighbours - done < most ? neighbours - done : most);
    const int found = choose_after(last, done > 0, wanted);
    for (int k = lane_of_warp(); k < wanted; k += warp_size) index[done + k] = k < found ? candidates.residue[k] : -1;
    last = found == wanted ? candidates.at(wanted - 1) : nobody<T>();
    __syncwarp();  // all lanes see `index` and have read the candidates
  }
}

template <typename T>
__device__ Query<T> query_of(const AlignmentArguments<T>& args, int64_t item) {
  const int64_t b = item / args.queries;
  return {atoms_of_frame(args, b), load(args.query + 3 * item), args.exclude[item % args.queries],
          box_of_frame(args.box, args.box_stride, b)};
}

// Places the chosen residues in the frame of the query.
template <typename T>
__device__ void write_environment(const AlignmentArguments<T>& args, const Query<T>& query, const int64_t* index,
                                  int64_t item) {
  const CountedAtoms<T>& of_frame = query.frame;
  const Frame<T> frame = frame_of(args.rule, load_triangle(args.triangle + 9 * item));
  if (lane_of_warp() == 0) store_frame(args.frame + 12 * item, frame);
  T* local = args.local + 3 * args.slots * args.neighbours * item;
  const unsigned slots = unsigned(args.slots), points = unsigned(args.neighbours) * slots;
  for (unsigned i = lane_of_warp(); i < points; i += warp_size) {
    const int64_t residue = index[i / slots], atom = residue * slots + i % slots;
    Vec3<T> point{T(0), T(0), T(0)};
    if (residue >= 0 && of_frame.present[atom]) {
      point = load(of_frame.atoms + 3 * atom);
      if (query.box.exists) {
        const int64_t first = residue * slots;
        point += shift_to_image(of_frame.atoms + 3 * first, slots, query.point, query.box,
                                [&](int64_t s) { return of_frame.counts(first + s); });
      }
      point = to_local(frame, point);
    }
    store(local + 3 * int64_t(i), point);
  }
}

template <typename T>
__global__ void align_by_scan(AlignmentArguments<T> args) {
  __shared__ Scan<T> of_warp[warps];
  const int64_t item = warp_of_grid();
  if (item >= args.batch * args.queries) return;
  Scan<T>& scan = of_warp[threadIdx.x / warp_size];
  const Query<T> query = query_of(args, item);
  int64_t* index = args.index + item * args.neighbours;
  choose_all(args.neighbours, scan.candidates, index, [&](const Neighbour<T>& last, bool again, int wanted) {
    return choose(args, query, last, again, wanted, scan);
  });
  write_environment(args, query, index, item);
}

template <typename T>
__global__ void align_by_blocks(AlignmentArguments<T> args, ResidueBlocks<T> blocks) {
  __shared__ Candidates<T> of_warp[warps];
  const int64_t item = warp_of_grid();
  if (item >= args.batch * args.queries) return;
  Candidates<T>& candidates = of_warp[threadIdx.x / warp_size];
  const Query<T> query = query_of(args, item);
  int64_t* index = args.index + item * args.neighbours;
  choose_all(args.neighbours, candidates, index, [&](const Neighbour<T>& last, bool, int wanted) {
    return choose_near(blocks, item / args.queries, query, last, wanted, candidates);
  });
  write_environment(args, query, index, item);
}

template <typename T>
__device__ Vec3<T> warp_sum_of(const Vec3<T>& v) {
  return {warp_sum(v.x), warp_sum(v.y), warp_sum(v.z)};
}

template <typename T>
__global__ void align_backward(AlignmentBackwardArguments<T> args) {
  const int64_t item = warp_of_grid();
  if (item >= args.batch * args.queries) return;
  const int64_t b = item / args.queries, atoms_of_frame = args.residues * args.slots;
  const T* atoms = args.atoms + 3 * atoms_of_frame * b;
  const bool* present = args.present + args.present_stride * b;
  const int64_t* index = args.index + item * args.neighbours;
  const T* grad_local = args.grad_local + 3 * args.slots * args.neighbours * item;
  T* grad_atoms = args.grad_atoms + 3 * atoms_of_frame * b;
  const Triangle<T> triangle = load_triangle(args.triangle + 9 * item);
  const Frame<T> frame = frame_of(args.rule, triangle);
  const unsigned slots = unsigned(args.slots), points = unsigned(args.neighbours) * slots;
  Frame<T> part{};
  for (unsigned i = lane_of_warp(); i < points; i += warp_size) {
    const int64_t residue = index[i / slots], atom = residue * slots + i % slots;
    if (residue < 0 || residue >= args.residues || !present[atom]) continue;
    const Vec3<T> point =
        args.local == nullptr
            ? load(atoms + 3 * atom)
            : to_global(frame, load(args.local + 3 * (args.slots * args.neighbours * item + int64_t(i))));
    add_atomically(grad_atoms + 3 * atom, to_local_backward(frame, point, load(grad_local + 3 * int64_t(i)), part));
  }
  Frame<T> grad = load_frame(args.grad_frame + 12 * item);
  grad.e1 += warp_sum_of(part.e1);
  grad.e2 += warp_sum_of(part.e2);
  grad.e3 += warp_sum_of(part.e3);
  grad.origin += warp_sum_of(part.origin);
  if (lane_of_warp() == 0) store_triangle(args.grad_triangle + 9 * item, frame_backward(args.rule, triangle, grad));
}

// One thread per atom.
template <typename T>
__global__ void place(PlacementArguments<T> args) {
  const int64_t i = thread_of_grid();
  if (i >= args.queries * args.slots) return;
  store(args.placed + 3 * i, to_global(load_frame(args.frame + 12 * (i / args.slots)), load(args.local + 3 * i)));
}

// One thread per frame, which sums over its atoms.
template <typename T>
__global__ void place_backward(PlacementBackwardArguments<T> args) {
  const int64_t q = thread_of_grid();
  if (q >= args.queries) return;
  const Frame<T> frame = load_frame(args.frame + 12 * q);
  Frame<T> grad_frame{};
  for (int64_t i = q * args.slots; i < (q + 1) * args.slots; ++i)
    store(args.grad_local + 3 * i,
          to_global_backward(frame, load(args.local + 3 * i), load(args.grad + 3 * i), grad_frame));
  store_frame(args.grad_frame + 12 * q, grad_frame);
}

}  // namespace

template <typename T>
int64_t alignment_workspace(int64_t batch, int64_t residues, int64_t queries) {
  Workspace workspace(nullptr);
  if (sorts_residues(residues, queries)) take_residue_blocks<T>(workspace, batch, residues);
  return workspace.bytes();
}

template <typename T>
void canonical_alignment(const AlignmentArguments<T>& args, void* stream) {
  const int64_t points = args.batch * args.queries;
  if (points == 0) return;
  if (sorts_residues(args.residues, args.queries)) {
    Workspace workspace(args.workspace);
    const ResidueBlocks<T> blocks = take_residue_blocks<T>(workspace, args.batch, args.residues);
    build_residue_blocks(args, blocks, stream);
    BACKMAP_LAUNCH(align_by_blocks<T>, blocks_for(points, warps), threads, stream, args, blocks);
  } else {
    BACKMAP_LAUNCH(align_by_scan<T>, blocks_for(points, warps), threads, stream, args);
  }
  check_launch("canonical_alignment");
}

template <typename T>
void canonical_alignment_backward(const AlignmentBackwardArguments<T>& args, void* stream) {
  const int64_t points = args.batch * args.queries;
  if (points == 0) return;
  BACKMAP_LAUNCH(align_backward<T>, blocks_for(points, warps), threads, stream, args);
  check_launch("canonical_alignment_backward");
}

template <typename T>
void canonical_placement(const PlacementArguments<T>& args, void* stream) {
  const int64_t atoms = args.queries * args.slots;
  if (atoms == 0) return;
  BACKMAP_LAUNCH(place<T>, blocks_for(atoms, threads), threads, stream, args);
  check_launch("canonical_placement");
}

template <typename T>
void canonical_placement_backward(const PlacementBackwardArguments<T>& args, void* stream) {
  if (args.queries == 0) return;
  BACKMAP_LAUNCH(place_backward<T>, blocks_for(args.queries, threads), threads, stream, args);
  check_launch("canonical_placement_backward");
}

template int64_t alignment_workspace<float>(int64_t, int64_t, int64_t);
template int64_t alignment_workspace<double>(int64_t, int64_t, int64_t);
template void canonical_alignment(const AlignmentArguments<float>&, void*);
template void canonical_alignment(const AlignmentArguments<double>&, void*);
template void canonical_alignment_backward(const AlignmentBackwardArguments<float>&, void*);
template void canonical_alignment_backward(const AlignmentBackwardArguments<double>&, void*);
template void canonical_placement(const PlacementArguments<float>&, void*);
template void canonical_placement(const PlacementArguments<double>&, void*);
template void canonical_placement_backward(const PlacementBackwardArguments<float>&, void*);
template void canonical_placement_backward(const PlacementBackwardArguments<double>&, void*);

}  // namespace backmap::cuda
