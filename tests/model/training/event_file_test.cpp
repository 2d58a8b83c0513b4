#include <cmath>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include <catch2/catch.hpp>

#include <troupe/model/training/event_file.h>
#include <troupe/runtime/failpoint.h>
#include <troupe/tests/model/training/scratch_folder.h>

using namespace troupe;
using namespace troupe::model;
using namespace troupe::model::test;

namespace {

// The bytes that tensorboard 2.21 writes for a file's version, and for two values of step 300.
constexpr const char* kVersionRecord =
    "0f000000000000006d532b091a0d627261696e2e4576656e743a32fc985129";
constexpr const char* kStepRecord =
    "3d000000000000006049f1ec0900001040fc54d94110ac022a2f0a110a0a747261696e2f6c6f737315000020400a1a"
    "0a13747261696e2f6c6561726e696e675f7261746515acc5a737a960f1aa";
constexpr std::uint64_t kVersionBytes = 31, kStepBytes = 77;

std::string hex_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::string hex;
  for (int c; (c = file.get()) != EOF;) {
    hex += "0123456789abcdef"[c / 16];
    hex += "0123456789abcdef"[c % 16];
  }
  return hex;
}

Status write_step(EventFile& file) {
  const EventValue values[] = {{"train/loss", 2.5}, {"train/learning_rate", 2e-5}};
  return file.write(300, values, 1700000000.25);
}

EventFile opened(const std::filesystem::path& path, std::uint64_t kept) {
  auto file = EventFile::open(path, kept);
  REQUIRE(file.is_ok());
  return std::move(*file);
}

}  // namespace

TEST_CASE("events have the bytes that tensorboard writes") {
  ScratchFolder scratch;
  const auto path = scratch.path() / "new" / kEventFileName;
  EventFile file = opened(path, 0);
  REQUIRE(write_step(file).is_ok());
  REQUIRE(file.sync().is_ok());
  CHECK(hex_of(path) == std::string(kVersionRecord) + kStepRecord);
  CHECK(file.bytes() == kVersionBytes + kStepBytes);
}

TEST_CASE("events are cut where a checkpoint says, after whole records") {
  ScratchFolder scratch;
  const auto path = scratch.path() / kEventFileName;
  {
    EventFile file = opened(path, 0);
    for (int i = 0; i < 3; ++i) REQUIRE(write_step(file).is_ok());
  }
  const std::string whole = hex_of(path), version = kVersionRecord, step = kStepRecord;
  const std::uint64_t two = kVersionBytes + 2 * kStepBytes;
  {
    EventFile file = opened(path, two);
    CHECK(file.bytes() == two);
    REQUIRE(write_step(file).is_ok());
  }
  CHECK(hex_of(path) == whole);
  // A part of a record, which a killed process may leave, does not count.
  std::filesystem::resize_file(path, two + kStepBytes - 1);
  CHECK(opened(path, two + kStepBytes).bytes() == two);
  CHECK(hex_of(path) == version + step + step);
  // A damaged record does not count either, nor does anything that follows it.
  {
    std::fstream change(path, std::ios::in | std::ios::out | std::ios::binary);
    change.seekp(kVersionBytes + 20);
    change.put('x');
  }
  CHECK(opened(path, two).bytes() == kVersionBytes);
  CHECK(hex_of(path) == version);
  // The contents of a file of another kind are replaced.
  scratch.write(kEventFileName, std::string(100, '\xff'));
  CHECK(opened(path, 100).bytes() == kVersionBytes);
  CHECK(hex_of(path) == version);
  CHECK(opened(scratch.path() / "lost", two).bytes() == kVersionBytes);
}

TEST_CASE("events hold a loss that is not finite, and say why they cannot be written") {
  ScratchFolder scratch;
  const auto path = scratch.path() / kEventFileName;
  EventFile file = opened(path, 0);
  const EventValue values[] = {{"a", std::numeric_limits<double>::quiet_NaN()}};
  REQUIRE(file.write(1, values, 0.0).is_ok());
  CHECK(hex_of(path).find("0a0161150000c07f") != std::string::npos);
  const auto refused = EventFile::open(scratch.path(), 0);
  REQUIRE_FALSE(refused.is_ok());
  CHECK_THAT(refused.message(), Catch::Matchers::Contains(scratch.path().string()));
}

TEST_CASE("the last steps of an event file are read from its whole records") {
  ScratchFolder scratch;
  const auto path = scratch.path() / kEventFileName;
  const auto last = [&] {
    const auto found = EventFile::last_steps(path);
    REQUIRE(found.is_ok());
    return std::pair(found->training, found->validation);
  };
  CHECK(last() == std::pair<std::uint64_t, std::uint64_t>(0, 0));
  {
    EventFile file = opened(path, 0);
    CHECK(last() == std::pair<std::uint64_t, std::uint64_t>(0, 0));
    const EventValue loss[] = {{"validation/loss", 2.0}};
    REQUIRE(file.write(5, loss, 1700000000.25).is_ok());
    REQUIRE(write_step(file).is_ok());
    CHECK(last() == std::pair<std::uint64_t, std::uint64_t>(300, 5));
    REQUIRE(file.write(std::uint64_t{1} << 40, loss, 0.0).is_ok());
    CHECK(last() == std::pair<std::uint64_t, std::uint64_t>(300, std::uint64_t{1} << 40));
  }
  // A record that was cut off does not count.
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - 1);
  CHECK(last() == std::pair<std::uint64_t, std::uint64_t>(300, 5));
}
