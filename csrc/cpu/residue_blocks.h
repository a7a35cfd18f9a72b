// The selectable atoms of one structure, packed so that vectors search them for the residues nearest to a point.
//
// Residues stand in blocks, one residue a lane: the x, y and z of their first atoms, then those of their second
// atoms... Residues with fewer atoms are filled up with points at infinity. In a sorted structure the residues
// of a block are near each other, and blocks whose bounding box is too far away are not searched. That is exact,
// ties included: rounding is monotonic, so the squared distance to a box, computed in the order of
// `squared_distance`, never exceeds a computed one to an atom inside.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "core/nearest.h"
#include "core/vec3.h"
#include "cpu/lanes.h"
#include "cpu/smallest.h"

namespace backmap::cpu {

template <typename T>
class ResidueBlocks {
 public:
  // Takes the atoms i with counts(i) whose coordinates are finite, for so many queries.
  template <typename Counts>
  void pack(const T* atoms, int64_t residues, int64_t slots, int64_t queries, const Counts& counts) {
    collect_members(atoms, residues, slots, counts);
    sorted_ = queries >= fewest_sorted && int64_t(atom_.size()) > longest_scan;
    if (sorted_) {
      find_centres(atoms);
      partition(0, int64_t(members_.size()));
    }
    fill_blocks(atoms);
    if (sorted_) find_boxes();
    reserve();
  }

  // Writes the `wanted` nearest residues in order, and -1 where they run out.
  BACKMAP_HD void find(const Vec3<T>& query, int64_t excluded, int64_t wanted, int64_t* nearest) {
    if (wanted == 0) return;
    visited_ = 0;
    if (sorted_) visit_near_blocks(query, wanted + 1);  // one of them may be the excluded one
    else visit_all_blocks(query);
    const T bound = bound_of_smallest(squared_.data(), visited_ * L, wanted + 1, least_);
    collect_candidates(bound, excluded);
    std::fill(nearest + write_in_order(wanted, nearest), nearest + wanted, int64_t(-1));
  }

 private:
  static constexpr int64_t L = lane_count<T>;
  static constexpr T infinity = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  static constexpr int64_t most_ranked = 128;
  // Structures of more atoms are sorted for at least so many queries.
  static constexpr int64_t longest_scan = 1000, fewest_sorted = 32;

  // A residue and its atoms, a range of `atom_`.
  struct Member {
    int32_t residue, begin, end;
    Vec3<T> centre;
  };

  // ---- Packing ----

  template <typename Counts>
  void collect_members(const T* atoms, int64_t residues, int64_t slots, const Counts& counts) {
    members_.clear();
    atom_.resize(residues * slots + 1);
    int32_t n = 0;
    for (int64_t r = 0; r < residues; ++r) {
      const int32_t begin = n;
      for (int64_t i = r * slots; i < (r + 1) * slots; ++i) {
        atom_[n] = int32_t(i);
        n += counts(i) && is_finite(load(atoms + 3 * i));
      }
      if (n > begin) members_.push_back({int32_t(r), begin, n, {}});
    }
    atom_.resize(n);
  }

  void find_centres(const T* atoms) {
    for (Member& m : members_) {
      m.centre = {T(0), T(0), T(0)};
      for (int32_t a = m.begin; a < m.end; ++a) m.centre += load(atoms + 3 * int64_t(atom_[a]));
      m.centre = T(1) / T(m.end - m.begin) * m.centre;
    }
  }

  // Halves the members across their longest extent again and again, down to whole blocks.
  void partition(int64_t begin, int64_t end) {
    if (end - begin <= L) return;
    Vec3<T> low = members_[begin].centre, high = low;
    for (int64_t m = begin + 1; m < end; ++m) {
      const Vec3<T>& c = members_[m].centre;
      low = {std::min(low.x, c.x), std::min(low.y, c.y), std::min(low.z, c.z)};
      high = {std::max(high.x, c.x), std::max(high.y, c.y), std::max(high.z, c.z)};
    }
    const Vec3<T> extent = high - low;
    const auto axis = extent.x >= extent.y && extent.x >= extent.z ? &Vec3<T>::x
                      : extent.y >= extent.z                       ? &Vec3<T>::y
                                                                   : &Vec3<T>::z;
    const int64_t middle = begin + ((end - begin) / 2 + L - 1) / L * L;
    std::nth_element(members_.begin() + begin, members_.begin() + middle, members_.begin() + end,
                     [axis](const Member& a, const Member& b) { return a.centre.*axis < b.centre.*axis; });
    partition(begin, middle);
    partition(middle, end);
  }

