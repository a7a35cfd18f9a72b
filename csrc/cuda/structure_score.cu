// Bond deviations and clashes; the atoms of each frame in a spatial hash of linked lists.
#include "core/cell_hash.h"
#include "core/pair_terms.h"
#include "cuda/launch.h"
#include "kernels.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 256;
constexpr int32_t end_of_list = -1;

template <typename T>
__device__ const bool* present_of(const ScoreArguments<T>& args, int64_t b) {
  return args.present + args.present_stride * b;
}

// Whether both atoms of a bond exist.
__device__ bool bond_exists(const int64_t* bond, int64_t atoms, const bool* present) {
  const int64_t i = bond[0], j = bond[1];
  return 0 <= i && i < atoms && 0 <= j && j < atoms && present[i] && present[j];
}

// ---- Bonds: one block a frame ------------------------------------------------------------------

template <typename T>
__global__ void score_bonds(ScoreArguments<T> args) {
  const int64_t b = blockIdx.x, atoms_of_frame = args.residues * args.slots;
  const T* atoms = args.atoms + 3 * atoms_of_frame * b;
  const T* reference = args.reference + args.reference_stride * b;
  int64_t within = 0, existing = 0;
  for (int64_t m = threadIdx.x; m < args.bonds; m += blockDim.x) {
    const int64_t* bond = args.bond + 2 * m;
    T deviation = T(0);
    if (bond_exists(bond, atoms_of_frame, present_of(args, b))) {
      deviation = bond_deviation(load(atoms + 3 * bond[0]), load(atoms + 3 * bond[1]), reference[m]);
      ++existing;
      within += within_tolerance(deviation, args.bond_tolerance);
    }
    args.deviation[b * args.bonds + m] = deviation;
  }
  within = block_sum(within);
  existing = block_sum(existing);
  if (threadIdx.x == 0) {
    args.counts[3 * b] = within;
    args.counts[3 * b + 1] = existing;
  }
}

// ---- Clashes: one thread an atom ---------------------------------------------------------------

// The hash of one frame: first atom of each bucket, and the next atom after each.
struct BucketLists {
  int32_t* first;
  int32_t* next;
  uint32_t mask;
};

template <typename T>
__device__ BucketLists lists_of(const ScoreArguments<T>& args, int64_t b) {
  const int64_t atoms = args.residues * args.slots, buckets = bucket_count(atoms);
  int32_t* first = args.workspace + b * (buckets + atoms);
  return {first, first + buckets, uint32_t(buckets - 1)};
}

// All lists end at once; no residue clashes yet.
template <typename T>
__global__ void clear(ScoreArguments<T> args, int64_t workspace) {
  const int64_t i = thread_of_grid();
  if (i < workspace) args.workspace[i] = end_of_list;
  if (i < args.batch * args.residues) args.clash[i] = false;
}

template <typename T>
__global__ void insert_atoms(ScoreArguments<T> args) {
  const int64_t atoms_of_frame = args.residues * args.slots, item = thread_of_grid();
  if (item >= args.batch * atoms_of_frame) return;
  const int64_t b = item / atoms_of_frame, i = item % atoms_of_frame;
  const Vec3<T> position = load(args.atoms + 3 * item);
  if (!present_of(args, b)[i] || !is_finite(position)) return;
  const BucketLists lists = lists_of(args, b);
  const double inverse_side = 1.0 / cell_side(double(args.clash_distance));
  lists.next[i] = atomicExch(lists.first + bucket_of(cell_of(position, inverse_side), lists.mask), int32_t(i));
}

