// Extraction and matching against hand-written tables and tests/golden/answers.json (real gold answers of
// MATH and MathQA with rewritings that keep the meaning and changes that do not;
// tools/oracle/make_answer_golden.py).
#include "data/answer.h"

#include <gtest/gtest.h>

#include "core/error.h"
#include "core/json.h"
#include "data/answer_latex.h"
#include "data/answer_quantity.h"

namespace elrea {
namespace {

struct ExtractCase {
  AnswerStyle style;
  const char* text;
  const char* expected;  // nullptr: nothing
};

TEST(ExtractAnswer, FindsTheLastMarkedAnswer) {
  const ExtractCase cases[] = {
      {AnswerStyle::kBoxed, "so $\\boxed{10}$. Or $\\boxed{\\frac{9}{7}}$.", "\\frac{9}{7}"},
      {AnswerStyle::kBoxed, "\\boxed{\\left( 3, \\frac{\\pi}{2} \\right)}.",
       "\\left( 3, \\frac{\\pi}{2} \\right)"},
      {AnswerStyle::kBoxed, "\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"},
      {AnswerStyle::kBoxed, "\\boxed 7.", "7"},
      {AnswerStyle::kBoxed, "\\fbox{12}", "12"},
      {AnswerStyle::kBoxed, "\\boxed{5} and then \\boxed{\\frac{1", "5"},  // cut off by the length limit
      {AnswerStyle::kBoxed, "\\boxed{\\frac{1", nullptr},
      {AnswerStyle::kBoxed, "\\boxed{}", nullptr},
      {AnswerStyle::kBoxed, "no box, \\boxedanswer{1}", nullptr},
      {AnswerStyle::kHashes, "48+24 = 72\n#### 72", "72"},
      {AnswerStyle::kHashes, "#### 1\n#### 1,234 \nmore", "1,234"},
      {AnswerStyle::kHashes, "72", nullptr},
      {AnswerStyle::kPhrase, "So the answer is (B).", "(B)"},
      {AnswerStyle::kPhrase, "The answer is 3.50. That was easy.", "3.50"},
      {AnswerStyle::kPhrase, "**Final Answer:** 12\nDone", "12"},
      {AnswerStyle::kPhrase, "The answer is: arson aspect census.", "arson aspect census"},
      {AnswerStyle::kPhrase, "The answer is 1. No, the answer is\n2.", "2"},
      {AnswerStyle::kPhrase, "I answered the question.", nullptr},
      {AnswerStyle::kChoice, "(C) 1120", "C"},
      {AnswerStyle::kChoice, "b) 12", "B"},
      {AnswerStyle::kChoice, "D. None", "D"},
      {AnswerStyle::kChoice, "c", "C"},
      {AnswerStyle::kChoice, "Both (A) and (C) fit, but (C) is better", "C"},
      {AnswerStyle::kChoice, "I think the answer is option B", "B"},
      {AnswerStyle::kChoice, "\\boxed{\\text{(E)}}", "E"},
      {AnswerStyle::kChoice, "A frameshift mutation", nullptr},
      {AnswerStyle::kNumber, "She has $1,234.50 left.", "1,234.50"},
      {AnswerStyle::kNumber, "48/2 = 24 clips", "24"},
      {AnswerStyle::kNumber, "that is -7.", "-7"},
      {AnswerStyle::kNumber, "10-7", "7"},
      {AnswerStyle::kNumber, "the probability is 3/4", "3/4"},
      {AnswerStyle::kNumber, "half: .5", ".5"},
      {AnswerStyle::kNumber, "The answer is 12, not 13", "13"},
      {AnswerStyle::kNumber, "none", nullptr},
      {AnswerStyle::kWhole, " a b \n", "a b"},
      {AnswerStyle::kWhole, " \n", nullptr},
      {AnswerStyle::kAuto, "The answer is 4. #### 5 \\boxed{6}", "6"},
      {AnswerStyle::kAuto, "The answer is 4.\n#### 5", "5"},
      {AnswerStyle::kAuto, "reasoning\n\n42\n", "42"},
      {AnswerStyle::kAuto, "", nullptr},
  };
  for (const ExtractCase& c : cases) {
    const auto found = ExtractAnswer(c.text, c.style);
    EXPECT_EQ(found.value_or("(nothing)"), c.expected == nullptr ? "(nothing)" : c.expected) << c.text;
  }
}

TEST(AnswersMatch, GoldenPairs) {
  const Json golden = ReadJsonFile(std::string(ELREA_SOURCE_DIR) + "/tests/golden/answers.json");
  ASSERT_GT(golden["equal"].size(), 500u);
  ASSERT_GT(golden["different"].size(), 500u);
  for (const Json& pair : golden["equal"]) {
    const auto gold = pair[0].get<std::string>(), text = pair[1].get<std::string>();
    EXPECT_TRUE(AnswersMatch(text, gold)) << gold << " | " << text << " | " << pair[2];
    EXPECT_TRUE(AnswersMatch(gold, text)) << gold << " | " << text << " | " << pair[2];
  }
  for (const Json& pair : golden["different"]) {
    const auto gold = pair[0].get<std::string>(), text = pair[1].get<std::string>();
    EXPECT_FALSE(AnswersMatch(text, gold)) << gold << " | " << text;
    EXPECT_FALSE(AnswersMatch(gold, text)) << gold << " | " << text;
  }
}

TEST(AnswersMatch, FlexibleEqual) {
  const std::pair<const char*, const char*> cases[] = {
      {"5.0", "5"},
      {".5", "1/2"},
      {"+3", "3"},
      {"007", "7"},
      {"2 / 6", "1/3"},
      {"5\\frac{1}{2}", "5.5"},
      {"-2\\frac13", "-7/3"},
      {"22 \u00bd days", "22.5"},
      {"$ 1.83", "1.83"},
      {"rs . 1067", "1067"},
      {"39.52 $", "39.52"},
      {"40 %", "40"},
      {"17 hr", "17 hours"},
      {"36 km / hr", "36 kmph"},
      {"384 cm 2", "384 square cm"},
      {"11\\text{ cm}^2", "11 sq cm"},
      {"5 p.m.", "5 PM"},
      {"3\\pi \\text{ inches}", "3 \\pi"},
      {"\\frac{\\pi}{6}", "\\pi/6"},
      {"\\frac\\pi6", "\\frac{\\pi}{6}"},
      {"\\frac{1+\\sqrt{5}}{2}", "(1+\\sqrt5)/2"},
      {"sqrt(2)", "\\sqrt{2}"},
      {"2 x + 2", "2x+2"},
      {"x^{10}", "x^10"},
      {"x \\in [-2,7]", "[-2,7]"},
      {"(0.5, 1)", "(\\frac12,1)"},
      {"3 and 2/5", "3, \\frac{2}{5}"},
      {"\\begin{bmatrix}1\\\\2\\end{bmatrix}", "\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}"},
      {"(C)", "C"},
      {"(c)", "C"},
      {"Option B", "(B)"},
      {"\\text{(E)}", "E"},
      {"Yes.", "yes"},
      {"**bloody mess**", "Bloody mess"},
      {"\\text{even}", "even"},
      {"] ] )", "]])"},
      {"> ) }", ">)}"},
  };
  for (const auto& [a, b] : cases) {
    EXPECT_TRUE(AnswersMatch(a, b)) << a << " | " << b;
    EXPECT_TRUE(AnswersMatch(b, a)) << a << " | " << b;
    EXPECT_FALSE(AnswersMatch(a, b, AnswerMatching::kStrict)) << a << " | " << b;
  }
}

TEST(AnswersMatch, FlexibleDifferent) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "5"},
      {"", ""},
      {"0.33", "1/3"},
      {"1.5 million", "1.5"},
      {"17 hr", "17 days"},
      {"2x", "2"},
      {"3 b", "3"},
      {"5 or more", "5"},
      {"5^2", "5"},
      {"1/2/3", "1/2"},
      {"8 : 5", "8/5"},
      {"3, 1, 2", "1, 2, 3"},
      {"3 1 2", "312"},
      {"2\\frac{1}{3}", "21/3"},
      {"(1,200)", "(1200)"},
      {"(3,4)", "[3,4]"},
      {"1, 2", "1, 2, 3"},
      {"10_2", "10_3"},
      {"\\frac{1}{2}\\pi", "\\frac{1}{2\\pi}"},
      {"x^{2}3", "x^{23}"},
      {"a", "A"},
      {"(A)", "(B)"},
      {"x=5", "y=5"},
      {"yes", "no"},
      {"Sentence A", "Sentence B"},
      {"100000000000000000001", "100000000000000000002"},
      {"1/0", "2/0"},
      {"> ) }", "> )"},
      {"} ]", "] }"},
  };
  for (const auto& [a, b] : cases) {
    EXPECT_FALSE(AnswersMatch(a, b)) << a << " | " << b;
    EXPECT_FALSE(AnswersMatch(b, a)) << a << " | " << b;
  }
}

