// C-alphas drawn about their beads, and their energies. Threads share frames, or the residues of one large frame.
#include <algorithm>
#include <vector>

#include "cpu/cell_list.h"
#include "cpu/parallel.h"
#include "kernels/c_alphas.h"

namespace backmap::cpu {
namespace {

constexpr int64_t residues_per_thread = 2048;  // fewer are not worth a thread

// The C-alphas of one frame as they move. Each thread computes the quantities of its own residues, in the order in
// which one thread would, so that the result does not depend on the number of threads.
template <typename T>
class FrameDrawer {
 public:
  explicit FrameDrawer(const DrawCAlphasArguments<T>& args)
      : a_(args),
        gradient_(args.residues),
        window_kind_(args.kind, args.kind + args.residues),
        present_(args.residues, true),
        listed_(args.residues * contacts_listed),
        listed_count_(args.residues),
        inside_ring_(args.residues, false) {
    if (!args.chain.following) return;
    for (int64_t i = 0; i < args.residues; ++i) {
      const FourResidues four = four_from(i, args.chain);
      if (four.are_there() && !four.are_neighbours()) closing_windows_.push_back(four);
      if (four.at[1] < 0 || four.at[1] > i) continue;
      closing_.push_back(i);
      std::fill(inside_ring_.begin() + four.at[1] + 1, inside_ring_.begin() + i + 1, true);
    }
  }

  void draw(int64_t b) {
    bead_ = a_.bead + 3 * a_.residues * b;
    noise_ = a_.noise + a_.residues * b;
    bond_ = a_.bond + a_.residues * b;
    weight_ = a_.weight + a_.residues * b;
    place_ = a_.c_alpha + 3 * a_.residues * b;
    box_ = box_of_frame(a_.box, a_.box_stride, b);
    std::copy(bead_, bead_ + 3 * a_.residues, place_);
    const int64_t steps = a_.steps[b];
    if (steps <= 0) return;
    share_segments([&](int64_t begin, int64_t end) { restore_bonds(begin, end, last_rounds); });
    for (int64_t n = 0; n < steps; ++n) {
      if (n % steps_between_searches == 0) list_contacts();
      collect_gradients();
      const Kicks<T> kicks = kicks_of_step(a_.key, a_.other, a_.turn, b, n);
      const T heat = heat_of_step(a_.dynamics, n, steps);
      share_segments([&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          set(i, at(i) + langevin_move(a_.dynamics, noise_[i], gradient_[i], heat, kicks, i));
        restore_bonds(begin, end, bond_rounds);
      });
    }
    share_segments([&](int64_t begin, int64_t end) { restore_bonds(begin, end, last_rounds); });
  }

 private:
  Vec3<T> at(int64_t i) const { return load(place_ + 3 * i); }
  void set(int64_t i, const Vec3<T>& v) { store(place_ + 3 * i, v); }

  // Calls body(begin, end) on ranges of residues that no bond and no ring connects: a bond belongs to one thread.
  template <typename Body>
  void share_segments(const Body& body) const {
    parallel_ranges(a_.residues, residues_per_thread,
                    [&](int64_t begin, int64_t end) { body(next_segment(begin), next_segment(end)); });
  }

  // The first residue from the i-th on that is not bonded to its predecessor.
  int64_t next_segment(int64_t i) const {
    while (i > 0 && i < a_.residues && (is_bonded_to_next(i - 1) || inside_ring_[i])) ++i;
    return i;
  }

  bool is_bonded_to_next(int64_t i) const { return bond_[i] > T(0) && a_.chain.after(i) == i + 1; }

  void list_contacts() {
    const double reach = double(a_.contact_distance) + contact_margin_nm;
    const auto* present = reinterpret_cast<const bool*>(present_.data());
    cells_.build({a_.residues, place_, present, nullptr, T(reach / 2)}, reach, box_);
    std::fill(listed_count_.begin(), listed_count_.end(), 0);
    parallel_ranges(cells_.size(), residues_per_thread, [&](int64_t begin, int64_t end) {
      std::vector<int32_t> near, found;
      for (int64_t p = begin; p < end; ++p) {
        const int32_t i = cells_.index(p);
        near.clear();
        cells_.for_overlaps(p, 0, found, [&](int64_t q) {
          const int32_t j = cells_.index(q);
          if (!near_in_chain<T>(i, j, a_.chain, bond_)) near.push_back(j);
        });
        std::sort(near.begin(), near.end());
        listed_count_[i] = std::min<int64_t>(near.size(), contacts_listed);
        std::copy(near.begin(), near.begin() + listed_count_[i], listed_.begin() + contacts_listed * i);
      }
    });
  }

