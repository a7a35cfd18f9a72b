// Sums over pairs of atoms that do not depend on the number of threads.
#pragma once

#include <cstdint>
#include <vector>

#include "core/pair_terms.h"
#include "cpu/parallel.h"

namespace backmap::cpu {

constexpr int64_t pairs_per_thread = 8192;  // fewer are not worth a thread

// Sum of value(begin, end) over blocks of `block` items. Each block belongs to one thread; blocks are added in order.
template <typename Value>
double sum_in_blocks(int64_t count, int64_t block, int64_t grain, const Value& value) {
  std::vector<double> sums((count + block - 1) / block);
  parallel_ranges(int64_t(sums.size()), (grain + block - 1) / block, [&](int64_t first, int64_t last) {
    for (int64_t n = first; n < last; ++n) sums[n] = value(n * block, std::min(count, (n + 1) * block));
  });
  double sum = 0;
  for (const double s : sums) sum += s;
  return sum;
}

// Adds gradient(m), with respect to the first atom of pair m, to that atom and its negative to the second, but only to
// atoms from `first` to `last`. The thread that owns these atoms goes through all pairs in order.
template <typename T, typename Gradient>
void add_pair_gradients(const int64_t* pairs, int64_t count, int64_t atoms, const bool* present, int64_t first,
                        int64_t last, const Gradient& gradient, T* grad_atoms) {
  for (int64_t m = 0; m < count; ++m) {
    const int64_t* pair = pairs + 2 * m;
    const bool owns_0 = first <= pair[0] && pair[0] < last, owns_1 = first <= pair[1] && pair[1] < last;
    if (!(owns_0 || owns_1) || !pair_exists(pair, atoms, present)) continue;
    const Vec3<T> grad = gradient(m);
    if (owns_0) store(grad_atoms + 3 * pair[0], load(grad_atoms + 3 * pair[0]) + grad);
    if (owns_1) store(grad_atoms + 3 * pair[1], load(grad_atoms + 3 * pair[1]) - grad);
  }
}

}  // namespace backmap::cpu
