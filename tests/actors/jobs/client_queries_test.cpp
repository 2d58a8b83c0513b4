#include <catch2/catch.hpp>

#include <troupe/actors/jobs/jobs_actor.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/runtime/numerics/arithmetic_version.h>
#include <troupe/runtime/wire/codec.h>

using namespace troupe;
using namespace troupe::actors;

TEST_CASE("job queries: a deep specification is refused, and does no harm in a journal") {
  const std::string deep = std::string(900'000, '[') + std::string(900'000, ']');
  auto made = Journal::in_memory();
  REQUIRE(made);
  const std::shared_ptr<Journal> journal = std::move(*made);
  // An earlier release accepted it.
  REQUIRE(journal->receive({"old", "", "upper", deep, 1, 0, {"x"}}, 1).is_ok());
  caf::actor_system_config config;
  caf::actor_system system(config);
  const jobs_actor jobs = spawn_jobs(system, {journal, Link::loopback()});
  {
    caf::scoped_actor self(system);
    const auto ask = [&](JobAskKind kind, const std::string& id, const std::string& spec = "") {
      JobAsk message;
      message.kind = static_cast<std::uint8_t>(kind);
      message.id = id;
      message.job_kind = "upper";
      message.spec = spec;
      message.shards = 1;
      message.inputs = {"x"};
      JobReplyPtr reply;
      self->request(jobs, std::chrono::seconds(20), job_atom::value,
                    std::make_shared<const JobAsk>(message))
          .receive([&](const JobReplyPtr& answer) { reply = answer; }, [](const caf::error&) {});
      REQUIRE(reply);
      return reply->outcome;
    };
    CHECK(ask(JobAskKind::kList, "").text.find("\"old\"") != std::string::npos);
    CHECK(ask(JobAskKind::kShow, "old").text.find("[[[[") != std::string::npos);
    const Status refused = ask(JobAskKind::kSubmit, "new", deep).status();
    CHECK(refused.code() == Code::kInvalidArgument);
    CHECK(refused.message().find("nested more than 32 deep") != std::string::npos);
    CHECK(ask(JobAskKind::kSubmit, "new", "{\"a\":[1]}").is_ok());
    CHECK(ask(JobAskKind::kShow, "new").text.find("\"spec\":{\"a\":[1]}") != std::string::npos);
  }
  caf::anon_send_exit(jobs, caf::exit_reason::user_shutdown);
}

TEST_CASE("job queries: an open answer says which arithmetic version computed it, if not ours") {
  auto made = Journal::in_memory();
  REQUIRE(made);
  const std::shared_ptr<Journal> journal = std::move(*made);
  const auto encoded = [](const auto& message) {
    const auto bytes = wire::encode(message);
    return std::string(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  };
  Submit submit;
  submit.prompt = "once";
  submit.answer_ids = {1};
  const std::string open = encoded(OpenModel{}), asked = encoded(submit);
  REQUIRE(journal->save_stream({"own", "", open, asked, {1, 2, 3}}, 1));
  REQUIRE(journal->save_stream({"other", "", open, asked, {1, 2, 3}, kArithmeticVersion - 1}, 1));
  caf::actor_system_config config;
  caf::actor_system system(config);
  const jobs_actor jobs = spawn_jobs(system, {journal, Link::loopback()});
  {
    caf::scoped_actor self(system);
    const auto ask = [&](const std::string& id) {
      JobAsk message;
      message.kind = static_cast<std::uint8_t>(JobAskKind::kStream);
      message.id = id;
      JobReplyPtr reply;
      self->request(jobs, std::chrono::seconds(20), job_atom::value,
                    std::make_shared<const JobAsk>(message))
          .receive([&](const JobReplyPtr& answer) { reply = answer; }, [](const caf::error&) {});
      REQUIRE(reply);
      REQUIRE(reply->outcome.is_ok());
      auto stream = wire::decode<OpenStream>(std::as_bytes(std::span<const char>(reply->data)));
      REQUIRE(stream);
      return *stream;
    };
    CHECK(ask("own").submit.arithmetic == 0);
    CHECK(ask("own").submit.answer_ids == std::vector<model::TokenId>{1});
    // Only the answer so far is known: the engine repeats it, and ends it.
    CHECK(ask("other").submit.arithmetic == kArithmeticVersion - 1);
    CHECK(ask("other").submit.answer_ids == std::vector<model::TokenId>{1, 2, 3});
  }
  caf::anon_send_exit(jobs, caf::exit_reason::user_shutdown);
}
