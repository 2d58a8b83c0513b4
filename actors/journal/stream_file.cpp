#include <map>

#include <troupe/actors/journal/database.h>
#include <troupe/actors/journal/stream_file.h>

namespace troupe::actors {
namespace {

// Each string is one step, as in journal.cpp. Streams have numbers, so that the news of many of
// them are stored near each other.
constexpr const char* kStreamSteps[] = {R"(
CREATE TABLE streams(number INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT UNIQUE NOT NULL,
  owner TEXT NOT NULL, request BLOB NOT NULL, rested_ms INTEGER NOT NULL);
CREATE TABLE news(stream INTEGER NOT NULL REFERENCES streams(number) ON DELETE CASCADE,
  said BLOB NOT NULL);
CREATE INDEX news_of ON news(stream);
PRAGMA user_version = 1;
)"};

Status make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (!error) return Status::ok();
  return Status(Code::kUnavailable,
                "cannot make the folder " + folder.string() + " (" + error.message() + ")");
}

}  // namespace

StreamFile::~StreamFile() = default;

const std::string& StreamFile::name() const { return db_->file(); }

Result<std::unique_ptr<StreamFile>> StreamFile::open(const std::filesystem::path& file) {
  TROUPE_RETURN_IF_ERROR(make_folder(file.parent_path()));
  make_private_file(file);
  std::unique_ptr<StreamFile> opened(new StreamFile);
  TROUPE_ASSIGN_OR_RETURN(opened->db_, Database::open(file.string(), "streams"));
  TROUPE_RETURN_IF_ERROR(opened->db_->set_up(kStreamSteps));
  return opened;
}

Result<std::vector<StoredStream>> StreamFile::load() {
  std::vector<StoredStream> all;
  std::map<std::int64_t, std::size_t> places;  // by number
  Query streams(*db_, "SELECT number, id, owner, request, rested_ms FROM streams ORDER BY number");
  while (streams.next()) {
    places[streams.number_at(0)] = all.size();
    StoredStream& stream = all.emplace_back();
    stream.id = streams.bytes_at(1);
    stream.owner = streams.bytes_at(2);
    stream.request = streams.bytes_at(3);
    stream.rested_ms = streams.number_at(4);
  }
  TROUPE_RETURN_IF_ERROR(streams.status());
  Query news(*db_, "SELECT stream, said FROM news ORDER BY rowid");
  while (news.next()) {
    const auto place = places.find(news.number_at(0));
    if (place != places.end()) all[place->second].news.push_back(news.bytes_at(1));
  }
  TROUPE_RETURN_IF_ERROR(news.status());
  return all;
}

Status StreamFile::write(const StreamNews& news) {
  return db_->transact("write_streams", [&] {
    for (const StoredStream& stream : news.begun) {
      TROUPE_RETURN_IF_ERROR(
          Query(*db_, "INSERT INTO streams(id, owner, request, rested_ms) VALUES(?, ?, ?, ?)")
              .text(stream.id)
              .text(stream.owner)
              .bytes(stream.request)
              .number(stream.rested_ms)
              .run());
    }
    for (const auto& [id, said] : news.said) {
      TROUPE_RETURN_IF_ERROR(
          Query(*db_, "INSERT INTO news(stream, said) SELECT number, ? FROM streams WHERE id = ?")
              .bytes(said)
              .text(id)
              .run());
    }
    for (const auto& [id, rested_ms] : news.rests) {
      TROUPE_RETURN_IF_ERROR(Query(*db_, "UPDATE streams SET rested_ms = ? WHERE id = ?")
                                 .number(rested_ms)
                                 .text(id)
                                 .run());
    }
    for (const std::string& id : news.forgotten) {
      TROUPE_RETURN_IF_ERROR(Query(*db_, "DELETE FROM streams WHERE id = ?").text(id).run());
    }
    return Status::ok();
  });
}

Status StreamFile::scrub() { return db_->scrub(); }

}  // namespace troupe::actors
