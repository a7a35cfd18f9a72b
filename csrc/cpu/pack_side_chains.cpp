// Side-chain packing by Gibbs sweeps; threads over frames, which are independent of each other.
#include <algorithm>
#include <vector>

#include "core/pair_terms.h"
#include "core/rotamer_draw.h"
#include "cpu/cell_grid.h"
#include "cpu/clones.h"
#include "cpu/parallel.h"
#include "kernels.h"

namespace backmap::cpu {
namespace {

// ---- Overlap of one atom with many -------------------------------------------------------------

template <typename T>
BACKMAP_HD T sum_overlaps(const Vec3<T>& atom, T radius, const T* x, const T* y, const T* z, const T* r,
                          int64_t count) {
  T sum = T(0);
#pragma omp simd reduction(+ : sum)
  for (int64_t i = 0; i < count; ++i)
    sum += squared_overlap(squared_distance(atom, Vec3<T>{x[i], y[i], z[i]}), radius + r[i]);
  return sum;
}

BACKMAP_CLONES float overlap(const Vec3<float>& atom, float radius, const float* x, const float* y, const float* z,
                             const float* r, int64_t count) {
  return sum_overlaps(atom, radius, x, y, z, r, count);
}
BACKMAP_CLONES double overlap(const Vec3<double>& atom, double radius, const double* x, const double* y,
                              const double* z, const double* r, int64_t count) {
  return sum_overlaps(atom, radius, x, y, z, r, count);
}

// Spheres around a residue, coordinate by coordinate so that the sum above reads whole vectors.
template <typename T>
class Surroundings {
 public:
  void clear() { count_ = 0; }

  void add(const Vec3<T>& p, T radius) {
    if (count_ == x_.size())
      for (std::vector<T>* v : {&x_, &y_, &z_, &r_}) v->resize(2 * count_ + 256);
    x_[count_] = p.x, y_[count_] = p.y, z_[count_] = p.z, r_[count_] = radius;
    ++count_;
  }

  T overlap_with(const Vec3<T>& atom, T radius) const {
    return overlap(atom, radius, x_.data(), y_.data(), z_.data(), r_.data(), int64_t(count_));
  }

 private:
  size_t count_ = 0;
  std::vector<T> x_, y_, z_, r_;
};

// ---- Packing of one frame ----------------------------------------------------------------------

template <typename T>
class FramePacker {
 public:
  explicit FramePacker(const PackArguments<T>& args) : a_(args), weights_(args.candidates) {}

  void pack(int64_t b) {
    enter(b);
    bound_residues();
    find_neighbours();
    compute_backbone_energies();
    std::fill(choice_, choice_ + a_.residues, int64_t(0));
    for (int64_t sweep = 0; sweep < a_.sweeps; ++sweep) {
      const T* uniform = uniform_ + sweep * a_.residues;
      for (int64_t step = 0; step < a_.residues; ++step) {
        const int64_t i = sweep % 2 == 0 ? step : a_.residues - 1 - step;
        if (side_reach_[i] > T(0)) redraw(i, uniform[i]);
      }
    }
    for (int64_t i = 0; i < a_.residues; ++i) energy_[i] = final_energy(i);
  }

 private:
  void enter(int64_t b) {
    candidate_ = a_.candidate + b * a_.residues * a_.candidates * a_.side_slots * 3;
    backbone_ = a_.backbone + b * a_.residues * a_.backbone_slots * 3;
    backbone_present_ = a_.backbone_present + b * a_.backbone_present_stride;
    uniform_ = a_.uniform + b * a_.sweeps * a_.residues;
    choice_ = a_.choice + b * a_.residues;
    energy_ = a_.energy + b * a_.residues;
  }

  const T* side_atom(int64_t i, int64_t k, int64_t s) const {
    return candidate_ + 3 * ((i * a_.candidates + k) * a_.side_slots + s);
  }
  bool side_present(int64_t i, int64_t s) const { return a_.candidate_present[i * a_.side_slots + s]; }
  T side_radius(int64_t i, int64_t s) const { return a_.side_radius[i * a_.side_slots + s]; }

  // Where a residue is: its C-alpha, or another atom where that is missing.
  Vec3<T> centre_of(int64_t i) const {
    const bool* there = backbone_present_ + i * a_.backbone_slots;
    if (there[1]) return load(backbone_ + 3 * (i * a_.backbone_slots + 1));
    for (int64_t t = 0; t < a_.backbone_slots; ++t)
      if (there[t]) return load(backbone_ + 3 * (i * a_.backbone_slots + t));
    for (int64_t s = 0; s < a_.side_slots; ++s)
      if (side_present(i, s)) return load(side_atom(i, 0, s));
    return {T(0), T(0), T(0)};
  }

  // Radius around the centre within which all spheres of a residue stay, for any choice; 0 if it has none.
  void bound_residues() {
    centre_.resize(a_.residues);
    side_reach_.assign(a_.residues, T(0));
    backbone_reach_.assign(a_.residues, T(0));
    for (int64_t i = 0; i < a_.residues; ++i) {
      centre_[i] = centre_of(i);
      for (int64_t s = 0; s < a_.side_slots; ++s) {
        if (!side_present(i, s)) continue;
        for (int64_t k = 0; k < a_.candidates; ++k)
          widen(side_reach_[i], load(side_atom(i, k, s)) - centre_[i], side_radius(i, s));
      }
      for (int64_t t = 0; t < a_.backbone_slots; ++t) {
        const int64_t at = i * a_.backbone_slots + t;
        if (backbone_present_[at])
          widen(backbone_reach_[i], load(backbone_ + 3 * at) - centre_[i], a_.backbone_radius[at]);
      }
    }
  }

