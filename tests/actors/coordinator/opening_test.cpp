#include <catch2/catch.hpp>

#include <troupe/actors/cluster_state/replicas.h>
#include <troupe/actors/coordinator/opening.h>
#include <troupe/actors/coordinator/replicas.h>
#include <troupe/model/store/model_id.h>
#include <troupe/tests/actors/cluster_state/cluster.h>
#include <troupe/tests/actors/temporary_home.h>

// The decisions of the head about deployments that it has, without actors: which one serves a
// request to open a model, and which ones make room.

using namespace troupe;
using namespace troupe::actors;
using namespace troupe::actors::coordinator;
using namespace troupe::actors::test;

namespace {

// Three nodes, each with room for one model of ten layers; the model has its eldest deployment.
struct Head : HeadState {
  Head() {
    cluster = ClusterState(100);
    for (std::uint8_t i = 1; i <= 3; ++i) {
      const std::string name(1, static_cast<char>('a' + i - 1));
      REQUIRE(cluster.join(key(i), hello_with(name.c_str(), 12), true, i, 0));
    }
    eldest = *place_model(cluster, spec(10, {{0, 10}}, layers_of_a_mib(10)));
  }

  Deployment& deployment(std::uint64_t id) { return cluster.deployments.at(id); }
  // Makes a deployment serve: it has loaded, and its engine was used at `used_us`.
  RunningEngine& serve(std::uint64_t id, std::int64_t used_us = 0) {
    deployment(id).life = DeploymentLife::kReady;
    RunningEngine& engine = runs[id].engine.emplace();
    engine.counters = std::make_shared<EngineCounters>();
    engine.epoch = deployment(id).epoch;
    engine.used_us = used_us;
    return engine;
  }

  std::uint64_t eldest = 0;
};

Opening opening_of(std::vector<model::LayerRange> ranges = {}) {
  Opening opening;
  opening.open.model = "m";
  opening.ranges = std::move(ranges);
  return opening;
}

}  // namespace

TEST_CASE("opening: a manifest counts if it proves the id of the model that is asked for") {
  const auto hash = [](char c) { return std::string(64, c); };
  model::Manifest right;
  right.name = "right";
  right.file_bytes = 100;
  right.header = {hash('a'), 10};
  right.tensors = {{"a", 10, {hash('b'), 40}}, {"b", 50, {hash('c'), 50}}};
  right.model = *model::model_id(right);
  HeadState head;
  OpenModel taken;
  const auto bring = [&](const model::Manifest& manifest, const std::string& model) {
    taken = OpenModel{};
    taken.model = model;
    taken.has_manifest = true;
    taken.manifest = manifest;
    return name_model(head, &taken).code();
  };
  CHECK(bring(right, right.model) == Code::kOk);
  CHECK(bring(right, hash('d')) == Code::kInvalidArgument);
  std::vector<model::Manifest> tampered(7, right);
  tampered[0].header.sha256 = hash('e');  // a template
  tampered[1].header.bytes = 9;
  tampered[2].tensors[1].blob.sha256 = hash('f');  // weights
  tampered[3].tensors[1].blob.bytes = 49;
  tampered[4].tensors[1].offset = 51;
  tampered[5].tensors[1].name = "c";
  tampered[6].tensors.pop_back();
  for (const model::Manifest& manifest : tampered) {
    CHECK(bring(manifest, right.model) == Code::kBadData);
  }
  // What the id does not prove does not count: neither a size nor a name keeps others out.
  model::Manifest claims = right;
  claims.file_bytes = 7;
  claims.name = "another name for people";
  CHECK(bring(claims, right.model) == Code::kOk);
  CHECK(taken.manifest.file_bytes == 100);
  // A header of a size that no model has is not fetched.
  model::Manifest endless = right;
  endless.tensors.clear();
  endless.header.bytes = std::uint64_t{1} << 40;
  endless.model = *model::model_id(endless);
  CHECK(bring(endless, endless.model) == Code::kInvalidArgument);
}

TEST_CASE("opening: a file's hash is looked up in the head's own store, an id everywhere") {
  TemporaryHome home;
  auto setup = std::make_shared<CoordinatorSetup>();
  setup->store = *model::Store::open(home.path);
  HeadState head;
  head.setup = setup;
  const auto name = [&](const std::string& model) -> Result<std::string> {
    OpenModel open;
    open.model = model;
    TROUPE_RETURN_IF_ERROR(name_model(head, &open));
    return open.model;
  };
  const std::string unknown(64, 'a');
  CHECK(name("sha256:" + unknown).code() == Code::kNotFound);
  CHECK(*name("model:" + unknown) == unknown);  // no manifest is known: that is refused later
  CHECK(*name(unknown) == unknown);
  const auto tiny = std::filesystem::path(TROUPE_TEST_DATA) / "golden" / "tiny" / "llama";
  const auto folder = home.path / "store" / "partial" / "tiny";
  const std::vector<std::string> files = {"config.json", "model.safetensors"};
  std::filesystem::create_directory(folder);
  for (const std::string& file : files) std::filesystem::copy_file(tiny / file, folder / file);
  const auto entry = setup->store->import_files(folder, files, "t", std::nullopt);
  INFO(entry.message());
  REQUIRE(entry);
  const std::string id = setup->store->manifest(entry->path)->model;
  CHECK(*name("sha256:" + entry->sha256) == id);
  CHECK(*name("model:" + id) == id);
  CHECK(*name(id) == id);
  CHECK(*name(entry->sha256) == id);  // as jobs of earlier releases have it
  // What a client says about a file's hash does not make the hash a name of the model.
  CHECK(name("sha256:" + id).code() == Code::kNotFound);
}

