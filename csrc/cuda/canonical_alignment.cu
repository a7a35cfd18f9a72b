// Residues nearest to a point, in its local frame, and placement in global coordinates. One warp per point.
#include "core/local_frame.h"
#include "core/nearest.h"
#include "cuda/launch.h"
#include "kernels/canonical_alignment.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128, warps = threads / warp_size;

// The point of this warp. Warps of the last block may have none.
__device__ int64_t warp_of_grid() { return int64_t(blockIdx.x) * warps + threadIdx.x / warp_size; }
__device__ int lane_of_warp() { return threadIdx.x % warp_size; }

// One query, with pointers to its frame.
template <typename T>
struct Query {
  const T* atoms;
  const bool* present;
  const bool* selectable;
  Vec3<T> point;
  int64_t excluded;
  PeriodicBox<T> box;
};

template <typename T>
__device__ T squared_distance_to_residue(const Query<T>& query, int64_t residue, int64_t slots) {
  T nearest = std::numeric_limits<T>::infinity();
  for (int64_t i = residue * slots; i < (residue + 1) * slots; ++i) {
    if (!query.present[i] || !query.selectable[i]) continue;
    const Vec3<T> offset = minimum_image(load(query.atoms + 3 * i) - query.point, query.box);
    const T d = dot(offset, offset);
    nearest = d < nearest ? d : nearest;
  }
  return nearest;
}

// The shared memory of a warp: distances of the first residues, and candidates for the nearest ones.
template <typename T>
struct Search {
  static constexpr int known = 4096 / sizeof(T), room = 256;
  // Most residues chosen in one round; room for one residue per lane remains.
  static constexpr int most_chosen = room - warp_size;

  T squared_of_first[known];
  T squared[room];
  int32_t residue[room];

  __device__ Neighbour<T> candidate(int i) const { return {squared[i], residue[i]}; }
  __device__ void put(int i, const Neighbour<T>& n) {
    squared[i] = n.squared;
    residue[i] = n.residue;
  }
};

