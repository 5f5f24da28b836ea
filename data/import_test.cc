// Importers on rows as they are in the public files, broken corners included. With ELREA_RAW_DATA naming a
// folder that holds the whole sets, every row of them is imported as well.
#include "data/import.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <set>

#include "core/error.h"
#include "core/json.h"
#include "core/temp_dir.h"
#include "data/answer.h"
#include "data/records.h"

namespace elrea {
namespace {

class ImportTest : public testing::Test {
 protected:
  fs::path Write(const std::string& name, const std::string& text) {
    WriteFileAtomically(dir_ / name, text);
    return dir_ / name;
  }
  // The rows written for `text`; the ledger stays in ledger_.
  std::vector<Json> Import(const std::string& kind, const std::string& name, const std::string& text,
                           const ImportOptions& options = {}) {
    return ImportPath(kind, Write(name, text), options);
  }
  std::vector<Json> ImportPath(const std::string& kind, const fs::path& path,
                               const ImportOptions& options = {}) {
    const fs::path output = dir_ / "out" / "rows.jsonl";
    ledger_ = ImportDataset(kind, path, output, options);
    std::vector<Json> rows;
    ForEachLine(output, [&](int64_t, std::string_view line) { rows.push_back(ParseJson(line, "row")); });
    EXPECT_EQ(static_cast<int64_t>(rows.size()), ledger_.Total(RowFate::kKept));
    return rows;
  }
  std::string ImportError(const std::string& kind, const fs::path& path, ErrorKind expected,
                          const ImportOptions& options = {}) {
    const fs::path output = dir_ / "failed.jsonl";
    try {
      ImportDataset(kind, path, output, options);
      ADD_FAILURE() << path << " was accepted as " << kind;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), expected) << error.what();
      EXPECT_FALSE(fs::exists(output)) << "a failed import leaves no file";
      return error.what();
    }
    return "";
  }

  TempDir dir_;
  DataLedger ledger_;
};

TEST_F(ImportTest, Gsm8k) {
  const auto rows = Import(
      "gsm8k", "train.jsonl",
      R"({"question": "How much did she earn?", "answer": "Weng earns 12/60 = $<<12/60=0.2>>0.2 per minute.\nShe earned 0.2 x 50 = $<<0.2*50=10>>10.\n#### 10"})"
      "\n"
      R"({"question": "How many?", "answer": "many\n#### 1,234"})"
      "\n"
      R"({"question": "How many?", "answer": "no mark"})"
      "\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["instruction"], "How much did she earn?");
  EXPECT_EQ(rows[0]["output"],
            "Weng earns 12/60 = $0.2 per minute.\nShe earned 0.2 x 50 = $10.\nThe answer is \\boxed{10}.");
  EXPECT_EQ(rows[0]["answer"], "10");
  EXPECT_EQ(rows[0]["source"], "gsm8k");
  EXPECT_EQ(rows[1]["answer"], "1,234");
  EXPECT_EQ(ledger_.FirstCulprits(RowFate::kMalformed, 1),
            (dir_ / "train.jsonl").string() + ":3: the answer has no '#### N'");
}

TEST_F(ImportTest, Svamp) {
  const auto rows = Import("svamp", "train.json", R"json([
 {"ID": "chal-1", "Body": "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack",
  "Question": "How much do you have to pay to buy each pack?", "Equation": "( 76.0 - 25.0 )", "Answer": 51.0},
 {"Body": "He had 8.", "Question": "How many?", "Equation": "( ( 8.0 + 4.0 ) / 5.0 )", "Answer": 2.4},
 {"Body": "He had 4.", "Question": "How many?", "Equation": "( ( 4.0 - 2.0 ) + 3.0 )", "Answer": 1.0},
 {"Body": "He had 4.", "Question": "How many?", "Equation": "( 4.0 - ", "Answer": 1.0},
 {"Body": "He had 4.", "Question": "How many?", "Equation": "4.0", "Answer": "four"}])json");
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["instruction"],
            "Each pack of dvds costs 76 dollars. If there is a discount of 25 dollars on each pack. How much "
            "do you "
            "have to pay to buy each pack?");
  EXPECT_EQ(rows[0]["output"], "76 - 25 = 51\nThe answer is \\boxed{51}.");
  EXPECT_EQ(rows[1]["output"], "(8 + 4) / 5 = 2.4\nThe answer is \\boxed{2.4}.");
  EXPECT_EQ(rows[2]["output"], "The answer is \\boxed{1}.");  // its equation gives 5
  EXPECT_EQ(ledger_.Total(RowFate::kMalformed), 2);
}

