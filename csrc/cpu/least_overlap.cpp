// Trials that overlap least with the atoms placed so far. Threads share frames, which are independent of each other.
#include <algorithm>
#include <vector>

#include "core/cell_hash.h"
#include "core/pair_terms.h"
#include "core/trial_overlap.h"
#include "cpu/parallel.h"
#include "kernels/least_overlap.h"

namespace backmap::cpu {
namespace {

// The atoms of a frame in linked lists, one per bucket, so that an atom can move to another cell.
template <typename T>
class MovableAtoms {
 public:
  void assign(T* atoms, int64_t count, double reach, const PeriodicBox<T>& box) {
    atoms_ = atoms;
    space_ = cell_space(reach, box);
    const int64_t buckets = bucket_count(count);
    mask_ = uint32_t(buckets - 1);
    first_.assign(buckets, -1);
    next_.assign(count, -1);
    inside_.resize(count);
    row_.resize(count);
    bucket_.resize(count);
    for (int64_t i = count - 1; i >= 0; --i) insert(int32_t(i));
  }

  void move(int64_t i, const Vec3<T>& position) {
    if (bucket_[i] != nowhere) {
      int32_t* link = &first_[bucket_[i]];
      while (*link != int32_t(i)) link = &next_[*link];
      *link = next_[i];
    }
    store(atoms_ + 3 * i, position);
    insert(int32_t(i));
  }

  // Calls visit(i, difference) once for each atom within reach of a point, with the difference from the atom to the
  // point. An atom is in reach in only one image.
  template <typename Visit>
  void for_near(const Vec3<T>& point, const Visit& visit) const {
    if (!is_finite(point)) return;
    const Vec3<T> inside = moved_into_box(point, space_.box);
    for_rows_near(inside, space_, [&](uint32_t row, int32_t x, int32_t cells, const Vec3<T>& shift) {
      const Vec3<T> seen = inside - shift;
      for (int32_t c = x; c < x + cells; ++c)
        for (int32_t i = first_[bucket_of(row, c, mask_)]; i >= 0; i = next_[i])
          if (row_[i] == row && squared_distance(seen, inside_[i]) < space_.limit)
            visit(i, minimum_image(point - load(atoms_ + 3 * int64_t(i)), space_.box));
    });
  }

 private:
  static constexpr uint32_t nowhere = 0xffffffffu;

  void insert(int32_t i) {
    const Vec3<T> p = load(atoms_ + 3 * int64_t(i));
    bucket_[i] = nowhere;
    if (!is_finite(p)) return;
    inside_[i] = moved_into_box(p, space_.box);
    const Cell cell = cell_of(inside_[i], space_);
    row_[i] = row_of(cell.y, cell.z, space_);
    bucket_[i] = bucket_of(row_[i], cell.x, mask_);
    next_[i] = first_[bucket_[i]];
    first_[bucket_[i]] = i;
  }

  T* atoms_ = nullptr;
  CellSpace<T> space_{};
  uint32_t mask_ = 0;
  std::vector<Vec3<T>> inside_;  // positions after moving into the box
  std::vector<int32_t> first_, next_;
  std::vector<uint32_t> row_, bucket_;
};

template <typename T>
class FrameOfTrials {
 public:
  explicit FrameOfTrials(const LeastOverlapArguments<T>& args) : a_(args) {}

  void choose(int64_t b) {
    const int64_t atoms_of_frame = a_.residues * a_.slots;
    T* score = a_.score + b * a_.trials;
    atoms_.assign(a_.atoms + 3 * atoms_of_frame * b, atoms_of_frame, double(a_.distance),
                  box_of_frame(a_.box, a_.box_stride, b));
    for (int64_t g = 0; g < a_.groups; ++g) {
      const int64_t of_group = (b * a_.groups + g) * a_.trials;
      for (int64_t t = 0; t < a_.trials; ++t)
        score[t] = a_.penalty[of_group + t] + overlap(a_.trial + 3 * a_.points * (of_group + t), a_.residue[g]);
      const int64_t chosen = a_.choice[b * a_.groups + g] = first_smallest(score, a_.trials);
      for (int64_t p = 0; p < a_.points; ++p) {
        const int64_t target = a_.target[g * a_.points + p];
        if (target >= 0) atoms_.move(target, load(a_.trial + 3 * (a_.points * (of_group + chosen) + p)));
      }
    }
  }

 private:
  T overlap(const T* points, int64_t residue) const {
    T sum = T(0);
    for (int64_t p = 0; p < a_.points; ++p)
      atoms_.for_near(load(points + 3 * p), [&](int64_t i, const Vec3<T>& d) {
        if (counts_for_trials(i / a_.slots, residue)) sum += squared_overlap(dot(d, d), a_.distance);
      });
    return sum;
  }

  const LeastOverlapArguments<T>& a_;
  MovableAtoms<T> atoms_;
};

}  // namespace

template <typename T>
void least_overlap(const LeastOverlapArguments<T>& args) {
  parallel_ranges(args.batch, 1, [&](int64_t begin, int64_t end) {
    FrameOfTrials<T> frame(args);
    for (int64_t b = begin; b < end; ++b) frame.choose(b);
  });
}

template void least_overlap(const LeastOverlapArguments<float>&);
template void least_overlap(const LeastOverlapArguments<double>&);

}  // namespace backmap::cpu