TEST_CASE("opening: a deployment serves once its engine knows where its layers lie") {
  Head head;
  Deployment& deployment = head.deployment(head.eldest);
  CHECK(serving_for(head, opening_of(), deployment, 0) == nullptr);
  RunningEngine& engine = head.serve(head.eldest);
  CHECK(serving_for(head, opening_of(), deployment, 0) == &deployment);
  // The deployment has moved, and the engine was not told yet.
  REQUIRE(head.cluster.members.leave(key(1), NodeLife::kDead));
  head.cluster.deployments.move(deployment, deployment.stages, false);
  CHECK(serving_for(head, opening_of(), deployment, 0) == nullptr);
  deployment.life = DeploymentLife::kReady;
  CHECK(serving_for(head, opening_of(), deployment, 0) == nullptr);
  engine.epoch = deployment.epoch;
  CHECK(serving_for(head, opening_of(), deployment, 0) == &deployment);
}

TEST_CASE("opening: the replica with the least to do serves, unless one is wanted alone") {
  Head head;
  RunningEngine& first = head.serve(head.eldest);
  const std::uint64_t id = *place_replica(head.cluster, head.eldest);
  Deployment& eldest = head.deployment(head.eldest);
  Deployment& replica = head.deployment(id);
  first.counters->running = 2;
  CHECK(serving_for(head, opening_of(), eldest, 0) == &eldest);  // the replica is loading
  RunningEngine& second = head.serve(id);
  CHECK(serving_for(head, opening_of(), eldest, 0) == &replica);
  // Opens whose requests are still expected count, too, for a while.
  for (int i = 0; i < 3; ++i) second.opened(1'000'000);
  CHECK(second.load(1'000'000) == 3);
  CHECK(serving_for(head, opening_of(), eldest, 1'000'000) == &eldest);
  CHECK(serving_for(head, opening_of(), eldest, 1'000'000 + kOpenGraceUs) == &replica);
  // A replica that shares its nodes takes no more requests.
  replica.doubled = true;
  CHECK(least_busy(head, eldest, 1'000'000 + kOpenGraceUs) == &eldest);
  replica.doubled = false;

  Opening alone = opening_of();
  alone.open.alone = true;
  CHECK(serving_for(head, alone, eldest, 1'000'000 + kOpenGraceUs) == &eldest);
  CHECK_FALSE(wants_alone(opening_of({{0, 10}}), eldest));  // the split with which it was asked for
  CHECK(wants_alone(opening_of({{0, 5}, {5, 10}}), eldest));
}

TEST_CASE("opening: deployments that nobody uses make room, the longest unused one first") {
  Head head;
  CHECK(head.unused(0).empty());  // the deployment has no engine yet
  const std::uint64_t other = *place_replica(head.cluster, head.eldest);
  head.deployment(other).manifest.model = "n";
  RunningEngine& first = head.serve(head.eldest, 1'000);
  RunningEngine& second = head.serve(other, 2'000);
  CHECK(head.unused(3'000) == std::set<std::uint64_t>{head.eldest, other});
  CHECK(head.longest_unused({}, 3'000) == head.eldest);
  CHECK(head.longest_unused({head.eldest}, 3'000) == other);
  CHECK(other_splits(head, "m", 3'000) == std::set<std::uint64_t>{head.eldest});
  // After a model was opened, the request is expected for a while. Then the engine works until it
  // reports idle.
  first.opened(4'000);
  CHECK(head.in_use(head.eldest, 4'000 + kOpenGraceUs - 1));
  CHECK_FALSE(head.in_use(head.eldest, 4'000 + kOpenGraceUs));
  first.asked(5'000);
  CHECK(head.in_use(head.eldest, 5'000 + kOpenGraceUs));
  CHECK_FALSE(head.is_idle(head.eldest));
  CHECK(head.longest_unused({}, 6'000) == other);
  CHECK(other_splits(head, "m", 6'000).empty());
  first.idle_after = 1;
  CHECK_FALSE(head.in_use(head.eldest, 6'000));
  // A request to open a model waits for the other deployment.
  REQUIRE(add_waiting(head.runs[other], {Reply()}).is_ok());
  CHECK(head.in_use(other, 6'000));
  CHECK(head.unused(6'000) == std::set<std::uint64_t>{head.eldest});
  // This is the time for which --keep-alive keeps the model loaded.
  CHECK(second.left_us(std::nullopt, 2'000) == std::nullopt);
  CHECK(second.left_us(10'000, 5'000) == std::int64_t{7'000});
  CHECK(second.left_us(10'000, 50'000) == std::int64_t{0});
  second.opened(50'000);
  CHECK(second.left_us(10'000, 50'000) == kOpenGraceUs);
}

TEST_CASE("opening: only so many opens wait for one deployment") {
  DeploymentRun run;
  REQUIRE(add_waiting(run, std::vector<Reply>(1'000)).is_ok());
  REQUIRE(add_waiting(run, std::vector<Reply>(24)).is_ok());
  CHECK(add_waiting(run, {Reply()}).code() == Code::kResourceExhausted);
  CHECK(run.waiting.size() == 1'024);
}
