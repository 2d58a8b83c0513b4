#include <troupe/actors/http/endpoints.h>
#include <troupe/actors/http/metrics.h>
#include <troupe/actors/http/service.h>

namespace troupe::http {
namespace {

std::string model_label(const Service& service, const DeploymentStatus& deployment) {
  std::string name = deployment.model;
  for (const ServedModelPtr& model : service.models.all()) {
    if (model->model_id == deployment.model_id) name = model->id;
  }
  std::string labels;
  add_label("model", name, &labels);
  add_label("deployment", std::to_string(deployment.id), &labels);
  return labels;
}

void write_cluster(const Service& service, std::string* out) {
  const ClusterStatus status = service.watch->status();
  const auto family = [&](const char* type, const char* name, const char* help, auto member) {
    write_family(name, type, help, out);
    for (const DeploymentStatus& one : status.deployments) {
      write_sample(name, model_label(service, one), static_cast<double>(one.*member), out);
    }
  };
  family("gauge", "troupe_requests_running", "Answers whose steps are being computed",
         &DeploymentStatus::running);
  family("gauge", "troupe_requests_waiting", "Answers whose first step has not begun",
         &DeploymentStatus::queued);
  family("gauge", "troupe_kv_blocks_in_use", "Blocks of 64 positions that answers have",
         &DeploymentStatus::blocks_in_use);
  family("gauge", "troupe_kv_blocks_idle", "Blocks that are kept for later prompts",
         &DeploymentStatus::blocks_idle);
  family("gauge", "troupe_kv_blocks_max",
         "Blocks that there is memory for, or 0 if that is not known",
         &DeploymentStatus::blocks_max);
  family("counter", "troupe_prefix_queried_tokens_total",
         "Tokens that were looked up among the blocks", &DeploymentStatus::prefix_queried);
  family("counter", "troupe_prefix_found_tokens_total", "Tokens that were found among the blocks",
         &DeploymentStatus::prefix_found);
  family("counter", "troupe_preemptions_total",
         "Answers that gave way to older ones while memory was short",
         &DeploymentStatus::preemptions);
  family("counter", "troupe_drafted_tokens_total",
         "Tokens that were drafted before they were computed", &DeploymentStatus::drafted);
  family("counter", "troupe_accepted_tokens_total", "Drafted tokens that came true",
         &DeploymentStatus::accepted);
  const auto key_family = [&](const char* type, const char* name, const char* help, auto member) {
    write_family(name, type, help, out);
    for (const DeploymentStatus& one : status.deployments) {
      for (const AskerStatus& asker : one.askers) {
        std::string labels = model_label(service, one);
        add_label("key", asker.asker, &labels);
        write_sample(name, labels, static_cast<double>(asker.*member), out);
      }
    }
  };
  key_family("gauge", "troupe_key_kv_blocks_in_use", "Blocks that the answers of a key have",
             &AskerStatus::blocks_in_use);
  key_family("gauge", "troupe_key_kv_blocks_idle",
             "Blocks that are kept for later prompts of a key alone", &AskerStatus::blocks_idle);
  key_family("counter", "troupe_key_prefix_queried_tokens_total",
             "Tokens of a key that were looked up among the blocks", &AskerStatus::prefix_queried);
  key_family("counter", "troupe_key_prefix_found_tokens_total",
             "Tokens of a key that were found among the blocks", &AskerStatus::prefix_found);
  key_family("counter", "troupe_key_preemptions_total",
             "Answers of a key that gave way while memory was short", &AskerStatus::preemptions);
  key_family("counter", "troupe_key_drafted_tokens_total",
             "Tokens of a key's answers that were drafted", &AskerStatus::drafted);
  key_family("counter", "troupe_key_accepted_tokens_total",
             "Drafted tokens of a key's answers that came true", &AskerStatus::accepted);
  write_family("troupe_kv_bytes", "gauge", "Bytes of memory that keys and values take", out);
  for (const NodeStatus& node : status.nodes) {
    std::string labels;
    add_label("node", node.name, &labels);
    write_sample("troupe_kv_bytes", labels, static_cast<double>(node.kv_bytes), out);
  }
}

}  // namespace

void get_metrics(Service& service, const ExchangePtr& exchange) {
  Response response;
  response.content_type = "text/plain; version=0.0.4; charset=utf-8";
  service.metrics.write(&response.body);
  write_cluster(service, &response.body);
  exchange->responder->respond(std::move(response));
}

}  // namespace troupe::http
