// Word problems in the manner of GSM8K, for measurements that need no download: a few sentences that change an amount
// step by step, and an answer that works them out one line each.
#include <fmt/format.h>

#include <array>

#include "bench/bench_support.h"
#include "core/rng.h"

namespace elrea::bench {
namespace {

constexpr std::array kNames = {"Amelia", "Jonas", "Priya", "Mateo", "Fatima", "Oliver", "Wen", "Sofia", "Kwame", "Ingrid"};
constexpr std::array kThings = {"apples", "stickers", "marbles", "postcards", "pencils", "cookies", "seashells", "coins"};
constexpr std::array kPlaces = {"at the market on Saturday morning", "in the school library after lunch",
                                "during a long train ride to the coast", "at a neighbour's birthday party",
                                "on the last day of the summer holidays", "while helping out at the village fair"};

struct Step {
  std::string story, line;
};

// One change of `amount`, told and worked out.
Step NextStep(Rng& rng, const char* name, const char* thing, int64_t& amount) {
  const char* other = kNames[rng.Below(kNames.size())];
  const char* place = kPlaces[rng.Below(kPlaces.size())];
  const auto n = static_cast<int64_t>(2 + rng.Below(48));
  const int64_t before = amount;
  switch (rng.Below(4)) {
    case 0:
      amount += n;
      return {fmt::format("{} then buys {} more {} from {} {}.", name, n, thing, other, place),
              fmt::format("After buying {} more, {} has {} + {} = <<{}+{}={}>>{} {}.", n, name, before, n, before, n,
                          amount, amount, thing)};
    case 1:
      amount *= 2;
      return {fmt::format("Later, {} wins a game against {} {}, and so doubles the number of {}.", name, other, place, thing),
              fmt::format("Doubling the number gives {} * 2 = <<{}*2={}>>{} {}.", before, before, amount, amount, thing)};
    case 2:
      if (amount > n) {
        amount -= n;
        return {fmt::format("{} gives {} of them to {} {}, who was very happy about it.", name, n, other, place),
                fmt::format("Giving away {} leaves {} - {} = <<{}-{}={}>>{} {}.", n, before, n, before, n, amount,
                            amount, thing)};
      }
      [[fallthrough]];
    default: {
      const int64_t boxes = 2 + n % 5, each = 3 + n % 7;
      amount += boxes * each;
      return {fmt::format("{} brings {} boxes with {} {} in each of them {}.", other, boxes, each, thing, place),
              fmt::format("The boxes hold {} * {} = <<{}*{}={}>>{} {}, so now there are {} + {} = <<{}+{}={}>>{}.", boxes,
                          each, boxes, each, boxes * each, boxes * each, thing, before, boxes * each, before,
                          boxes * each, amount, amount)};
    }
  }
}

}  // namespace

void WriteWordProblems(const fs::path& path, int64_t count, uint64_t seed) {
  std::string text;
  for (int64_t i = 0; i < count; ++i) {
    Rng rng(seed, static_cast<uint64_t>(i));
    const char *name = kNames[rng.Below(kNames.size())], *thing = kThings[rng.Below(kThings.size())];
    auto amount = static_cast<int64_t>(5 + rng.Below(90));
    std::string question = fmt::format("{} has {} {}.", name, amount, thing), answer;
    const auto steps = static_cast<int64_t>(1 + rng.Below(5));
    for (int64_t s = 0; s < steps; ++s) {
      const Step step = NextStep(rng, name, thing, amount);
      question += " " + step.story;
      answer += step.line + "\n";
    }
    question += fmt::format(" How many {} does {} have in the end?", thing, name);
    text += JsonLine({{"instruction", question}, {"output", answer + fmt::format("#### {}", amount)}}) + "\n";
  }
  WriteFileAtomically(path, text);
}

}  // namespace elrea::bench
