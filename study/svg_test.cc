// What a reader of a figure sees of its numbers.
#include "study/svg.h"

#include <gtest/gtest.h>

#include <regex>

namespace elrea {
namespace {

// The texts of a figure, in order.
std::vector<std::string> Texts(const std::string& svg) {
  const std::regex text(">([^<>\\n]+)</text>");
  std::vector<std::string> texts;
  for (std::sregex_iterator i(svg.begin(), svg.end(), text), end; i != end; ++i) texts.push_back((*i)[1]);
  return texts;
}

TEST(LineChart, HasTicksAtRoundNumbers) {
  Series loss{"base", {}};
  for (int step = 1; step <= 150; ++step) loss.points.push_back({static_cast<double>(step), 6.4 / step});
  EXPECT_EQ(Texts(LineChart({loss}, "step", "loss")),
            (std::vector<std::string>{"2", "4", "6", "50", "100", "150", "step", "loss"}));
  EXPECT_EQ(Texts(LineChart({{"ends", {{0, 0.1}, {1, 0.3}}}}, "x", "y")),
            (std::vector<std::string>{"0.1", "0.15", "0.2", "0.25", "0.3", "0", "1", "x", "y"}));
  EXPECT_EQ(Texts(LineChart({{"gain", {{0, -0.03}, {1, 0.021}}}}, "x", "y")),
            (std::vector<std::string>{"-0.02", "0", "0.02", "0", "1", "x", "y"}));
}

TEST(LineChart, HasTicksWhereItsFewPointsAre) {
  const std::string svg = LineChart({{"a", {{512, 0.1}, {8192, 0.1}}}}, "d", "loss");
  EXPECT_EQ(Texts(svg), (std::vector<std::string>{"0.1", "512", "8192", "d", "loss"}));
}

}  // namespace
}  // namespace elrea
