// Nearest residues of a point in a local frame, and the placement back; threads over points.
#include <algorithm>
#include <vector>

#include "core/local_frame.h"
#include "core/nearest.h"
#include "cpu/cell_grid.h"
#include "cpu/clones.h"
#include "cpu/parallel.h"
#include "kernels.h"

namespace backmap::cpu {
namespace {

// Structures longer than this are searched with a cell list; shorter ones faster by a plain scan.
constexpr int64_t longest_scan = 512;
constexpr int64_t queries_per_thread = 16;

// ---- Plain scan --------------------------------------------------------------------------------

// squared[r] = smallest squared distance over the rows of residue r.
template <typename T>
BACKMAP_HD void scan_rows(const T* x, const T* y, const T* z, int64_t rows, int64_t residues, const Vec3<T>& query,
                          T* squared) {
  for (int64_t r = 0; r < residues; ++r) squared[r] = std::numeric_limits<T>::infinity();
  for (int64_t row = 0; row < rows; ++row) {
    const T *xs = x + row * residues, *ys = y + row * residues, *zs = z + row * residues;
    for (int64_t r = 0; r < residues; ++r) {
      const T d = squared_distance(Vec3<T>{xs[r], ys[r], zs[r]}, query);
      squared[r] = d < squared[r] ? d : squared[r];
    }
  }
}

BACKMAP_CLONES void scan(const float* x, const float* y, const float* z, int64_t rows, int64_t residues,
                         const Vec3<float>& query, float* squared) {
  scan_rows(x, y, z, rows, residues, query, squared);
}
BACKMAP_CLONES void scan(const double* x, const double* y, const double* z, int64_t rows, int64_t residues,
                         const Vec3<double>& query, double* squared) {
  scan_rows(x, y, z, rows, residues, query, squared);
}

// minima[g] = smallest of the values g, g + groups, g + 2 groups...
template <typename T>
BACKMAP_HD void minima_of_groups(const T* values, int64_t count, int64_t groups, T* minima) {
  for (int64_t g = 0; g < groups; ++g) minima[g] = values[g];
  for (int64_t first = groups; first < count; first += groups) {
    const int64_t members = count - first < groups ? count - first : groups;
    for (int64_t g = 0; g < members; ++g) minima[g] = values[first + g] < minima[g] ? values[first + g] : minima[g];
  }
}

BACKMAP_CLONES void group_minima(const float* values, int64_t count, int64_t groups, float* minima) {
  minima_of_groups(values, count, groups, minima);
}
BACKMAP_CLONES void group_minima(const double* values, int64_t count, int64_t groups, double* minima) {
  minima_of_groups(values, count, groups, minima);
}

// The selectable atoms of one structure, atom by atom of all residues, so that a scan reads contiguous
// coordinates; residues with fewer atoms are filled up with points at infinity, which are never nearest.
template <typename T>
class AtomRows {
 public:
  template <typename Selectable>
  void pack(const T* atoms, int64_t residues, int64_t slots, const Selectable& selectable) {
    residues_ = residues;
    rows_ = 0;
    for (int64_t r = 0; r < residues; ++r) {
      int64_t row = 0;
      for (int64_t a = 0; a < slots; ++a) {
        if (!selectable(r * slots + a)) continue;
        if (row == rows_) add_row();
        const T* p = atoms + 3 * (r * slots + a);
        const int64_t at = row++ * residues + r;
        x_[at] = p[0], y_[at] = p[1], z_[at] = p[2];
      }
    }
  }

  // At least the `wanted` nearest residues if there are so many, and others.
  void find(const Vec3<T>& query, int64_t excluded, int64_t wanted, std::vector<Neighbour<T>>& found) {
    squared_.resize(residues_);
    scan(x_.data(), y_.data(), z_.data(), rows_, residues_, query, squared_.data());
    if (0 <= excluded && excluded < residues_) squared_[excluded] = std::numeric_limits<T>::infinity();
    const T bound = bound_of_nearest(wanted);
    found.clear();
    for (int64_t r = 0; r < residues_; ++r)
      if (squared_[r] <= bound && reachable(squared_[r])) found.push_back({squared_[r], int32_t(r)});
  }

 private:
  // A squared distance that at least `wanted` residues do not exceed, cheap to find: few are left to sort. It
  // is the wanted-th smallest of the minima of somewhat more groups, each of which has a member that near.
  T bound_of_nearest(int64_t wanted) {
    const int64_t groups = (wanted + wanted / 3 + 16) / 16 * 16;
    if (wanted == 0 || residues_ < 3 * groups) return std::numeric_limits<T>::infinity();
    minima_.resize(groups);
    group_minima(squared_.data(), residues_, groups, minima_.data());
    std::nth_element(minima_.begin(), minima_.begin() + (wanted - 1), minima_.end());
    return minima_[wanted - 1];
  }

