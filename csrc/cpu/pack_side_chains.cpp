// Side-chain packing by Gibbs sweeps. Threads share frames, which are independent of each other. Where there are fewer
// frames than threads, they share residues whose side chains cannot meet.
#include <algorithm>
#include <vector>

#include "core/bounding_sphere.h"
#include "core/contact_energy.h"
#include "core/pair_terms.h"
#include "core/rotamer_draw.h"
#include "cpu/cell_grid.h"
#include "cpu/clones.h"
#include "cpu/parallel.h"
#include "kernels/pack_side_chains.h"

namespace backmap::cpu {
namespace {

// ---- One atom among many -----------------------------------------------------------------------

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

// Strength of overlaps, and the row of the atom's class in a table of contacts.
template <typename T>
struct AtomTerms {
  T strength;
  const T* row;
  T scale;
  int32_t last;
};

// Few atoms are in reach, and looking up an energy costs more than a distance: whole vectors of squared distances come
// first, then the atoms in reach are listed, and only these are looked up.
template <typename T>
BACKMAP_HD T sum_energies(const Vec3<T>& atom, T radius, const AtomTerms<T>& terms, const T* x, const T* y, const T* z,
                          const T* r, const int32_t* column, int64_t count) {
  constexpr int64_t part = 128;
  T place[part];
  int32_t near[part];
  T overlaps = T(0), contacts = T(0);
  for (int64_t first = 0; first < count; first += part) {
    const int64_t n = std::min(part, count - first);
#pragma omp simd reduction(+ : overlaps)
    for (int64_t i = 0; i < n; ++i) {
      const T d2 = squared_distance(atom, Vec3<T>{x[first + i], y[first + i], z[first + i]});
      overlaps += squared_overlap(d2, radius + r[first + i]);
      place[i] = d2 * terms.scale;
    }
    int64_t n_near = 0;
    for (int64_t i = 0; i < n; ++i) {
      near[n_near] = int32_t(i);
      n_near += place[i] < T(terms.last);
    }
    for (int64_t m = 0; m < n_near; ++m)
      contacts += interpolate(terms.row + column[first + near[m]], place[near[m]], terms.last);
  }
  return terms.strength * overlaps + contacts;
}

BACKMAP_CLONES float energy_of(const Vec3<float>& atom, float radius, const AtomTerms<float>& terms, const float* x,
                               const float* y, const float* z, const float* r, const int32_t* column, int64_t count) {
  return sum_energies(atom, radius, terms, x, y, z, r, column, count);
}
BACKMAP_CLONES double energy_of(const Vec3<double>& atom, double radius, const AtomTerms<double>& terms,
                                const double* x, const double* y, const double* z, const double* r,
                                const int32_t* column, int64_t count) {
  return sum_energies(atom, radius, terms, x, y, z, r, column, count);
}

// The rows of a table of contacts, with a class more for atoms that have none.
template <typename T>
class ContactRows {
 public:
  explicit ContactRows(const ContactTable<T>& table) : exist_(table.energy), knots_(int32_t(table.knots)) {
    if (!exist_) return;
    scale_ = table.scale();
    classes_ = int32_t(table.classes);
    energy_.assign(size_t(classes_ + 1) * row_length(), T(0));
    for (int32_t first = 0; first < classes_; ++first)
      std::copy_n(table.knots_of(first, 0), int64_t(classes_) * knots_, energy_.data() + first * row_length());
  }

  bool exist() const { return exist_; }

  // Where the knots of a class begin in each row.
  int32_t column(int64_t of_class) const {
    return knots_ * int32_t(of_class < 0 || of_class >= classes_ ? classes_ : of_class);
  }

  AtomTerms<T> terms(T strength, int32_t column) const {
    return {strength, energy_.data() + (column / knots_) * row_length(), scale_, knots_ - 1};
  }

 private:
  int64_t row_length() const { return int64_t(classes_ + 1) * knots_; }

  bool exist_;
  int32_t classes_ = 0, knots_;
  T scale_ = T(0);
  std::vector<T> energy_;
};

// Atoms around a residue, one array per coordinate, so that the sums above read whole vectors.
template <typename T>
class Surroundings {
 public:
  void clear() { count_ = 0; }

