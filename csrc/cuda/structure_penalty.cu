// Smooth penalties of bonds, angles and overlaps, with the atoms of each frame in a spatial hash.
#include <algorithm>

#include "core/pair_terms.h"
#include "cuda/cell_lists.h"
#include "cuda/launch.h"
#include "cuda/linked_lists.h"
#include "kernels/structure_penalty.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 256;

// Working memory of one call of the operator or its backward.
template <typename T>
struct PenaltyMemory {
  CellLists<T> cells;
  unsigned long long* reach;  // the bits of a double
  int64_t blocks_of_frame;
  double* sums;  // (batch, blocks_of_frame, 3)
  LinkedLists bonds_of_atom, angles_of_atom;
};

template <typename T>
PenaltyMemory<T> take_memory(Workspace& workspace, int64_t batch, int64_t atoms, int64_t bonds, int64_t angles) {
  PenaltyMemory<T> m;
  m.cells = take_cell_lists<T>(workspace, batch, atoms);
  m.reach = workspace.take<unsigned long long>(1);
  m.blocks_of_frame = blocks_for(std::max({atoms, bonds, angles, int64_t(1)}), threads);
  m.sums = workspace.take<double>(batch * m.blocks_of_frame * 3);
  m.bonds_of_atom = workspace.take_lists(atoms, 2 * bonds);
  m.angles_of_atom = workspace.take_lists(atoms, 2 * angles);
  return m;
}

// ---- Cells, as wide as the largest atoms -------------------------------------------------------

static __global__ void clear_reach(unsigned long long* reach) { *reach = 0; }

// One thread per atom. Doubles that are not negative have the same order as integers of the same bits.
template <typename T>
__global__ void find_reach(PenaltyInputs<T> args, unsigned long long* reach) {
  const int64_t i = thread_of_grid();
  double contact = 0;
  if (i < args.residues * args.slots && is_radius(args.radius[i]))
    contact = 2 * double(args.radius_scale * args.radius[i]);
  contact = block_max(contact);
  if (threadIdx.x == 0) atomicMax(reach, bits_of(contact));
}

template <typename T>
void sort_atoms(const PenaltyInputs<T>& args, const PenaltyMemory<T>& memory, void* stream) {
  if (!searches_contacts(args)) return;
  BACKMAP_LAUNCH(clear_reach, 1, 1, stream, memory.reach);
  BACKMAP_LAUNCH(find_reach<T>, blocks_for(args.residues * args.slots, threads), threads, stream, args, memory.reach);
  const CellSource<T> source{args.atoms, args.present, args.present_stride, args.radius, args.box, args.box_stride,
                             0,          memory.reach};
  build_cell_lists(source, memory.cells, stream);
  const LinkedLists& lists = memory.cells.lists;
  BACKMAP_LAUNCH(sort_lists, blocks_for(lists.count, threads), threads, stream, lists);
}

// Calls visit(j, d, contact) for the atoms within reach of atom i that are not excluded.
template <typename T, typename Visit>
__device__ void for_contacts(const PenaltyInputs<T>& args, const CellLists<T>& cells, int64_t b, int64_t i,
                             const Visit& visit) {
  const T* atoms = args.atoms + 3 * cells.atoms * b;
  const Vec3<T> position = load(atoms + 3 * i);
  if (!searches_contacts(args)) return;
  if (!args.present[args.present_stride * b + i] || !is_radius(args.radius[i]) || !is_finite(position)) return;
  const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
  const RowOfList excluded = row_of_list(args.exclusion_start, i, args.exclusions);
  const T own = args.radius_scale * args.radius[i];
  for_near_atoms(cells, b, i, [&](int64_t j) {
    const Vec3<T> d = minimum_image(position - load(atoms + 3 * j), box);
    const T contact = own + args.radius_scale * args.radius[j];
    if (dot(d, d) < contact * contact && !is_listed(args.exclusion, excluded, j)) visit(j, d, contact);
  });
}

// ---- Energies: one thread per bond, angle and atom; several blocks per frame -------------------

template <typename T>
__device__ double stretch(const PenaltyInputs<T>& args, int64_t b, int64_t m, int64_t count, const int64_t* pairs,
                          const T* length) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  if (m >= count || !pair_exists(pairs + 2 * m, atoms_of_frame, args.present + args.present_stride * b)) return 0;
  const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
  return double(squared_stretch(pair_vector(pairs + 2 * m, args.atoms + 3 * atoms_of_frame * b, box), length[m]));
}

template <typename T>
__global__ void sum_blocks(PenaltyInputs<T> args, PenaltyMemory<T> memory) {
  const int64_t b = blockIdx.x / memory.blocks_of_frame,
                n = blockIdx.x % memory.blocks_of_frame * blockDim.x + threadIdx.x;
  double overlap = 0;
  if (n < memory.cells.atoms)
    for_contacts(args, memory.cells, b, n, [&](int64_t j, const Vec3<T>& d, T contact) {
      if (j > n) overlap += double(squared_overlap(dot(d, d), contact));  // each pair once
    });
  const double of_bonds =
      block_sum(stretch(args, b, n, args.bonds, args.bond, args.bond_length + args.bond_length_stride * b));
  const double of_angles =
      block_sum(stretch(args, b, n, args.angles, args.angle, args.angle_span + args.angle_span_stride * b));
  overlap = block_sum(overlap);
  if (threadIdx.x != 0) return;
  double* sums = memory.sums + 3 * int64_t(blockIdx.x);
  sums[0] = of_bonds, sums[1] = of_angles, sums[2] = overlap;
}

