// Nearest residues of a point in a local frame, and the placement back; one block a point.
#include "core/local_frame.h"
#include "core/nearest.h"
#include "cuda/launch.h"
#include "kernels.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

template <typename T>
__device__ T squared_distance_to_residue(const T* atoms, const bool* present, const bool* selectable, int64_t residue,
                                         int64_t slots, const Vec3<T>& query) {
  T nearest = std::numeric_limits<T>::infinity();
  for (int64_t i = residue * slots; i < (residue + 1) * slots; ++i) {
    if (!present[i] || !selectable[i]) continue;
    const T d = squared_distance(load(atoms + 3 * i), query);
    nearest = d < nearest ? d : nearest;
  }
  return nearest;
}

// One query with the pointers of its frame.
template <typename T>
struct Query {
  const T* atoms;
  const bool* present;
  const bool* selectable;
  Vec3<T> point;
  int64_t excluded;
};

// The nearest of this thread's share of the residues that comes after `last` in the order of the rule.
// Nothing is kept between calls: only the thread whose residue was chosen computes its distances again.
template <typename T>
__device__ Neighbour<T> nearest_of_share(const AlignmentArguments<T>& args, const Query<T>& query,
                                         const Neighbour<T>& last) {
  Neighbour<T> nearest = nobody<T>();
  for (int64_t r = threadIdx.x; r < args.residues; r += blockDim.x) {
    if (r == query.excluded) continue;
    const Neighbour<T> n{
        squared_distance_to_residue(query.atoms, query.present, query.selectable, r, args.slots, query.point),
        int32_t(r)};
    if (reachable(n.squared) && nearer(last, n) && nearer(n, nearest)) nearest = n;
  }
  return nearest;
}

// The nearest of the whole block, for every thread.
template <typename T>
__device__ Neighbour<T> nearest_of_block(Neighbour<T> n) {
  __shared__ Neighbour<T> of_warp[threads / warp_size];
  for (int step = warp_size / 2; step > 0; step /= 2) {
    const Neighbour<T> other{__shfl_xor_sync(whole_warp, n.squared, step),
                             __shfl_xor_sync(whole_warp, n.residue, step)};
    if (nearer(other, n)) n = other;
  }
  __syncthreads();  // the array may still be read from the round before
  if (threadIdx.x % warp_size == 0) of_warp[threadIdx.x / warp_size] = n;
  __syncthreads();
  for (const Neighbour<T>& other : of_warp)
    if (nearer(other, n)) n = other;
  return n;
}

template <typename T>
__device__ void choose(const AlignmentArguments<T>& args, const Query<T>& query, int64_t* index) {
  Neighbour<T> mine = nearest_of_share(args, query, Neighbour<T>{T(-1), -1});
  for (int64_t k = 0; k < args.neighbours; ++k) {
    const Neighbour<T> chosen = nearest_of_block(mine);
    const bool found = reachable(chosen.squared);
    if (threadIdx.x == 0) index[k] = found ? chosen.residue : -1;
    if (found && mine.residue == chosen.residue) mine = nearest_of_share(args, query, chosen);
  }
  __syncthreads();  // all threads see `index`
}

template <typename T>
__global__ void align(AlignmentArguments<T> args) {
  const int64_t item = blockIdx.x, b = item / args.queries, atoms_of_frame = args.residues * args.slots;
  const Query<T> query{args.atoms + 3 * atoms_of_frame * b, args.present + args.present_stride * b,
                       args.selectable + args.selectable_stride * b, load(args.query + 3 * item),
                       args.exclude[item % args.queries]};
  int64_t* index = args.index + item * args.neighbours;
  choose(args, query, index);

  const Frame<T> frame = frame_of(args.rule, load_triangle(args.triangle + 9 * item));
  if (threadIdx.x == 0) store_frame(args.frame + 12 * item, frame);
  T* local = args.local + 3 * args.slots * args.neighbours * item;
  for (int64_t i = threadIdx.x; i < args.neighbours * args.slots; i += blockDim.x) {
    const int64_t residue = index[i / args.slots], atom = residue * args.slots + i % args.slots;
    const bool there = residue >= 0 && query.present[atom];
    store(local + 3 * i, there ? to_local(frame, load(query.atoms + 3 * atom)) : Vec3<T>{T(0), T(0), T(0)});
  }
}

template <typename T>
__device__ Vec3<T> block_sum_of(const Vec3<T>& v) {
  return {block_sum(v.x), block_sum(v.y), block_sum(v.z)};
}

template <typename T>
__global__ void align_backward(AlignmentBackwardArguments<T> args) {
  const int64_t item = blockIdx.x, b = item / args.queries, atoms_of_frame = args.residues * args.slots;
  const T* atoms = args.atoms + 3 * atoms_of_frame * b;
  const bool* present = args.present + args.present_stride * b;
  const int64_t* index = args.index + item * args.neighbours;
  const T* grad_local = args.grad_local + 3 * args.slots * args.neighbours * item;
  T* grad_atoms = args.grad_atoms + 3 * atoms_of_frame * b;
  const Triangle<T> triangle = load_triangle(args.triangle + 9 * item);
  const Frame<T> frame = frame_of(args.rule, triangle);
  Frame<T> part{};
  for (int64_t i = threadIdx.x; i < args.neighbours * args.slots; i += blockDim.x) {
    const int64_t residue = index[i / args.slots], atom = residue * args.slots + i % args.slots;
    if (residue < 0 || residue >= args.residues || !present[atom]) continue;
    add_atomically(grad_atoms + 3 * atom,
                   to_local_backward(frame, load(atoms + 3 * atom), load(grad_local + 3 * i), part));
  }
  Frame<T> grad = load_frame(args.grad_frame + 12 * item);
  grad.e1 += block_sum_of(part.e1);
  grad.e2 += block_sum_of(part.e2);
  grad.e3 += block_sum_of(part.e3);
  grad.origin += block_sum_of(part.origin);
  if (threadIdx.x == 0) store_triangle(args.grad_triangle + 9 * item, frame_backward(args.rule, triangle, grad));
}

// One thread an atom.
template <typename T>
__global__ void place(PlacementArguments<T> args) {
  const int64_t i = thread_of_grid();
  if (i >= args.queries * args.slots) return;
  store(args.placed + 3 * i, to_global(load_frame(args.frame + 12 * (i / args.slots)), load(args.local + 3 * i)));
}

// One thread a frame, which sums over its atoms.
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
  const int64_t blocks = args.batch * args.queries;
  if (blocks == 0) return;
  BACKMAP_LAUNCH(align<T>, blocks, threads, stream, args);
  check_launch("canonical_alignment");
}

template <typename T>
void canonical_alignment_backward(const AlignmentBackwardArguments<T>& args, void* stream) {
  const int64_t blocks = args.batch * args.queries;
  if (blocks == 0) return;
  BACKMAP_LAUNCH(align_backward<T>, blocks, threads, stream, args);
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
