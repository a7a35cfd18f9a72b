// Side-chain packing by Gibbs sweeps. One block per frame, residues in sequence, one warp per candidate.
#include "core/bounding_sphere.h"
#include "core/contact_energy.h"
#include "core/pair_terms.h"
#include "core/rotamer_draw.h"
#include "cuda/launch.h"
#include "kernels/pack_side_chains.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 256;
constexpr int warps = threads / warp_size;

// The arrays of one frame, and its part of the workspace.
template <typename T>
struct PackFrame {
  const T* candidate;
  const T* backbone;
  const bool* backbone_present;
  const T* uniform;
  const T* own_energy;  // null for none
  int64_t* choice;
  T* energy;
  T* side_bound;      // (residues, 4) centre and radius
  T* backbone_bound;  // (residues, 4)
  T* fixed_energy;    // (residues, candidates)
  T* visited;         // (candidates) energies of the current residue
  PeriodicBox<T> box;
};

// Elements of the workspace per frame.
BACKMAP_HD int64_t elements_of_frame(int64_t residues, int64_t candidates) {
  return residues * (8 + candidates) + candidates;
}

template <typename T>
__device__ PackFrame<T> frame_at(const PackArguments<T>& a, int64_t b) {
  const int64_t r = a.residues, k = a.candidates;
  T* workspace = static_cast<T*>(a.workspace) + b * elements_of_frame(r, k);
  return {a.candidate + b * r * k * a.side_slots * 3,
          a.backbone + b * r * a.backbone_slots * 3,
          a.backbone_present + b * a.backbone_present_stride,
          a.uniform + b * a.sweeps * r,
          a.own_energy ? a.own_energy + b * r * k : nullptr,
          a.choice + b * r,
          a.energy + b * r,
          workspace,
          workspace + 4 * r,
          workspace + 8 * r,
          workspace + (8 + k) * r,
          box_of_frame(a.box, a.box_stride, b)};
}

template <typename T>
__device__ Sphere<T> load_sphere(const T* p) {
  return {load(p), p[3]};
}

template <typename T>
__device__ void store_sphere(T* p, const Sphere<T>& s) {
  store(p, s.centre);
  p[3] = s.radius;
}

template <typename T>
__device__ bool side_atom(const PackArguments<T>& a, const PackFrame<T>& f, int64_t i, int64_t k, int64_t s,
                          Sphere<T>& atom) {
  if (!a.candidate_present[i * a.side_slots + s]) return false;
  atom = {load(f.candidate + 3 * ((i * a.candidates + k) * a.side_slots + s)), a.side_radius[i * a.side_slots + s]};
  return true;
}

template <typename T>
__device__ bool backbone_atom(const PackArguments<T>& a, const PackFrame<T>& f, int64_t i, int64_t t, Sphere<T>& atom) {
  const int64_t at = i * a.backbone_slots + t;
  if (!f.backbone_present[at]) return false;
  atom = {load(f.backbone + 3 * at), a.backbone_radius[at]};
  return true;
}

// The radius up to which an atom may meet others.
template <typename T>
__device__ void widen(const PackArguments<T>& a, Sphere<T>& atom) {
  if (a.contacts.energy) atom.radius = radius_in_reach(atom.radius, a.contacts.reach);
}

// ---- Surroundings of a candidate ---------------------------------------------------------------

// The current side chains of the other residues.
template <typename T>
struct SideChains {
  const PackArguments<T>& a;
  const PackFrame<T>& f;
  __device__ int64_t slots() const { return a.side_slots; }
  __device__ Sphere<T> bound(int64_t j) const { return load_sphere(f.side_bound + 4 * j); }
  __device__ bool meets(int64_t i, int64_t j) const { return i != j; }
  __device__ bool atom(int64_t j, int64_t s, Sphere<T>& sphere) const {
    return side_atom(a, f, j, f.choice[j], s, sphere);
  }
  __device__ int64_t class_of(int64_t j, int64_t s) const { return a.side_class[j * a.side_slots + s]; }
};

