// Runs on a backbone whose codes were chosen on their rows: made once, kept with the run, told apart from others.
#include <gtest/gtest.h>

#include "model/codes_file.h"
#include "tests/tiny_run.h"

namespace elrea {
namespace {

constexpr int kInvalid = 2, kMissing = 3, kCorrupt = 4;

class CalibrationTest : public testing::Test {
 protected:
  static std::vector<std::string> Quantized(const std::string& storage, const std::string& tokens) {
    return {"--set", "model.quantize=" + storage, "--set", "model.calibration_tokens=" + tokens};
  }
  ProgramResult Train(const fs::path& out, std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"train", "--config", rows_.config(), "--out", out};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return RunElrea(arguments);
  }
  fs::path codes() const { return rows_.run() / "backbone.safetensors"; }
  static void ExpectRefused(const ProgramResult& result, int exit_code, std::initializer_list<std::string_view> parts) {
    EXPECT_EQ(result.exit_code, exit_code) << result.err;
    for (std::string_view part : parts) EXPECT_NE(ErrorLine(result).find(part), std::string::npos) << part << " is not in: " << result.err;
  }

  TinyRun rows_;
};

TEST_F(CalibrationTest, ARunChoosesItsCodesOnceAndKeepsThem) {
  const ProgramResult first = rows_.Go(Quantized("nf4_double", "600"));
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.err.find("nearest codes"), std::string::npos) << first.err;
  EXPECT_EQ(CodesFile(codes()).origin().storage, "nf4_double");
  const auto files = ResultFiles(rows_.run());

  // Stages, answers and the same command again take them as they are.
  const ProgramResult again = rows_.Go(Quantized("nf4_double", "600"));
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.err.find("nearest codes"), std::string::npos) << again.err;
  const ProgramResult answer = RunElrea({"generate", "--run", rows_.run(), "--prompt", "What is 1 + 2?", "--json"});
  EXPECT_EQ(answer.exit_code, 0) << answer.err;
  EXPECT_EQ(ResultFiles(rows_.run()), files);

  // The run may be moved.
  fs::rename(rows_.run(), rows_.folder() / "moved");
  const ProgramResult moved = RunElrea({"generate", "--run", rows_.folder() / "moved", "--prompt", "What is 1 + 2?", "--json"});
  EXPECT_EQ(moved.out, answer.out) << moved.err;

  // The same rows and options choose the same codes.
  ASSERT_EQ(Train(rows_.folder() / "twin", Quantized("nf4_double", "600")).exit_code, 0);
  EXPECT_EQ(ReadFile(rows_.folder() / "twin/backbone.safetensors"), files.at("backbone.safetensors"));
}

TEST_F(CalibrationTest, OtherTokensAreOtherSettingsAndNoneTakesTheNearestCodes) {
  ASSERT_EQ(Train(rows_.run(), Quantized("nf4", "600")).exit_code, 0);
  ExpectRefused(Train(rows_.run(), Quantized("nf4", "700")), kInvalid, {"other settings", "model.calibration_tokens"});
  ASSERT_EQ(Train(rows_.folder() / "nearest", Quantized("nf4", "0")).exit_code, 0);
  EXPECT_FALSE(fs::exists(rows_.folder() / "nearest/backbone.safetensors"));
  ASSERT_EQ(Train(rows_.folder() / "eight", Quantized("int8", "600")).exit_code, 0);
  EXPECT_FALSE(fs::exists(rows_.folder() / "eight/backbone.safetensors"));
}