TEST(AnswersMatch, StrictAllowsOnlyOuterSpace) {
  EXPECT_TRUE(AnswersMatch(" plum, fig\n", "plum, fig", AnswerMatching::kStrict));
  EXPECT_FALSE(AnswersMatch("plum,fig", "plum, fig", AnswerMatching::kStrict));
  EXPECT_FALSE(AnswersMatch("Plum, fig", "plum, fig", AnswerMatching::kStrict));
}

TEST(ResponseMatches, UnmarkedNumberOrLetterCountsOnlyFlexibly) {
  EXPECT_TRUE(ResponseMatches("So she has 18 eggs left.", "18"));
  EXPECT_TRUE(ResponseMatches("I would say (B), the gene.", "(B)"));
  EXPECT_FALSE(
      ResponseMatches("So she has 18 eggs left.", "18", AnswerStyle::kAuto, AnswerMatching::kStrict));
  EXPECT_FALSE(ResponseMatches("The answer is 17, although 18 was asked.", "18"));  // marked: no second guess
  EXPECT_FALSE(ResponseMatches("So she has 18 eggs left.", "18", AnswerStyle::kBoxed));
  EXPECT_FALSE(ResponseMatches("", "18"));
}

struct ResponseCase {
  const char* gold;
  std::vector<const char*> right, wrong;
};