// The backbones of the other residues, except for chain neighbours.
template <typename T>
struct Backbones {
  const PackArguments<T>& a;
  const PackFrame<T>& f;
  __device__ int64_t slots() const { return a.backbone_slots; }
  __device__ Sphere<T> bound(int64_t j) const { return load_sphere(f.backbone_bound + 4 * j); }
  __device__ bool meets(int64_t i, int64_t j) const { return i != j && !are_linked(i, j, a.following); }
  __device__ bool atom(int64_t j, int64_t t, Sphere<T>& sphere) const { return backbone_atom(a, f, j, t, sphere); }
  __device__ int64_t class_of(int64_t j, int64_t t) const { return a.backbone_class[j * a.backbone_slots + t]; }
};

// Lists, in ascending order, the residues of [base, base + threads) that residue i may touch.
template <typename T, typename Others>
__device__ int collect(const PackArguments<T>& a, const PackFrame<T>& f, const Others& others, int64_t i, int64_t base,
                       int32_t* list) {
  const int64_t j = base + threadIdx.x;
  const bool near =
      j < a.residues && others.meets(i, j) && may_touch(load_sphere(f.side_bound + 4 * i), others.bound(j), f.box);
  return list_chosen(near, j, list);
}

// Energy of candidate k of residue i among the listed residues, whose atoms the lanes of a warp share.
template <typename T, typename Others>
__device__ T energy_among(const PackArguments<T>& a, const PackFrame<T>& f, const Others& others, int64_t i, int64_t k,
                          const int32_t* list, int count) {
  T overlaps = T(0), contacts = T(0);
  Sphere<T> own, other;
  const T scale = a.contacts.energy ? a.contacts.scale() : T(0);
  for (int64_t n = threadIdx.x % warp_size; n < count * others.slots(); n += warp_size) {
    const int64_t j = list[n / others.slots()], t = n % others.slots();
    if (!others.atom(j, t, other)) continue;
    for (int64_t s = 0; s < a.side_slots; ++s) {
      if (!side_atom(a, f, i, k, s, own)) continue;
      const Vec3<T> d = minimum_image(own.centre - other.centre, f.box);
      const T squared = dot(d, d);
      overlaps += squared_overlap(squared, own.radius + other.radius);
      if (!a.contacts.energy) continue;
      const T* knots = a.contacts.knots_of(a.side_class[i * a.side_slots + s], others.class_of(j, t));
      if (knots) contacts += interpolate(knots, squared * scale, int32_t(a.contacts.knots - 1));
    }
  }
  return a.strength * warp_sum(overlaps) + warp_sum(contacts);
}

// Adds the energies of candidates [first, last) of residue i among the others to energies[k - first]. All threads of
// the block call it and see the energies afterwards.
template <typename T, typename Others>
__device__ void add_energies(const PackArguments<T>& a, const PackFrame<T>& f, const Others& others, int64_t i,
                             int64_t first, int64_t last, T* energies) {
  __shared__ int32_t list[threads];
  for (int64_t base = 0; base < a.residues; base += threads) {
    const int count = collect(a, f, others, i, base, list);
    for (int64_t k = first + threadIdx.x / warp_size; k < last; k += warps) {
      const T sum = energy_among(a, f, others, i, k, list, count);
      if (threadIdx.x % warp_size == 0) energies[k - first] += sum;
    }
    __syncthreads();
  }
}

template <typename T>
__device__ bool has_side_chain(const PackArguments<T>& a, int64_t i) {
  for (int64_t s = 0; s < a.side_slots; ++s)
    if (a.candidate_present[i * a.side_slots + s]) return true;
  return false;
}

// ---- Kernels -----------------------------------------------------------------------------------