TEST_F(CalibrationTest, AnAdapterLeavesItsRunTogetherWithTheCodes) {
  ASSERT_EQ(Train(rows_.run(), Quantized("nf4", "600")).exit_code, 0);
  std::vector<std::string> arguments = {"generate", "--model", TinyModel(), "--adapter", rows_.run() / "base", "--prompt", "What is 1 + 2?",
                                        "--set", "model.quantize=nf4", "--set", "model.dtype=f32"};
  ExpectRefused(RunElrea(arguments), kInvalid, {"base"});
  arguments.insert(arguments.end(), {"--set", "model.codes=" + codes().string()});
  const ProgramResult with_codes = RunElrea(arguments);
  EXPECT_EQ(with_codes.exit_code, 0) << with_codes.err;
  EXPECT_EQ(with_codes.out, RunElrea({"generate", "--run", rows_.run(), "--method", "base", "--prompt", "What is 1 + 2?"}).out);

  // As bitsandbytes would save it.
  const ProgramResult saved = RunElrea({"model", "quantize", TinyModel(), "--to", "nf4", "--codes", codes(), "--output", rows_.folder() / "saved"});
  EXPECT_EQ(saved.exit_code, 0) << saved.err;
  const SafetensorsFile there(rows_.folder() / "saved/model.safetensors"), here(codes());
  for (const auto& [name, view] : here.tensors()) {
    const auto& bytes = there.Get(name).bytes;
    if (name.find("quant_state") != std::string::npos) continue;  // names the checkpoint's own type
    EXPECT_TRUE(std::equal(bytes.begin(), bytes.end(), view.bytes.begin(), view.bytes.end())) << name;
  }
}

TEST_F(CalibrationTest, DamagedAndMissingCodesAreNamed) {
  ASSERT_EQ(Train(rows_.run(), Quantized("nf4", "600")).exit_code, 0);
  const std::string good = ReadFile(codes());
  std::string bytes = good;
  bytes[bytes.size() / 2] ^= 1;
  WriteFileAtomically(codes(), bytes);
  const std::vector<std::string> ask = {"generate", "--run", rows_.run(), "--prompt", "What is 1 + 2?", "--method", "base"};
  ExpectRefused(RunElrea(ask), kCorrupt, {"backbone.safetensors"});
  WriteFileAtomically(codes(), good.substr(0, good.size() / 2));
  ExpectRefused(RunElrea(ask), kCorrupt, {"backbone.safetensors"});
  fs::remove(codes());
  ExpectRefused(RunElrea(ask), kMissing, {"backbone.safetensors"});
}

TEST_F(CalibrationTest, AQuantisedCheckpointIsRefusedBeforeAnyWork) {
  const fs::path quantized = rows_.folder() / "quantized";
  ASSERT_EQ(RunElrea({"model", "quantize", TinyModel(), "--to", "nf4", "--output", quantized}).exit_code, 0);
  std::vector<std::string> arguments = Quantized("nf4", "600");
  arguments.insert(arguments.end(), {"--set", "model.path=" + quantized.string()});
  const ProgramResult result = Train(rows_.run(), arguments);
  ExpectRefused(result, kInvalid, {"quantised already", "keep"});
  EXPECT_EQ(result.err.find("loaded"), std::string::npos) << result.err;
  EXPECT_FALSE(fs::exists(codes()));
}

TEST_F(CalibrationTest, AStudyChoosesItsCodesOnce) {
  const std::vector<std::string> study = {"study", "--config", rows_.config(), "--out", rows_.folder() / "study",
                                          "--set", "model.quantize=nf4", "--set", "model.calibration_tokens=600",
                                          "--set", "study.methods=[base]", "--set", "study.seeds=[0]", "--set", "study.answer_limit=2"};
  const ProgramResult first = RunElrea(study);
  ASSERT_EQ(first.exit_code, 0) << first.err;
  EXPECT_NE(first.err.find("nearest codes"), std::string::npos) << first.err;
  const ProgramResult again = RunElrea(study);
  EXPECT_EQ(again.exit_code, 0) << again.err;
  EXPECT_EQ(again.err.find("nearest codes"), std::string::npos) << again.err;

  // Another model in the same folder has codes of its own.
  fs::copy(TinyModel(), rows_.folder() / "other", fs::copy_options::recursive);
  std::vector<std::string> of_other = study;
  of_other.insert(of_other.end(), {"--set", "model.path=" + (rows_.folder() / "other").string()});
  const ProgramResult other = RunElrea(of_other);
  EXPECT_EQ(other.exit_code, 0) << other.err;
  EXPECT_NE(other.err.find("nearest codes"), std::string::npos) << other.err;
}

}  // namespace
}  // namespace elrea
