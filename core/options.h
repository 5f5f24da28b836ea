// One description of a stage's options serves YAML reading, --set overrides, help, saving and error messages.
//
// A stage declares a plain struct with defaults and one free function that lists its fields once:
//
//   struct BirchOptions { int64_t num_clusters = 5; double threshold = 0.5; };
//   template <typename Visitor> void VisitOptions(BirchOptions& o, Visitor& v) {
//     v.Field("num_clusters", o.num_clusters, "clusters per call", AtLeast(1));
//     v.Field("threshold", o.threshold, "...", Above(0));
//   }
//
// and a composite lists its members with v.Section("birch", o.birch). OptionSet then binds such a struct.
#pragma once

#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "core/files.h"
#include "core/json.h"

namespace elrea {

// The values a field may take, in words for the error message and the help.
struct OptionRange {
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool exclusive_min = false, exclusive_max = false;
  std::vector<std::string> choices;  // for strings
};
OptionRange AtLeast(double min);
OptionRange Above(double min);
OptionRange Between(double min, double max);   // both ends allowed
OptionRange FromUpTo(double min, double max);  // [min, max)
OptionRange OneOf(std::vector<std::string> choices);

using OptionTarget =
    std::variant<bool*, int64_t*, double*, std::string*, std::vector<std::string>*, std::vector<int64_t>*>;

struct OptionField {
  std::string path;  // dotted: "birch.threshold"
  OptionTarget target;
  std::string help;
  OptionRange range;
};

// Collects the fields of an options struct.
class OptionVisitor {
 public:
  void Field(const char* name, bool& value, const char* help) { Push(name, &value, help, {}); }
  void Field(const char* name, int64_t& value, const char* help, OptionRange r = {}) {
    Push(name, &value, help, r);
  }
  void Field(const char* name, double& value, const char* help, OptionRange r = {}) {
    Push(name, &value, help, r);
  }
  void Field(const char* name, std::string& value, const char* help, OptionRange r = {}) {
    Push(name, &value, help, r);
  }
  void Field(const char* name, std::vector<std::string>& value, const char* help) {
    Push(name, &value, help, {});
  }
  void Field(const char* name, std::vector<int64_t>& value, const char* help) {
    Push(name, &value, help, {});
  }
  template <typename Options>
  void Section(const char* name, Options& options) {
    std::string outer = prefix_;
    prefix_ += std::string(name) + ".";
    VisitOptions(options, *this);
    prefix_ = outer;
  }
  std::vector<OptionField> Take() { return std::move(fields_); }

 private:
  void Push(const char* name, OptionTarget target, const char* help, OptionRange range);
  std::string prefix_;
  std::vector<OptionField> fields_;
};

// The fields of one bound struct. The struct must outlive the set.
class OptionSet {
 public:
  template <typename Options>
  explicit OptionSet(Options& options) {
    OptionVisitor visitor;
    VisitOptions(options, visitor);
    fields_ = visitor.Take();
  }

  // Reads a YAML file (JSON is YAML) and then "a.b=c" overrides. All faults - unknown keys with the nearest
  // valid name, wrong types, values out of range, duplicate keys - are gathered over both and thrown as ONE
  // kInvalidInput Error whose message has a line per fault with file:line or the override's text. An empty
  // path reads no file.
  void Load(const fs::path& yaml_path, const std::vector<std::string>& overrides);

  Json ToJson() const;         // nested by section; the resolved values
  std::string Help() const;    // a line per field: path, type, default, range, help
  std::string ToYaml() const;  // with the help as comments; Load reads it back to the same values
  const std::vector<OptionField>& fields() const { return fields_; }

 private:
  std::vector<OptionField> fields_;
};

}  // namespace elrea