  void add(const Vec3<T>& p, T radius, int32_t column) {
    make_room(count_ + 1);
    x_[count_] = p.x, y_[count_] = p.y, z_[count_] = p.z, r_[count_] = radius, column_[count_] = column;
    ++count_;
  }

  T overlap_with(const Sphere<T>& atom) const {
    return overlap(atom.centre, atom.radius, x_.data(), y_.data(), z_.data(), r_.data(), int64_t(count_));
  }

  T energy_with(const Sphere<T>& atom, const AtomTerms<T>& terms) const {
    return energy_of(atom.centre, atom.radius, terms, x_.data(), y_.data(), z_.data(), r_.data(), column_.data(),
                     int64_t(count_));
  }

  // Lists those that may meet an atom within the probe.
  void list_near(const Sphere<T>& probe, T reach, Surroundings& near) const {
    near.make_room(count_);
    size_t n = 0;
    for (size_t i = 0; i < count_; ++i) {
      near.x_[n] = x_[i], near.y_[n] = y_[i], near.z_[n] = z_[i], near.r_[n] = r_[i], near.column_[n] = column_[i];
      const T meeting = contact_reach(probe, Sphere<T>{{}, radius_in_reach(r_[i], reach)});
      n += squared_distance(probe.centre, Vec3<T>{x_[i], y_[i], z_[i]}) < meeting * meeting;
    }
    near.count_ = n;
  }

  // Each one at its nearest image.
  T overlap_with_images(const Sphere<T>& atom, const PeriodicBox<T>& box) const {
    T sum = T(0);
    for (size_t i = 0; i < count_; ++i) sum += squared_overlap(squared_to(i, atom, box), atom.radius + r_[i]);
    return sum;
  }

  T energy_with_images(const Sphere<T>& atom, const AtomTerms<T>& terms, const PeriodicBox<T>& box) const {
    T sum = T(0);
    for (size_t i = 0; i < count_; ++i)
      sum += interpolate(terms.row + column_[i], squared_to(i, atom, box) * terms.scale, terms.last);
    return terms.strength * overlap_with_images(atom, box) + sum;
  }

 private:
  void make_room(size_t count) {
    if (count <= x_.size()) return;
    for (std::vector<T>* v : {&x_, &y_, &z_, &r_}) v->resize(2 * count + 256);
    column_.resize(x_.size());
  }

  T squared_to(size_t i, const Sphere<T>& atom, const PeriodicBox<T>& box) const {
    const Vec3<T> d = minimum_image(atom.centre - Vec3<T>{x_[i], y_[i], z_[i]}, box);
    return dot(d, d);
  }

  size_t count_ = 0;
  std::vector<T> x_, y_, z_, r_;
  std::vector<int32_t> column_;
};

// ---- Nearby residues ---------------------------------------------------------------------------

// One sphere per residue, and a cell list of the centres.
template <typename T>
class ResidueSpheres {
 public:
  void assign(const std::vector<Sphere<T>>& spheres) {
    spheres_ = spheres;
    points_.clear();
    residue_.clear();
    widest_ = T(0);
    for (size_t i = 0; i < spheres.size(); ++i) {
      if (spheres[i].radius < T(0)) continue;
      points_.push_back(spheres[i].centre);
      residue_.push_back(int32_t(i));
      widest_ = std::max(widest_, spheres[i].radius);
    }
  }

  T widest() const { return widest_; }

  // Prepares for searches around spheres of at most this radius.
  void prepare(T widest_probe, const PeriodicBox<T>& box) {
    box_ = box;
    grid_.build(points_, 1.001 * (double(widest_) + double(widest_probe)), box);
  }

  // Appends the residues whose sphere may touch the probe, in ascending order, so that sums over them do not depend on
  // the cells.
  void find(const Sphere<T>& probe, std::vector<int32_t>& found) const {
    const size_t first = found.size();
    grid_.for_surroundings(probe.centre, [&](int32_t p) {
      if (may_touch(probe, spheres_[residue_[p]], box_)) found.push_back(residue_[p]);
    });
    std::sort(found.begin() + first, found.end());
  }