TEST_F(ImportTest, Math) {
  const auto rows =
      Import("math", "test.jsonl",
             R"({"problem": "Find $x$.", "solution": "$\\boxed{3}$ or $\\boxed{\\frac{2}{5}}$.", "level": 4})"
             "\n"
             R"({"problem": "Find $y$.", "solution": "left to the reader"})"
             "\n");
  ASSERT_EQ(rows.size(), 1u);
  EXPECT_EQ(rows[0]["output"], "$\\boxed{3}$ or $\\boxed{\\frac{2}{5}}$.");
  EXPECT_EQ(rows[0]["answer"], "\\frac{2}{5}");
  EXPECT_EQ(ledger_.Total(RowFate::kMalformed), 1);
}

TEST_F(ImportTest, MathqaLetterBecomesTheValue) {
  const auto row = [](const char* options, const char* correct) {
    return Json({{"problem", "how much ?"},
                 {"rationale", "\"so it is .\""},
                 {"options", options},
                 {"correct", correct}})
               .dump() +
           "\n";
  };
  const auto rows = Import("mathqa", "train.jsonl",
                           row("a ) 17 hr , b ) 14 hr , c ) 12 hr", "a") +
                               row("a ) a ) 1055 , b ) b ) 1,215 , c ) c ) 1065", "b") +
                               row("['a ) 18 \u00b0', 'b ) 36 \u00b0', 'c ) 54 \u00b0 .']", "c") +
                               row("['a ) 48 - 8 \u03c0', \"b ) 5 ' 2\"]", "B") + row("a ) 1 , b ) 2", "e") +
                               row("no options", "a"));
  ASSERT_EQ(rows.size(), 4u);
  EXPECT_EQ(rows[0]["instruction"], "how much ?\nOptions: a ) 17 hr , b ) 14 hr , c ) 12 hr");
  EXPECT_EQ(rows[0]["output"], "so it is .\nThe answer is \\boxed{17 hr}.");
  EXPECT_EQ(rows[0]["answer"], "17 hr");
  EXPECT_EQ(rows[1]["answer"], "1,215");
  EXPECT_EQ(rows[2]["answer"], "54 \u00b0");
  EXPECT_EQ(rows[3]["answer"], "5 ' 2");
  EXPECT_EQ(ledger_.Total(RowFate::kMalformed), 2);
}

TEST_F(ImportTest, FlanCotFolder) {
  Write("cot/qasc_train.tsv",
        "What comes from reproduction?\\nOptions:\\n- (A) babies\\n- (H) children\t(H)\tParents have "
        "children.\n"
        "two fields\tonly\n");
  Write("cot/aqua_train.tsv", "\"Quoted\" question\t(C)\tgallons\\\\nVolume\n\t(A)\tno instruction\n");
  Write("cot/README.md", "not a data file");
  const auto rows = ImportPath("flan_cot", dir_ / "cot");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["source"], "flan_cot/aqua");  // files in the order of their names
  EXPECT_EQ(rows[0]["instruction"], "\"Quoted\" question");
  EXPECT_EQ(rows[0]["output"], "gallons\\\nVolume\nThe answer is (C).");
  EXPECT_EQ(rows[1]["instruction"], "What comes from reproduction?\nOptions:\n- (A) babies\n- (H) children");
  EXPECT_EQ(rows[1]["output"], "Parents have children.\nThe answer is (H).");
  EXPECT_EQ(rows[1]["answer"], "(H)");
  EXPECT_FALSE(rows[1].contains("choices"));  // (H) is the second of the two, which the letters do not show
  EXPECT_EQ(ledger_.Total(RowFate::kMalformed), 1);
  EXPECT_EQ(ledger_.Total(RowFate::kEmptyInstruction), 1);
}