  void collect_gradients() {
    parallel_ranges(a_.residues, residues_per_thread, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const T variance = noise_[i] * noise_[i];
        gradient_[i] = variance > T(0) ? (T(1) / variance) * (at(i) - load(bead_ + 3 * i)) : Vec3<T>{T(0), T(0), T(0)};
        for (int64_t n = 0; n < listed_count_[i]; ++n) {
          const Vec3<T> d = minimum_image(at(i) - at(listed_[contacts_listed * i + n]), box_);
          gradient_[i] += contact_gradient(d, a_.contact_distance, a_.contact_strength);
        }
      }
      for (int64_t i = std::max<int64_t>(begin - 3, 0); i < end && i + 3 < a_.residues; ++i)
        if (weight_[i] != T(0) && four_from(i, a_.chain).are_neighbours()) add_window(i, begin, end);
      for (const FourResidues& four : closing_windows_)
        if (weight_[four.at[0]] != T(0)) add_closing_window(four, begin, end);
    });
  }

  // Adds the gradient of the window that starts at residue i to its residues from `begin` to `end`.
  void add_window(int64_t i, int64_t begin, int64_t end) {
    const Window<T> window = window_of(at(i), at(i + 1), at(i + 2), at(i + 3));
    const Interpolated<T> energy = window_energy(a_.table, window_kind_[i], window);
    if (begin <= i && i + 4 <= end) return add_window_gradient(window, energy, weight_[i], &gradient_[i]);
    const int64_t first = std::max(i, begin), last = std::min(i + 4, end);
    Vec3<T> sum[4] = {};
    std::copy(gradient_.begin() + first, gradient_.begin() + last, sum + (first - i));
    add_window_gradient(window, energy, weight_[i], sum);
    std::copy(sum + (first - i), sum + (last - i), gradient_.begin() + first);
  }

  // Adds the gradient of a window across the end of a ring to its residues from `begin` to `end`.
  void add_closing_window(const FourResidues& four, int64_t begin, int64_t end) {
    const auto own = [&](int64_t i) { return begin <= i && i < end; };
    if (std::none_of(four.at, four.at + 4, own)) return;
    const Window<T> window = window_at(four, place_);
    const Interpolated<T> energy = window_energy(a_.table, window_kind_[four.at[0]], window);
    Vec3<T> sum[4] = {};
    add_window_gradient(window, energy, weight_[four.at[0]], sum);
    for (int k = 0; k < 4; ++k)
      if (own(four.at[k])) gradient_[four.at[k]] += sum[k];
  }

  // Restores the bonds within a range: first the even ones, then the odd ones, then those that close rings. Bonds of
  // one group share no residue.
  void restore_bonds(int64_t begin, int64_t end, int rounds) {
    for (int round = 0; round < rounds; ++round) {
      for (int64_t odd = 0; odd < 2; ++odd)
        for (int64_t i = begin + (begin + odd) % 2; i + 1 < end; i += 2)
          if (is_bonded_to_next(i)) restore(i, i + 1);
      for (auto i = std::lower_bound(closing_.begin(), closing_.end(), begin); i != closing_.end() && *i < end; ++i)
        if (bond_[*i] > T(0)) restore(*i, a_.chain.after(*i));
    }
  }

  void restore(int64_t i, int64_t j) {
    Vec3<T> first = at(i), second = at(j);
    restore_bond(first, second, bond_[i], noise_[i], noise_[j]);
    set(i, first), set(j, second);
  }

  const DrawCAlphasArguments<T>& a_;
  const T *bead_ = nullptr, *noise_ = nullptr, *bond_ = nullptr, *weight_ = nullptr;
  T* place_ = nullptr;
  PeriodicBox<T> box_{};
  std::vector<Vec3<T>> gradient_;
  std::vector<int64_t> window_kind_;
  std::vector<char> present_;
  CellList<T> cells_;
  std::vector<int32_t> listed_, listed_count_;
  std::vector<bool> inside_ring_;              // all residues of rings except their first
  std::vector<int64_t> closing_;               // the last residues of rings
  std::vector<FourResidues> closing_windows_;  // windows across the ends of rings
};

}  // namespace

template <typename T>
void c_alpha_energy(const CAlphaEnergyArguments<T>& args) {
  parallel_ranges(args.batch * args.residues, 1024, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t i = item % args.residues;
      args.energy[item] = T(0);
      const FourResidues four = four_from(i, args.chain);
      if (!four.are_there() || args.weight[item] == T(0)) continue;
      const Window<T> window = window_at(four, args.c_alpha + 3 * (item - i));
      args.energy[item] = args.weight[item] * window_energy(args.table, args.kind[i], window).value;
    }
  });
}

template <typename T>
void draw_c_alphas(const DrawCAlphasArguments<T>& args) {
  parallel_frames(args.batch, args.residues, residues_per_thread, [&](int64_t begin, int64_t end) {
    FrameDrawer<T> drawer(args);
    for (int64_t b = begin; b < end; ++b) drawer.draw(b);
  });
}

template void c_alpha_energy(const CAlphaEnergyArguments<float>&);
template void c_alpha_energy(const CAlphaEnergyArguments<double>&);
template void draw_c_alphas(const DrawCAlphasArguments<float>&);
template void draw_c_alphas(const DrawCAlphasArguments<double>&);

}  // namespace backmap::cpu