// One block per frame.
template <typename T>
__global__ void sum_frames(PenaltyArguments<T> args, PenaltyMemory<T> memory) {
  const int64_t b = blockIdx.x;
  const double strength[3] = {double(args.inputs.bond_strength), double(args.inputs.angle_strength),
                              double(args.inputs.repulsion_strength)};
  for (int term = 0; term < 3; ++term) {
    double sum = 0;
    for (int64_t n = threadIdx.x; n < memory.blocks_of_frame; n += blockDim.x)
      sum += memory.sums[3 * (b * memory.blocks_of_frame + n) + term];
    sum = block_sum(sum);
    if (threadIdx.x == 0) args.energy[3 * b + term] = T(strength[term] * sum);
  }
}

// ---- Gradient: one thread per atom -------------------------------------------------------------

template <typename T>
__device__ Vec3<T> stretch_gradient(const PenaltyInputs<T>& args, int64_t b, int64_t i, const int64_t* pairs,
                                    const T* length, const LinkedLists& pairs_of_atom, T strength) {
  const T* atoms = args.atoms + 3 * args.residues * args.slots * b;
  const PeriodicBox<T> box = box_of_frame(args.box, args.box_stride, b);
  return sum_pair_gradients<T>(pairs, pairs_of_atom, i, args.present + args.present_stride * b, [&](int64_t m) {
    return squared_stretch_backward(pair_vector(pairs + 2 * m, atoms, box), length[m], strength);
  });
}

template <typename T>
__global__ void penalty_backward(PenaltyBackwardArguments<T> all, PenaltyMemory<T> memory) {
  const PenaltyInputs<T>& args = all.inputs;
  const int64_t atoms_of_frame = memory.cells.atoms, item = thread_of_grid();
  if (item >= args.batch * atoms_of_frame) return;
  const int64_t b = item / atoms_of_frame, i = item % atoms_of_frame;
  const T* grad = all.grad + 3 * b;
  Vec3<T> sum = stretch_gradient(args, b, i, args.bond, args.bond_length + args.bond_length_stride * b,
                                 memory.bonds_of_atom, grad[0] * args.bond_strength);
  sum += stretch_gradient(args, b, i, args.angle, args.angle_span + args.angle_span_stride * b, memory.angles_of_atom,
                          grad[1] * args.angle_strength);
  const T strength = grad[2] * args.repulsion_strength;
  for_contacts(args, memory.cells, b, i,
               [&](int64_t, const Vec3<T>& d, T contact) { sum += squared_overlap_backward(d, contact, strength); });
  store(all.grad_atoms + 3 * item, sum);
}

template <typename T>
PenaltyMemory<T> memory_of(const PenaltyInputs<T>& args) {
  Workspace workspace(args.workspace);
  return take_memory<T>(workspace, args.batch, args.residues * args.slots, args.bonds, args.angles);
}

}  // namespace

template <typename T>
int64_t penalty_workspace(int64_t batch, int64_t atoms, int64_t bonds, int64_t angles) {
  Workspace workspace(nullptr);
  take_memory<T>(workspace, batch, atoms, bonds, angles);
  return workspace.bytes();
}

template <typename T>
void structure_penalty(const PenaltyArguments<T>& args, void* stream) {
  if (args.inputs.batch == 0) return;
  const PenaltyMemory<T> memory = memory_of(args.inputs);
  if (memory.cells.atoms > 0) sort_atoms(args.inputs, memory, stream);
  BACKMAP_LAUNCH(sum_blocks<T>, args.inputs.batch * memory.blocks_of_frame, threads, stream, args.inputs, memory);
  BACKMAP_LAUNCH(sum_frames<T>, args.inputs.batch, threads, stream, args, memory);
  check_launch("structure_penalty");
}

template <typename T>
void structure_penalty_backward(const PenaltyBackwardArguments<T>& args, void* stream) {
  const PenaltyInputs<T>& inputs = args.inputs;
  const PenaltyMemory<T> memory = memory_of(inputs);
  if (inputs.batch * memory.cells.atoms == 0) return;
  sort_atoms(inputs, memory, stream);
  list_pairs_of_atoms(inputs.bond, inputs.bonds, memory.bonds_of_atom, stream);
  list_pairs_of_atoms(inputs.angle, inputs.angles, memory.angles_of_atom, stream);
  BACKMAP_LAUNCH(penalty_backward<T>, blocks_for(inputs.batch * memory.cells.atoms, threads), threads, stream, args,
                 memory);
  check_launch("structure_penalty_backward");
}

template int64_t penalty_workspace<float>(int64_t, int64_t, int64_t, int64_t);
template int64_t penalty_workspace<double>(int64_t, int64_t, int64_t, int64_t);
template void structure_penalty(const PenaltyArguments<float>&, void*);
template void structure_penalty(const PenaltyArguments<double>&, void*);
template void structure_penalty_backward(const PenaltyBackwardArguments<float>&, void*);
template void structure_penalty_backward(const PenaltyBackwardArguments<double>&, void*);

}  // namespace backmap::cuda