 private:
  std::vector<Sphere<T>> spheres_;
  std::vector<Vec3<T>> points_;
  std::vector<int32_t> residue_;
  T widest_ = T(0);
  PeriodicBox<T> box_{};
  CellGrid<T> grid_;
};

// ---- Order of residues -------------------------------------------------------------------------

// Layers of residues that may be redrawn side by side: each residue is in a later layer than all of its neighbours with
// lower numbers. One layer after another, or in reverse, gives what residues give in the order of their numbers, or in
// reverse, because each one only depends on its neighbours.
class Layers {
 public:
  // Neighbours of residue i are [start[i], start[i + 1]); they are mutual.
  void assign(int64_t residues, const std::vector<int64_t>& start, const std::vector<int32_t>& neighbour) {
    std::vector<int32_t> layer(residues, 0);
    int32_t count = residues > 0 ? 1 : 0;
    for (int64_t i = 0; i < residues; ++i) {
      for (int64_t at = start[i]; at < start[i + 1]; ++at)
        if (neighbour[at] < i) layer[i] = std::max(layer[i], layer[neighbour[at]] + 1);
      count = std::max(count, layer[i] + 1);
    }
    begin_.assign(count + 1, 0);
    for (const int32_t l : layer) ++begin_[l + 1];
    for (int32_t l = 0; l < count; ++l) begin_[l + 1] += begin_[l];
    residue_.resize(residues);
    std::vector<int64_t> next(begin_.begin(), begin_.end() - 1);
    for (int64_t i = 0; i < residues; ++i) residue_[next[layer[i]]++] = int32_t(i);
  }

  int64_t count() const { return int64_t(begin_.size()) - 1; }
  int64_t begin(int64_t layer) const { return begin_[layer]; }
  int64_t size(int64_t layer) const { return begin_[layer + 1] - begin_[layer]; }
  int64_t residue(int64_t at) const { return residue_[at]; }

 private:
  std::vector<int64_t> begin_;
  std::vector<int32_t> residue_;
};

// ---- Packing of one frame ----------------------------------------------------------------------

constexpr int64_t residues_of_a_thread = 16;  // fewer are not worth a thread

template <typename T>
class FramePacker {
 public:
  FramePacker(const PackArguments<T>& args, const ContactRows<T>& rows)
      : a_(args), rows_(rows), workspace_(omp_in_parallel() ? 1 : omp_get_max_threads()) {
    for (Workspace& w : workspace_) w.energies.resize(args.candidates);
    list_side_slots();
    list_columns();
  }

  void pack(int64_t b) {
    enter(b);
    bound_residues();
    if (rows_.exist()) bound_slots();
    find_neighbours();
    compute_fixed_energies();
    for (int64_t i = 0; i < a_.residues; ++i) choose(i, 0);
    if (workspace_.size() > 1) layers_.assign(a_.residues, neighbour_start_, neighbour_);
    for (int64_t sweep = 0; sweep < a_.sweeps; ++sweep) this->sweep(sweep % 2 != 0, uniform_ + sweep * a_.residues);
    for_residues([&](int64_t i, Workspace& w) { energy_[i] = has_side_chain(i) ? final_energy(i, w) : T(0); });
  }

 private:
  // What a thread needs for the residue that it is working on.
  struct Workspace {
    bool wide = false;
    std::vector<int32_t> near_backbone;
    std::vector<T> energies;
    Surroundings<T> surroundings, near;
  };

  Workspace& workspace() { return workspace_[workspace_.size() > 1 ? omp_get_thread_num() : 0]; }

  template <typename Body>
  void for_residues(const Body& body) {
    parallel_ranges(a_.residues, residues_of_a_thread, [&](int64_t begin, int64_t end) {
      Workspace& w = workspace();
      for (int64_t i = begin; i < end; ++i) body(i, w);
    });
  }

  // Redraws all residues in the order of their numbers, or in reverse.
  void sweep(bool in_reverse, const T* uniform) {
    if (workspace_.size() == 1) {
      for (int64_t step = 0; step < a_.residues; ++step) {
        const int64_t i = in_reverse ? a_.residues - 1 - step : step;
        if (has_side_chain(i)) redraw(i, uniform[i], workspace_[0]);
      }
      return;
    }
    for (int64_t step = 0; step < layers_.count(); ++step) {
      const int64_t layer = in_reverse ? layers_.count() - 1 - step : step;
      parallel_ranges(layers_.size(layer), residues_of_a_thread, [&](int64_t begin, int64_t end) {
        Workspace& w = workspace();
        for (int64_t at = layers_.begin(layer) + begin; at < layers_.begin(layer) + end; ++at) {
          const int64_t i = layers_.residue(at);
          if (has_side_chain(i)) redraw(i, uniform[i], w);
        }
      });
    }
  }

