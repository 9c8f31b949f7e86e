// See nms.h. A box is held against those of its group that stayed, sixteen at once, until one overlaps it: pairs that
// no answer depends on are never looked at. Images are dealt to threads.
#include "../include/nms.h"

#include <algorithm>

#include "../shared/box.h"
#include "../shared/workspace.h"
#include "parallel.h"

namespace kernels {
namespace {

constexpr int kLanes = 16;

struct alignas(64) Block {  // up to sixteen boxes of one group, as columns
  float x1[kLanes], y1[kLanes], x2[kLanes], y2[kLanes], area[kLanes];
  int32_t size;
  int32_t next;  // block of the group, -1 behind the last
};

struct Group {
  int32_t number;
  int32_t first, last;  // blocks; first is -1 in a free place
};

int64_t places(int64_t groups) {
  int64_t count = 2;
  while (count < 2 * groups) count *= 2;
  return count;
}

bool overlapped(const Block& block, const Box& box, float box_area, float one, float limit) {
  int32_t hits = 0;
  for (int lane = 0; lane < kLanes; ++lane) {
    Box other{block.x1[lane], block.y1[lane], block.x2[lane], block.y2[lane]};
    float overlap = iou(other, block.area[lane], box, box_area, one);
    hits |= (int32_t)(overlap > limit) & (int32_t)(lane < block.size);
  }
  return hits != 0;
}

// The boxes of one image that stay, found by their group.
class Stayed {
 public:
  Stayed(Group* groups, int64_t places, Block* blocks, float one, float limit)
      : groups_(groups), mask_((uint32_t)places - 1), blocks_(blocks), one_(one), limit_(limit) {
    std::fill(groups, groups + places, Group{0, -1, -1});
  }

  // Whether the box stays; it is kept if so.
  bool add(const Box& box, int32_t number) {
    Group& group = find(number);
    float box_area = area(box, one_);
    for (int32_t at = group.first; at >= 0; at = blocks_[at].next)
      if (overlapped(blocks_[at], box, box_area, one_, limit_)) return false;
    keep(group, number, box, box_area);
    return true;
  }

 private:
  // The group's place, or the free one that it would take.
  Group& find(int32_t number) {
    uint32_t at = (uint32_t)number * 2654435769u;  // 2^32 over the golden ratio spreads neighbours
    at = (at ^ at >> 15) & mask_;
    while (groups_[at].first >= 0 && groups_[at].number != number) at = (at + 1) & mask_;
    return groups_[at];
  }

  void keep(Group& group, int32_t number, const Box& box, float box_area) {
    if (group.first < 0)
      group = {number, used_, used_}, open();
    else if (blocks_[group.last].size == kLanes)
      blocks_[group.last].next = used_, group.last = used_, open();
    Block& block = blocks_[group.last];
    int32_t lane = block.size++;
    block.x1[lane] = box.x1, block.y1[lane] = box.y1, block.x2[lane] = box.x2, block.y2[lane] = box.y2;
    block.area[lane] = box_area;
  }

  void open() {
    blocks_[used_] = Block{};
    blocks_[used_++].next = -1;
  }

  Group* groups_;
  uint32_t mask_;
  Block* blocks_;
  int32_t used_ = 0;
  float one_, limit_;
};

// What one image needs: in the worst case each box that stays has a group, and with it a block, of its own.
struct Room {
  Room(Workspace& workspace, int64_t batch, int64_t most)
      : most(most),
        count(places(most)),
        blocks(workspace.take<Block>(batch * most)),
        groups(workspace.take<Group>(batch * count)) {}

  int64_t most, count;
  Block* blocks;
  Group* groups;
};

}  // namespace
}  // namespace kernels

KERNEL_API int64_t KERNEL(nms_workspace)(int64_t batch, int64_t k, int64_t max_keep) {
  kernels::Workspace workspace(nullptr);
  kernels::Room(workspace, batch, std::min(k, max_keep));
  return workspace.bytes();
}

KERNEL_API int KERNEL(nms)(const float* boxes_BK4, const int32_t* groups_BK, const uint8_t* valid_BK, int64_t batch,
                           int64_t k, float one, float limit, int64_t max_keep, int32_t* kept_BD, int32_t* count_B,
                           void* memory, void*) {
  using namespace kernels;
  if (batch < 0 || k < 0 || k > INT32_MAX || max_keep < 0) return KERNEL_BAD_ARGUMENT;
  Workspace workspace(memory);
  Room room(workspace, batch, std::min(k, max_keep));
  parallel_for(batch, 1, [&](int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end; ++image) {
      Stayed stayed(room.groups + image * room.count, room.count, room.blocks + image * room.most, one, limit);
      int32_t* kept_D = kept_BD + image * max_keep;
      int64_t count = 0;
      for (int64_t at = image * k; at < (image + 1) * k && count < max_keep; ++at)
        if ((!valid_BK || valid_BK[at]) && stayed.add(load_box(boxes_BK4, at), groups_BK ? groups_BK[at] : 0))
          kept_D[count++] = (int32_t)(at - image * k);
      count_B[image] = (int32_t)count;
      std::fill(kept_D + count, kept_D + max_keep, -1);
    }
  });
  return 0;
}