TEST_F(ImportTest, AlpacaSeedTasksAndFlatRows) {
  const auto seeds = Import(
      "alpaca", "seed_tasks.jsonl",
      R"({"id": "seed_task_1", "instruction": "Relation?", "is_classification": true, "instances": [{"input": "Night : Day", "output": "opposites"}, {"input": "", "output": "same"}]})"
      "\n");
  ASSERT_EQ(seeds.size(), 2u);
  EXPECT_EQ(seeds[0]["input"], "Night : Day");
  EXPECT_EQ(seeds[0]["answer"], "opposites");
  EXPECT_FALSE(seeds[1].contains("input"));
  const auto flat = Import(
      "alpaca", "data.json",
      R"([{"instruction": "Say hi", "input": "", "output": "hi"}, {"instruction": "x", "output": " "}])");
  ASSERT_EQ(flat.size(), 1u);
  EXPECT_FALSE(flat[0].contains("answer"));  // a free text has no short answer
  EXPECT_EQ(ledger_.Total(RowFate::kEmptyResponse), 1);
}

TEST_F(ImportTest, Mmlu) {
  const auto rows = Import(
      "mmlu", "test.jsonl",
      R"({"question": "The Barr body is", "type": "college_biology", "choices": ["euchromatin", "heterochromatin", "a cistron"], "answer": 1})"
      "\n"
      R"({"question": "Q", "type": "t", "choices": ["x", "y"], "answer": 1})"
      "\n"
      R"({"question": "Q", "type": "t", "choices": ["x", "y"], "answer": 2})"
      "\n"
      R"({"question": "Q", "type": "t", "choices": ["x", 5], "answer": 0})"
      "\n");
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[0]["instruction"], "The Barr body is\n(A) euchromatin\n(B) heterochromatin\n(C) a cistron");
  EXPECT_EQ(rows[0]["output"], "The answer is (B).");
  EXPECT_EQ(rows[0]["source"], "mmlu/college_biology");
  EXPECT_EQ(rows[0]["choices"], Json({"A", "B", "C"}));
  EXPECT_EQ(rows[0]["choice_lead"], "The answer is (");
  EXPECT_FALSE(rows[0].contains("few_shot"));
  EXPECT_EQ(ledger_.Total(RowFate::kMalformed), 2);
}

std::string MmluLine(const std::string& question, const std::string& type) {
  return Json({{"question", question}, {"type", type}, {"choices", {"x", "y"}}, {"answer", 1}}).dump() + "\n";
}

TEST_F(ImportTest, MmluExamplesAreTheFirstRowsOfASubjectOrAnotherFile) {
  const std::string text = MmluLine("q1", "college_biology") + MmluLine("q2", "astronomy") +
                           MmluLine("q3", "college_biology") + MmluLine("q4", "college_biology") +
                           MmluLine("q5", "astronomy");
  const auto rows = Import("mmlu", "test.jsonl", text, {.few_shot = 2});
  ASSERT_EQ(rows.size(), 1u);  // two of each subject became examples
  EXPECT_EQ(rows[0]["instruction"], "q4\n(A) x\n(B) y");
  EXPECT_EQ(rows[0]["few_shot"]["description"],
            "The following are multiple choice questions (with answers) about college biology.");
  EXPECT_EQ(rows[0]["few_shot"]["examples"], Json({"q1\n(A) x\n(B) y\nThe answer is (B).",
                                                  "q3\n(A) x\n(B) y\nThe answer is (B)."}));
  EXPECT_EQ(ledger_.Total(RowFate::kExample), 4);

  Write("dev.jsonl", MmluLine("d1", "college_biology") + MmluLine("d2", "college_biology"));
  const auto all =
      Import("mmlu", "test.jsonl", text, {.few_shot = 1, .examples = (dir_ / "dev.jsonl").string()});
  ASSERT_EQ(all.size(), 5u);
  EXPECT_EQ(all[0]["few_shot"]["examples"], Json({"d1\n(A) x\n(B) y\nThe answer is (B)."}));
  EXPECT_FALSE(all[1].contains("few_shot"));  // no examples of its subject
}

