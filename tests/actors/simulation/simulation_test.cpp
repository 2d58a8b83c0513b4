#include <chrono>
#include <cstdlib>
#include <iostream>

#include <catch2/catch.hpp>

#include <troupe/runtime/log.h>

#include "happened.h"
#include "schedule.h"

// The whole protocol under seeded faults, on virtual time: simulation/world.h says what is real.
//   TROUPE_SIM_SEED=N        runs one seed alone and tells what happened in it
//   TROUPE_SIM_SCHEDULES=N   how many seeds each part runs
//   TROUPE_SIM_HOSTILE=N     how many of them with hostile members

using namespace troupe;
using namespace troupe::actors::simulation;

namespace {

constexpr std::uint64_t kSchedules = 5'000;  // in each part
constexpr std::uint64_t kHostileSchedules = 50;

std::optional<std::uint64_t> number_from(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr || *text == '\0') return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

// In memory if possible: the schedules write small files.
struct Folder {
  Folder() {
    std::error_code none;
    const bool shm = std::filesystem::is_directory("/dev/shm", none);
    std::string name =
        (shm ? std::filesystem::path("/dev/shm") : std::filesystem::temp_directory_path()) /
        "troupe-simulation-XXXXXX";
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    path = name;
  }
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
  std::filesystem::path path;
};

void tell_everything() {
  set_log_sink([](LogLevel, std::string_view line) { std::cerr << "    | " << line << "\n"; },
               LogLevel::kInfo);
}

void print(const Happened& h) {
  std::cout << "requests " << h.requests << " complete " << h.complete << " errors " << h.errors
            << " orphans " << h.orphans << " tokens " << h.tokens << "\nkills " << h.kills
            << " restarts " << h.restarts << " head kills " << h.head_kills << " client kills "
            << h.client_kills << " freezes " << h.freezes << " cuts " << h.cuts << " one-way cuts "
            << h.one_way_cuts << " breaks " << h.breaks << " leaves " << h.leaves << " joins "
            << h.joins << " revocations " << h.revocations << " deaf starts " << h.deaf
            << " stale keys " << h.stale_keys << "\nreplacements " << h.replacements << " replays "
            << h.replays << " quarantined " << h.quarantined << " credits met " << h.credits_met
            << " forged " << h.forged << " positions shared " << h.shared << " preempted "
            << h.preempted << " drafted " << h.drafted << " accepted " << h.accepted
            << " stale frames " << h.stale_frames << " weights fetched " << h.fetched << "\nframes "
            << h.network.frames << " lost " << h.network.lost << " held " << h.network.held
            << " duplicated " << h.network.duplicated << " replayed " << h.network.replayed
            << " reordered " << h.network.reordered << " damaged " << h.network.damaged
            << " broken " << h.network.broken << " timed out " << h.network.timed_out << " refused "
            << h.network.refused << " walled " << h.network.walled << "\nrejected: checksum "
            << h.rejected_checksum << " sequence " << h.rejected_sequence << " revoked "
            << h.rejected_revoked << "\nattacks " << h.attacks << " floods " << h.floods
            << " hostile frames " << h.hostile_frames << "; dropped: strange " << h.strange_frames
            << " foreign orders " << h.foreign_orders << " wrong roles " << h.wrong_role_frames
            << " hasty " << h.hasty_frames << "\n";
}

// Runs every `step`-th seed from `first`.
void run_part(std::uint64_t first, std::uint64_t step) {
  Folder folder;
  Common common(folder.path);
  Happened happened;
  if (const auto seed = number_from("TROUPE_SIM_SEED")) {
    if (*seed % step != first % step) return;
    tell_everything();
    Schedule schedule(common, *seed, happened);
    const std::string wrong = schedule.run();
    set_log_sink({});
    std::cerr << schedule.story();
    print(happened);
    INFO("seed " << *seed);
    CHECK(wrong == "");
    return;
  }
  const std::uint64_t schedules = number_from("TROUPE_SIM_SCHEDULES").value_or(kSchedules);
  for (std::uint64_t i = 0; i < schedules; ++i) {
    const std::uint64_t seed = first + i * step;
    Schedule schedule(common, seed, happened);
    const std::string wrong = schedule.run();
    INFO("seed " << seed << ": run it alone with TROUPE_SIM_SEED=" << seed << "\n"
                 << schedule.story());
    REQUIRE(wrong == "");
  }
  print(happened);
  if (schedules < 1'000) return;
  // The faults happened, and were met.
  for (const std::uint64_t count : {happened.kills,
                                    happened.restarts,
                                    happened.head_kills,
                                    happened.client_kills,
                                    happened.freezes,
                                    happened.cuts,
                                    happened.one_way_cuts,
                                    happened.breaks,
                                    happened.leaves,
                                    happened.joins,
                                    happened.revocations,
                                    happened.deaf,
                                    happened.stale_keys,
                                    happened.replacements,
                                    happened.replays,
                                    happened.shared,
                                    happened.preempted,
                                    happened.drafted,
                                    happened.accepted,
                                    happened.forged,
                                    happened.stale_frames,
                                    happened.credits_met,
                                    happened.fetched,
                                    happened.network.lost,
                                    happened.network.held,
                                    happened.network.duplicated,
                                    happened.network.replayed,
                                    happened.network.reordered,
                                    happened.network.damaged,
                                    happened.network.broken,
                                    happened.network.timed_out,
                                    happened.network.walled,
                                    happened.rejected_checksum,
                                    happened.rejected_sequence}) {
    CHECK(count > 0);
  }
  CHECK(happened.complete > happened.requests / 2);
}

}  // namespace

TEST_CASE("simulation: 10000 seeded schedules of faults (odd seeds)", "[simulation]") {
  run_part(1, 2);
}

TEST_CASE("simulation: 10000 seeded schedules of faults (even seeds)", "[simulation]") {
  run_part(2, 2);
}

// Runs schedules in which members that were let in, but are on no path, mean harm, beside all the
// faults above.
TEST_CASE("simulation: hostile members outside the path change no answer and keep nobody waiting",
          "[simulation]") {
  Folder folder;
  Common common(folder.path);
  Happened happened;
  const auto one = number_from("TROUPE_SIM_SEED");
  const std::uint64_t count =
      one ? 1 : number_from("TROUPE_SIM_HOSTILE").value_or(kHostileSchedules);
  for (std::uint64_t i = 1; i <= count; ++i) {
    const std::uint64_t seed = one.value_or(i);
    if (one) tell_everything();
    Schedule schedule(common, seed, happened, true);
    const std::string wrong = schedule.run();
    set_log_sink({});
    INFO("seed " << seed << ": run it alone with TROUPE_SIM_SEED=" << seed << "\n"
                 << schedule.story());
    REQUIRE(wrong == "");
  }
  print(happened);
  if (one) return;
  for (const std::uint64_t met : {happened.attacks, happened.hostile_frames,
                                  happened.strange_frames, happened.wrong_role_frames}) {
    CHECK(met > count);
  }
  CHECK(happened.complete > happened.requests / 2);
  if (count < 1'000) return;
  CHECK(happened.floods > 0);
  CHECK(happened.hasty_frames > happened.floods);
  CHECK(happened.foreign_orders == 0);  // no link takes anybody but the head for its head
}

// A rolling upgrade that went half-way: a member comes back as a release of another arithmetic.
TEST_CASE("simulation: a node of another arithmetic version is refused, others do its work",
          "[simulation]") {
  Folder folder;
  Common common(folder.path);
  for (std::uint64_t seed = 1; seed <= 5; ++seed) {
    INFO("seed " << seed);
    World world(common, {.seed = seed}, 2'000, false);
    std::size_t orders = 0;  // orders of layers to the third node
    world.network.on_admitted = [&](net::SimHost, net::SimHost to, const net::InFrame& frame) {
      orders += to == 3 && frame.header.type ==
                               static_cast<std::uint16_t>(troupe::actors::MessageType::kLoadStage);
    };
    world.start_head(false);
    for (const net::SimHost host : {1, 2, 3}) world.start_node(host);
    world.run_until(world.now_us() + 2'000'000);
    world.start_client(20);
    const auto ask_one = [&] {
      auto stream = std::make_shared<Stream>();
      stream->client = 20;
      stream->prompt = {1, 2, 3};
      stream->max_tokens = 40;
      stream->sampling.temperature = 0;
      stream->right = right_answer(stream->prompt, stream->max_tokens, stream->sampling);
      ask(world, world.at(20), stream);
      return stream;
    };
    const auto first = ask_one();
    world.run_until(world.now_us() + 150'000);
    REQUIRE(world.kill(3));
    orders = 0;
    world.start_node(3, 0, kArithmeticVersion + 1);
    world.run_until(world.now_us() + 20'000'000);
    CHECK(world.at(3).stopped);
    CHECK(world.at(3).why.find("arithmetic version " + std::to_string(kArithmeticVersion + 1)) !=
          std::string::npos);
    CHECK(first->wrong == "");
    CHECK(first->complete);
    const auto second = ask_one();
    world.run_until(world.now_us() + 20'000'000, [&] { return second->over; });
    CHECK(second->wrong == "");
    CHECK(second->complete);
    CHECK(orders == 0);
    // The third node is upgraded as well, and takes part again.
    REQUIRE(world.kill(3));
    world.start_node(3);
    world.run_until(world.now_us() + 3'000'000);
    CHECK_FALSE(world.at(3).stopped);
  }
}