  void add_row() {
    const size_t size = ++rows_ * residues_;
    for (std::vector<T>* v : {&x_, &y_, &z_}) {
      v->resize(std::max(v->size(), size));
      std::fill(v->begin() + (size - residues_), v->begin() + size, std::numeric_limits<T>::infinity());
    }
  }

  int64_t residues_ = 0, rows_ = 0;
  std::vector<T> x_, y_, z_, squared_, minima_;
};

// ---- Cell list ---------------------------------------------------------------------------------

// The selectable atoms of one structure in cells, searched in growing rings around the query.
template <typename T>
class AtomCells {
 public:
  template <typename Selectable>
  void pack(const T* atoms, int64_t residues, int64_t slots, const Selectable& selectable) {
    points_.clear();
    residue_.clear();
    for (int64_t i = 0; i < residues * slots; ++i) {
      const Vec3<T> p = load(atoms + 3 * i);
      if (!selectable(i) || !is_finite(p)) continue;
      points_.push_back(p);
      residue_.push_back(int32_t(i / slots));
    }
    grid_.build(points_, smallest_cell);
    squared_.assign(residues, std::numeric_limits<T>::infinity());
  }

  // At least the `wanted` nearest residues if there are so many, and others.
  void find(const Vec3<T>& query, int64_t excluded, int64_t wanted, std::vector<Neighbour<T>>& found) {
    found.clear();
    if (points_.empty() || !is_finite(query)) return;
    const Cell centre = grid_.cell(query);
    const int32_t last = grid_.last_ring(centre);
    for (int32_t ring = grid_.first_ring(centre); ring <= last; ++ring) {
      grid_.for_ring(centre, ring, [&](int32_t p) {
        const T d = squared_distance(points_[p], query);
        const int32_t r = residue_[p];
        if (r == excluded || !reachable(d)) return;
        if (!reachable(squared_[r])) found.push_back({d, r});
        squared_[r] = std::min(squared_[r], d);
      });
      if (complete(ring, wanted, found)) break;
    }
    for (Neighbour<T>& n : found) {
      n.squared = squared_[n.residue];
      squared_[n.residue] = std::numeric_limits<T>::infinity();
    }
  }

 private:
  static constexpr double smallest_cell = 0.3;  // nm

  // Everything nearer than `ring` sides has been seen; strictly inside, so that no unseen residue ties.
  bool complete(int32_t ring, int64_t wanted, const std::vector<Neighbour<T>>& found) const {
    if (int64_t(found.size()) < wanted) return false;
    const double seen = 0.999 * ring * grid_.side();
    const auto inside = [&](const Neighbour<T>& n) { return double(squared_[n.residue]) < seen * seen; };
    return std::count_if(found.begin(), found.end(), inside) >= wanted;
  }