  static void widen(T& reach, const Vec3<T>& offset, T radius) {
    const T needed = norm(offset) + radius;
    if (needed > reach) reach = needed;
  }

  // Residues whose spheres may overlap the side chain of i, in ascending order so that sums are the same
  // whichever way they were found.
  void find_neighbours() {
    located_.clear();
    points_.clear();
    T widest = T(0);
    for (int64_t i = 0; i < a_.residues; ++i) {
      if (!is_finite(centre_[i])) continue;
      located_.push_back(int32_t(i));
      points_.push_back(centre_[i]);
      const T reach = std::max(side_reach_[i], backbone_reach_[i]);
      if (reach - reach == T(0)) widest = std::max(widest, reach);
    }
    grid_.build(points_, 2.001 * double(widest));
    neighbour_start_.assign(1, 0);
    neighbour_.clear();
    for (int64_t i = 0; i < a_.residues; ++i) {
      if (side_reach_[i] > T(0) && is_finite(centre_[i])) append_neighbours(i);
      neighbour_start_.push_back(int64_t(neighbour_.size()));
    }
  }

  void append_neighbours(int64_t i) {
    const size_t first = neighbour_.size();
    grid_.for_surroundings(centre_[i], [&](int32_t p) {
      const int32_t j = located_[p];
      const T reach = side_reach_[i] + std::max(side_reach_[j], backbone_reach_[j]);
      if (j != i && squared_distance(centre_[i], centre_[j]) < reach * reach) neighbour_.push_back(j);
    });
    std::sort(neighbour_.begin() + first, neighbour_.end());
  }

  // Adds a sphere of another residue if it can overlap the side chain of i at all.
  void surround(int64_t i, const Vec3<T>& p, T radius) {
    const T reach = side_reach_[i] + radius;
    if (squared_distance(centre_[i], p) < reach * reach) surroundings_.add(p, radius);
  }

  void surround_by_backbones(int64_t i) {
    surroundings_.clear();
    for (int64_t n = neighbour_start_[i]; n < neighbour_start_[i + 1]; ++n) {
      const int64_t j = neighbour_[n];
      if (are_linked(i, j, a_.linked)) continue;
      for (int64_t t = j * a_.backbone_slots; t < (j + 1) * a_.backbone_slots; ++t)
        if (backbone_present_[t]) surround(i, load(backbone_ + 3 * t), a_.backbone_radius[t]);
    }
  }

  void surround_by_side_chains(int64_t i) {
    surroundings_.clear();
    for (int64_t n = neighbour_start_[i]; n < neighbour_start_[i + 1]; ++n) {
      const int64_t j = neighbour_[n];
      for (int64_t s = 0; s < a_.side_slots; ++s)
        if (side_present(j, s)) surround(i, load(side_atom(j, choice_[j], s)), side_radius(j, s));
    }
  }

  T energy_in_surroundings(int64_t i, int64_t k) const {
    T sum = T(0);
    for (int64_t s = 0; s < a_.side_slots; ++s)
      if (side_present(i, s)) sum += surroundings_.overlap_with(load(side_atom(i, k, s)), side_radius(i, s));
    return a_.strength * sum;
  }

  // The backbone stands still: its share of each candidate's energy is computed once.
  void compute_backbone_energies() {
    backbone_energy_.assign(a_.residues * a_.candidates, T(0));
    for (int64_t i = 0; i < a_.residues; ++i) {
      if (!(side_reach_[i] > T(0))) continue;
      surround_by_backbones(i);
      for (int64_t k = 0; k < a_.candidates; ++k)
        backbone_energy_[i * a_.candidates + k] = energy_in_surroundings(i, k);
    }
  }

  void redraw(int64_t i, T uniform) {
    surround_by_side_chains(i);
    for (int64_t k = 0; k < a_.candidates; ++k)
      weights_[k] = backbone_energy_[i * a_.candidates + k] + energy_in_surroundings(i, k);
    choice_[i] = draw(weights_.data(), a_.candidates, uniform);
  }

  T final_energy(int64_t i) {
    if (!(side_reach_[i] > T(0))) return T(0);
    surround_by_side_chains(i);
    return backbone_energy_[i * a_.candidates + choice_[i]] + energy_in_surroundings(i, choice_[i]);
  }

  const PackArguments<T>& a_;
  const T* candidate_ = nullptr;
  const T* backbone_ = nullptr;
  const bool* backbone_present_ = nullptr;
  const T* uniform_ = nullptr;
  int64_t* choice_ = nullptr;
  T* energy_ = nullptr;

  std::vector<Vec3<T>> centre_, points_;
  std::vector<T> side_reach_, backbone_reach_, backbone_energy_, weights_;
  std::vector<int32_t> located_, neighbour_;
  std::vector<int64_t> neighbour_start_;
  CellGrid<T> grid_;
  Surroundings<T> surroundings_;
};

}  // namespace

template <typename T>
void pack_side_chains(const PackArguments<T>& args) {
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) {
    FramePacker<T> packer(args);
    for (int64_t b = begin; b < end; ++b) packer.pack(b);
  });
}

template void pack_side_chains(const PackArguments<float>&);
template void pack_side_chains(const PackArguments<double>&);

}  // namespace backmap::cpu