// Responses as models write them to questions of MMLU and BBH.
TEST(ResponseMatches, LettersWordsListsAndBrackets) {
  const ResponseCase cases[] = {
      {"(B)",
       {"(B)", "B", "b", "(b)", "B.", "B)", "**B**", "**(B)**", "The answer is (B).", "The answer is B.",
        "So the answer is (B) heterochromatin.", "The answer is (B), heterochromatin", "Answer: B",
        "**Answer:** (B) heterochromatin", "The correct answer is **(B) heterochromatin**.",
        "The answer is B because the other X is inactive.", "\\boxed{B}", "$\\boxed{\\text{(B)}}$",
        "I think it is (B).", "Option B is correct.", "The correct option is B.", "The correct choice is (B).",
        "B: heterochromatin", "B is the correct answer.",
        "Let's think.\nA. would be one.\nThe answer is:\n\n(B)"},
       {"", "(C)", "C", "The answer is (C).", "The answer is (C), not (B).", "The answer is A or B.",
        "I'm sorry, but I cannot answer that question.", "I don't know.", "As an AI model, I have no opinion.",
        "None of the above.", "Bacteria have no nucleus.", "BB", "The answer is both.", "The answer is BC."}},
      {"(A)",
       {"A", "(A) a gene", "The answer is A. It follows from the table.", "a"},
       {"A frameshift mutation is created when a base pair is inserted.", "A gene is copied.",
        "The answer is a gene.", "The answer is a base pair (C).", "I cannot tell."}},
      {"Yes",
       {"Yes", "yes.", "Yes, it does.", "So the answer is Yes.", "The answer is: yes", "**Yes**",
        "The answer is Yes, because he is back at the start.", "Since (0, 0) is (0, 0), we are back.\nYes.",
        "\\boxed{\\text{Yes}}"},
       {"No", "No, yes is wrong.", "The answer is No.", "The answer is not Yes.", "Yesterday.", "",
        "I cannot say yes or no.", "We cannot know."}},
      {"no",
       {"No.", "No, it is not plausible.", "The answer is no"},
       {"yes", "There is no way to tell.", "Nobody knows.", "I have no idea."}},
      {"False",
       {"False", "false.", "not ( True ) is False. So the answer is False.", "The expression is False.",
        "= not True = False"},
       {"True", "The answer is True, not False.", "It is True or False.", "It is not False."}},
      {"invalid",
       {"invalid", "The argument is deductively invalid.", "Invalid.", "The answer is invalid.",
        "The answer is \"invalid\", as the premises allow both."},
       {"valid", "The argument is valid.", "The answer is valid.", "It is valid or invalid.", "It is not valid"}},
      {"valid", {"valid", "The argument is valid."}, {"invalid", "The argument is invalid.", "It is not valid."}},
      {"8",
       {"8", "The answer is 8.", "So the answer is 8 fruits.", "The answer is 8 musical instruments.",
        "1 + 7 = 8", "I have 8."},
       {"9", "The answer is 8 million.", "The answer is 8 or 9.", "The answer is 8 dozen eggs.", "eight hundred"}},
      {"-50", {"-50", "So the answer is -50.", "= 4 - 54 = -50"}, {"50", "So the answer is 50."}},
      {"costume counterpart oven",
       {"costume counterpart oven", "So the answer is costume counterpart oven.", "costume, counterpart, oven",
        "The answer is costume, counterpart, oven.", "Costume Counterpart Oven", "The answer is: costume, "
        "counterpart, and oven."},
       {"oven costume counterpart", "costume counterpart", "costume, counterpart, oven, pan", "costumecounterpart oven"}},
      {"bob it&t you've", {"bob, it&t, you've", "So the answer is bob it&t you've."}, {"bob you've it&t"}},
      {"] } ]", {"] } ]", "]}]", "So the answer is ] } ].", "\"] } ]\""}, {"} ] ]", "] }", "] } ] ]", "[ { ["}},
      {"} >", {"} >", "So the answer is } >."}, {"} ) >", "> }", "}"}},
      {")", {")", "So the answer is )."}, {") )", "(", "]"}},
  };
  for (const ResponseCase& c : cases) {
    for (const char* text : c.right) EXPECT_TRUE(ResponseMatches(text, c.gold)) << c.gold << " | " << text;
    for (const char* text : c.wrong) EXPECT_FALSE(ResponseMatches(text, c.gold)) << c.gold << " | " << text;
    const std::string canonical = std::string("So the answer is ") + c.gold + ".";
    EXPECT_TRUE(ResponseMatches(canonical, c.gold, AnswerStyle::kAuto, AnswerMatching::kStrict)) << canonical;
  }
}