// One thread per residue.
template <typename T>
__global__ void bound_residues(PackArguments<T> a) {
  const int64_t item = thread_of_grid();
  if (item >= a.batch * a.residues) return;
  const PackFrame<T> f = frame_at(a, item / a.residues);
  const int64_t i = item % a.residues;
  const auto side = [&](int64_t n, Sphere<T>& atom) {
    const bool exists = side_atom(a, f, i, n / a.side_slots, n % a.side_slots, atom);
    widen(a, atom);
    return exists;
  };
  const auto backbone = [&](int64_t t, Sphere<T>& atom) {
    const bool exists = backbone_atom(a, f, i, t, atom);
    widen(a, atom);
    return exists;
  };
  store_sphere(f.side_bound + 4 * i, bounding_sphere<T>(a.candidates * a.side_slots, side));
  store_sphere(f.backbone_bound + 4 * i, bounding_sphere<T>(a.backbone_slots, backbone));
  f.choice[i] = 0;
}

// One block per residue. The backbone does not move, so this part of the energies is computed only once.
template <typename T>
__global__ void compute_fixed_energies(PackArguments<T> a) {
  const PackFrame<T> f = frame_at(a, blockIdx.x / a.residues);
  const int64_t i = blockIdx.x % a.residues;
  T* energies = f.fixed_energy + i * a.candidates;
  for (int64_t k = threadIdx.x; k < a.candidates; k += threads)
    energies[k] = f.own_energy ? f.own_energy[i * a.candidates + k] : T(0);
  __syncthreads();
  if (has_side_chain(a, i)) add_energies(a, f, Backbones<T>{a, f}, i, int64_t(0), a.candidates, energies);
}

// One block per frame.
template <typename T>
__global__ void sweep_residues(PackArguments<T> a) {
  const PackFrame<T> f = frame_at(a, blockIdx.x);
  for (int64_t visit = 0; visit < a.sweeps * a.residues; ++visit) {
    const int64_t sweep = visit / a.residues, step = visit % a.residues;
    const int64_t i = sweep % 2 == 0 ? step : a.residues - 1 - step;
    if (!has_side_chain(a, i)) continue;
    for (int64_t k = threadIdx.x; k < a.candidates; k += threads) f.visited[k] = f.fixed_energy[i * a.candidates + k];
    __syncthreads();
    add_energies(a, f, SideChains<T>{a, f}, i, int64_t(0), a.candidates, f.visited);
    if (threadIdx.x == 0) f.choice[i] = draw(f.visited, a.candidates, f.uniform[sweep * a.residues + i]);
    __syncthreads();
  }
}

// One block per residue.
template <typename T>
__global__ void compute_final_energies(PackArguments<T> a) {
  const PackFrame<T> f = frame_at(a, blockIdx.x / a.residues);
  const int64_t i = blockIdx.x % a.residues, k = f.choice[i];
  const bool built = has_side_chain(a, i);
  if (threadIdx.x == 0) f.energy[i] = built ? f.fixed_energy[i * a.candidates + k] : T(0);
  __syncthreads();
  if (built) add_energies(a, f, SideChains<T>{a, f}, i, k, k + 1, f.energy + i);
}

}  // namespace

template <typename T>
int64_t pack_workspace(int64_t batch, int64_t residues, int64_t candidates) {
  return batch * elements_of_frame(residues, candidates) * int64_t(sizeof(T));
}

template <typename T>
void pack_side_chains(const PackArguments<T>& args, void* stream) {
  const int64_t residues = args.batch * args.residues;
  if (residues == 0) return;
  BACKMAP_LAUNCH(bound_residues<T>, blocks_for(residues, threads), threads, stream, args);
  BACKMAP_LAUNCH(compute_fixed_energies<T>, residues, threads, stream, args);
  BACKMAP_LAUNCH(sweep_residues<T>, args.batch, threads, stream, args);
  BACKMAP_LAUNCH(compute_final_energies<T>, residues, threads, stream, args);
  check_launch("pack_side_chains");
}

template int64_t pack_workspace<float>(int64_t, int64_t, int64_t);
template int64_t pack_workspace<double>(int64_t, int64_t, int64_t);
template void pack_side_chains(const PackArguments<float>&, void*);
template void pack_side_chains(const PackArguments<double>&, void*);

}  // namespace backmap::cuda
