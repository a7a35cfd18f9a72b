// Langevin dynamics of a molecule in implicit solvent. A block takes a frame through all steps; its threads share
// atoms, listed terms and constraints. Listed terms are summed in fixed point, so that their order does not matter.
#include <algorithm>

#include "cuda/fixed_sums.h"
#include "cuda/launch.h"
#include "kernels/langevin_dynamics.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

// Blocks take one frame after another, so that the working memory does not grow with the number of frames.
constexpr int64_t most_blocks = 2048;

inline int64_t block_count(int64_t batch) { return std::min(batch, most_blocks); }

// Fixed-point sums of a frame, then its positions before a step, gradients, bonds and shares, and Born
// radii with their slopes and derivatives.
inline __host__ __device__ int64_t fixed_of_frame(int64_t atoms) { return 3 * atoms + 1; }
inline __host__ __device__ int64_t numbers_of_frame(int64_t atoms, int64_t constraints) {
  return 6 * atoms + 4 * constraints + 3 * atoms;
}

template <typename T>
struct Memory {
  FixedPoint *sums, *energy;
  T *before, *gradient, *bond, *share, *born, *born_slope, *by_integral;
};

template <typename T>
__device__ Memory<T> memory_of(const DynamicsArguments<T>& args) {
  const int64_t atoms = args.terms.atoms;
  FixedPoint* fixed = static_cast<FixedPoint*>(args.workspace);
  Memory<T> memory;
  memory.sums = fixed + blockIdx.x * fixed_of_frame(atoms);
  memory.energy = memory.sums + 3 * atoms;
  memory.before = reinterpret_cast<T*>(fixed + gridDim.x * fixed_of_frame(atoms)) +
                  blockIdx.x * numbers_of_frame(atoms, args.constraints);
  memory.gradient = memory.before + 3 * atoms;
  memory.bond = memory.gradient + 3 * atoms;
  memory.share = memory.bond + 3 * args.constraints;
  memory.born = memory.share + args.constraints;
  memory.born_slope = memory.born + atoms;
  memory.by_integral = memory.born_slope + atoms;
  return memory;
}

template <typename T>
__device__ T bounded_square(const Vec3<T>& d) {
  const T square = dot(d, d);
  return square < T(least_square_nm2) ? T(least_square_nm2) : square;
}

// The energy of a frame, the same in all threads; its gradient goes to the working memory.
template <typename T>
__device__ T evaluate(const DynamicsArguments<T>& args, const T* position, const Memory<T>& memory) {
  const int64_t atoms = args.terms.atoms;
  const T *charge = args.solvent + SolventRow::solvent_charge * atoms,
          *radius = args.solvent + SolventRow::solvent_radius * atoms,
          *reduced = args.solvent + SolventRow::reduced_radius * atoms,
          *screening = args.solvent + SolventRow::screening_radius * atoms,
          *surface = args.solvent + SolventRow::surface_energy * atoms;
  for (int64_t n = threadIdx.x; n < fixed_of_frame(atoms); n += threads) memory.sums[n] = 0;
  for (int64_t i = threadIdx.x; i < atoms; i += threads) {
    T integral = T(0);
    for (int64_t j = 0; j < atoms; ++j)
      if (j != i)
        integral +=
            screen(bounded_square(load(position + 3 * i) - load(position + 3 * j)), screening[j], reduced[i]).integral;
    const BornRadius<T> born = born_radius(integral, radius[i], reduced[i]);
    memory.born[i] = born.value;
    memory.born_slope[i] = born.slope;
  }
  __syncthreads();
  double energy = 0;
  for (int64_t i = threadIdx.x; i < atoms; i += threads) {
    Vec3<T> gradient{T(0), T(0), T(0)};
    T by_born = T(0);
    for (int64_t j = 0; j < atoms; ++j) {
      if (j == i) continue;
      const Vec3<T> d = load(position + 3 * i) - load(position + 3 * j);
      const T* table = args.pair + i * atoms + j;
      const SolvatedPair<T> pair =
          solvated_pair(bounded_square(d), table[0], table[atoms * atoms], table[2 * atoms * atoms],
                        args.polarisation * charge[i] * charge[j], memory.born[i], memory.born[j]);
      gradient -= pair.push * d;
      by_born += pair.by_born * memory.born[j];
      energy += 0.5 * double(pair.energy);
    }
    T slope;
    energy += double(own_energy(args.polarisation, charge[i], surface[i], memory.born[i], slope));
    memory.by_integral[i] = (by_born + slope) * memory.born_slope[i];
    store(memory.gradient + 3 * i, gradient);
  }
  __syncthreads();
  for (int64_t i = threadIdx.x; i < atoms; i += threads) {
    Vec3<T> gradient = load(memory.gradient + 3 * i);
    for (int64_t j = 0; j < atoms; ++j) {
      if (j == i) continue;
      const Vec3<T> d = load(position + 3 * i) - load(position + 3 * j);
      const T square = bounded_square(d);
      const T push = memory.by_integral[i] * screen(square, screening[j], reduced[i]).slope +
                     memory.by_integral[j] * screen(square, screening[i], reduced[j]).slope;
      gradient -= push * d;
    }
    store(memory.gradient + 3 * i, gradient);
  }
  for (int64_t m = threadIdx.x; m < args.terms.count(); m += threads) {
    const T found = listed_term(args.terms, m, position,
                                [&](int64_t atom, const Vec3<T>& grad) { add_fixed(memory.sums + 3 * atom, grad); });
    add_fixed(memory.energy, double(found));
  }
  const double pairs = block_sum(energy);
  __syncthreads();
  for (int64_t n = threadIdx.x; n < 3 * atoms; n += threads) memory.gradient[n] += T(from_fixed(memory.sums[n]));
  __syncthreads();
  return T(pairs + from_fixed(*memory.energy));
}

