#include <catch2/catch.hpp>

#include <troupe/actors/jobs/jobs_actor.h>

using namespace troupe;
using namespace troupe::actors;

TEST_CASE("job queries: a deep specification is refused, and does no harm in a journal") {
  const std::string deep = std::string(400'000, '[') + std::string(400'000, ']');
  auto made = Journal::in_memory();
  REQUIRE(made);
  const std::shared_ptr<Journal> journal = std::move(*made);
  // An earlier release took it in.
  REQUIRE(journal->receive({"old", "upper", deep, 1, 0, {"x"}}, 1).is_ok());
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
