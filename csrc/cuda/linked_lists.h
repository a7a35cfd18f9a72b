// Linked lists that all threads fill concurrently and that are sorted afterwards, which makes their order reproducible.
#pragma once

#include <cstdint>

#include "core/pair_terms.h"
#include "cuda/launch.h"

namespace backmap::cuda {

constexpr int32_t end_of_list = -1;

// Lists of nodes: the first node of each list, and the successor of each node.
struct LinkedLists {
  int64_t count;
  int32_t* first;
  int32_t* next;
};

// Divides one piece of memory into arrays, each aligned to 256 bytes; without memory it only counts bytes.
class Workspace {
 public:
  explicit Workspace(void* memory) : start_(reinterpret_cast<uintptr_t>(memory)) {}

  template <typename Element>
  Element* take(int64_t count) {
    Element* const array = reinterpret_cast<Element*>(start_ + bytes_);
    bytes_ += (count * sizeof(Element) + 255) / 256 * 256;
    return array;
  }

  LinkedLists take_lists(int64_t lists, int64_t nodes) {
    int32_t* const first = take<int32_t>(lists);
    return {lists, first, take<int32_t>(nodes)};
  }

  int64_t bytes() const { return int64_t(bytes_); }

 private:
  uintptr_t start_, bytes_ = 0;
};

static __global__ void clear_lists(LinkedLists lists) {
  const int64_t list = thread_of_grid();
  if (list < lists.count) lists.first[list] = end_of_list;
}

__device__ inline void push(const LinkedLists& lists, int64_t list, int64_t node) {
  lists.next[node] = atomicExch(lists.first + list, int32_t(node));
}

// One thread per list; by insertion, because lists are short.
static __global__ void sort_lists(LinkedLists lists) {
  const int64_t list = thread_of_grid();
  if (list >= lists.count) return;
  int32_t node = lists.first[list];
  lists.first[list] = end_of_list;
  while (node != end_of_list) {
    const int32_t rest = lists.next[node];
    int32_t* link = lists.first + list;
    while (*link != end_of_list && *link < node) link = lists.next + *link;
    lists.next[node] = *link;
    *link = node;
    node = rest;
  }
}

// ---- The pairs of each atom --------------------------------------------------------------------

// One thread per end of a pair. Node 2 m + e is end e of pair m.
static __global__ void list_pair_ends(const int64_t* pairs, int64_t count, LinkedLists lists) {
  const int64_t node = thread_of_grid();
  if (node < 2 * count && 0 <= pairs[node] && pairs[node] < lists.count) push(lists, pairs[node], node);
}

inline void list_pairs_of_atoms(const int64_t* pairs, int64_t count, const LinkedLists& lists, void* stream) {
  constexpr int threads = 256;
  if (lists.count == 0) return;
  BACKMAP_LAUNCH(clear_lists, blocks_for(lists.count, threads), threads, stream, lists);
  if (count == 0) return;
  BACKMAP_LAUNCH(list_pair_ends, blocks_for(2 * count, threads), threads, stream, pairs, count, lists);
  BACKMAP_LAUNCH(sort_lists, blocks_for(lists.count, threads), threads, stream, lists);
}

// Sum of gradient(m), with respect to the first atom of pair m, over the pairs of an atom.
template <typename T, typename Gradient>
__device__ Vec3<T> sum_pair_gradients(const int64_t* pairs, const LinkedLists& lists, int64_t atom, const bool* present,
                                      const Gradient& gradient) {
  Vec3<T> sum{T(0), T(0), T(0)};
  for (int32_t node = lists.first[atom]; node != end_of_list; node = lists.next[node]) {
    const int64_t m = node / 2;
    if (!pair_exists(pairs + 2 * m, lists.count, present)) continue;
    const Vec3<T> grad = gradient(m);
    if (node % 2 == 0) sum += grad;
    else sum -= grad;
  }
  return sum;
}

}  // namespace backmap::cuda
