#include <catch2/catch.hpp>

#include <troupe/actors/facade/proved_models.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/model/store/model_id.h>
#include <troupe/runtime/wire/codec.h>
#include <troupe/tests/actors/temporary_home.h>

// A journal of releases that knew models by the hashes of their files.

using namespace troupe;
using namespace troupe::actors;

namespace {

template <class Message>
std::string encoded(const Message& message) {
  const auto bytes = wire::encode(message);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Returns the manifest as an earlier release had it: the hash of the file is the model.
model::Manifest as_before(model::Manifest manifest) {
  manifest.model = manifest.file_sha256;
  return manifest;
}

OpenModel open_of(const std::string& model) {
  OpenModel open;
  open.model = model;
  open.context = 7;
  return open;
}

struct Head {
  Head() {
    const auto tiny = std::filesystem::path(TROUPE_TEST_DATA) / "golden" / "tiny";
    const auto folder = home.path / "store" / "partial" / "tiny";
    const std::vector<std::string> files = {"config.json", "model.safetensors"};
    std::filesystem::create_directory(folder);
    for (const std::string& file : files) {
      std::filesystem::copy_file(tiny / "llama" / file, folder / file);
    }
    const auto entry = store->import_files(folder, files, "own", std::nullopt);
    REQUIRE(entry);
    own = *store->manifest(entry->path);
    own.name = "own";
    brought = *store->manifest(tiny / "qwen2");
  }
  void place(std::uint64_t id, const model::Manifest& manifest) {
    const PlacedModel placed{
        id, manifest.model, encoded(manifest), encoded(open_of(manifest.model)), {"node"}};
    REQUIRE(journal->save_model(placed).is_ok());
  }
  void stream(const std::string& id, const std::string& model) {
    REQUIRE(journal->save_stream({id, "me", encoded(open_of(model)), encoded(Submit{}), {1, 2}}, 1)
                .is_ok());
  }
  // Returns the model that the stream asks for.
  std::string model_of(const std::string& id) {
    const auto record = journal->stream(id);
    REQUIRE(record);
    CHECK(record->tokens.size() == 2);
    const auto open = wire::decode<OpenModel>(std::as_bytes(std::span<const char>(record->open)));
    REQUIRE(open);
    CHECK(open->context == 7);
    return open->model;
  }

  TemporaryHome home;
  std::shared_ptr<model::Store> store = *model::Store::open(home.path);
  std::unique_ptr<Journal> journal = std::move(*Journal::in_memory());
  model::Manifest own, brought;
};

}  // namespace

TEST_CASE("proved models: what the head's own store proves goes on under its id, twice alike") {
  Head head;
  head.place(1, as_before(head.own));
  head.stream("s", head.own.file_sha256);
  for (int start = 0; start < 2; ++start) {
    REQUIRE(prove_models("home", *head.store, *head.journal).is_ok());
    const auto models = head.journal->models();
    REQUIRE(models);
    REQUIRE(models->size() == 1);
    CHECK((*models)[0].model == head.own.model);
    CHECK((*models)[0].nodes == std::vector<std::string>{"node"});
    const auto open =
        wire::decode<OpenModel>(std::as_bytes(std::span<const char>((*models)[0].open)));
    REQUIRE(open);
    CHECK(open->model == head.own.model);
    auto manifest =
        wire::decode<model::Manifest>(std::as_bytes(std::span<const char>((*models)[0].manifest)));
    REQUIRE(manifest);
    CHECK(model::prove(&*manifest).is_ok());
    CHECK(head.journal->manifests()->size() == 1);
    CHECK(head.model_of("s") == head.own.model);
  }
}

TEST_CASE("proved models: what nothing proves is forgotten, and what is proved stays") {
  Head head;
  head.place(1, as_before(head.brought));  // only a client ever had the model's file
  head.place(2, head.own);
  model::Manifest tampered = head.brought;  // a journal that somebody wrote into
  tampered.tensors[0].blob.sha256 = std::string(64, 'a');
  head.place(3, tampered);
  head.stream("old", head.brought.file_sha256);
  head.stream("new", head.own.model);
  REQUIRE(prove_models("home", *head.store, *head.journal).is_ok());
  const auto models = head.journal->models();
  REQUIRE(models);
  REQUIRE(models->size() == 1);
  CHECK((*models)[0].id == 2);
  CHECK(head.journal->manifests()->size() == 1);
  CHECK(head.model_of("new") == head.own.model);
  // The stream ends with a sentence when it is resumed.
  CHECK(head.model_of("old") == head.brought.file_sha256);
}

TEST_CASE("proved models: a journal that does not decode is refused") {
  Head head;
  REQUIRE(head.journal->save_model({1, "m", "not a manifest", "", {}}).is_ok());
  const Status refused = prove_models("/home", *head.store, *head.journal).status();
  CHECK(refused.code() == Code::kBadData);
  CHECK(refused.message().find("/home/journal.db") != std::string::npos);
}