TEST_F(ImportTest, BbhWithWorkedExamples) {
  const fs::path task = Write("bbh/navigate.json", R"({"canary": "do not train, GUID 1",
      "examples": [{"input": "Take 1 step.\nOptions:\n- Yes\n- No", "target": "No"}]})");
  const auto plain = ImportPath("bbh", task);
  ASSERT_EQ(plain.size(), 1u);
  EXPECT_EQ(plain[0]["instruction"], "Take 1 step.\nOptions:\n- Yes\n- No");
  EXPECT_EQ(plain[0]["output"], "So the answer is No.");
  EXPECT_EQ(plain[0]["answer"], "No");
  EXPECT_EQ(plain[0]["source"], "bbh/navigate");
  EXPECT_EQ(plain[0]["canary"], "do not train, GUID 1");

  EXPECT_EQ(plain[0]["choices"], Json({"Yes", "No"}));
  EXPECT_EQ(plain[0]["choice_lead"], "So the answer is ");

  Write("bbh/cot-prompts/navigate.txt",
        "CANARY LINE\n-----\nDo you return?\n\nQ: one\nA: Let's think step by step.\nSo the answer is "
        "Yes.\n\nQ: two\nA: No.\n");
  const Json row = ImportPath("bbh", dir_ / "bbh", {.few_shot = 1})[0];
  EXPECT_EQ(row["instruction"], "Q: Take 1 step.\nOptions:\n- Yes\n- No\nA: Let's think step by step.");
  EXPECT_EQ(row["few_shot"]["description"], "Do you return?");
  EXPECT_EQ(row["few_shot"]["examples"],
            Json::array({"Q: one\nA: Let's think step by step.\nSo the answer is Yes."}));
  const Json most = ImportPath("bbh", task, {.few_shot = 9})[0];
  EXPECT_EQ(most["few_shot"]["examples"].size(), 2u);
  EXPECT_EQ(most["few_shot"]["examples"][1], "Q: two\nA: No.");
}

