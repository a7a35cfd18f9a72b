// C-alphas drawn about their beads, and their energies. One block per frame; its threads share the residues.
#include "cuda/launch.h"
#include "cuda/linked_lists.h"
#include "kernels/c_alphas.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 256;

template <typename T>
struct DrawMemory {
  Vec3<T>* window_gradient;  // (batch, residues, 4) of the window that starts at each residue
  Vec3<T>* gradient;         // (batch, residues)
  int32_t* listed;           // (batch, residues, contacts_listed)
  int32_t* listed_count;     // (batch, residues)
};

template <typename T>
DrawMemory<T> take_draw_memory(Workspace& workspace, int64_t batch, int64_t residues) {
  Vec3<T>* const window_gradient = workspace.take<Vec3<T>>(4 * batch * residues);
  Vec3<T>* const gradient = workspace.take<Vec3<T>>(batch * residues);
  int32_t* const listed = workspace.take<int32_t>(contacts_listed * batch * residues);
  return {window_gradient, gradient, listed, workspace.take<int32_t>(batch * residues)};
}

// The arrays of one frame.
template <typename T>
struct DrawFrame {
  const T *bead, *noise, *bond, *weight;
  T* place;
  Vec3<T>*window_gradient, *gradient;
  int32_t *listed, *listed_count;
  PeriodicBox<T> box;
};

template <typename T>
__device__ DrawFrame<T> frame_at(const DrawCAlphasArguments<T>& a, const DrawMemory<T>& memory, int64_t b) {
  const int64_t r = b * a.residues;
  return {a.bead + 3 * r,
          a.noise + r,
          a.bond + r,
          a.weight + r,
          a.c_alpha + 3 * r,
          memory.window_gradient + 4 * r,
          memory.gradient + r,
          memory.listed + contacts_listed * r,
          memory.listed_count + r,
          box_of_frame(a.box, a.box_stride, b)};
}

// First the even bonds, then the odd ones, then those that close rings.
template <typename T>
__device__ void restore_bonds(const DrawCAlphasArguments<T>& a, const DrawFrame<T>& f, int rounds) {
  for (int round = 0; round < rounds; ++round)
    for (int64_t group = 0; group < 3; ++group) {
      const int64_t begin = group < 2 ? 2 * int64_t(threadIdx.x) + group : int64_t(threadIdx.x);
      for (int64_t i = begin; i < a.residues; i += group < 2 ? 2 * threads : threads) {
        const int64_t next = a.chain.after(i);
        if (next < 0 || f.bond[i] <= T(0) || (next == i + 1) != (group < 2)) continue;
        Vec3<T> first = load(f.place + 3 * i), second = load(f.place + 3 * next);
        restore_bond(first, second, f.bond[i], f.noise[i], f.noise[next]);
        store(f.place + 3 * i, first);
        store(f.place + 3 * next, second);
      }
      __syncthreads();
    }
}

// Compares every residue with every other: searches are rare, and so are large frames.
template <typename T>
__device__ void list_contacts(const DrawCAlphasArguments<T>& a, const DrawFrame<T>& f) {
  const T reach = a.contact_distance + T(contact_margin_nm), square = reach * reach;
  for (int64_t i = threadIdx.x; i < a.residues; i += threads) {
    const Vec3<T> own = load(f.place + 3 * i);
    int32_t count = 0;
    for (int64_t j = 0; j < a.residues && count < contacts_listed; ++j) {
      const Vec3<T> d = minimum_image(own - load(f.place + 3 * j), f.box);
      if (dot(d, d) < square && !near_in_chain(i, j, a.chain, f.bond))
        f.listed[contacts_listed * i + count++] = int32_t(j);
    }
    f.listed_count[i] = count;
  }
}

template <typename T>
__device__ void differentiate_windows(const DrawCAlphasArguments<T>& a, const DrawFrame<T>& f) {
  for (int64_t i = threadIdx.x; i < a.residues; i += threads) {
    Vec3<T> gradient[4] = {};
    const FourResidues four = four_from(i, a.chain);
    if (four.are_there() && f.weight[i] != T(0)) {
      const Window<T> window = window_at(four, f.place);
      add_window_gradient(window, window_energy(a.table, a.kind[i], window), f.weight[i], gradient);
    }
    for (int k = 0; k < 4; ++k) f.window_gradient[4 * i + k] = gradient[k];
  }
}

