// The selectable atoms of one structure, packed for a vectorised search for the residues nearest to a point.
//
// Residues are stored in blocks, one residue per lane: the x, y and z of their first atoms, then those of their second
// atoms, and so on. Residues with fewer atoms are padded with points at infinity. In a sorted structure the residues of
// a block are near each other, and blocks whose bounding box is too far away are skipped. This is exact, also on ties:
// rounding is monotonic, so the squared distance to a box, computed in the order of `squared_distance`, never exceeds
// the computed distance to an atom inside. Boxes around chunks of blocks ("regions") reduce the number of boxes to
// check. In a periodic box, spheres replace the bounding boxes, because distances are to the nearest image.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <numeric>
#include <vector>

#include "core/nearest.h"
#include "core/vec3.h"
#include "cpu/boxes.h"
#include "cpu/lanes.h"
#include "cpu/smallest.h"
#include "cpu/spheres.h"

namespace backmap::cpu {

template <typename T>
class ResidueBlocks {
 public:
  // Takes the atoms i with counts(i) and finite coordinates; `queries` is the expected number of queries.
  template <typename Counts>
  void pack(const T* atoms, int64_t residues, int64_t slots, int64_t queries, const PeriodicBox<T>& box,
            const Counts& counts) {
    box_ = box;
    collect_members(atoms, residues, slots, counts);
    sorted_ = queries >= fewest_sorted && int64_t(atom_.size()) > longest_scan;
    if (sorted_) {
      find_centres(atoms);
      partition(0, int64_t(members_.size()));
    }
    fill_blocks(atoms);
    if (sorted_) box_.exists ? find_spheres(atoms) : find_boxes(atoms);
    reserve();
  }

  // Writes the `wanted` nearest residues in order, then -1 if there are fewer.
  BACKMAP_HD void find(const Vec3<T>& query, int64_t excluded, int64_t wanted, int64_t* nearest) {
    if (wanted == 0) return;
    visited_ = measured_ = 0;
    if (sorted_) visit_near_blocks(query, wanted + 1);  // one of them may be excluded
    else visit_all_blocks(query);
    collect_candidates(bound(squared_.data(), visited_ * L, wanted + 1), excluded);
    std::fill(nearest + write_in_order(wanted, nearest), nearest + wanted, int64_t(-1));
  }

