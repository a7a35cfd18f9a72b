// Energy and gradient of a molecule: one thread per listed term, then one per atom, which visits all others.
//
// Terms are summed as integers of fixed point, whose sums do not depend on their order.
#include <algorithm>

#include "core/pair_terms.h"
#include "cuda/fixed_sums.h"
#include "cuda/launch.h"
#include "kernels/molecular_mechanics.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

template <typename T>
__global__ void add_listed(MechanicsArguments<T> a, Sums sums) {
  const int64_t n = thread_of_grid(), count = a.terms.count();
  if (n >= a.batch * count) return;
  const int64_t frame = n / count;
  FixedPoint* gradient = sums.gradient + 3 * a.terms.atoms * frame;
  const T energy = listed_term(a.terms, n % count, a.atoms + 3 * a.terms.atoms * frame,
                               [&](int64_t atom, const Vec3<T>& grad) { add_fixed(gradient + 3 * atom, grad); });
  add_fixed(sums.energy + frame, double(energy));
}

// An atom as the pairs need it.
template <typename T>
struct Particle {
  Vec3<T> position;
  T charge, sigma, root_of_epsilon;
};

template <typename T>
__device__ Particle<T> particle_at(const MechanicsArguments<T>& a, const T* atoms, int64_t i) {
  const T* of_atom = a.particle + 3 * i;
  return {load(atoms + 3 * i), of_atom[0], of_atom[1], std::sqrt(of_atom[2])};
}

// Each block takes `threads` atoms of one frame, and passes all atoms through shared memory.
template <typename T>
__global__ void add_pairs(MechanicsArguments<T> a, Sums sums, int64_t blocks_of_frame) {
  __shared__ Particle<T> others[threads];
  const int64_t count = a.terms.atoms, frame = blockIdx.x / blocks_of_frame;
  const int64_t i = blockIdx.x % blocks_of_frame * threads + threadIdx.x;
  const T* atoms = a.atoms + 3 * count * frame;
  const bool exists = i < count;
  const Particle<T> own = particle_at(a, atoms, exists ? i : 0);
  const RowOfList excluded = exists ? row_of_list(a.exclusion_start, i, a.exclusions) : RowOfList{0, 0};
  const T square_cutoff = a.cutoff * a.cutoff;
  Vec3<T> gradient{T(0), T(0), T(0)};
  double energies = 0;
  for (int64_t base = 0; base < count; base += threads) {
    __syncthreads();
    if (base + threadIdx.x < count) others[threadIdx.x] = particle_at(a, atoms, base + threadIdx.x);
    __syncthreads();
    const int64_t end = count - base < threads ? count - base : threads;
    for (int64_t n = 0; exists && n < end; ++n) {
      const Particle<T>& other = others[n];
      const Vec3<T> d = own.position - other.position;
      const T real = dot(d, d);
      if (!(real < square_cutoff) || base + n == i || is_listed(a.exclusion, excluded, base + n)) continue;
      const T square = at_least(real, smallest_square_nm2);
      T energy, slope;
      pair_energy<T>(square, a.terms.coulomb * own.charge * other.charge, T(0.5) * (own.sigma + other.sigma),
                     T(4) * own.root_of_epsilon * other.root_of_epsilon, a.terms.inverse_square_cutoff, energy, slope);
      energies += double(energy + slope * (real - square));
      gradient += (T(2) * slope) * d;
    }
  }
  if (!exists) return;
  if (!is_finite(own.position)) atomicAdd(sums.broken + frame, 1);
  add_fixed(sums.energy + frame, 0.5 * energies);
  store(a.gradient + 3 * (count * frame + i), gradient);
}

// Adds the listed terms to the gradient of the pairs; without atoms, a frame still has an energy.
template <typename T>
__global__ void finish(MechanicsArguments<T> a, Sums sums) {
  const int64_t n = thread_of_grid(), count = a.terms.atoms, rows = count > 0 ? count : 1;
  if (n >= a.batch * rows) return;
  const int64_t frame = n / rows;
  const T nothing = sums.broken[frame] > 0 ? T(NAN) : T(0);
  if (n % rows == 0) a.energy[frame] = T(from_fixed(sums.energy[frame])) + nothing;
  if (count == 0) return;
  for (int axis = 0; axis < 3; ++axis) a.gradient[3 * n + axis] += T(from_fixed(sums.gradient[3 * n + axis])) + nothing;
}

}  // namespace

template <typename T>
int64_t mechanics_workspace(int64_t batch, int64_t atoms) {
  return bytes_of_sums(batch, atoms);
}

template <typename T>
void molecular_mechanics(const MechanicsArguments<T>& args, void* stream) {
  const int64_t batch = args.batch, atoms = args.terms.atoms, terms = batch * args.terms.count();
  if (batch == 0) return;
  const Sums sums = sums_in(args.workspace, batch, atoms);
  const int64_t items = std::max<int64_t>(3 * atoms, 1) * batch, blocks_of_frame = blocks_for(atoms, threads);
  BACKMAP_LAUNCH(clear_sums, blocks_for(items, threads), threads, stream, sums, batch, atoms);
  if (terms > 0) BACKMAP_LAUNCH(add_listed<T>, blocks_for(terms, threads), threads, stream, args, sums);
  if (atoms > 0) BACKMAP_LAUNCH(add_pairs<T>, batch * blocks_of_frame, threads, stream, args, sums, blocks_of_frame);
  BACKMAP_LAUNCH(finish<T>, blocks_for(items, threads), threads, stream, args, sums);
  check_launch("molecular_mechanics");
}

template int64_t mechanics_workspace<float>(int64_t, int64_t);
template int64_t mechanics_workspace<double>(int64_t, int64_t);
template void molecular_mechanics(const MechanicsArguments<float>&, void*);
template void molecular_mechanics(const MechanicsArguments<double>&, void*);

}  // namespace backmap::cuda
