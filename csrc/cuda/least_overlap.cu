// Trials that overlap least with the atoms placed so far. One block per frame, groups in sequence, one warp per trial.
#include "core/bounding_sphere.h"
#include "core/pair_terms.h"
#include "core/trial_overlap.h"
#include "cuda/launch.h"
#include "kernels/least_overlap.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 256;
constexpr int warps = threads / warp_size;

// The current group, as all threads see it.
template <typename T>
struct Group {
  const T* atoms;
  const T* trial;  // (trials, points, 3)
  int64_t residue;
  Sphere<T> bound;  // of all trial points, including their reach
  PeriodicBox<T> box;
};

// Lists, in ascending order, the atoms of [base, base + threads) that a trial may touch.
template <typename T>
__device__ int collect(const LeastOverlapArguments<T>& a, const Group<T>& group, int64_t base, int32_t* list) {
  const int64_t i = base + threadIdx.x;
  bool near = i < a.residues * a.slots && counts_for_trials(i / a.slots, group.residue);
  if (near) near = may_touch(group.bound, Sphere<T>{load(group.atoms + 3 * i), T(0)}, group.box);
  return list_chosen(near, i, list);
}

// Overlap of trial t with the listed atoms, which the lanes of a warp share.
template <typename T>
__device__ T overlap_with(const LeastOverlapArguments<T>& a, const Group<T>& group, int64_t t, const int32_t* list,
                          int count) {
  T sum = T(0);
  for (int n = threadIdx.x % warp_size; n < count; n += warp_size)
    for (int64_t p = 0; p < a.points; ++p) {
      const Vec3<T> point = load(group.trial + 3 * (t * a.points + p));
      const Vec3<T> d = minimum_image(point - load(group.atoms + 3 * int64_t(list[n])), group.box);
      sum += squared_overlap(dot(d, d), a.distance);
    }
  return warp_sum(sum);
}

template <typename T>
__global__ void choose_trials(LeastOverlapArguments<T> a) {
  __shared__ int32_t list[threads];
  const int64_t b = blockIdx.x, atoms_of_frame = a.residues * a.slots;
  T *atoms = a.atoms + 3 * atoms_of_frame * b, *score = a.score + a.trials * b;
  const int warp = threadIdx.x / warp_size;
  for (int64_t g = 0; g < a.groups; ++g) {
    const int64_t of_group = (b * a.groups + g) * a.trials;
    Group<T> group{atoms, a.trial + 3 * a.points * of_group, a.residue[g], {}, box_of_frame(a.box, a.box_stride, b)};
    group.bound = bounding_sphere<T>(a.trials * a.points, [&](int64_t n, Sphere<T>& point) {
      point = {load(group.trial + 3 * n), a.distance};
      return true;
    });
    for (int64_t t = threadIdx.x; t < a.trials; t += threads) score[t] = a.penalty[of_group + t];
    __syncthreads();
    for (int64_t base = 0; base < atoms_of_frame; base += threads) {
      const int count = collect(a, group, base, list);
      for (int64_t t = warp; t < a.trials; t += warps) {
        const T sum = overlap_with(a, group, t, list, count);
        if (threadIdx.x % warp_size == 0) score[t] += sum;
      }
      __syncthreads();
    }
    if (threadIdx.x == 0) {
      const int64_t chosen = a.choice[b * a.groups + g] = first_smallest(score, a.trials);
      for (int64_t p = 0; p < a.points; ++p) {
        const int64_t target = a.target[g * a.points + p];
        if (0 <= target && target < atoms_of_frame)
          store(atoms + 3 * target, load(group.trial + 3 * (chosen * a.points + p)));
      }
    }
    __syncthreads();
  }
}

}  // namespace

template <typename T>
void least_overlap(const LeastOverlapArguments<T>& args, void* stream) {
  if (args.batch * args.groups == 0) return;
  BACKMAP_LAUNCH(choose_trials<T>, args.batch, threads, stream, args);
  check_launch("least_overlap");
}

template void least_overlap(const LeastOverlapArguments<float>&, void*);
template void least_overlap(const LeastOverlapArguments<double>&, void*);

}  // namespace backmap::cuda
