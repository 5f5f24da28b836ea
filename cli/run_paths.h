// Where a run directory keeps what (docs/formats.md).
#pragma once

#include <fmt/format.h>

#include "core/files.h"

namespace elrea {

struct RunPaths {
  fs::path root;

  fs::path config() const { return root / "config.yaml"; }
  fs::path manifest() const { return root / "run.json"; }
  fs::path codes() const { return root / "backbone.safetensors"; }  // of a calibrated backbone
  fs::path data() const { return root / "data"; }
  fs::path ledger() const { return data() / "ledger.json"; }  // written last: the data stage is done
  fs::path rows(const char* split) const { return data() / fmt::format("{}.jsonl", split); }
  fs::path base() const { return root / "base"; }
  fs::path features() const { return root / "features"; }
  fs::path features_of(int64_t dim) const { return features() / std::to_string(dim); }  // of another length
  fs::path clusters() const { return root / "clusters"; }
  fs::path experts() const { return root / "experts"; }
  fs::path expert(int64_t cluster) const { return experts() / std::to_string(cluster); }
  fs::path eval() const { return root / "eval"; }
};

}  // namespace elrea