  void fill_blocks(const T* atoms) {
    const int64_t members = members_.size();
    blocks_ = (members + L - 1) / L;
    residue_.assign(blocks_ * L, -1);
    start_.assign(1, 0);
    coordinates_.clear();
    for (int64_t b = 0; b < blocks_; ++b) {
      const int64_t first = b * L, end = std::min(first + L, members);
      int32_t rows = 0;
      for (int64_t m = first; m < end; ++m) rows = std::max(rows, members_[m].end - members_[m].begin);
      coordinates_.resize(start_[b] + 3 * L * rows, infinity);
      for (int64_t m = first; m < end; ++m) fill_lane(atoms, members_[m], coordinates_.data() + start_[b] + m % L);
      for (int64_t m = first; m < end; ++m) residue_[m] = members_[m].residue;
      start_.push_back(coordinates_.size());
    }
  }

  void fill_lane(const T* atoms, const Member& member, T* lane) {
    for (int32_t a = member.begin; a < member.end; ++a, lane += 3 * L) {
      const Vec3<T> p = load(atoms + 3 * int64_t(atom_[a]));
      lane[0] = p.x, lane[L] = p.y, lane[2 * L] = p.z;
    }
  }

  void find_boxes() {
    const Lanes<T> far = broadcast(infinity);
    boxes_.assign(whole_chunks(blocks_) * 6, infinity);
    for (int64_t b = 0; b < blocks_; ++b) {
      for (int64_t d = 0; d < 3; ++d) {
        Lanes<T> low = far, high = -far;
        for (int64_t i = start_[b] + d * L; i < start_[b + 1]; i += 3 * L) {
          const Lanes<T> v = load_lanes(coordinates_.data() + i), filled = v == far ? -far : v;
          low = v < low ? v : low;
          high = filled > high ? filled : high;
        }
        T* box = boxes_.data() + (b / L * 6 + d) * L + b % L;
        box[0] = least_lane<T>(low);
        box[3 * L] = -least_lane<T>(-high);
      }
    }
  }

  void reserve() {
    const int64_t blocks = whole_chunks(blocks_), residues = whole_chunks(blocks_ * L);
    near_.resize(std::max<size_t>(near_.size(), blocks));
    visit_.resize(std::max<size_t>(visit_.size(), blocks));
    squared_.resize(std::max<size_t>(squared_.size(), residues));
    candidate_squared_.resize(std::max<size_t>(candidate_squared_.size(), residues + 1));
    candidate_residue_.resize(std::max<size_t>(candidate_residue_.size(), residues + 1));
    if (!sorted_) std::iota(visit_.begin(), visit_.end(), 0);
  }

  // ---- Searching ----

  BACKMAP_HD void visit_all_blocks(const Vec3<T>& query) {
    visited_ = blocks_;
    measure(query, 0);
  }

  // First the blocks that are nearest for sure contain `wanted` residues, then all that may hold nearer ones.
  BACKMAP_HD void visit_near_blocks(const Vec3<T>& query, int64_t wanted) {
    measure_boxes(query);
    const T first = std::min(bound_of_smallest(near_.data(), blocks_, (wanted + L - 1) / L + 1, least_), largest);
    visit_blocks(query, T(-1), first);
    visit_blocks(query, first, std::min(bound_of_smallest(squared_.data(), visited_ * L, wanted, least_), largest));
  }

  BACKMAP_HD void measure_boxes(const Vec3<T>& query) {
    const Lanes<T> zero{}, x = broadcast(query.x), y = broadcast(query.y), z = broadcast(query.z);
    const auto outside = [&](const T* low, const Lanes<T>& q) __attribute__((always_inline)) {
      const Lanes<T> below = load_lanes(low) - q, above = q - load_lanes(low + 3 * L);
      const Lanes<T> d = below > above ? below : above;
      return d > zero ? d : zero;
    };
    const int64_t count = whole_chunks(blocks_);
    const T* box = boxes_.data();
    for (int64_t b = 0; b < count; b += L, box += 6 * L) {
      const Lanes<T> dx = outside(box, x), dy = outside(box + L, y), dz = outside(box + 2 * L, z);
      store_lanes(near_.data() + b, dx * dx + dy * dy + dz * dz);
    }
  }