template <typename T>
__device__ Vec3<T> gradient_at(const DrawCAlphasArguments<T>& a, const DrawFrame<T>& f, int64_t i) {
  const Vec3<T> own = load(f.place + 3 * i);
  const T variance = f.noise[i] * f.noise[i];
  Vec3<T> sum{T(0), T(0), T(0)};
  if (variance > T(0)) sum = (T(1) / variance) * (own - load(f.bead + 3 * i));
  for (int64_t n = 0; n < f.listed_count[i]; ++n) {
    const Vec3<T> d = minimum_image(own - load(f.place + 3 * f.listed[contacts_listed * i + n]), f.box);
    sum += contact_gradient(d, a.contact_distance, a.contact_strength);
  }
  for (int64_t k = 0, start = i; k < 4 && start >= 0; ++k) {
    sum += f.window_gradient[4 * start + k];
    start = a.preceding ? a.preceding[start] : start - 1;
  }
  return sum;
}

template <typename T>
__global__ void draw_frames(DrawCAlphasArguments<T> a, DrawMemory<T> memory) {
  const int64_t b = blockIdx.x;
  const DrawFrame<T> f = frame_at(a, memory, b);
  const int64_t steps = a.steps[b] < most_steps ? a.steps[b] : most_steps;
  for (int64_t i = threadIdx.x; i < 3 * a.residues; i += threads) f.place[i] = f.bead[i];
  __syncthreads();
  if (steps <= 0) return;
  restore_bonds(a, f, last_rounds);
  for (int64_t n = 0; n < steps; ++n) {
    if (n % steps_between_searches == 0) list_contacts(a, f);
    differentiate_windows(a, f);
    __syncthreads();
    const Kicks<T> kicks = kicks_of_step(a.key, a.other, a.turn, b, n);
    const T heat = heat_of_step(a.dynamics, n, steps);
    for (int64_t i = threadIdx.x; i < a.residues; i += threads) f.gradient[i] = gradient_at(a, f, i);
    __syncthreads();  // all gradients are computed before any residue moves
    for (int64_t i = threadIdx.x; i < a.residues; i += threads) {
      const Vec3<T> move = langevin_move(a.dynamics, f.noise[i], f.gradient[i], heat, kicks, i);
      store(f.place + 3 * i, load(f.place + 3 * i) + move);
    }
    __syncthreads();
    restore_bonds(a, f, bond_rounds);
  }
  restore_bonds(a, f, last_rounds);
}

template <typename T>
__global__ void measure_energies(CAlphaEnergyArguments<T> a) {
  const int64_t item = thread_of_grid();
  if (item >= a.batch * a.residues) return;
  const int64_t i = item % a.residues;
  T energy = T(0);
  const FourResidues four = four_from(i, a.chain);
  if (four.are_there() && a.weight[item] != T(0)) {
    const Window<T> window = window_at(four, a.c_alpha + 3 * (item - i));
    energy = a.weight[item] * window_energy(a.table, a.kind[i], window).value;
  }
  a.energy[item] = energy;
}

}  // namespace

template <typename T>
int64_t draw_c_alphas_workspace(int64_t batch, int64_t residues) {
  Workspace workspace(nullptr);
  take_draw_memory<T>(workspace, batch, residues);
  return workspace.bytes();
}

template <typename T>
void c_alpha_energy(const CAlphaEnergyArguments<T>& args, void* stream) {
  const int64_t items = args.batch * args.residues;
  if (items == 0) return;
  BACKMAP_LAUNCH(measure_energies<T>, blocks_for(items, threads), threads, stream, args);
  check_launch("c_alpha_energy");
}

template <typename T>
void draw_c_alphas(const DrawCAlphasArguments<T>& args, void* stream) {
  if (args.batch * args.residues == 0) return;
  Workspace workspace(args.workspace);
  const DrawMemory<T> memory = take_draw_memory<T>(workspace, args.batch, args.residues);
  BACKMAP_LAUNCH(draw_frames<T>, args.batch, threads, stream, args, memory);
  check_launch("draw_c_alphas");
}

template int64_t draw_c_alphas_workspace<float>(int64_t, int64_t);
template int64_t draw_c_alphas_workspace<double>(int64_t, int64_t);
template void c_alpha_energy(const CAlphaEnergyArguments<float>&, void*);
template void c_alpha_energy(const CAlphaEnergyArguments<double>&, void*);
template void draw_c_alphas(const DrawCAlphasArguments<float>&, void*);
template void draw_c_alphas(const DrawCAlphasArguments<double>&, void*);

}  // namespace backmap::cuda
