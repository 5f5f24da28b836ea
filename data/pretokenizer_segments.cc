#include "data/pretokenizer_segments.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "core/error.h"

namespace elrea {
namespace {

constexpr std::pair<const char*, SplitBehavior> kBehaviors[] = {
    {"Isolated", SplitBehavior::kIsolated},
    {"Removed", SplitBehavior::kRemoved},
    {"MergedWithPrevious", SplitBehavior::kMergedWithPrevious},
    {"MergedWithNext", SplitBehavior::kMergedWithNext},
    {"Contiguous", SplitBehavior::kContiguous},
};

struct Segment {
  size_t begin, end;
  bool matched;
};

// Matches and the gaps between them, covering the text; with `invert`, the gaps count as matched.
std::vector<Segment> Segments(const std::vector<PreTokenizerRegex::Match>& matches, size_t num_bytes,
                              bool invert) {
  std::vector<Segment> segments;
  size_t pos = 0;
  for (const auto& match : matches) {
    if (match.begin > pos) segments.push_back({pos, match.begin, invert});
    segments.push_back({match.begin, match.end, !invert});
    pos = match.end;
  }
  if (pos < num_bytes) segments.push_back({pos, num_bytes, invert});
  return segments;
}

// A matched segment joins its neighbour unless that neighbour is itself a match that was just joined; so a
// run of matches joins one by one only at its near end, as the tokenizers library does it.
std::vector<Segment> MergeWithPrevious(const std::vector<Segment>& segments) {
  std::vector<Segment> merged;
  bool previous_matched = false;
  for (const Segment& segment : segments) {
    if (segment.matched && !previous_matched && !merged.empty()) {
      merged.back().end = segment.end;
    } else {
      merged.push_back(segment);
    }
    previous_matched = segment.matched;
  }
  return merged;
}

std::vector<Segment> MergeWithNext(const std::vector<Segment>& segments) {
  std::vector<Segment> merged;
  bool previous_matched = false;
  for (auto segment = segments.rbegin(); segment != segments.rend(); ++segment) {
    if (segment->matched && !previous_matched && !merged.empty()) {
      merged.back().begin = segment->begin;
    } else {
      merged.push_back(*segment);
    }
    previous_matched = segment->matched;
  }
  std::reverse(merged.begin(), merged.end());
  return merged;
}

std::vector<Segment> MergeContiguous(const std::vector<Segment>& segments) {
  std::vector<Segment> merged;
  for (const Segment& segment : segments) {
    if (!merged.empty() && merged.back().matched == segment.matched) {
      merged.back().end = segment.end;
    } else {
      merged.push_back(segment);
    }
  }
  return merged;
}

std::vector<Segment> ApplyBehavior(SplitBehavior behavior, std::vector<Segment> segments) {
  switch (behavior) {
    case SplitBehavior::kMergedWithPrevious:
      return MergeWithPrevious(segments);
    case SplitBehavior::kMergedWithNext:
      return MergeWithNext(segments);
    case SplitBehavior::kContiguous:
      return MergeContiguous(segments);
    case SplitBehavior::kRemoved:
      std::erase_if(segments, [](const Segment& segment) { return segment.matched; });
      return segments;
    case SplitBehavior::kIsolated:
      return segments;
  }
  return segments;
}

}  // namespace

SplitBehavior BehaviorNamed(const std::string& name, const std::string& origin) {
  for (const auto& [known, behavior] : kBehaviors) {
    if (name == known) return behavior;
  }
  throw Error(ErrorKind::kInvalidInput, fmt::format("{}: unknown split behavior \"{}\"", origin, name));
}

void PushPieces(std::string_view text, const std::vector<PreTokenizerRegex::Match>& matches,
                SplitBehavior behavior, bool invert, std::vector<std::string_view>& pieces) {
  for (const Segment& segment : ApplyBehavior(behavior, Segments(matches, text.size(), invert))) {
    pieces.push_back(text.substr(segment.begin, segment.end - segment.begin));
  }
}

}  // namespace elrea
