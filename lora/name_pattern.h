// Regular expressions of adapter configurations (target_modules, rank_pattern, ...), matched by PCRE2 with bounds on
// time and memory: they come from files of others.
#pragma once

#include <memory>
#include <string>

namespace elrea {

// Const-shareable.
class NamePattern {
 public:
  // kInvalidInput naming `origin` for an expression that does not compile or is longer than 4096 characters.
  NamePattern(const std::string& expression, const std::string& origin);

  // Whether the whole of `name` matches. kInvalidInput when that takes too long to find out.
  bool MatchesAll(const std::string& name) const;

 private:
  std::shared_ptr<void> code_;
  std::string expression_, origin_;
};

}  // namespace elrea
