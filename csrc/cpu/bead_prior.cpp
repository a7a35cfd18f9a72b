// Energy of beads by a prior, with its gradient. Threads share frames.
#include "kernels/bead_prior.h"

#include <algorithm>
#include <limits>

#include "cpu/clones.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t terms_per_thread = 1024;  // fewer are not worth a thread

// Adds the gradients of all terms, and returns their energy.
template <typename T>
BACKMAP_HD double sum_terms(const PriorTerms<T>& terms, const T* positions, T* gradient) {
  const auto add = [gradient](int64_t bead, const Vec3<T>& grad)
                       __attribute__((always_inline)) { store(gradient + 3 * bead, load(gradient + 3 * bead) + grad); };
  double energy = 0;
  for (int64_t m = 0; m < terms.bonds; ++m) energy += double(listed_bead_bond(terms, m, positions, add));
  for (int64_t m = 0; m < terms.bent.angles; ++m) energy += double(listed_angle(terms.bent, m, positions, add));
  for (int64_t m = 0; m < terms.bent.torsions; ++m) energy += double(listed_torsion(terms.bent, m, positions, add));
  for (int64_t m = 0; m < terms.centres; ++m) energy += double(listed_centre(terms, m, positions, add));
  for (int64_t m = 0; m < terms.pairs; ++m) energy += double(listed_repulsion(terms, m, positions, add));
  return energy;
}

BACKMAP_CLONES double add_terms(const PriorTerms<float>& terms, const float* positions, float* gradient) {
  return sum_terms(terms, positions, gradient);
}
BACKMAP_CLONES double add_terms(const PriorTerms<double>& terms, const double* positions, double* gradient) {
  return sum_terms(terms, positions, gradient);
}

}  // namespace

template <typename T>
void bead_prior(const PriorArguments<T>& args) {
  const int64_t of_frame = 3 * args.terms.bent.atoms;
  const int64_t grain = std::max<int64_t>(1, terms_per_thread / std::max<int64_t>(1, args.terms.count()));
  parallel_ranges(args.batch, grain, [&](int64_t begin, int64_t end) {
    for (int64_t frame = begin; frame < end; ++frame) {
      const T* positions = args.position + of_frame * frame;
      T* gradient = args.gradient + of_frame * frame;
      const bool finite = std::all_of(positions, positions + of_frame, [](T v) { return v - v == T(0); });
      args.energy[frame] = finite ? T(0) : std::numeric_limits<T>::quiet_NaN();
      std::fill(gradient, gradient + of_frame, args.energy[frame]);
      if (finite) args.energy[frame] = T(add_terms(args.terms, positions, gradient));
    }
  });
}

template void bead_prior(const PriorArguments<float>&);
template void bead_prior(const PriorArguments<double>&);

}  // namespace backmap::cpu
