// Basins of distributions on a circle, and steps of angles in time. Threads share rows.
#include "kernels/basins.h"

#include <vector>

#include "core/basins.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t rows_per_thread = 256;  // fewer are not worth a thread

// Calls body(row, height, basin) for each row, with working memory for one.
template <typename T, typename Body>
void for_rows(int64_t rows, int64_t bins, const Body& body) {
  parallel_ranges(rows, rows_per_thread, [&](int64_t begin, int64_t end) {
    std::vector<T> height(bins);
    std::vector<int64_t> basin(bins);
    for (int64_t r = begin; r < end; ++r) body(r, height.data(), basin.data());
  });
}

}  // namespace

template <typename T>
void find_basins(const FindBasinsArguments<T>& args) {
  for_rows<T>(args.rows, args.bins, [&](int64_t r, T* height, int64_t*) {
    backmap::find_basins(args.probability + args.bins * r, args.bins, args.passes, height, args.basin + args.bins * r);
  });
}

template <typename T>
void step_angle(const StepAngleArguments<T>& args) {
  for_rows<T>(args.rows, args.bins, [&](int64_t r, T* height, int64_t* basin) {
    args.left[r] =
        backmap::step_angle(args.probability + args.bins * r, args.bins, args.passes, args.before[r], args.rate[r],
                            args.window[r], args.uniform + step_draws * r, height, basin, args.angle[r]);
  });
}

#define BACKMAP_INSTANTIATE(T)                              \
  template void find_basins(const FindBasinsArguments<T>&); \
  template void step_angle(const StepAngleArguments<T>&);
BACKMAP_INSTANTIATE(float)
BACKMAP_INSTANTIATE(double)

}  // namespace backmap::cpu
