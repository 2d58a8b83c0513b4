#include <troupe/actors/coordinator/deployment_spec.h>
#include <troupe/actors/coordinator/measuring.h>
#include <troupe/actors/coordinator/opening.h>
#include <troupe/actors/coordinator/plan_model.h>
#include <troupe/actors/coordinator/plan_text.h>

namespace troupe::actors::coordinator {
namespace {

constexpr std::int64_t kPlanPatienceUs = 20'000'000;

Managed managed(std::uint64_t request, const Result<std::string>& text) {
  return {request, Outcome(text)};
}

}  // namespace

void plan_model(HeadState& head, const PlanModel& asked, const net::PublicKey& from,
                std::function<void(const Managed&)> reply) {
  const auto header_here = [&head, asked, reply](const Status& status, const Opening& opening) {
    if (!status) return reply(managed(asked.request, status));
    const auto config = config_of(head, opening);
    if (!config) return reply(managed(asked.request, config.status()));
    const auto answer = [&head, asked, reply, opening] {
      reply(managed(asked.request, plan_text(head, opening, asked.context, asked.nodes)));
    };
    if (!measure_first(head, opening.open, *config, kPlanPatienceUs, true, answer)) answer();
  };
  open_model(head, asked.open, from, {}, header_here);
}

}  // namespace troupe::actors::coordinator