 private:
  static constexpr int64_t L = lane_count<T>;
  static constexpr T infinity = std::numeric_limits<T>::infinity(), largest = std::numeric_limits<T>::max();
  static constexpr int64_t most_ranked = 128, most_far_regions = 4;
  // Structures with more atoms than `longest_scan` are sorted if there are at least `fewest_sorted` queries.
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
      m.centre = moved_into_box(T(1) / T(m.end - m.begin) * m.centre, box_);
    }
  }

  // Repeatedly halves the members along their longest extent, down to whole chunks of blocks and then to blocks.
  void partition(int64_t begin, int64_t end) {
    if (end - begin <= L) return;
    Extent<T> extent;
    for (int64_t m = begin; m < end; ++m) extent.include(members_[m].centre);
    const Vec3<T> size = extent.high - extent.low;
    const auto axis = size.x >= size.y && size.x >= size.z ? &Vec3<T>::x : size.y >= size.z ? &Vec3<T>::y : &Vec3<T>::z;
    const int64_t part = end - begin > chunk * L ? chunk * L : L;
    const int64_t middle = begin + ((end - begin) / 2 + part - 1) / part * part;
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

  void find_boxes(const T* atoms) {
    regions_ = (blocks_ + chunk - 1) / chunk;
    box_of_block_.resize(blocks_);
    box_of_region_.resize(regions_);
    for (int64_t region = 0; region < regions_; ++region) {
      Extent<T> of_region;
      for (int64_t b = region * chunk; b < std::min((region + 1) * chunk, blocks_); ++b) {
        Extent<T> of_block;
        for (int64_t m = b * L; m < std::min<int64_t>((b + 1) * L, members_.size()); ++m)
          for (int32_t a = members_[m].begin; a < members_[m].end; ++a)
            of_block.include(load(atoms + 3 * int64_t(atom_[a])));
        box_of_block_.set(b, of_block);
        of_region.include(of_block.low);
        of_region.include(of_block.high);
      }
      box_of_region_.set(region, of_region);
    }
  }

  // The sphere of a block is centred on its residues after they were moved into the box.
  void find_spheres(const T* atoms) {
    regions_ = (blocks_ + chunk - 1) / chunk;
    sphere_of_block_.resize(blocks_, box_);
    sphere_of_region_.resize(regions_, box_);
    for (int64_t region = 0; region < regions_; ++region) {
      const int64_t first = region * chunk, last = std::min(first + chunk, blocks_);
      sphere_of_region_.set(region, mean_centre(first * L, last * L));
      for (int64_t b = first; b < last; ++b) {
        sphere_of_block_.set(b, mean_centre(b * L, (b + 1) * L));
        for (int64_t m = b * L; m < std::min<int64_t>((b + 1) * L, members_.size()); ++m)
          for (int32_t a = members_[m].begin; a < members_[m].end; ++a) {
            const Vec3<T> p = load(atoms + 3 * int64_t(atom_[a]));
            sphere_of_block_.include(b, p);
            sphere_of_region_.include(region, p);
          }
      }
    }
  }

  Vec3<T> mean_centre(int64_t first, int64_t last) const {
    last = std::min<int64_t>(last, members_.size());
    Vec3<T> sum{T(0), T(0), T(0)};
    for (int64_t m = first; m < last; ++m) sum += members_[m].centre;
    return T(1) / T(last - first) * sum;
  }

  void reserve() {
    const int64_t blocks = whole_chunks(blocks_), residues = whole_chunks(blocks_ * L);
    near_.resize(std::max<size_t>(near_.size(), blocks));
    near_region_.resize(std::max<size_t>(near_region_.size(), whole_chunks(blocks / chunk)));
    region_.resize(near_region_.size());
    if (box_.exists) far_.resize(std::max<size_t>(far_.size(), near_region_.size() + chunk * most_far_regions));
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

  // Bounds the distance to the wanted-th residue with the blocks that have the nearest boxes, then visits all blocks
  // whose boxes are within the bound.
  BACKMAP_HD void visit_near_blocks(const Vec3<T>& query, int64_t wanted) {
    for (int64_t first = 0; first < regions_; first += chunk)
      measure_bounds(box_of_region_, sphere_of_region_, query, first / chunk, near_region_.data() + first);
    const int64_t some_regions = std::min<int64_t>(2, regions_), some_blocks = (wanted + L - 1) / L + 1;
    if (box_.exists) {
      const T high = bound_by_far_sides(query, some_regions, some_blocks);
      measure_blocks_of_regions(query, high);
      visit_blocks(query, high);
    } else {
      measure_blocks_of_regions(query, bound(near_region_.data(), regions_, some_regions));
      visit_blocks(query, bound(near_.data(), chunk * measured_, some_blocks));
    }
    const T of_residues = bound(squared_.data(), visited_ * L, wanted);
    measure_blocks_of_regions(query, of_residues);
    visit_blocks(query, of_residues);
  }

  // A squared distance that covers the far sides of some blocks' spheres. Near sides would be a poor start: many
  // queries lie inside the few wide spheres of isolated residues.
  BACKMAP_HD T bound_by_far_sides(const Vec3<T>& query, int64_t some_regions, int64_t some_blocks) {
    T* far = far_.data();
    for (int64_t first = 0; first < regions_; first += chunk)
      sphere_of_region_.measure_far_sides(query, first / chunk, far + first);
    T* of_blocks = far + whole_chunks(regions_);
    int64_t measured = 0;
    for_values_within(far, regions_, bound(far, regions_, some_regions), [&](int64_t region) {
      if (measured == most_far_regions) return;  // several may tie
      sphere_of_block_.measure_far_sides(query, region, of_blocks + chunk * measured++);
    });
    return bound(of_blocks, chunk * measured, some_blocks);
  }

  // A finite bound, so that blocks at infinity are never visited.
  BACKMAP_HD T bound(const T* values, int64_t count, int64_t wanted) {
    return std::min(bound_of_smallest(values, count, wanted, least_), largest);
  }

  BACKMAP_HD void measure_bounds(const Boxes<T>& boxes, const Spheres<T>& spheres, const Vec3<T>& query, int64_t which,
                                 T* squared) const {
    if (box_.exists) spheres.measure(query, which, squared);
    else boxes.measure(query, which, squared);
  }

  // Computes distances to the boxes of the blocks in regions whose boxes are within `high`; each region only once.
  BACKMAP_HD void measure_blocks_of_regions(const Vec3<T>& query, T high) {
    for_values_within(near_region_.data(), regions_, high, [&](int64_t region) {
      near_region_[region] = infinity;
      measure_bounds(box_of_block_, sphere_of_block_, query, region, near_.data() + chunk * measured_);
      region_[measured_++] = int32_t(region);
    });
  }

  // Visits those of the measured blocks whose boxes are within `high`; each block only once.
  BACKMAP_HD void visit_blocks(const Vec3<T>& query, T high) {
    const int64_t before = visited_;
    for_values_within(near_.data(), chunk * measured_, high, [&](int64_t i) {
      near_[i] = infinity;
      visit_[visited_++] = int32_t(region_[i / chunk] * chunk + i % chunk);
    });
    measure(query, before);
  }

  BACKMAP_HD void measure(const Vec3<T>& query, int64_t first) {
    if (box_.exists) measure_residues<true>(query, first);
    else measure_residues<false>(query, first);
  }

  // Computes distances to the residues of the visited blocks from number `first` on; pads the last chunk.
  template <bool periodic>
  BACKMAP_HD void measure_residues(const Vec3<T>& query, int64_t first) {
    const Lanes<T> none = broadcast(infinity), x = broadcast(query.x), y = broadcast(query.y), z = broadcast(query.z);
    const T* coordinates = coordinates_.data();
    const int64_t *start = start_.data(), visited = visited_;
    const int32_t* visit = visit_.data();
    T *out = squared_.data() + first * L, *end = squared_.data() + whole_chunks(visited * L);
    for (int64_t v = first; v < visited; ++v, out += L) {
      const T *p = coordinates + start[visit[v]], *last = coordinates + start[visit[v] + 1];
      Lanes<T> least = none;
      do {
        Lanes<T> dx = x - load_lanes(p), dy = y - load_lanes(p + L), dz = z - load_lanes(p + 2 * L);
        if (periodic) to_minimum_image(dx, dy, dz, box_);
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
    for_values_within(all, visited_ * L, bound, [&](int64_t i) {
      squared[n] = all[i];
      residue[n] = residue_of[visit[i / L] * L + i % L];
      n += residue[n] != excluded;
    });
    candidates_ = n;
  }

  // Returns the number of candidates written.
  BACKMAP_HD int64_t write_in_order(int64_t wanted, int64_t* nearest) {
    const int64_t kept = std::min(wanted, candidates_);
    if (candidates_ > most_ranked || !write_by_rank(kept, nearest)) sort_candidates(kept, nearest);
    return kept;
  }

  // False if distances tie.
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
  int64_t blocks_ = 0, regions_ = 0, measured_ = 0, visited_ = 0, candidates_ = 0;
  std::vector<Member> members_;
  std::vector<int32_t> atom_;     // those that count, by residue
  std::vector<int32_t> residue_;  // of each lane of each block
  std::vector<int64_t> start_;    // of each block in `coordinates_`
  std::vector<T> coordinates_;
  PeriodicBox<T> box_{};
  Boxes<T> box_of_block_, box_of_region_;          // a region is a chunk of blocks
  Spheres<T> sphere_of_block_, sphere_of_region_;  // the same in a periodic box

  std::vector<T> near_region_, near_;    // squared distances to the boxes of regions, and of blocks in `region_`
  std::vector<T> far_;                   // the same to far sides, in a periodic box, of few blocks
  std::vector<int32_t> region_, visit_;  // regions whose blocks are measured, blocks visited
  std::vector<T> squared_;               // of the residues of the blocks visited
  std::vector<T> candidate_squared_;
  std::vector<int32_t> candidate_residue_;
  std::vector<Neighbour<T>> sorted_candidates_;
  std::vector<T> least_;
};

}  // namespace backmap::cpu
