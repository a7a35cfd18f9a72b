// Bond deviations and clashes, with the atoms of each frame in a spatial hash.
#include "core/pair_terms.h"
#include "cuda/cell_lists.h"
#include "cuda/launch.h"
#include "cuda/linked_lists.h"
#include "kernels/structure_score.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 256;

// Adds the sum over a block. The sums are integers, so that the order of the blocks does not matter.
__device__ void add_block_sum(int64_t value, int64_t* sum) {
  value = block_sum(value);
  if (threadIdx.x == 0) atomicAdd(reinterpret_cast<unsigned long long*>(sum), static_cast<unsigned long long>(value));
}

// Resets clashes and counts.
template <typename T>
__global__ void clear(ScoreArguments<T> args) {
  const int64_t i = thread_of_grid();
  if (i < args.batch * 3) args.counts[i] = 0;
  if (i < args.batch * args.residues) args.clash[i] = false;
}

// ---- Bonds: one thread per bond, several blocks per frame --------------------------------------

template <typename T>
__global__ void score_bonds(ScoreArguments<T> args, int64_t blocks_of_frame) {
  const int64_t b = blockIdx.x / blocks_of_frame, m = blockIdx.x % blocks_of_frame * blockDim.x + threadIdx.x;
  const int64_t atoms_of_frame = args.residues * args.slots;
  int64_t within = 0, existing = 0;
  if (m < args.bonds) {
    const int64_t* bond = args.bond + 2 * m;
    T deviation = T(0);
    if (pair_exists(bond, atoms_of_frame, args.present + args.present_stride * b)) {
      const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
      deviation = bond_deviation(pair_vector(bond, args.atoms + 3 * atoms_of_frame * b, box),
                                 args.reference[args.reference_stride * b + m]);
      existing = 1;
      within = within_tolerance(deviation, args.bond_tolerance);
    }
    args.deviation[b * args.bonds + m] = deviation;
  }
  add_block_sum(within, args.counts + 3 * b);
  add_block_sum(existing, args.counts + 3 * b + 1);
}

// ---- Clashes: one thread per atom --------------------------------------------------------------

// The order of the lists varies from run to run, but clashes do not depend on it.
template <typename T>
__global__ void find_clashes(ScoreArguments<T> args, CellLists<T> cells) {
  const int64_t item = thread_of_grid();
  if (item >= args.batch * cells.atoms) return;
  const int64_t b = item / cells.atoms, i = item % cells.atoms, residue = i / args.slots;
  const T* atoms = args.atoms + 3 * cells.atoms * b;
  const Vec3<T> position = load(atoms + 3 * i);
  if (!args.present[args.present_stride * b + i] || !is_finite(position)) return;
  bool* clash = args.clash + args.residues * b;
  const T limit = args.clash_distance * args.clash_distance;
  const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
  for_near_atoms(cells, b, i, [&](int64_t j) {
    const int64_t other = j / args.slots;
    if (other < residue) return;  // each pair once
    if (!may_clash(residue, args.side_chain[i], other, args.side_chain[j], args.following)) return;
    const Vec3<T> d = minimum_image(position - load(atoms + 3 * j), box);
    if (dot(d, d) < limit) clash[residue] = clash[other] = true;
  });
}

// One thread per residue, several blocks per frame.
template <typename T>
__global__ void count_clashes(ScoreArguments<T> args, int64_t blocks_of_frame) {
  const int64_t b = blockIdx.x / blocks_of_frame, r = blockIdx.x % blocks_of_frame * blockDim.x + threadIdx.x;
  const int64_t clashes = r < args.residues && args.clash[args.residues * b + r];
  add_block_sum(clashes, args.counts + 3 * b + 2);
}

// ---- Gradient: one thread per atom -------------------------------------------------------------

template <typename T>
__global__ void score_backward(ScoreBackwardArguments<T> args, LinkedLists bonds_of_atom) {
  const int64_t atoms_of_frame = args.residues * args.slots, item = thread_of_grid();
  if (item >= args.batch * atoms_of_frame) return;
  const int64_t b = item / atoms_of_frame, i = item % atoms_of_frame;
  const T* atoms = args.atoms + 3 * atoms_of_frame * b;
  const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
  store(args.grad_atoms + 3 * item,
        sum_pair_gradients<T>(args.bond, bonds_of_atom, i, args.present + args.present_stride * b, [&](int64_t m) {
          return bond_deviation_backward(pair_vector(args.bond + 2 * m, atoms, box),
                                         args.reference[args.reference_stride * b + m],
                                         args.grad_deviation[args.bonds * b + m]);
        }));
}

}  // namespace

template <typename T>
int64_t score_workspace(int64_t batch, int64_t atoms) {
  Workspace workspace(nullptr);
  take_cell_lists<T>(workspace, batch, atoms);
  return workspace.bytes();
}

template <typename T>
int64_t score_backward_workspace(int64_t atoms, int64_t bonds) {
  Workspace workspace(nullptr);
  workspace.take_lists(atoms, 2 * bonds);
  return workspace.bytes();
}

template <typename T>
void structure_score(const ScoreArguments<T>& args, void* stream) {
  if (args.batch == 0) return;
  const int64_t atoms_of_frame = args.residues * args.slots;
  Workspace workspace(args.workspace);
  const CellLists<T> cells = take_cell_lists<T>(workspace, args.batch, atoms_of_frame);
  BACKMAP_LAUNCH(clear<T>, blocks_for(args.batch * (args.residues + 3), threads), threads, stream, args);
  if (args.bonds > 0) {
    const int64_t blocks = blocks_for(args.bonds, threads);
    BACKMAP_LAUNCH(score_bonds<T>, args.batch * blocks, threads, stream, args, blocks);
  }
  if (atoms_of_frame > 0) {
    const CellSource<T> source{args.atoms, args.present,    args.present_stride,         nullptr,
                               args.box,   args.box_stride, double(args.clash_distance), nullptr};
    build_cell_lists(source, cells, stream);
    BACKMAP_LAUNCH(find_clashes<T>, blocks_for(args.batch * atoms_of_frame, threads), threads, stream, args, cells);
    const int64_t blocks = blocks_for(args.residues, threads);
    BACKMAP_LAUNCH(count_clashes<T>, args.batch * blocks, threads, stream, args, blocks);
  }
  check_launch("structure_score");
}

template <typename T>
void structure_score_backward(const ScoreBackwardArguments<T>& args, void* stream) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  if (args.batch * atoms_of_frame == 0) return;
  Workspace workspace(args.workspace);
  const LinkedLists bonds_of_atom = workspace.take_lists(atoms_of_frame, 2 * args.bonds);
  list_pairs_of_atoms(args.bond, args.bonds, bonds_of_atom, stream);
  BACKMAP_LAUNCH(score_backward<T>, blocks_for(args.batch * atoms_of_frame, threads), threads, stream, args,
                 bonds_of_atom);
  check_launch("structure_score_backward");
}

template int64_t score_workspace<float>(int64_t, int64_t);
template int64_t score_workspace<double>(int64_t, int64_t);
template int64_t score_backward_workspace<float>(int64_t, int64_t);
template int64_t score_backward_workspace<double>(int64_t, int64_t);
template void structure_score(const ScoreArguments<float>&, void*);
template void structure_score(const ScoreArguments<double>&, void*);
template void structure_score_backward(const ScoreBackwardArguments<float>&, void*);
template void structure_score_backward(const ScoreBackwardArguments<double>&, void*);

}  // namespace backmap::cuda