  // The side-chain slots in use, residue by residue: the same in all frames.
  void list_side_slots() {
    slot_start_.assign(1, 0);
    for (int64_t i = 0; i < a_.residues; ++i) {
      for (int64_t s = 0; s < a_.side_slots; ++s)
        if (a_.candidate_present[i * a_.side_slots + s]) slot_.push_back(int32_t(s));
      slot_start_.push_back(int32_t(slot_.size()));
    }
    chosen_.resize(slot_.size());
    for (int64_t n = 0; n < a_.residues * a_.side_slots; ++n)
      widest_atom_ = std::max(widest_atom_, bound(a_.side_radius[n]));
    for (int64_t n = 0; n < a_.residues * a_.backbone_slots; ++n)
      widest_atom_ = std::max(widest_atom_, bound(a_.backbone_radius[n]));
  }

  // Where each atom finds its class in the table of contacts: the same in all frames.
  void list_columns() {
    backbone_column_.assign(a_.residues * a_.backbone_slots, 0);
    side_column_.assign(slot_.size(), 0);
    if (!rows_.exist()) return;
    for (size_t n = 0; n < backbone_column_.size(); ++n) backbone_column_[n] = rows_.column(a_.backbone_class[n]);
    for (int64_t i = 0; i < a_.residues; ++i)
      for (int64_t n = slot_start_[i]; n < slot_start_[i + 1]; ++n)
        side_column_[n] = rows_.column(a_.side_class[i * a_.side_slots + slot_[n]]);
  }

  // The radius up to which an atom may meet others.
  T bound(T radius) const { return rows_.exist() ? radius_in_reach(radius, a_.contacts.reach) : radius; }
  Sphere<T> bound(const Sphere<T>& atom) const { return {atom.centre, bound(atom.radius)}; }

  void enter(int64_t b) {
    candidate_ = a_.candidate + b * a_.residues * a_.candidates * a_.side_slots * 3;
    backbone_ = a_.backbone + b * a_.residues * a_.backbone_slots * 3;
    backbone_present_ = a_.backbone_present + b * a_.backbone_present_stride;
    uniform_ = a_.uniform + b * a_.sweeps * a_.residues;
    own_energy_ = a_.own_energy ? a_.own_energy + b * a_.residues * a_.candidates : nullptr;
    choice_ = a_.choice + b * a_.residues;
    energy_ = a_.energy + b * a_.residues;
    box_ = box_of_frame(a_.box, a_.box_stride, b);
    list_alike();
  }

  // Residues whose candidates are all the same, so that one energy stands for all.
  void list_alike() {
    alike_.assign(a_.residues, false);
    if (own_energy_) return;
    const int64_t length = 3 * a_.side_slots;
    for (int64_t i = 0; i < a_.residues; ++i) {
      const T* first = candidate_ + i * a_.candidates * length;
      alike_[i] = std::equal(first, first + (a_.candidates - 1) * length, first + length);
    }
  }

  bool has_side_chain(int64_t i) const { return slot_start_[i] < slot_start_[i + 1]; }

  // The n-th atom listed in `slot_`, in candidate k of its residue i.
  Sphere<T> side_atom(int64_t i, int64_t k, int64_t n) const {
    const int64_t s = slot_[n];
    return {load(candidate_ + 3 * ((i * a_.candidates + k) * a_.side_slots + s)),
            a_.side_radius[i * a_.side_slots + s]};
  }

  Sphere<T> backbone_atom(int64_t at) const { return {load(backbone_ + 3 * at), a_.backbone_radius[at]}; }

  void bound_residues() {
    side_bound_.resize(a_.residues);
    backbone_bound_.resize(a_.residues);
    for_residues([&](int64_t i, Workspace&) {
      const int64_t first = slot_start_[i], slots = slot_start_[i + 1] - first;
      side_bound_[i] = bounding_sphere<T>(a_.candidates * slots, [&](int64_t n, Sphere<T>& atom) {
        atom = bound(side_atom(i, n / slots, first + n % slots));
        return true;
      });
      backbone_bound_[i] = bounding_sphere<T>(a_.backbone_slots, [&](int64_t t, Sphere<T>& atom) {
        atom = bound(backbone_atom(i * a_.backbone_slots + t));
        return backbone_present_[i * a_.backbone_slots + t];
      });
    });
  }

