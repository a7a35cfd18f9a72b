// Logits of classes, from layers that depend on waves. Threads share draws; vectors run over features and classes.
#include "kernels/wave_logits.h"

#include <algorithm>
#include <vector>

#include "cpu/clones.h"
#include "cpu/layers.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

constexpr int64_t rows_of_a_thread = 64;

// The activated features of one draw.
template <typename T>
BACKMAP_HD void add_waves(const WaveLogitsArguments<T>& args, int64_t row, T* __restrict hidden) {
  const int64_t site = row / args.draws, draw = row % args.draws, width = args.width;
  const T* __restrict context = args.context + site * width;
  const T* wave = args.wave + site * args.wave_stride + draw * args.waves;
  const T* coefficient = args.coefficient + site * args.coefficient_stride;
  for (int64_t f = 0; f < width; ++f) hidden[f] = context[f];
  for (int64_t m = 0; m < args.waves; ++m) {
    const T* __restrict row_of_wave = coefficient + m * width;
    for (int64_t f = 0; f < width; ++f) hidden[f] += wave[m] * row_of_wave[f];
  }
  activate(hidden, width);
}

// Draws [begin, end) of all sites, a few at a time.
template <typename T>
BACKMAP_HD void classify(const WaveLogitsArguments<T>& args, const T* panels, const T* bias, int64_t begin, int64_t end,
                         T* hidden, T* logits) {
  const int64_t padded = round_up(args.classes, panel_width);
  for (int64_t first = begin; first < end; first += rows_together) {
    const int64_t rows = std::min(rows_together, end - first);
    for (int64_t r = 0; r < rows; ++r) add_waves(args, first + r, hidden + r * args.width);
    apply_layer<T>({hidden, args.width}, rows, args.width, panels, args.classes, {bias, 0}, {logits, padded});
    for (int64_t r = 0; r < rows; ++r) {
      T* __restrict out = args.logits + (first + r) * args.classes;
      for (int64_t k = 0; k < args.classes; ++k) out[k] = logits[r * padded + k];
    }
  }
}

BACKMAP_CLONES void classify_rows(const WaveLogitsArguments<float>& args, const float* panels, const float* bias,
                                  int64_t begin, int64_t end, float* hidden, float* logits) {
  classify(args, panels, bias, begin, end, hidden, logits);
}
BACKMAP_CLONES void classify_rows(const WaveLogitsArguments<double>& args, const double* panels, const double* bias,
                                  int64_t begin, int64_t end, double* hidden, double* logits) {
  classify(args, panels, bias, begin, end, hidden, logits);
}

}  // namespace

template <typename T>
void wave_logits(const WaveLogitsArguments<T>& args) {
  const std::vector<T> panels = panels_of(args.weight, args.classes, args.width);
  const std::vector<T> bias = padded_rows(args.bias, 1, args.classes);
  parallel_ranges(args.batch * args.draws, rows_of_a_thread, [&](int64_t begin, int64_t end) {
    std::vector<T> hidden(rows_together * args.width, T(0)), logits(rows_together * int64_t(bias.size()));
    classify_rows(args, panels.data(), bias.data(), begin, end, hidden.data(), logits.data());
  });
}

template void wave_logits(const WaveLogitsArguments<float>&);
template void wave_logits(const WaveLogitsArguments<double>&);

}  // namespace backmap::cpu
