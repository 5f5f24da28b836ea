#include "data/token_contract.h"

#include <gtest/gtest.h>

#include "core/expect_error.h"
#include "data/tokenizer_testing.h"

namespace elrea {
namespace {

TEST(TokenContract, TravelsAndTellsEveryDifference) {
  const TempDir adapter;
  const auto tokenizer = LoadJsonTokenizer(TinyTokenizerJson("smollm"));
  const auto of = [](const Tokenizer& t, const char* name) {
    return TokenContract::Of(t, ChatTemplate::For(t, name));
  };
  const TokenContract contract = of(*tokenizer, "chatml");
  EXPECT_NO_THROW(CheckTokenContract(adapter.path(), contract)) << "adapters of other programs have none";
  WriteTokenContract(adapter.path(), contract);
  EXPECT_NO_THROW(CheckTokenContract(adapter.path(), contract));
  ExpectError(ErrorKind::kInvalidInput,
              {"chat_template (adapter \"chatml\", here \"smollm2\")", kTokenContractFile},
              [&] { CheckTokenContract(adapter.path(), of(*tokenizer, "smollm2")); });
  SortedJson other = TinyTokenizerJson("smollm");
  std::swap(other["model"]["merges"][0], other["model"]["merges"][1]);
  const auto swapped = LoadJsonTokenizer(other);
  ExpectError(ErrorKind::kInvalidInput, {"vocabulary (adapter"},
              [&] { CheckTokenContract(adapter.path(), of(*swapped, "chatml")); });
  TokenContract ends = contract;
  ends.stop_tokens = {1};
  ExpectError(ErrorKind::kInvalidInput, {"stop_tokens (adapter ["},
              [&] { CheckTokenContract(adapter.path(), ends); });
}

TEST(TokenContract, DamageIsNamed) {
  const TempDir adapter;
  const auto tokenizer = LoadJsonTokenizer(TinyTokenizerJson("smollm"));
  const auto contract = TokenContract::Of(*tokenizer, ChatTemplate::For(*tokenizer, "chatml"));
  WriteFileAtomically(adapter / kTokenContractFile, "{\"format_version\": 1");
  ExpectError(ErrorKind::kCorrupt, {kTokenContractFile},
              [&] { CheckTokenContract(adapter.path(), contract); });
  WriteFileAtomically(adapter / kTokenContractFile, "{\"format_version\": 1}");
  ExpectError(ErrorKind::kInvalidInput, {"vocab_size (adapter null"},
              [&] { CheckTokenContract(adapter.path(), contract); });
}

}  // namespace
}  // namespace elrea
