// Energy of beads by a prior, with its gradient: one thread per term.
#include <algorithm>

#include "cuda/fixed_sums.h"
#include "cuda/launch.h"
#include "kernels/bead_prior.h"

namespace backmap::cuda {
namespace {

constexpr int threads = 128;

template <typename T>
__global__ void count_broken(PriorArguments<T> a, Sums sums) {
  const int64_t n = thread_of_grid(), beads = a.terms.bent.atoms;
  if (n < a.batch * beads && !is_finite(load(a.position + 3 * n))) atomicAdd(sums.broken + n / beads, 1);
}

template <typename T>
__global__ void add_terms(PriorArguments<T> a, Sums sums) {
  const int64_t n = thread_of_grid(), count = a.terms.count(), beads = a.terms.bent.atoms;
  if (n >= a.batch * count) return;
  const int64_t frame = n / count;
  FixedPoint* gradient = sums.gradient + 3 * beads * frame;
  const T energy = prior_term(a.terms, n % count, a.position + 3 * beads * frame,
                              [&](int64_t bead, const Vec3<T>& grad) { add_fixed(gradient + 3 * bead, grad); });
  add_fixed(sums.energy + frame, double(energy));
}

template <typename T>
__global__ void finish(PriorArguments<T> a, Sums sums) {
  const int64_t n = thread_of_grid(), of_frame = 3 * a.terms.bent.atoms;
  if (n < a.batch) a.energy[n] = T(from_fixed(sums.energy[n])) + (sums.broken[n] > 0 ? T(NAN) : T(0));
  if (n < a.batch * of_frame)
    a.gradient[n] = T(from_fixed(sums.gradient[n])) + (sums.broken[n / of_frame] > 0 ? T(NAN) : T(0));
}

}  // namespace

template <typename T>
int64_t prior_workspace(int64_t batch, int64_t beads) {
  return bytes_of_sums(batch, beads);
}

template <typename T>
void bead_prior(const PriorArguments<T>& args, void* stream) {
  const int64_t batch = args.batch, beads = args.terms.bent.atoms, terms = batch * args.terms.count();
  if (batch == 0) return;
  const Sums sums = sums_in(args.workspace, batch, beads);
  const int64_t items = batch * std::max<int64_t>(3 * beads, 1);
  BACKMAP_LAUNCH(clear_sums, blocks_for(items, threads), threads, stream, sums, batch, beads);
  if (beads > 0) BACKMAP_LAUNCH(count_broken<T>, blocks_for(batch * beads, threads), threads, stream, args, sums);
  if (terms > 0) BACKMAP_LAUNCH(add_terms<T>, blocks_for(terms, threads), threads, stream, args, sums);
  BACKMAP_LAUNCH(finish<T>, blocks_for(items, threads), threads, stream, args, sums);
  check_launch("bead_prior");
}

template int64_t prior_workspace<float>(int64_t, int64_t);
template int64_t prior_workspace<double>(int64_t, int64_t);
template void bead_prior(const PriorArguments<float>&, void*);
template void bead_prior(const PriorArguments<double>&, void*);

}  // namespace backmap::cuda
