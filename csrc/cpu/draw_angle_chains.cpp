// Angles drawn along chains, each given the one before it. Threads share groups of chains, whose rows share the weights
// of the network; vectors run over features and classes.
#include "kernels/draw_angle_chains.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "core/basins.h"
#include "core/softmax.h"
#include "cpu/clones.h"
#include "cpu/joint_energies.h"
#include "cpu/layers.h"
#include "cpu/parallel.h"

namespace backmap::cpu {
namespace {

// The weights of the network ready for vectors, and the waves of the middles of the classes.
template <typename T>
struct PreparedClasses {
  std::vector<T> panels, bias, wave;
};

template <typename T>
PreparedClasses<T> prepare(const DrawAngleChainsArguments<T>& args) {
  PreparedClasses<T> all{panels_of(args.weight, args.classes, args.width), padded_rows(args.bias, 1, args.classes),
                         std::vector<T>(waves_of_angle * args.classes, T(1))};
  for (int64_t k = 0; k < args.classes; ++k) {
    const double middle = angle_at(k, 0.5, args.classes);
    all.wave[args.classes + k] = T(std::cos(middle)), all.wave[2 * args.classes + k] = T(std::sin(middle));
  }
  return all;
}

// Working memory of a group of chains.
template <typename T>
struct GroupMemory {
  T *hidden, *logits, *own, *energy;
  int32_t* cell;
};

// The activated features of a residue, given the waves of the angle before.
template <typename T>
BACKMAP_HD void see_previous(const DrawAngleChainsArguments<T>& args, int64_t site, T cosine, T sine,
                             T* __restrict hidden) {
  const int64_t width = args.width;
  const T* __restrict context = args.context + site * width;
  const T* __restrict constant = args.coefficient + 3 * site * width;
  const T* __restrict of_cosine = constant + width, * __restrict of_sine = of_cosine + width;
  for (int64_t f = 0; f < width; ++f)
    hidden[f] = ((context[f] + constant[f]) + cosine * of_cosine[f]) + sine * of_sine[f];
  activate(hidden, width);
}

// Draws an angle from the logits of a residue, which become probabilities.
template <typename T>
BACKMAP_HD T draw_residue(const DrawAngleChainsArguments<T>& args, const T* wave, int64_t site, const T* uniform,
                          T cosine, T sine, T* __restrict logits, const GroupMemory<T>& memory) {
  joint_energies(args.form + site * 3 * args.quantities * waves_of_angle, args.quantities,
                 args.table + args.kind[site] * args.cells * args.cells, int32_t(args.cells), cosine, sine, wave,
                 args.classes, memory.own, memory.cell, memory.energy);
  const T* __restrict offset = args.offset + site * args.classes;
  for (int64_t k = 0; k < args.classes; ++k) logits[k] = (logits[k] + offset[k]) - memory.energy[k];
  softmax(logits, args.classes);
  const T drawn = draw_angle(args.classes, [&](int64_t k) { return logits[k]; }, uniform);
  if (args.known == nullptr || std::isnan(args.known[site])) return drawn;
  return args.known[site];
}

// Draws the angles of chains [first, last), at most as many as a layer has rows, side by side. Rows of chains that have
// ended repeat what was there before.
template <typename T>
BACKMAP_HD void draw_group(const DrawAngleChainsArguments<T>& args, const T* panels, const T* bias, const T* wave,
                           int64_t first, int64_t last, const GroupMemory<T>& memory) {
  const int64_t padded = round_up(args.classes, panel_width);
  T cosine[rows_together], sine[rows_together];
  ChainOfFrame item[rows_together];
  int64_t residue[rows_together];
  for (int64_t r = 0; r < last - first; ++r) {
    item[r] = chain_of_frame(args, first + r);
    cosine[r] = T(1), sine[r] = T(0), residue[r] = 0;
  }
  for (int64_t place = 0;; ++place) {
    bool any = false;
    for (int64_t r = 0; r < last - first; ++r) {
      if (residue[r] >= 0) residue[r] = residue_at(args, item[r].chain, place);
      if (residue[r] < 0) continue;
      any = true;
      see_previous(args, item[r].frame * args.residues + residue[r], cosine[r], sine[r],
                   memory.hidden + r * args.width);
    }
    if (!any) return;
    apply_layer<T>({memory.hidden, args.width}, last - first, args.width, panels, args.classes, {bias, 0},
                   {memory.logits, padded});
    for (int64_t r = 0; r < last - first; ++r) {
      if (residue[r] < 0) continue;
      const int64_t site = item[r].frame * args.residues + residue[r];
      const int64_t out = place_of(args, item[r], residue[r]);
      const T angle = draw_residue(args, wave, site, args.uniform + 2 * out, cosine[r], sine[r],
                                   memory.logits + r * padded, memory);
      args.angle[out] = angle;
      cosine[r] = std::cos(angle), sine[r] = std::sin(angle);
    }
  }
}

BACKMAP_CLONES void draw_chains(const DrawAngleChainsArguments<float>& args, const float* panels, const float* bias,
                                const float* wave, int64_t first, int64_t last, const GroupMemory<float>& memory) {
  draw_group(args, panels, bias, wave, first, last, memory);
}
BACKMAP_CLONES void draw_chains(const DrawAngleChainsArguments<double>& args, const double* panels, const double* bias,
                                const double* wave, int64_t first, int64_t last, const GroupMemory<double>& memory) {
  draw_group(args, panels, bias, wave, first, last, memory);
}

}  // namespace

template <typename T>
void draw_angle_chains(const DrawAngleChainsArguments<T>& args) {
  const int64_t items = args.chains * args.samples * args.batch;
  std::fill_n(args.angle, args.samples * args.batch * args.residues, T(0));
  if (args.residues == 0 || args.classes == 0) return;
  const PreparedClasses<T> all = prepare(args);
  const int64_t groups = (items + rows_together - 1) / rows_together;
  parallel_ranges(groups, 1, [&](int64_t begin, int64_t end) {
    std::vector<T> hidden(rows_together * args.width, T(0)), logits(rows_together * int64_t(all.bias.size())),
        own(args.quantities * waves_of_angle), energy(args.classes);
    std::vector<int32_t> cell(args.classes);
    const GroupMemory<T> memory{hidden.data(), logits.data(), own.data(), energy.data(), cell.data()};
    for (int64_t group = begin; group < end; ++group)
      draw_chains(args, all.panels.data(), all.bias.data(), all.wave.data(), group * rows_together,
                  std::min(items, (group + 1) * rows_together), memory);
  });
}

template void draw_angle_chains(const DrawAngleChainsArguments<float>&);
template void draw_angle_chains(const DrawAngleChainsArguments<double>&);

}  // namespace backmap::cpu
