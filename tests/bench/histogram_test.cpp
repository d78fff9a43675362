#include "support/histogram.hpp"

#include <gtest/gtest.h>

#include <memory>

namespace support {
namespace {

constexpr double precision = 0.032;

// Spec: bench.quantiles
TEST(Histogram, a_single_duration_is_every_quantile) {
  for (Nanoseconds duration = 1; duration < 1'000'000'000'000; duration = duration * 9 / 7 + 1) {
    const auto histogram = std::make_unique<Histogram>();
    histogram->add(duration);
    const auto exact = static_cast<double>(duration);
    EXPECT_NEAR(histogram->quantile(0.01), exact, exact * precision);
    EXPECT_NEAR(histogram->quantile(0.99), exact, exact * precision);
    EXPECT_EQ(histogram->longest(), exact);
  }
}

// Spec: bench.quantiles
TEST(Histogram, a_quantile_is_not_exceeded_by_its_share) {
  const auto histogram = std::make_unique<Histogram>();
  for (Nanoseconds duration = 1; duration <= 1000; ++duration) histogram->add(duration * 1000);
  EXPECT_NEAR(histogram->quantile(0.5), 500'000, 500'000 * precision);
  EXPECT_NEAR(histogram->quantile(0.99), 990'000, 990'000 * precision);
  EXPECT_EQ(histogram->longest(), 1'000'000);
}

// Spec: bench.quantiles
TEST(Histogram, those_of_several_parties_add_up) {
  const auto histogram = std::make_unique<Histogram>(), other = std::make_unique<Histogram>();
  for (int i = 0; i < 50; ++i) histogram->add(10);
  for (int i = 0; i < 49; ++i) other->add(10);
  other->add(20);
  histogram->add(*other);
  EXPECT_EQ(histogram->count(), 100U);
  EXPECT_EQ(histogram->quantile(0.99), 10);
  EXPECT_EQ(histogram->quantile(1), 20);
  EXPECT_EQ(histogram->longest(), 20);
}

}  // namespace
}  // namespace support
