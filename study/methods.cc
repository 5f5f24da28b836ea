// The registry: every family of methods is named here once.
#include <fmt/format.h>

#include "core/error.h"
#include "core/text.h"
#include "study/method.h"

namespace elrea {

const std::vector<StudyMethod>& StudyMethods() {
  static const std::vector<StudyMethod> methods = [] {
    std::vector<StudyMethod> all;
    for (const auto& family : {SingleAdapterMethods(), ExpertMethods(), GateMethods(), RankMethods(), FeatureMethods(), ClusteringMethods()}) {
      all.insert(all.end(), family.begin(), family.end());
    }
    return all;
  }();
  return methods;
}

const StudyMethod& FindStudyMethod(const std::string& name) {
  std::vector<std::string> names;
  for (const StudyMethod& method : StudyMethods()) {
    if (method.name == name) return method;
    names.push_back(method.name);
  }
  const auto nearest = NearestName(name, names);
  throw Error(ErrorKind::kInvalidInput,
              fmt::format("study.methods: unknown method {}; {}", name,
                          nearest ? "did you mean " + *nearest + "?" : "one of " + Join(names, ", ")));
}

}  // namespace elrea