TEST_F(ImportTest, BbhChoices) {
  const auto choices = [&](const std::string& question, const std::string& target) {
    const Json file = {{"examples", {{{"input", question}, {"target", target}}}}};
    const Json row = Import("bbh", "task.json", file.dump())[0];
    return row.contains("choices") ? row["choices"].dump() + " " + row["choice_lead"].dump() : "none";
  };
  EXPECT_EQ(choices("Which?\nOptions:\n(A) one\n(B) two", "(B)"), R"(["A","B"] "So the answer is (")");
  EXPECT_EQ(choices("Which?\nOptions:\n- valid \n- invalid", "valid"),
            R"(["valid","invalid"] "So the answer is ")");
  EXPECT_EQ(choices("not ( True ) is", "False"), R"(["True","False"] "So the answer is ")");
  EXPECT_EQ(choices("Plausible?", "yes"), R"(["yes","no"] "So the answer is ")");
  EXPECT_EQ(choices("Like?\nOptions:\n(A) Monsters\n(B) Inc", "Monsters, Inc"), "none");
  EXPECT_EQ(choices("Sort: b a", "a b"), "none");
}

TEST_F(ImportTest, LimitAndSourceName) {
  std::string text;
  for (int i = 0; i < 5; ++i) {
    text += R"({"question": "q)" + std::to_string(i) + R"(", "answer": "#### )" + std::to_string(i) + "\"}\n";
  }
  const auto rows = Import("gsm8k", "train.jsonl", text, {.limit = 2, .source = "grade_school"});
  ASSERT_EQ(rows.size(), 2u);
  EXPECT_EQ(rows[1]["output"], "The answer is \\boxed{1}.");
  EXPECT_EQ(rows[1]["source"], "grade_school");
  EXPECT_EQ(ledger_.TotalRows(), 2);
}

TEST_F(ImportTest, ErrorsNameTheCulpritAndTheRemedy) {
  const fs::path good = Write("good.jsonl", R"({"question": "q", "answer": "#### 1"})");
  EXPECT_NE(ImportError("gsm8", good, ErrorKind::kInvalidInput).find("did you mean 'gsm8k'?"),
            std::string::npos);
  EXPECT_NE(ImportError("math", good, ErrorKind::kInvalidInput).find("good.jsonl: not in the format of math"),
            std::string::npos);
  EXPECT_NE(ImportError("gsm8k", good, ErrorKind::kInvalidInput, {.few_shot = 3}).find("mmlu and bbh only"),
            std::string::npos);
  ImportError("gsm8k", dir_ / "absent.jsonl", ErrorKind::kNotFound);
  ImportError("svamp", Write("cut.json", "[{\"Body\": "), ErrorKind::kCorrupt);
  ImportError("gsm8k", Write("empty.jsonl", "\n"), ErrorKind::kInvalidInput);
  ImportError("svamp", Write("none.json", "[]"), ErrorKind::kInvalidInput);
  ImportError("bbh", Write("object.json", "{\"examples\": 5}"), ErrorKind::kInvalidInput);
  fs::create_directories(dir_ / "no_files");
  ImportError("flan_cot", dir_ / "no_files", ErrorKind::kNotFound);
  EXPECT_NE(ImportError("bbh", Write("task.json", R"({"examples": [{"input": "a", "target": "b"}]})"),
                        ErrorKind::kNotFound, {.few_shot = 3})
                .find("cot-prompts"),
            std::string::npos);
  EXPECT_THROW(ImportDataset("gsm8k", good, good), Error);
  EXPECT_EQ(ReadFile(good), R"({"question": "q", "answer": "#### 1"})");
}

TEST_F(ImportTest, BadBytesAndDeepJsonAreMalformedRows) {
  const std::string good = R"({"question": "q", "answer": "#### 1"})"
                           "\n";
  Import("gsm8k", "f.jsonl",
         good + good + good + good + "{\"question\": \"\xff\"}\n" + std::string(500, '[') + "\nnull\n");
  EXPECT_EQ(ledger_.Total(RowFate::kMalformed), 3);
}

struct RawSet {
  const char* kind;
  const char* path;
  int64_t rows;  // as counted by python's json and csv
  int64_t rows_with_choices = 0;  // 31 of flan_cot have the answer twice among their options
};

TEST_F(ImportTest, EveryRowOfThePublicSets) {
  const char* raw = std::getenv("ELREA_RAW_DATA");
  if (raw == nullptr)
    GTEST_SKIP() << "set ELREA_RAW_DATA to a folder with gsm8k/train.jsonl and the other sets";
  const RawSet sets[] = {{"gsm8k", "gsm8k/train.jsonl", 7473},   {"svamp", "svamp/train.json", 700},
                         {"math", "math/train.jsonl", 4500},     {"mathqa", "mathqa/train.jsonl", 600},
                         {"flan_cot", "flan_cot", 25970, 25939},        {"alpaca", "alpaca/seed_tasks.jsonl", 175},
                         {"mmlu", "mmlu_stem/test.jsonl", 1509, 1509}, {"bbh", "bbh", 3255, 2753}};
  for (const RawSet& set : sets) {
    const auto rows = ImportPath(set.kind, fs::path(raw) / set.path);
    EXPECT_EQ(ledger_.TotalRows(), set.rows) << set.kind;
    EXPECT_EQ(static_cast<int64_t>(rows.size()), set.rows) << set.kind << "\n" << ledger_.ToTable();
    int64_t num_with_choices = 0;
    for (const Json& row : rows) {
      num_with_choices += row.contains("choices");
      if (!row.contains("answer")) continue;
      const auto answer = row["answer"].get<std::string>(), output = row["output"].get<std::string>();
      ASSERT_EQ(ExtractAnswer(output).value_or("(nothing)"), answer) << row.dump();
      ASSERT_TRUE(ResponseMatches(output, answer)) << row.dump();
      ASSERT_TRUE(AnswersMatch(NormaliseAnswer(answer), answer)) << answer;
    }
    EXPECT_EQ(ReadEvalRecords(dir_ / "out" / "rows.jsonl").records.size(), rows.size()) << set.kind;
    EXPECT_EQ(num_with_choices, set.rows_with_choices) << set.kind;
  }
}

// Golds of one task never match each other, and each matches the sentence its worked examples end with.
TEST_F(ImportTest, AnswersOfBbhAreToldApart) {
  const char* raw = std::getenv("ELREA_RAW_DATA");
  if (raw == nullptr) GTEST_SKIP() << "set ELREA_RAW_DATA to a folder with bbh";
  std::map<std::string, std::set<std::string>> golds;
  for (const Json& row : ImportPath("bbh", fs::path(raw) / "bbh")) golds[row["source"]].insert(row["answer"]);
  EXPECT_EQ(golds.size(), 27u);
  for (const auto& [task, answers] : golds) {
    for (const std::string& gold : answers) {
      const std::string sentence = "First, we look at it.\nSo the answer is " + gold + ".";
      EXPECT_EQ(ExtractAnswer(sentence), gold) << task;
      for (const std::string& other : answers)
        EXPECT_EQ(ResponseMatches(sentence, other), gold == other) << task << ": " << gold << " | " << other;
    }
  }
}

}  // namespace
}  // namespace elrea
