#pragma once

#include <type_traits>

#include <troupe/actors/troupe/admin.h>
#include <troupe/actors/troupe/jobs.h>

// The fields of a cluster's answers by name, for programs that store or show them: JSON, tables.
// visit_fields(value, visit) calls visit(name, field) for every field, and takes const values too.
// The names are those of `troupe ... --json`. A field is a string, bool, number, one of these
// values, or an optional, a vector or a map of such.

namespace troupe {

template <class Value, class Of>
concept FieldsOf = std::is_same_v<std::remove_const_t<Value>, Of>;

template <FieldsOf<NodeStatus> Value, class Visit>
void visit_fields(Value& node, Visit&& visit) {
  visit("name", node.name);
  visit("address", node.address);
  visit("state", node.state);
  visit("trouble", node.trouble);
  visit("troubles", node.troubles);
  visit("program", node.program);
  visit("layers", node.layers);
  visit("isa", node.isa);
  visit("works", node.works);
  visit("threads", node.threads);
  visit("memory_bytes", node.memory_bytes);
  visit("weights_bytes", node.weights_bytes);
  visit("kv_bytes", node.kv_bytes);
  visit("resident_bytes_max", node.resident_bytes_max);
  visit("steps", node.steps);
  visit("positions", node.positions);
  visit("positions_out", node.positions_out);
  visit("hidden_bytes_out", node.hidden_bytes_out);
  visit("weights_fetched_bytes", node.weights_fetched_bytes);
  visit("copied_bytes", node.copied_bytes);
  visit("frames_in", node.frames_in);
  visit("frames_out", node.frames_out);
  visit("bytes_in", node.bytes_in);
  visit("bytes_out", node.bytes_out);
  visit("stale_frames", node.stale_frames);
  visit("refused_frames", node.refused_frames);
  visit("damaged_frames", node.damaged_frames);
  visit("refused_peers", node.refused_peers);
}

template <FieldsOf<StageStatus> Value, class Visit>
void visit_fields(Value& stage, Visit&& visit) {
  visit("node", stage.node);
  visit("layers", stage.layers);
  visit("disks", stage.disks);
  visit("weights_bytes", stage.weights_bytes);
}

template <FieldsOf<AskerStatus> Value, class Visit>
void visit_fields(Value& asker, Visit&& visit) {
  visit("asker", asker.asker);
  visit("blocks_in_use", asker.blocks_in_use);
  visit("blocks_idle", asker.blocks_idle);
  visit("prefix_queried", asker.prefix_queried);
  visit("prefix_found", asker.prefix_found);
  visit("preemptions", asker.preemptions);
  visit("drafted", asker.drafted);
  visit("accepted", asker.accepted);
}

template <FieldsOf<DeploymentStatus> Value, class Visit>
void visit_fields(Value& deployment, Visit&& visit) {
  visit("model", deployment.model);
  visit("model_id", deployment.model_id);
  visit("sha256", deployment.sha256);
  visit("id", deployment.id);
  visit("epoch", deployment.epoch);
  visit("state", deployment.state);
  visit("replica", deployment.replica);
  visit("kv", deployment.kv);
  visit("activations", deployment.activations);
  visit("stages", deployment.stages);
  visit("busy", deployment.busy);
  visit("running", deployment.running);
  visit("queued", deployment.queued);
  visit("requests", deployment.requests);
  visit("tokens", deployment.tokens);
  visit("credits", deployment.credits);
  visit("credits_in_use", deployment.credits_in_use);
  visit("blocks_in_use", deployment.blocks_in_use);
  visit("blocks_idle", deployment.blocks_idle);
  visit("blocks_max", deployment.blocks_max);
  visit("prefix_queried", deployment.prefix_queried);
  visit("prefix_found", deployment.prefix_found);
  visit("preemptions", deployment.preemptions);
  visit("drafted", deployment.drafted);
  visit("accepted", deployment.accepted);
  visit("askers", deployment.askers);
  visit("keep_alive_s", deployment.keep_alive_s);
  visit("unload_in_s", deployment.unload_in_s);
}

template <FieldsOf<ChannelCounters> Value, class Visit>
void visit_fields(Value& channel, Visit&& visit) {
  visit("frames_in", channel.frames_in);
  visit("frames_out", channel.frames_out);
  visit("bytes_in", channel.bytes_in);
  visit("bytes_out", channel.bytes_out);
}

template <FieldsOf<ClusterCounters> Value, class Visit>
void visit_fields(Value& counters, Visit&& visit) {
  visit("frames_in", counters.frames_in);
  visit("frames_out", counters.frames_out);
  visit("bytes_in", counters.bytes_in);
  visit("bytes_out", counters.bytes_out);
  visit("rejected_header", counters.rejected_header);
  visit("rejected_checksum", counters.rejected_checksum);
  visit("rejected_sequence", counters.rejected_sequence);
  visit("rejected_cluster", counters.rejected_cluster);
  visit("rejected_revoked", counters.rejected_revoked);
  visit("rejected_version", counters.rejected_version);
  visit("refused_keys", counters.refused_keys);
  visit("closed_unproven", counters.closed_unproven);
  visit("send_overflow", counters.send_overflow);
  visit("replacements", counters.replacements);
  visit("replays", counters.replays);
  visit("replayed_tokens", counters.replayed_tokens);
  visit("quarantined", counters.quarantined);
  visit("stale_frames", counters.stale_frames);
  visit("wrong_role_frames", counters.wrong_role_frames);
  visit("unknown_frames", counters.unknown_frames);
  visit("undecodable_frames", counters.undecodable_frames);
  visit("channels", counters.channels);
}

template <FieldsOf<ClusterStatus> Value, class Visit>
void visit_fields(Value& status, Visit&& visit) {
  visit("role", status.role);
  visit("cluster", status.cluster);
  visit("nodes", status.nodes);
  visit("deployments", status.deployments);
  visit("counters", status.counters);
}

template <FieldsOf<PlannedStage> Value, class Visit>
void visit_fields(Value& stage, Visit&& visit) {
  visit("node", stage.node);
  visit("layers", stage.layers);
  visit("memory_bytes", stage.memory_bytes);
}

template <FieldsOf<PredictedSpeed> Value, class Visit>
void visit_fields(Value& speed, Visit&& visit) {
  visit("prompt_tok_s", speed.prompt_tok_s);
  visit("decode_tok_s", speed.decode_tok_s);
  visit("streams", speed.streams);
  visit("streams_tok_s", speed.streams_tok_s);
}

template <FieldsOf<EqualSplit> Value, class Visit>
void visit_fields(Value& split, Visit&& visit) {
  visit_fields(split.speed, visit);
  visit("layers", split.layers);
}

template <FieldsOf<ReplicatedSpeed> Value, class Visit>
void visit_fields(Value& speed, Visit&& visit) {
  visit("streams", speed.streams);
  visit("streams_tok_s", speed.streams_tok_s);
}

template <FieldsOf<StageTimes> Value, class Visit>
void visit_fields(Value& times, Visit&& visit) {
  visit("layers", times.layers);
  visit("layer_row_us", times.layer_row_us);
  visit("layer_rows_us", times.layer_rows_us);
  visit("head_row_us", times.head_row_us);
  visit("head_rows_us", times.head_rows_us);
}

template <FieldsOf<NodeTimes> Value, class Visit>
void visit_fields(Value& times, Visit&& visit) {
  visit_fields(times.many, visit);
  visit("few", times.few);
  visit("rows", times.rows);
  visit("layer_prompt_row_us", times.layer_prompt_row_us);
  visit("weights_bytes_s", times.weight_bytes_per_s);
  visit("products_s", times.products_per_s);
  visit("cpu_share", times.cpu_share);
}

template <FieldsOf<PlanNode> Value, class Visit>
void visit_fields(Value& node, Visit&& visit) {
  visit("name", node.name);
  visit("isa", node.isa);
  visit("threads", node.threads);
  visit("memory_bytes", node.memory_bytes);
  visit("memory_left_bytes", node.memory_left_bytes);
  visit("cost", node.cost);
}

template <FieldsOf<PlanConnection> Value, class Visit>
void visit_fields(Value& connection, Visit&& visit) {
  visit("from", connection.from);
  visit("to", connection.to);
  visit("latency_us", connection.latency_us);
  visit("bytes_s", connection.bytes_per_s);
}

template <FieldsOf<Plan> Value, class Visit>
void visit_fields(Value& plan, Visit&& visit) {
  visit("model", plan.model);
  visit("model_id", plan.model_id);
  visit("sha256", plan.sha256);
  visit("context", plan.context);
  visit("memory_bytes", plan.memory_bytes);
  visit("stages", plan.stages);
  visit("replicas", plan.replicas);
  visit("with_replicas", plan.with_replicas);
  visit("prediction", plan.prediction);
  visit("equal_split", plan.equal_split);
  visit("whole_on", plan.whole_on);
  visit("nodes", plan.nodes);
  visit("ways", plan.connections);
  visit("left_out", plan.left_out);
}

template <FieldsOf<UnloadedModel> Value, class Visit>
void visit_fields(Value& model, Visit&& visit) {
  visit("unloaded", model.name);
  visit("model_id", model.model_id);
  visit("sha256", model.sha256);
  visit("deployments", model.deployments);
}

template <FieldsOf<DrainedNode> Value, class Visit>
void visit_fields(Value& drained, Visit&& visit) {
  visit("node", drained.node);
  visit("draining", drained.draining);
  visit("moved", drained.moved);
  visit("is_head", drained.is_head);
}

template <FieldsOf<ClusterEvent> Value, class Visit>
void visit_fields(Value& event, Visit&& visit) {
  visit("unix_ms", event.unix_ms);
  visit("event", event.event);
  visit("subject", event.subject);
  visit("text", event.text);
}

template <FieldsOf<EventList> Value, class Visit>
void visit_fields(Value& list, Visit&& visit) {
  visit("events", list.events);
}

template <FieldsOf<NewToken> Value, class Visit>
void visit_fields(Value& token, Visit&& visit) {
  visit("id", token.id);
  visit("token", token.token);
  visit("role", token.role);
  visit("uses", token.uses);
  visit("expires_unix_s", token.expires_unix_s);
}

template <FieldsOf<TokenStatus> Value, class Visit>
void visit_fields(Value& token, Visit&& visit) {
  visit("id", token.id);
  visit("role", token.role);
  visit("uses_left", token.uses_left);
  visit("expires_in_s", token.expires_in_s);
  visit("usable", token.usable);
  visit("join", token.join);
}

template <FieldsOf<MemberStatus> Value, class Visit>
void visit_fields(Value& member, Visit&& visit) {
  visit("id", member.id);
  visit("role", member.role);
  visit("name", member.name);
  visit("state", member.state);
  visit("token", member.token);
}

template <FieldsOf<KeyList> Value, class Visit>
void visit_fields(Value& keys, Visit&& visit) {
  visit("cluster", keys.cluster);
  visit("tokens", keys.tokens);
  visit("members", keys.members);
}

template <FieldsOf<RevokedKey> Value, class Visit>
void visit_fields(Value& key, Visit&& visit) {
  visit("revoked", key.id);
  visit("text", key.text);
}

template <FieldsOf<ApprovedKey> Value, class Visit>
void visit_fields(Value& key, Visit&& visit) {
  visit("approved", key.id);
  visit("text", key.text);
}

// Visits all fields except `spec`, which is JSON itself, `waits_for`, which most jobs lack, and
// `error`.
template <FieldsOf<JobStatus> Value, class Visit>
void visit_fields(Value& job, Visit&& visit) {
  visit("id", job.id);
  visit("kind", job.kind);
  visit("number", job.number);
  visit("state", job.state);
  visit("shards", job.shards);
  visit("received", job.received);
  visit("running", job.running);
  visit("finished", job.finished);
  visit("submitted_unix_ms", job.submitted_unix_ms);
  visit("ended_unix_ms", job.ended_unix_ms);
}

template <FieldsOf<JobLine> Value, class Visit>
void visit_fields(Value& line, Visit&& visit) {
  visit("sequence", line.sequence);
  visit("unix_ms", line.unix_ms);
  visit("text", line.text);
}

template <FieldsOf<JobLog> Value, class Visit>
void visit_fields(Value& log, Visit&& visit) {
  visit("lines", log.lines);
  visit("over", log.over);
}

}  // namespace troupe