// This lane's residue among those from `first` on, if it comes after `last` and may be chosen. Distances that fit into
// shared memory are computed only once.
template <typename T>
__device__ Neighbour<T> measure(const AlignmentArguments<T>& args, const Query<T>& query, int64_t first,
                                const Neighbour<T>& last, bool again, Search<T>& search) {
  const int64_t r = first + lane_of_warp();
  if (r >= args.residues || r == query.excluded) return nobody<T>();
  Neighbour<T> n{T(0), int32_t(r)};
  if (again && r < Search<T>::known) {
    n.squared = search.squared_of_first[r];
  } else {
    n.squared = squared_distance_to_residue(query, r, args.slots);
    if (r < Search<T>::known) search.squared_of_first[r] = n.squared;
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
  for (int step = warp_size / 2; step > 0; step /= 2) {
    const T other = __shfl_xor_sync(whole_warp, smallest, step);
    smallest = other < smallest ? other : smallest;
  }
  return smallest;
}

// A squared distance that covers at least `wanted` residues, from the nearest residues of two groups per lane.
template <typename T>
__device__ T bound_of_nearest(const AlignmentArguments<T>& args, const Query<T>& query, const Neighbour<T>& last,
                              bool again, int wanted, Search<T>& search) {
  T even = std::numeric_limits<T>::infinity(), odd = even;
  for (int64_t first = 0; first < args.residues; first += 2 * warp_size) {
    const T a = measure(args, query, first, last, again, search).squared;
    const T b = measure(args, query, first + warp_size, last, again, search).squared;
    even = a < even ? a : even;
    odd = b < odd ? b : odd;
  }
  return smallest_of_warp(even, odd, wanted);
}

// Sorts the candidates and drops all but the first `kept`; returns how many remain.
template <typename T>
__device__ int keep_nearest(Search<T>& search, int count, int kept) {
  constexpr int share = Search<T>::room / warp_size;
  Neighbour<T> own[share];
  int rank[share];
#pragma unroll
  for (int s = 0; s < share; ++s) {
    const int i = s * warp_size + lane_of_warp();
    rank[s] = kept;
    if (i >= count) continue;
    own[s] = search.candidate(i);
    rank[s] = 0;
    for (int j = 0; j < count; ++j) rank[s] += nearer(search.candidate(j), own[s]);
  }
  __syncwarp();  // all lanes read before any lane writes
#pragma unroll
  for (int s = 0; s < share; ++s)
    if (rank[s] < kept) search.put(rank[s], own[s]);
  __syncwarp();
  return count < kept ? count : kept;
}

// Finds the `wanted` nearest residues after `last`, in order; returns how many there are.
template <typename T>
__device__ int choose(const AlignmentArguments<T>& args, const Query<T>& query, const Neighbour<T>& last, bool again,
                      int wanted, Search<T>& search) {
  T bound = bound_of_nearest(args, query, last, again, wanted, search);
  int count = 0;
  for (int64_t first = 0; first < args.residues; first += warp_size) {
    const Neighbour<T> n = measure(args, query, first, last, true, search);
    const bool may_be_chosen = reachable(n.squared) && n.squared <= bound;
    const unsigned votes = __ballot_sync(whole_warp, may_be_chosen);
    if (may_be_chosen) search.put(count + __popc(votes & ((1u << lane_of_warp()) - 1)), n);
    count += __popc(votes);
    __syncwarp();
    if (count <= Search<T>::most_chosen) continue;
    count = keep_nearest(search, count, wanted);
    bound = search.squared[wanted - 1];
  }
  return keep_nearest(search, count, wanted);
}

// Writes the nearest residues in order, then -1 if there are fewer; in rounds if a warp cannot hold all of them.
template <typename T>
__device__ void choose_all(const AlignmentArguments<T>& args, const Query<T>& query, int64_t* index) {
  __shared__ Search<T> of_warp[warps];
  Search<T>& search = of_warp[threadIdx.x / warp_size];
  Neighbour<T> last{T(-1), -1};
  for (int64_t done = 0; done < args.neighbours; done += Search<T>::most_chosen) {
    const int64_t left = args.neighbours - done;
    const int wanted = int(left < Search<T>::most_chosen ? left : Search<T>::most_chosen);
    const int found = choose(args, query, last, done > 0, wanted, search);
    for (int k = lane_of_warp(); k < wanted; k += warp_size) index[done + k] = k < found ? search.residue[k] : -1;
    last = found == wanted ? search.candidate(wanted - 1) : nobody<T>();
    __syncwarp();  // all lanes see `index` and have read the candidates
  }
}

template <typename T>
__global__ void align(AlignmentArguments<T> args) {
  const int64_t item = warp_of_grid();
  if (item >= args.batch * args.queries) return;
  const int64_t b = item / args.queries, atoms_of_frame = args.residues * args.slots;
  const Query<T> query{args.atoms + 3 * atoms_of_frame * b,
                       args.present + args.present_stride * b,
                       args.selectable + args.selectable_stride * b,
                       load(args.query + 3 * item),
                       args.exclude[item % args.queries],
                       box_of_frame(args.box, args.box_stride, b)};
  int64_t* index = args.index + item * args.neighbours;
  choose_all(args, query, index);

  const Frame<T> frame = frame_of(args.rule, load_triangle(args.triangle + 9 * item));
  if (lane_of_warp() == 0) store_frame(args.frame + 12 * item, frame);
  T* local = args.local + 3 * args.slots * args.neighbours * item;
  const unsigned slots = unsigned(args.slots), points = unsigned(args.neighbours) * slots;
  for (unsigned i = lane_of_warp(); i < points; i += warp_size) {
    const int64_t residue = index[i / slots], atom = residue * slots + i % slots;
    Vec3<T> point{T(0), T(0), T(0)};
    if (residue >= 0 && query.present[atom]) {
      point = load(query.atoms + 3 * atom);
      if (query.box.exists) {
        const int64_t first = residue * slots;
        point += shift_to_image(query.atoms + 3 * first, slots, query.point, query.box,
                                [&](int64_t s) { return query.present[first + s] && query.selectable[first + s]; });
      }
      point = to_local(frame, point);
    }
    store(local + 3 * int64_t(i), point);
  }
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
void canonical_alignment(const AlignmentArguments<T>& args, void* stream) {
  const int64_t points = args.batch * args.queries;
  if (points == 0) return;
  BACKMAP_LAUNCH(align<T>, blocks_for(points, warps), threads, stream, args);
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

template void canonical_alignment(const AlignmentArguments<float>&, void*);
template void canonical_alignment(const AlignmentArguments<double>&, void*);
template void canonical_alignment_backward(const AlignmentBackwardArguments<float>&, void*);
template void canonical_alignment_backward(const AlignmentBackwardArguments<double>&, void*);
template void canonical_placement(const PlacementArguments<float>&, void*);
template void canonical_placement(const PlacementArguments<double>&, void*);
template void canonical_placement_backward(const PlacementBackwardArguments<float>&, void*);
template void canonical_placement_backward(const PlacementBackwardArguments<double>&, void*);

}  // namespace backmap::cuda