  // Visits blocks b with low < near_[b] <= high.
  BACKMAP_HD void visit_blocks(const Vec3<T>& query, T low, T high) {
    const int64_t before = visited_;
    for_values_within(near_.data(), blocks_, low, high, [&](int64_t b) { visit_[visited_++] = int32_t(b); });
    measure(query, before);
  }

  // Distances to the residues of the blocks visited from number `first` on; fills up the last chunk.
  BACKMAP_HD void measure(const Vec3<T>& query, int64_t first) {
    const Lanes<T> none = broadcast(infinity), x = broadcast(query.x), y = broadcast(query.y), z = broadcast(query.z);
    const T* coordinates = coordinates_.data();
    const int64_t *start = start_.data(), visited = visited_;
    const int32_t* visit = visit_.data();
    T *out = squared_.data() + first * L, *end = squared_.data() + whole_chunks(visited * L);
    for (int64_t v = first; v < visited; ++v, out += L) {
      const T *p = coordinates + start[visit[v]], *last = coordinates + start[visit[v] + 1];
      Lanes<T> least = none;
      do {
        const Lanes<T> dx = load_lanes(p) - x, dy = load_lanes(p + L) - y, dz = load_lanes(p + 2 * L) - z;
        const Lanes<T> d = dx * dx + dy * dy + dz * dz;
        least = d < least ? d : least;
        p += 3 * L;
      } while (p != last);
      store_lanes(out, least);
    }
    for (; out < end; out += L) store_lanes(out, none);
  }

  BACKMAP_HD void collect_candidates(T bound, int64_t excluded) {
    T* squared = candidate_squared_.data();
    int32_t* residue = candidate_residue_.data();
    const T* all = squared_.data();
    const int32_t *residue_of = residue_.data(), *visit = visit_.data();
    int64_t n = 0;
    for_values_within(all, visited_ * L, T(-1), std::min(bound, largest), [&](int64_t i) {
      squared[n] = all[i];
      residue[n] = residue_of[visit[i / L] * L + i % L];
      n += residue[n] != excluded;
    });
    candidates_ = n;
  }

  // Returns how many candidates were written.
  BACKMAP_HD int64_t write_in_order(int64_t wanted, int64_t* nearest) {
    const int64_t kept = std::min(wanted, candidates_);
    if (candidates_ > most_ranked || !write_by_rank(kept, nearest)) sort_candidates(kept, nearest);
    return kept;
  }

  // False where distances tie.
  BACKMAP_HD bool write_by_rank(int64_t kept, int64_t* nearest) {
    IntegerLanes<T> ranks[most_ranked / L];
    rank(candidate_squared_.data(), candidates_, ranks);
    int64_t order[most_ranked], sum = 0;
    const auto* rank_of = reinterpret_cast<const typename LanesOf<T>::Integer*>(ranks);
    const int32_t* residue = candidate_residue_.data();
    for (int64_t i = 0; i < candidates_; ++i) {
      sum += rank_of[i];
      order[rank_of[i]] = residue[i];
    }
    if (sum != candidates_ * (candidates_ - 1) / 2) return false;
    for (int64_t k = 0; k < kept; ++k) nearest[k] = order[k];
    return true;
  }

  void sort_candidates(int64_t kept, int64_t* nearest) {
    sorted_candidates_.resize(candidates_);
    for (int64_t i = 0; i < candidates_; ++i) sorted_candidates_[i] = {candidate_squared_[i], candidate_residue_[i]};
    const auto begin = sorted_candidates_.begin();
    std::partial_sort(begin, begin + kept, sorted_candidates_.end(), nearer<T>);
    for (int64_t k = 0; k < kept; ++k) nearest[k] = sorted_candidates_[k].residue;
  }

  bool sorted_ = false;
  int64_t blocks_ = 0, visited_ = 0, candidates_ = 0;
  std::vector<Member> members_;
  std::vector<int32_t> atom_;     // those that count, residue by residue
  std::vector<int32_t> residue_;  // of each lane of each block
  std::vector<int64_t> start_;    // of each block in `coordinates_`
  std::vector<T> coordinates_, boxes_;

  std::vector<T> near_;         // squared distance to the box of each block
  std::vector<int32_t> visit_;  // blocks
  std::vector<T> squared_;      // of the residues of the blocks visited
  std::vector<T> candidate_squared_;
  std::vector<int32_t> candidate_residue_;
  std::vector<Neighbour<T>> sorted_candidates_;
  std::vector<T> least_;
};

}  // namespace backmap::cpu