  // Around the same atom of all candidates, for all that are listed in `slot_`.
  void bound_slots() {
    slot_bound_.resize(slot_.size());
    for_residues([&](int64_t i, Workspace&) {
      for (int64_t n = slot_start_[i]; n < slot_start_[i + 1]; ++n)
        slot_bound_[n] = bounding_sphere<T>(a_.candidates, [&](int64_t k, Sphere<T>& atom) {
          atom = bound(side_atom(i, k, n));
          return true;
        });
    });
  }

  void find_neighbours() {
    sides_.assign(side_bound_);
    backbones_.assign(backbone_bound_);
    sides_.prepare(sides_.widest(), box_);
    backbones_.prepare(sides_.widest(), box_);
    // Ranges of residues come in order, so their lists only need to be joined.
    std::vector<std::vector<int32_t>> found(workspace_.size());
    neighbour_start_.assign(a_.residues + 1, 0);
    parallel_ranges(a_.residues, residues_of_a_thread, [&](int64_t begin, int64_t end) {
      std::vector<int32_t>& own = found[&workspace() - workspace_.data()];
      for (int64_t i = begin; i < end; ++i) {
        const size_t before = own.size();
        if (side_bound_[i].radius >= T(0)) sides_.find(side_bound_[i], own);
        neighbour_start_[i + 1] = int64_t(own.size() - before);
      }
    });
    for (int64_t i = 0; i < a_.residues; ++i) neighbour_start_[i + 1] += neighbour_start_[i];
    neighbour_.clear();
    for (const std::vector<int32_t>& part : found) neighbour_.insert(neighbour_.end(), part.begin(), part.end());
  }

  // Whether the spheres around residue i are so wide that an atom may touch it in several images.
  bool is_wide(int64_t i) const {
    if (!box_.exists) return false;
    return !(contact_reach(side_bound_[i], Sphere<T>{{}, widest_atom_}) < exact_length(box_));
  }

  // Adds the nearest image of an atom of another residue if it can meet the side chain of i at all.
  void surround(int64_t i, const Sphere<T>& atom, int32_t column, Workspace& w) const {
    const Sphere<T>& own = side_bound_[i];
    if (w.wide) return w.surroundings.add(atom.centre, atom.radius, column);
    const Vec3<T> d = minimum_image(atom.centre - own.centre, box_);
    const T reach = contact_reach(own, bound(atom));
    if (own.radius < T(0) || atom.radius < T(0) || !(dot(d, d) < reach * reach)) return;
    w.surroundings.add(box_.exists ? own.centre + d : atom.centre, atom.radius, column);
  }

  void surround_by_backbones(int64_t i, Workspace& w) const {
    w.surroundings.clear();
    w.wide = is_wide(i);
    w.near_backbone.clear();
    if (side_bound_[i].radius >= T(0)) backbones_.find(side_bound_[i], w.near_backbone);
    for (const int64_t j : w.near_backbone) {
      if (i == j || are_linked(i, j, a_.following)) continue;
      for (int64_t at = j * a_.backbone_slots; at < (j + 1) * a_.backbone_slots; ++at)
        if (backbone_present_[at]) surround(i, backbone_atom(at), backbone_column_[at], w);
    }
  }

  void surround_by_side_chains(int64_t i, Workspace& w) const {
    w.surroundings.clear();
    w.wide = is_wide(i);
    for (int64_t at = neighbour_start_[i]; at < neighbour_start_[i + 1]; ++at) {
      const int64_t j = neighbour_[at];
      if (i == j) continue;
      for (int64_t n = slot_start_[j]; n < slot_start_[j + 1]; ++n) surround(i, chosen_[n], side_column_[n], w);
    }
  }

  // Adds the energies of candidates [first, last) of residue i in its surroundings.
  void add_energies(int64_t i, int64_t first, int64_t last, T* energies, Workspace& w) const {
    if (rows_.exist()) return add_energies_with_contacts(i, first, last, energies, w);
    for (int64_t k = first; k < last; ++k) {
      T sum = T(0);
      for (int64_t n = slot_start_[i]; n < slot_start_[i + 1]; ++n) {
        const Sphere<T> atom = side_atom(i, k, n);
        sum += w.wide ? w.surroundings.overlap_with_images(atom, box_) : w.surroundings.overlap_with(atom);
      }
      energies[k - first] += a_.strength * sum;
    }
  }

