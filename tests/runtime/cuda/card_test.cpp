#include <string>
#include <thread>
#include <vector>

#include <catch2/catch.hpp>

#include <troupe/runtime/device/device.h>
#include <troupe/tests/runtime/cuda/emulated_card.h>

using namespace troupe;

TEST_CASE("cuda: uploads of any size arrive whole, from several threads at once") {
  const auto card = test::make_emulated_card();
  // Use sizes around the pieces of the ring of pinned memory.
  const std::size_t piece = std::size_t{4} << 20;
  std::vector<std::size_t> sizes{0, 1, 4097, piece - 1, piece, piece + 1, 3 * piece + 5};
  std::vector<std::vector<std::byte>> sent, came(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    sent.emplace_back(sizes[i]);
    for (std::size_t at = 0; at < sizes[i]; ++at)
      sent[i][at] = static_cast<std::byte>(at * 7 + at / 4096 + i);
  }
  std::vector<Status> outcomes(sizes.size());
  std::vector<std::thread> threads;
  for (std::size_t i = 0; i < sizes.size(); ++i)
    threads.emplace_back([&, i] {
      outcomes[i] = [&]() -> Status {
        TROUPE_ASSIGN_OR_RETURN(AlignedBuffer memory, card->allocate(sizes[i]));
        TROUPE_CHECK(!memory.on_host() && memory.bytes() == sizes[i], "what was allocated");
        TROUPE_RETURN_IF_ERROR(card->upload(sent[i].data(), sizes[i], memory.data()));
        came[i].resize(sizes[i]);
        return card->download(memory.data(), sizes[i], came[i].data());
      }();
    });
  for (std::thread& thread : threads) thread.join();
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    INFO(sizes[i] << " bytes: " << outcomes[i].message());
    CHECK(outcomes[i].is_ok());
    CHECK((came[i] == sent[i]));
  }
}

TEST_CASE("cuda: memory of a card is freed with its last handle, even after the accelerator") {
  const std::size_t before = test::used_card_memory();
  AlignedBuffer kept;
  {
    const auto card = test::make_emulated_card();
    auto memory = card->allocate(1000);
    REQUIRE(memory);
    kept = memory->share();
    CHECK(test::used_card_memory() == before + 1000);
  }
  CHECK(test::used_card_memory() == before + 1000);
  kept = AlignedBuffer();
  CHECK(test::used_card_memory() == before);
}

TEST_CASE("cuda: an allocation that fails does not fail the calls after it") {
  const auto card = test::make_emulated_card();
  auto memory = card->allocate(64);
  REQUIRE(memory);
  const std::size_t had = test::set_card_memory(test::used_card_memory());
  const Status full = card->allocate(1).status();
  CHECK(full.code() == Code::kResourceExhausted);
  CHECK(full.message().find("cuda:0") != std::string::npos);
  const std::byte one{1};
  CHECK(card->upload(&one, 1, memory->data()).is_ok());
  CHECK(card->health().is_ok());
  test::set_card_memory(had);
}

TEST_CASE("cuda: weights without kernels are refused by the format's name") {
  const auto card = test::make_emulated_card();
  for (const quant::Format& format : quant::formats()) {
    DeviceEnds ends;
    ends.output = {nullptr, format.type, 16, 256, 0};
    CHECK(card->program({.heads = 1, .head_dim = 32}, {}, ends).is_ok());
  }
  for (const quant::Format& format :
       quant::file_formats()) {  // file formats are packed like others
    DeviceEnds ends;
    ends.embedding = {nullptr, format.type, 16, 256, 0};
    const auto refused = card->program({.heads = 1, .head_dim = 32}, {}, ends);
    CHECK(refused.code() == Code::kFailedPrecondition);
    CHECK(refused.message().find(format.name) != std::string::npos);
  }
}