template <typename T>
__device__ Vec3<T> bond_of(const T* vectors, const Constraint<T>& c) {
  return load(vectors + 3 * c.first) - load(vectors + 3 * c.second);
}

template <typename T>
__device__ void find_bonds(const DynamicsArguments<T>& args, const T* position, const Memory<T>& memory) {
  for (int64_t k = threadIdx.x; k < args.constraints; k += threads)
    store(memory.bond + 3 * k, bond_of(position, constraint_at(args, k)));
  __syncthreads();
}

// Corrects `vectors` with shares of the bonds that were found: velocities, or positions.
template <typename T>
__device__ void constrain(const DynamicsArguments<T>& args, const Memory<T>& memory, T* vectors, bool velocities) {
  for (int64_t iteration = 0; iteration < args.iterations; ++iteration) {
    for (int64_t k = threadIdx.x; k < args.constraints; k += threads) {
      const Constraint<T> c = constraint_at(args, k);
      const Vec3<T> now = bond_of(vectors, c), bond = load(memory.bond + 3 * k);
      memory.share[k] = velocities ? velocity_share(c, bond, now) : position_share(c, now, bond);
    }
    __syncthreads();
    // Each atom looks for its constraints, of which there are few, so that no sum is atomic.
    for (int64_t i = threadIdx.x; i < args.terms.atoms; i += threads) {
      Vec3<T> vector = load(vectors + 3 * i);
      for (int64_t k = 0; k < args.constraints; ++k) {
        const Constraint<T> c = constraint_at(args, k);
        if (!c.acts) continue;
        const Vec3<T> change = memory.share[k] * load(memory.bond + 3 * k);
        if (c.first == i) vector += args.inverse_mass[i] * change;
        if (c.second == i) vector -= args.inverse_mass[i] * change;
      }
      store(vectors + 3 * i, vector);
    }
    __syncthreads();
  }
}

template <typename T>
__device__ void simulate(const DynamicsArguments<T>& args, int64_t frame, const Memory<T>& memory) {
  const int64_t atoms = args.terms.atoms, numbers = 3 * atoms;
  T *position = args.moved + frame * numbers, *velocities = args.moved_velocity + frame * numbers;
  const T* normal = args.normal + frame * args.steps * numbers;
  const T agitation = std::sqrt(T(1) - args.kept * args.kept), half = T(0.5) * args.step;
  for (int64_t n = threadIdx.x; n < numbers; n += threads) {
    position[n] = args.atoms[frame * numbers + n];
    velocities[n] = args.inverse_mass[n / 3] > T(0) ? args.velocity[frame * numbers + n] : T(0);
  }
  __syncthreads();
  find_bonds(args, position, memory);
  for (int64_t step = 0; step < args.steps; ++step) {
    evaluate(args, position, memory);
    for (int64_t i = threadIdx.x; i < atoms; i += threads) {
      T* velocity = velocities + 3 * i;
      store(velocity, load(velocity) + force_kick(args, args.inverse_mass[i], load(memory.gradient + 3 * i)));
    }
    __syncthreads();
    constrain(args, memory, velocities, true);
    for (int64_t n = threadIdx.x; n < numbers; n += threads) {
      T& velocity = velocities[n];
      position[n] += half * velocity;
      velocity = args.kept * velocity + agitation * std::sqrt(args.kt * args.inverse_mass[n / 3]) * normal[n];
      position[n] += half * velocity;
      memory.before[n] = position[n];
    }
    __syncthreads();
    constrain(args, memory, position, false);
    for (int64_t n = threadIdx.x; n < numbers; n += threads)
      velocities[n] += (position[n] - memory.before[n]) / args.step;
    find_bonds(args, position, memory);
    normal += numbers;
  }
  const T energy = evaluate(args, position, memory);
  if (threadIdx.x == 0) args.energy[frame] = energy;
  __syncthreads();  // the working memory is used again
}

template <typename T>
__global__ void simulate_frames(DynamicsArguments<T> args) {
  const Memory<T> memory = memory_of(args);
  for (int64_t frame = blockIdx.x; frame < args.batch; frame += gridDim.x) simulate(args, frame, memory);
}

}  // namespace

template <typename T>
int64_t dynamics_workspace(int64_t batch, int64_t atoms, int64_t constraints) {
  return block_count(batch) * (fixed_of_frame(atoms) * int64_t(sizeof(FixedPoint)) +
                               numbers_of_frame(atoms, constraints) * int64_t(sizeof(T)));
}

template <typename T>
void langevin_dynamics(const DynamicsArguments<T>& args, void* stream) {
  if (args.batch == 0) return;
  BACKMAP_LAUNCH(simulate_frames<T>, block_count(args.batch), threads, stream, args);
  check_launch("langevin_dynamics");
}

#define BACKMAP_INSTANTIATE(T)                                       \
  template int64_t dynamics_workspace<T>(int64_t, int64_t, int64_t); \
  template void langevin_dynamics(const DynamicsArguments<T>&, void*);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cuda