// The order of the lists varies from run to run; whether something clashes does not depend on it.
template <typename T>
__global__ void find_clashes(ScoreArguments<T> args) {
  const int64_t atoms_of_frame = args.residues * args.slots, item = thread_of_grid();
  if (item >= args.batch * atoms_of_frame) return;
  const int64_t b = item / atoms_of_frame, i = item % atoms_of_frame, residue = i / args.slots;
  const T* atoms = args.atoms + 3 * atoms_of_frame * b;
  const Vec3<T> position = load(atoms + 3 * i);
  if (!present_of(args, b)[i] || !is_finite(position)) return;
  bool* clash = args.clash + args.residues * b;
  const T limit = args.clash_distance * args.clash_distance;
  const BucketLists lists = lists_of(args, b);
  const Cell low = lower_cell_of(position, 1.0 / cell_side(double(args.clash_distance)));
  for (int corner = 0; corner < 8; ++corner) {
    const Cell cell{low.x + (corner & 1), low.y + (corner >> 1 & 1), low.z + (corner >> 2)};
    for (int32_t j = lists.first[bucket_of(cell, lists.mask)]; j != end_of_list; j = lists.next[j]) {
      const int64_t other = j / args.slots;
      if (other <= residue) continue;  // each pair once
      if (!(squared_distance(position, load(atoms + 3 * j)) < limit)) continue;
      if (may_clash(residue, args.side_chain[i], other, args.side_chain[j], args.linked))
        clash[residue] = clash[other] = true;
    }
  }
}

template <typename T>
__global__ void count_clashes(ScoreArguments<T> args) {
  const int64_t b = blockIdx.x;
  int64_t clashing = 0;
  for (int64_t r = threadIdx.x; r < args.residues; r += blockDim.x) clashing += args.clash[args.residues * b + r];
  clashing = block_sum(clashing);
  if (threadIdx.x == 0) args.counts[3 * b + 2] = clashing;
}

// ---- Gradient: one thread a bond ---------------------------------------------------------------

template <typename T>
__global__ void score_backward(ScoreBackwardArguments<T> args) {
  const int64_t item = thread_of_grid();
  if (item >= args.batch * args.bonds) return;
  const int64_t b = item / args.bonds, m = item % args.bonds, atoms_of_frame = args.residues * args.slots;
  const int64_t* bond = args.bond + 2 * m;
  if (!bond_exists(bond, atoms_of_frame, args.present + args.present_stride * b)) return;
  const T* atoms = args.atoms + 3 * atoms_of_frame * b;
  T* grad_atoms = args.grad_atoms + 3 * atoms_of_frame * b;
  const Vec3<T> grad =
      bond_deviation_backward(load(atoms + 3 * bond[0]), load(atoms + 3 * bond[1]),
                              args.reference[args.reference_stride * b + m], args.grad_deviation[item]);
  add_atomically(grad_atoms + 3 * bond[0], grad);
  add_atomically(grad_atoms + 3 * bond[1], T(-1) * grad);
}

}  // namespace

int64_t score_workspace(int64_t atoms) { return bucket_count(atoms) + atoms; }

template <typename T>
void structure_score(const ScoreArguments<T>& args, void* stream) {
  if (args.batch == 0) return;
  const int64_t atoms = args.batch * args.residues * args.slots;
  const int64_t workspace = args.batch * score_workspace(args.residues * args.slots);
  BACKMAP_LAUNCH(score_bonds<T>, args.batch, threads, stream, args);
  BACKMAP_LAUNCH(clear<T>, blocks_for(workspace + args.batch * args.residues, threads), threads, stream, args,
                 workspace);
  if (atoms > 0) {
    BACKMAP_LAUNCH(insert_atoms<T>, blocks_for(atoms, threads), threads, stream, args);
    BACKMAP_LAUNCH(find_clashes<T>, blocks_for(atoms, threads), threads, stream, args);
  }
  BACKMAP_LAUNCH(count_clashes<T>, args.batch, threads, stream, args);
  check_launch("structure_score");
}

template <typename T>
void structure_score_backward(const ScoreBackwardArguments<T>& args, void* stream) {
  const int64_t bonds = args.batch * args.bonds;
  if (bonds == 0) return;
  BACKMAP_LAUNCH(score_backward<T>, blocks_for(bonds, threads), threads, stream, args);
  check_launch("structure_score_backward");
}

template void structure_score(const ScoreArguments<float>&, void*);
template void structure_score(const ScoreArguments<double>&, void*);
template void structure_score_backward(const ScoreBackwardArguments<float>&, void*);
template void structure_score_backward(const ScoreBackwardArguments<double>&, void*);

}  // namespace backmap::cuda
