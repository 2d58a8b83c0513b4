#include <limits>

#include <catch2/catch.hpp>

#include <troupe/runtime/cuda/dispatch.h>
#include <troupe/runtime/cuda/kernels/best.h>
#include <troupe/tests/runtime/cuda/cuda_fixture.h>

using namespace troupe;
using namespace troupe::cuda;

namespace {

std::vector<Best> best_of(const std::vector<float>& logits, std::size_t columns) {
  const auto rows = static_cast<unsigned>(logits.size() / columns);
  const unsigned parts = rounded_up(columns, kBestColumns);
  DeviceVector<float> device(logits);
  DeviceVector<Best> of_parts(rows * parts), of_rows(rows);
  launch(Stream{}, best_of_part, dim3(parts, rows), kBestThreads, device.data(),
         static_cast<int>(columns), of_parts.data());
  launch(Stream{}, best_of_row, dim3(rows), kBestThreads, of_parts.data(), static_cast<int>(parts),
         of_rows.data());
  return of_rows.read();
}

}  // namespace

TEST_CASE("cuda: the best id is the first of the largest logits") {
  for (const std::size_t columns : {1u, 31u, 201u, 4096u, 4097u, 13001u}) {
    kernels::Random random(1);
    const std::size_t rows = 7;
    std::vector<float> logits = kernels::random_floats(random, rows * columns);
    // Rows with ties: of all ids, of two that lie apart, of zeros of both signs.
    std::fill_n(logits.begin(), columns, -3.0f);
    logits[columns + columns / 2] = logits[columns + columns - 1] = 50.0f;
    for (std::size_t c = 0; c < columns; ++c)
      logits[2 * columns + c] = c < columns / 3 ? -1.0f : c % 2 == 0 ? -0.0f : 0.0f;
    std::fill_n(logits.begin() + static_cast<std::ptrdiff_t>(3 * columns), columns,
                -std::numeric_limits<float>::infinity());
    under_every_schedule([&] {
      const std::vector<Best> got = best_of(logits, columns);
      for (std::size_t row = 0; row < rows; ++row) {
        const auto from = logits.begin() + static_cast<std::ptrdiff_t>(row * columns);
        const auto want = std::max_element(from, from + static_cast<std::ptrdiff_t>(columns));
        INFO("row " << row << " of " << columns);
        REQUIRE(got[row].id == want - from);
        REQUIRE(got[row].nan == 0);
      }
    });
  }
}

TEST_CASE("cuda: a NaN among the logits is reported wherever it is") {
  const std::size_t columns = 5000;
  for (const std::size_t at : {0u, 31u, 4095u, 4096u, 4999u}) {
    std::vector<float> logits(2 * columns, 1.0f);
    logits[columns + at] = std::numeric_limits<float>::quiet_NaN();
    const std::vector<Best> got = best_of(logits, columns);
    REQUIRE(got[0].nan == 0);
    REQUIRE(got[1].nan == 1);
  }
}