  std::vector<Vec3<T>> points_;
  std::vector<int32_t> residue_;
  CellGrid<T> grid_;
  std::vector<T> squared_;
};

// ---- One environment ---------------------------------------------------------------------------

// Leaves the `wanted` nearest in front, in order.
template <typename T>
int64_t keep_nearest(std::vector<Neighbour<T>>& found, int64_t wanted) {
  const int64_t kept = std::min<int64_t>(wanted, found.size());
  if (kept < int64_t(found.size())) std::nth_element(found.begin(), found.begin() + kept, found.end(), nearer<T>);
  std::sort(found.begin(), found.begin() + kept, nearer<T>);
  return kept;
}

template <typename T>
void write_environment(const AlignmentArguments<T>& args, const T* atoms, const bool* present,
                       const std::vector<Neighbour<T>>& found, int64_t item) {
  const int64_t slots = args.slots;
  const Frame<T> frame = frame_of(args.rule, load_triangle(args.triangle + 9 * item));
  store_frame(args.frame + 12 * item, frame);
  for (int64_t k = 0; k < args.neighbours; ++k) {
    const bool padding = k >= int64_t(found.size());
    const int64_t residue = padding ? -1 : found[k].residue;
    args.index[item * args.neighbours + k] = residue;
    T* out = args.local + 3 * slots * (item * args.neighbours + k);
    for (int64_t a = 0; a < slots; ++a, out += 3) {
      const int64_t atom = residue * slots + a;
      const bool there = !padding && present[atom];
      store(out, there ? to_local(frame, load(atoms + 3 * atom)) : Vec3<T>{T(0), T(0), T(0)});
    }
  }
}

}  // namespace

template <typename T>
void canonical_alignment(const AlignmentArguments<T>& args) {
  const int64_t atoms_of_frame = args.residues * args.slots;
  const bool scanned = args.residues <= longest_scan;
  parallel_ranges(args.batch * args.queries, queries_per_thread, [&](int64_t begin, int64_t end) {
    AtomRows<T> rows;
    AtomCells<T> cells;
    std::vector<Neighbour<T>> found;
    int64_t packed = -1;
    for (int64_t item = begin; item < end; ++item) {
      const int64_t b = item / args.queries;
      const T* atoms = args.atoms + 3 * atoms_of_frame * b;
      const bool* present = args.present + args.present_stride * b;
      if (b != packed) {
        const bool* selectable = args.selectable + args.selectable_stride * b;
        const auto counts = [&](int64_t i) { return present[i] && selectable[i]; };
        if (scanned) rows.pack(atoms, args.residues, args.slots, counts);
        else cells.pack(atoms, args.residues, args.slots, counts);
        packed = b;
      }
      const Vec3<T> query = load(args.query + 3 * item);
      const int64_t excluded = args.exclude[item % args.queries];
      if (scanned) rows.find(query, excluded, args.neighbours, found);
      else cells.find(query, excluded, args.neighbours, found);
      found.resize(keep_nearest(found, args.neighbours), nobody<T>());
      write_environment(args, atoms, present, found, item);
    }
  });
}

// One thread a structure: its atoms gather gradients from all its queries.
template <typename T>
void canonical_alignment_backward(const AlignmentBackwardArguments<T>& args) {
  const int64_t slots = args.slots, atoms_of_frame = args.residues * slots;
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin * args.queries; item < end * args.queries; ++item) {
      const int64_t b = item / args.queries;
      const T* atoms = args.atoms + 3 * atoms_of_frame * b;
      const bool* present = args.present + args.present_stride * b;
      T* grad_atoms = args.grad_atoms + 3 * atoms_of_frame * b;
      const Triangle<T> triangle = load_triangle(args.triangle + 9 * item);
      const Frame<T> frame = frame_of(args.rule, triangle);
      Frame<T> grad_frame = load_frame(args.grad_frame + 12 * item);
      for (int64_t k = 0; k < args.neighbours; ++k) {
        const int64_t residue = args.index[item * args.neighbours + k];
        if (residue < 0 || residue >= args.residues) continue;
        for (int64_t a = 0; a < slots; ++a) {
          const int64_t atom = residue * slots + a;
          if (!present[atom]) continue;
          const Vec3<T> grad = load(args.grad_local + 3 * (slots * (item * args.neighbours + k) + a));
          const Vec3<T> grad_atom = to_local_backward(frame, load(atoms + 3 * atom), grad, grad_frame);
          store(grad_atoms + 3 * atom, load(grad_atoms + 3 * atom) + grad_atom);
        }
      }
      store_triangle(args.grad_triangle + 9 * item, frame_backward(args.rule, triangle, grad_frame));
    }
  });
}

template <typename T>
void canonical_placement(const PlacementArguments<T>& args) {
  parallel_ranges(args.queries, 256, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const Frame<T> frame = load_frame(args.frame + 12 * q);
      for (int64_t i = q * args.slots; i < (q + 1) * args.slots; ++i)
        store(args.placed + 3 * i, to_global(frame, load(args.local + 3 * i)));
    }
  });
}

template <typename T>
void canonical_placement_backward(const PlacementBackwardArguments<T>& args) {
  parallel_ranges(args.queries, 256, [&](int64_t begin, int64_t end) {
    for (int64_t q = begin; q < end; ++q) {
      const Frame<T> frame = load_frame(args.frame + 12 * q);
      Frame<T> grad_frame{};
      for (int64_t i = q * args.slots; i < (q + 1) * args.slots; ++i)
        store(args.grad_local + 3 * i,
              to_global_backward(frame, load(args.local + 3 * i), load(args.grad + 3 * i), grad_frame));
      store_frame(args.grad_frame + 12 * q, grad_frame);
    }
  });
}

template void canonical_alignment(const AlignmentArguments<float>&);
template void canonical_alignment(const AlignmentArguments<double>&);
template void canonical_alignment_backward(const AlignmentBackwardArguments<float>&);
template void canonical_alignment_backward(const AlignmentBackwardArguments<double>&);
template void canonical_placement(const PlacementArguments<float>&);
template void canonical_placement(const PlacementArguments<double>&);
template void canonical_placement_backward(const PlacementBackwardArguments<float>&);
template void canonical_placement_backward(const PlacementBackwardArguments<double>&);

}  // namespace backmap::cpu
