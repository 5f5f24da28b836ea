#include "features/projection.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/error.h"
#include "core/json.h"
#include "features/projection_adam.h"

namespace elrea {
namespace {

std::vector<float> RandomVector(int64_t size, uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x(size);
  for (float& value : x) value = static_cast<float>(rng.Normal());
  return x;
}

std::vector<float> Project(const RandomProjection& projection, const std::vector<float>& x) {
  std::vector<float> sum(projection.sum_size()), out(projection.d_proj());
  projection.Accumulate(x.data(), 0, static_cast<int64_t>(x.size()), sum.data());
  projection.Finish(sum.data(), out.data());
  return out;
}

TEST(ProjectionTest, EqualsTheNumpyTwin) {
  const Json golden = ReadJsonFile(fs::path(ELREA_SOURCE_DIR) / "tests/golden/projection.json");
  std::vector<float> x;
  for (int64_t i = 0; i < 1000; ++i) x.push_back(static_cast<float>((37 * i) % 101 - 50) / 64);
  for (const Json& test : golden["cases"]) {
    const RandomProjection projection(std::stoull(test["seed"].get<std::string>()), 1000, test["d_proj"],
                                      test["repetitions"]);
    const std::vector<float> out = Project(projection, x);
    for (size_t i = 0; i < out.size(); ++i) ASSERT_FLOAT_EQ(out[i], test["out"][i].get<float>()) << i;
  }
}

TEST(ProjectionTest, FastAndPortablePathsAgreeBitForBit) {
  for (int64_t size : {16, 17, 256, 1000, 40000}) {
    const RandomProjection projection(3, size, 256);
    const std::vector<float> x = RandomVector(size, 1);
    std::vector<float> fast(projection.sum_size()), portable(projection.sum_size());
    projection.Accumulate(x.data(), 0, size, fast.data());
    projection.AccumulatePortable(x.data(), 0, size, portable.data());
    EXPECT_EQ(fast, portable) << size;
  }
}

TEST(ProjectionTest, SplitsDoNotMatter) {
  const int64_t size = 5003;
  const RandomProjection projection(9, size, 512);
  const std::vector<float> x = RandomVector(size, 2), whole = Project(projection, x);
  for (int64_t step : {256, 768, 4096}) {
    std::vector<float> sum(projection.sum_size()), out(512);
    for (int64_t begin = 0; begin < size; begin += step) {
      projection.Accumulate(x.data() + begin, begin, std::min(step, size - begin), sum.data());
    }
    projection.Finish(sum.data(), out.data());
    EXPECT_EQ(out, whole) << step;
  }
}

TEST(ProjectionTest, SeveralSizesInOnePass) {
  const int64_t size = 9001;
  const std::vector<RandomProjection> projections = {{4, size, 16}, {4, size, 300}, {4, size, 1024, 8}};
  const std::vector<float> x = RandomVector(size, 3);
  std::vector<std::vector<float>> sums;
  std::vector<float*> pointers;
  for (const RandomProjection& p : projections) sums.emplace_back(p.sum_size());
  for (std::vector<float>& sum : sums) pointers.push_back(sum.data());
  AccumulateAll(projections, x.data(), 0, size, pointers);
  for (size_t i = 0; i < projections.size(); ++i) {
    std::vector<float> out(projections[i].d_proj());
    projections[i].Finish(sums[i].data(), out.data());
    EXPECT_EQ(out, Project(projections[i], x));
  }
}

TEST(ProjectionTest, ColumnIsTheImageOfAUnitVector) {
  const RandomProjection projection(5, 300, 20, 3);
  for (int64_t input : {0, 15, 16, 263, 299}) {
    std::vector<float> x(300, 0.0f), expected(20, 0.0f);
    x[input] = 1;
    for (const RandomProjection::Cell& cell : projection.Column(input)) expected[cell.output] += cell.value;
    const std::vector<float> actual = Project(projection, x);
    for (int64_t i = 0; i < 20; ++i) EXPECT_FLOAT_EQ(actual[i], expected[i]);
  }
}

TEST(ProjectionTest, KeepsInnerProducts) {
  constexpr int64_t kSize = 20000, kOutputs = 1024;
  const std::vector<float> common = RandomVector(kSize, 100);
  double squares = 0;
  int64_t pairs = 0;
  for (uint64_t seed = 0; seed < 150; ++seed) {
    std::vector<float> x = RandomVector(kSize, 2 * seed + 1), y = RandomVector(kSize, 2 * seed + 2);
    double xx = 0, yy = 0, xy = 0;
    for (int64_t i = 0; i < kSize; ++i) {
      x[i] = x[i] * x[i] * x[i] + common[i];  // heavy tails, correlated pairs
      y[i] = y[i] * y[i] * y[i] + common[i];
      xx += static_cast<double>(x[i]) * x[i];
      yy += static_cast<double>(y[i]) * y[i];
      xy += static_cast<double>(x[i]) * y[i];
    }
    const RandomProjection projection(seed, kSize, kOutputs);
    const std::vector<float> rx = Project(projection, x), ry = Project(projection, y);
    double projected = 0;
    for (int64_t i = 0; i < kOutputs; ++i) projected += static_cast<double>(rx[i]) * ry[i];
    const double error = (projected - xy) / std::sqrt(xx * yy), cosine = xy / std::sqrt(xx * yy);
    squares += error * error / (1 + cosine * cosine);
    ++pairs;
  }
  // Variance (1 + cos^2) / d of a dense sign matrix; 150 pairs know their RMS to 6%.
  EXPECT_NEAR(std::sqrt(squares / pairs) * std::sqrt(kOutputs), 1, 0.2);
}

TEST(ProjectionTest, SeedsDiffer) {
  const std::vector<float> x = RandomVector(1000, 3);
  EXPECT_NE(Project(RandomProjection(1, 1000, 64), x), Project(RandomProjection(2, 1000, 64), x));
  EXPECT_EQ(Project(RandomProjection(1, 1000, 64), x), Project(RandomProjection(1, 1000, 64), x));
}

TEST(ProjectionTest, ImpossibleSizesAreErrors) {
  EXPECT_THROW(RandomProjection(1, 0, 64), Error);
  EXPECT_THROW(RandomProjection(1, 10, 8), Error);
  EXPECT_THROW(RandomProjection(1, 10, 64, 0), Error);
}

TEST(AdamFormTest, MatchesTheFormulaAndItsTwin) {
  constexpr int64_t kSize = 1003;
  const std::vector<float> g = RandomVector(kSize, 5), m = RandomVector(kSize, 6);
  std::vector<float> v = RandomVector(kSize, 7);
  for (float& value : v) value *= value;
  for (const bool momentum : {true, false}) {
    const AdamForm form{.steps = 37, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-4, .momentum = momentum};
    std::vector<float> fast(kSize), portable(kSize);
    ApplyAdamForm(form, g.data(), momentum ? m.data() : nullptr, v.data(), kSize, fast.data());
    ApplyAdamFormPortable(form, g.data(), momentum ? m.data() : nullptr, v.data(), kSize, portable.data());
    EXPECT_EQ(fast, portable);
    for (int64_t i = 0; i < kSize; ++i) {
      const double gi = g[i], mi = momentum ? m[i] : 0;
      const double first = (0.9 * mi + 0.1 * gi) / (1 - std::pow(0.9, 37));
      const double second = (0.999 * v[i] + 0.001 * gi * gi) / (1 - std::pow(0.999, 37));
      const double expected = first / (std::sqrt(second) + 1e-4);
      ASSERT_NEAR(fast[i], expected, 1e-5 * (1 + std::abs(expected))) << i;
    }
  }
}

TEST(AdamFormTest, FusedProjectionEqualsTwoSteps) {
  constexpr int64_t kSize = 5000;
  const std::vector<float> g = RandomVector(kSize, 5), m = RandomVector(kSize, 6);
  std::vector<float> v = RandomVector(kSize, 7);
  for (float& value : v) value *= value;
  const AdamForm form{.steps = 5};
  const std::vector<RandomProjection> projections = {{1, kSize, 512}, {1, kSize, 128}};
  std::vector<float> a(kSize);
  ApplyAdamForm(form, g.data(), m.data(), v.data(), kSize, a.data());
  std::vector<float> first(projections[0].sum_size()), second(projections[1].sum_size());
  std::vector<float*> sums = {first.data(), second.data()};
  for (int64_t begin = 0; begin < kSize; begin += 1536) {
    ProjectAdam(form, g.data() + begin, m.data() + begin, v.data() + begin, begin,
                std::min<int64_t>(1536, kSize - begin), projections, sums);
  }
  for (size_t i = 0; i < 2; ++i) {
    std::vector<float> out(projections[i].d_proj());
    projections[i].Finish(sums[i], out.data());
    EXPECT_EQ(out, Project(projections[i], a));
  }
}

}  // namespace
}  // namespace elrea