  // The same atom of all candidates is in a small part of the space of the residue, and meets few of its surroundings.
  void add_energies_with_contacts(int64_t i, int64_t first, int64_t last, T* energies, Workspace& w) const {
    for (int64_t n = slot_start_[i]; n < slot_start_[i + 1]; ++n) {
      const AtomTerms<T> terms = rows_.terms(a_.strength, side_column_[n]);
      if (!w.wide) w.surroundings.list_near(slot_bound_[n], a_.contacts.reach, w.near);
      for (int64_t k = first; k < last; ++k) {
        const Sphere<T> atom = side_atom(i, k, n);
        energies[k - first] +=
            w.wide ? w.surroundings.energy_with_images(atom, terms, box_) : w.near.energy_with(atom, terms);
      }
    }
  }

  // The backbone does not move, so this part of each candidate's energy is computed only once.
  void compute_fixed_energies() {
    fixed_energy_.assign(a_.residues * a_.candidates, T(0));
    for_residues([&](int64_t i, Workspace& w) {
      if (!has_side_chain(i)) return;
      surround_by_backbones(i, w);
      T* energies = fixed_energy_.data() + i * a_.candidates;
      add_energies(i, 0, alike_[i] ? 1 : a_.candidates, energies, w);
      if (alike_[i]) std::fill_n(energies, a_.candidates, energies[0]);
      for (int64_t k = 0; own_energy_ && k < a_.candidates; ++k) energies[k] += own_energy_[i * a_.candidates + k];
    });
  }

  void choose(int64_t i, int64_t k) {
    choice_[i] = k;
    for (int64_t n = slot_start_[i]; n < slot_start_[i + 1]; ++n) chosen_[n] = side_atom(i, k, n);
  }

  void redraw(int64_t i, T uniform, Workspace& w) {
    std::copy_n(fixed_energy_.data() + i * a_.candidates, a_.candidates, w.energies.data());
    if (!alike_[i]) {
      surround_by_side_chains(i, w);
      add_energies(i, 0, a_.candidates, w.energies.data(), w);
    }
    choose(i, draw(w.energies.data(), a_.candidates, uniform));
  }

  T final_energy(int64_t i, Workspace& w) const {
    surround_by_side_chains(i, w);
    T energy = fixed_energy_[i * a_.candidates + choice_[i]];
    add_energies(i, choice_[i], choice_[i] + 1, &energy, w);
    return energy;
  }

  const PackArguments<T>& a_;
  const ContactRows<T>& rows_;
  PeriodicBox<T> box_{};
  T widest_atom_ = T(0);
  const T* candidate_ = nullptr;
  const T* backbone_ = nullptr;
  const bool* backbone_present_ = nullptr;
  const T* uniform_ = nullptr;
  const T* own_energy_ = nullptr;
  int64_t* choice_ = nullptr;
  T* energy_ = nullptr;

  std::vector<int32_t> slot_, slot_start_;
  std::vector<int32_t> side_column_, backbone_column_;  // side_column_ belongs to slot_
  std::vector<Sphere<T>> chosen_;                       // the atoms of `slot_` in the current candidates
  std::vector<Sphere<T>> side_bound_, backbone_bound_, slot_bound_;
  ResidueSpheres<T> sides_, backbones_;
  std::vector<int32_t> neighbour_;  // between side chains
  std::vector<int64_t> neighbour_start_;
  std::vector<T> fixed_energy_;
  std::vector<char> alike_;
  Layers layers_;
  std::vector<Workspace> workspace_;  // of each thread
};

}  // namespace

template <typename T>
void pack_side_chains(const PackArguments<T>& args) {
  const ContactRows<T> rows(args.contacts);
  parallel_frames(args.batch, args.residues, 4 * residues_of_a_thread, [&](int64_t begin, int64_t end) {
    FramePacker<T> packer(args, rows);
    for (int64_t b = begin; b < end; ++b) packer.pack(b);
  });
}

template void pack_side_chains(const PackArguments<float>&);
template void pack_side_chains(const PackArguments<double>&);

}  // namespace backmap::cpu