// tests/golden/reasoning_gym.json: golds of reasoning-gym, as they are and corrupted, with the package's own scores.
TEST(ResponseMatches, AgreesWithTheScorersOfReasoningGym) {
  const Json golden = ReadJsonFile(std::string(ELREA_SOURCE_DIR) + "/tests/golden/reasoning_gym.json");
  ASSERT_GT(golden["pairs"].size(), 900u);
  ASSERT_GT(golden["superfluous"].size(), 5u);
  for (const Json& pair : golden["superfluous"])
    EXPECT_FALSE(AnswersMatch(pair[2].get<std::string>(), pair[1].get<std::string>())) << pair;
  for (const Json& pair : golden["pairs"]) {
    const auto task = pair[0].get<std::string>(), gold = pair[1].get<std::string>(), answer = pair[2].get<std::string>();
    const bool accepted = pair[3].get<double>() >= 1;
    for (const std::string& response : {"Let me see.\n#### " + answer, "The answer is " + answer + "."}) {
      EXPECT_EQ(ResponseMatches(response, gold, AnswerStyle::kAuto, AnswerMatching::kStrict), accepted) << task << " | " << gold << " | " << response;
      EXPECT_EQ(ResponseMatches(response, gold), accepted) << task << " | " << gold << " | " << response;
    }
  }
}

TEST(NormaliseAnswer, EqualAnswersVoteTogether) {
  EXPECT_EQ(NormaliseAnswer("\\dfrac{2}{4}"), NormaliseAnswer("0.5"));
  EXPECT_EQ(NormaliseAnswer("x = 1,234"), "1234");
  EXPECT_EQ(NormaliseAnswer("-0.0"), "0");
  EXPECT_EQ(NormaliseAnswer("(c)"), "C");
  EXPECT_EQ(NormaliseAnswer("30^\\circ, 60^\\circ"), "30, 60");
  EXPECT_EQ(NormaliseAnswer("Yes."), NormaliseAnswer("yes"));
  EXPECT_NE(NormaliseAnswer("2\\pi"), NormaliseAnswer("2"));
}

TEST(AnswerStyle, NamesRoundTripAndUnknownOnesNameTheNearest) {
  ASSERT_EQ(AnswerStyleNames().size(), 7u);
  EXPECT_EQ(ParseAnswerStyle("boxed"), AnswerStyle::kBoxed);
  try {
    ParseAnswerStyle("boxd");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidInput);
    EXPECT_NE(error.message().find("'boxed'"), std::string::npos) << error.message();
  }
}

TEST(PlainAnswer, SurvivesHostileText) {
  for (const std::string& text :
       {std::string(20000, '{'), std::string(20000, '\\'), std::string("\\frac"), std::string("\\frac{1"),
        std::string("\\sqrt["), std::string("sqrt("), std::string("^"), std::string("_"),
        std::string("\\begin"), std::string("\xff\xfe{"), std::string(20000, '('), std::string("\\left"),
        std::string("12,\\!"), std::string("\\boxed{\\boxed{\\boxed{")}) {
    PlainAnswer(text);
    NormaliseAnswer(text);
    ExtractAnswer(text);
    EXPECT_FALSE(AnswersMatch(text, "5"));
  }
  EXPECT_FALSE(AnswersMatch(std::string(1000000, '{'), std::string(1000000, '(')));
  std::string nested = "1";
  for (int i = 0; i < 200; ++i) nested = "\\frac{" + nested + "}{2}";
  EXPECT_TRUE(AnswersMatch(nested, nested + "."));
}

TEST(ExactNumber, ParsesExactly) {
  EXPECT_EQ(ParseExactNumber("-5 1/2"), (ExactNumber{-11, 2}));
  EXPECT_EQ(ParseExactNumber("0.125"), (ExactNumber{1, 8}));
  EXPECT_EQ(ParseExactNumber("1.5/2"), (ExactNumber{3, 4}));
  for (const char* text : {"", "-", "5.", "5 1", "1/", "1/0", "5 1/0", "1e3", "12a", "1234567890123456"}) {
    EXPECT_FALSE(ParseExactNumber(text)) << text;
  }
}

}  // namespace
}  // namespace elrea
