#include <algorithm>
#include <cstring>

#include <troupe/actors/journal/database.h>
#include <troupe/actors/journal/journal.h>
#include <troupe/actors/messages/requests.h>
#include <troupe/runtime/wire/codec.h>

// The models that a head had placed, and the streams that were open when it ended.

namespace troupe::actors {
namespace {

std::string bytes_of(const std::vector<std::int32_t>& tokens) {
  std::string bytes(tokens.size() * sizeof(std::int32_t), '\0');
  if (!tokens.empty()) std::memcpy(bytes.data(), tokens.data(), bytes.size());
  return bytes;
}

std::vector<std::int32_t> tokens_of(const std::string& bytes) {
  std::vector<std::int32_t> tokens(bytes.size() / sizeof(std::int32_t));
  if (!tokens.empty()) {
    std::memcpy(tokens.data(), bytes.data(), tokens.size() * sizeof(std::int32_t));
  }
  return tokens;
}

template <class Message>
std::string encoded(const Message& message) {
  const auto bytes = wire::encode(message);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Returns an encoded OpenModel that names another model.
Result<std::string> renamed(const std::string& open, const std::string& model) {
  TROUPE_ASSIGN_OR_RETURN(OpenModel message,
                          wire::decode<OpenModel>(std::as_bytes(std::span<const char>(open))));
  message.model = model;
  return encoded(message);
}

}  // namespace

Status Journal::save_model(const PlacedModel& placed) {
  std::lock_guard lock(mutex_);
  return db_->transact("save_model", [&] {
    TROUPE_RETURN_IF_ERROR(
        Query(*db_, "INSERT OR IGNORE INTO manifests(model, manifest) VALUES(?, ?)")
            .text(placed.model)
            .bytes(placed.manifest)
            .run());
    TROUPE_RETURN_IF_ERROR(Query(*db_, "DELETE FROM models WHERE id = ?").number(placed.id).run());
    TROUPE_RETURN_IF_ERROR(Query(*db_, "INSERT INTO models(id, model, open) VALUES(?, ?, ?)")
                               .number(placed.id)
                               .text(placed.model)
                               .bytes(placed.open)
                               .run());
    for (const std::string& node : placed.nodes) {
      TROUPE_RETURN_IF_ERROR(Query(*db_, "INSERT INTO model_nodes(id, node) VALUES(?, ?)")
                                 .number(placed.id)
                                 .bytes(node)
                                 .run());
    }
    return Status::ok();
  });
}

Status Journal::forget_model(std::uint64_t id) {
  std::lock_guard lock(mutex_);
  return db_->transact("forget_model", [&] {
    return Query(*db_, "DELETE FROM models WHERE id = ?").number(id).run();
  });
}

Result<std::vector<PlacedModel>> Journal::models() {
  std::lock_guard lock(mutex_);
  std::vector<PlacedModel> all;
  Query query(*db_,
              "SELECT id, models.model, manifest, open FROM models JOIN manifests"
              " ON models.model = manifests.model ORDER BY id");
  while (query.next()) {
    PlacedModel& placed = all.emplace_back();
    placed.id = static_cast<std::uint64_t>(query.number_at(0));
    placed.model = query.bytes_at(1);
    placed.manifest = query.bytes_at(2);
    placed.open = query.bytes_at(3);
    Query nodes(*db_, "SELECT node FROM model_nodes WHERE id = ? ORDER BY rowid");
    nodes.number(placed.id);
    while (nodes.next()) placed.nodes.push_back(nodes.bytes_at(0));
    TROUPE_RETURN_IF_ERROR(nodes.status());
  }
  TROUPE_RETURN_IF_ERROR(query.status());
  return all;
}

Result<std::vector<std::pair<std::string, std::string>>> Journal::manifests() {
  std::lock_guard lock(mutex_);
  std::vector<std::pair<std::string, std::string>> all;
  Query query(*db_, "SELECT model, manifest FROM manifests ORDER BY model");
  while (query.next()) {
    std::string model = query.bytes_at(0);
    all.emplace_back(std::move(model), query.bytes_at(1));
  }
  TROUPE_RETURN_IF_ERROR(query.status());
  return all;
}

Status Journal::rename_opens(const char* table, const std::string& model, const std::string& id) {
  std::vector<std::pair<std::string, std::string>> opens;
  {
    Query query(*db_, "SELECT id, open FROM ", table);
    while (query.next()) {
      std::string row = query.bytes_at(0);
      opens.emplace_back(std::move(row), query.bytes_at(1));
    }
    TROUPE_RETURN_IF_ERROR(query.status());
  }
  const std::string update = "UPDATE " + std::string(table) + " SET open = ? WHERE id = ?";
  for (const auto& [row, open] : opens) {
    const auto before = wire::decode<OpenModel>(std::as_bytes(std::span<const char>(open)));
    if (!before || before->model != model) continue;
    TROUPE_ASSIGN_OR_RETURN(const std::string after, renamed(open, id));
    TROUPE_RETURN_IF_ERROR(Query(*db_, update.c_str()).bytes(after).text(row).run());
  }
  return Status::ok();
}

Status Journal::rename_model(const std::string& model,
                             const std::optional<model::Manifest>& manifest) {
  std::lock_guard lock(mutex_);
  return db_->transact("rename_model", [&] {
    if (manifest) {
      const std::string bytes = encoded(*manifest);
      TROUPE_RETURN_IF_ERROR(
          Query(*db_, "INSERT OR IGNORE INTO manifests(model, manifest) VALUES(?, ?)")
              .text(manifest->model)
              .bytes(bytes)
              .run());
      TROUPE_RETURN_IF_ERROR(rename_opens("models", model, manifest->model));
      TROUPE_RETURN_IF_ERROR(rename_opens("streams", model, manifest->model));
      TROUPE_RETURN_IF_ERROR(Query(*db_, "UPDATE models SET model = ? WHERE model = ?")
                                 .text(manifest->model)
                                 .text(model)
                                 .run());
    }
    TROUPE_RETURN_IF_ERROR(Query(*db_, "DELETE FROM models WHERE model = ?").text(model).run());
    return Query(*db_, "DELETE FROM manifests WHERE model = ?").text(model).run();
  });
}

Status Journal::begin_stream(const StreamRecord& stream, std::int64_t now_ms) {
  const std::string tokens = bytes_of(stream.tokens);
  TROUPE_RETURN_IF_ERROR(Query(*db_, "DELETE FROM streams WHERE id = ? AND owner = ?")
                             .text(stream.id)
                             .text(stream.owner)
                             .run());
  return Query(*db_,
               "INSERT OR IGNORE INTO streams(id, owner, at_ms, open, submit,"
               " tokens, arithmetic) VALUES(?, ?, ?, ?, ?, ?, ?)")
      .text(stream.id)
      .text(stream.owner)
      .number(now_ms)
      .bytes(stream.open)
      .bytes(stream.submit)
      .bytes(tokens)
      .number(std::uint64_t{stream.arithmetic})
      .run();
}

Status Journal::append_tokens(const StreamUpdate& update) {
  std::string have;
  {
    Query query(*db_, "SELECT tokens FROM streams WHERE id = ? AND owner = ?");
    query.text(update.id).text(update.owner);
    if (!query.next()) return query.status();
    have = query.bytes_at(0);
  }
  // Tokens that are stored already are kept: a resumed stream sends them once more.
  const std::size_t known = have.size() / sizeof(std::int32_t);
  if (update.first > known || update.first + update.tokens.size() <= known) return Status::ok();
  have += bytes_of({update.tokens.begin() + static_cast<std::ptrdiff_t>(known - update.first),
                    update.tokens.end()});
  return Query(*db_, "UPDATE streams SET tokens = ? WHERE id = ?")
      .bytes(have)
      .text(update.id)
      .run();
}

Result<std::vector<Status>> Journal::update_streams(const std::vector<StreamUpdate>& updates,
                                                    std::int64_t now_ms) {
  std::lock_guard lock(mutex_);
  std::vector<Status> outcomes(updates.size());
  TROUPE_RETURN_IF_ERROR(db_->transact("update_streams", [&] {
    bool begun = false;
    for (std::size_t i = 0; i < updates.size(); ++i) {
      const StreamUpdate& update = updates[i];
      if (update.begins) {
        begun = true;
        TROUPE_RETURN_IF_ERROR(begin_stream(*update.begins, now_ms));
        if (db_->changes() != 1) {
          outcomes[i] = Status(
              Code::kAlreadyExists,
              "the id '" + update.id + "' belongs to another client's answer; choose another id");
        }
        // One owner's streams do not push out those of others.
        TROUPE_RETURN_IF_ERROR(Query(*db_,
                                     "DELETE FROM streams WHERE id IN (SELECT id FROM streams"
                                     " WHERE owner = ? ORDER BY at_ms DESC LIMIT -1 OFFSET ?)")
                                   .text(update.begins->owner)
                                   .number(std::uint64_t{kOwnerStreamsMax})
                                   .run());
      }
      if (!update.tokens.empty()) TROUPE_RETURN_IF_ERROR(append_tokens(update));
      if (!update.ends) continue;
      TROUPE_RETURN_IF_ERROR(Query(*db_, "DELETE FROM streams WHERE id = ? AND owner = ?")
                                 .text(update.id)
                                 .text(update.owner)
                                 .run());
    }
    if (!begun) return Status::ok();
    return Query(*db_,
                 "DELETE FROM streams WHERE id IN"
                 " (SELECT id FROM streams ORDER BY at_ms DESC LIMIT -1 OFFSET ?)")
        .number(std::uint64_t{kStreamsMax})
        .run();
  }));
  return outcomes;
}

Status Journal::save_stream(const StreamRecord& stream, std::int64_t now_ms) {
  TROUPE_ASSIGN_OR_RETURN(
      const std::vector<Status> saved,
      update_streams({{.id = stream.id, .owner = stream.owner, .begins = stream}}, now_ms));
  return saved.front();
}

Status Journal::add_tokens(const std::string& id, const std::string& owner, std::uint32_t index,
                           const std::vector<std::int32_t>& tokens) {
  return update_streams({{.id = id, .owner = owner, .first = index, .tokens = tokens}}, 0).status();
}

Status Journal::forget_stream(const std::string& id, const std::string& owner) {
  return update_streams({{.id = id, .owner = owner, .ends = true}}, 0).status();
}

Result<StreamRecord> Journal::stream(const std::string& id) {
  std::lock_guard lock(mutex_);
  Query query(*db_, "SELECT owner, open, submit, tokens, arithmetic FROM streams WHERE id = ?");
  query.text(id);
  if (query.next()) {
    return StreamRecord{id,
                        query.bytes_at(0),
                        query.bytes_at(1),
                        query.bytes_at(2),
                        tokens_of(query.bytes_at(3)),
                        static_cast<std::uint32_t>(query.number_at(4))};
  }
  TROUPE_RETURN_IF_ERROR(query.status());
  return no_stream(id);
}

Status Journal::no_stream(const std::string& id) {
  return Status(Code::kNotFound,
                "there is no open answer with the id '" + id + "'; it has ended, or is too old");
}

}  // namespace troupe::actors
