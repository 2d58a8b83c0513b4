#include <concepts>
#include <limits>
#include <map>
#include <optional>

#include <nlohmann/json.hpp>

#include <troupe/actors/facade/answers.h>
#include <troupe/actors/troupe/fields.h>
#include <troupe/runtime/text/bounded_json.h>

namespace troupe::actors {
namespace {

using nlohmann::json;

// Reads a value of any of the supported types from JSON.
struct Reader {
  static void read(const json& from, std::string& to) {
    if (from.is_string()) to = from.get_ref<const std::string&>();
  }
  static void read(const json& from, bool& to) {
    if (from.is_boolean()) to = from.get<bool>();
  }
  template <std::unsigned_integral T>
  static void read(const json& from, T& to) {
    if (!from.is_number_unsigned()) return;
    const auto number = from.get<std::uint64_t>();
    if (number <= std::numeric_limits<T>::max()) to = static_cast<T>(number);
  }
  static void read(const json& from, std::int64_t& to) {
    if (from.is_number_integer()) to = from.get<std::int64_t>();
  }
  static void read(const json& from, double& to) {
    if (from.is_number()) to = from.get<double>();
    // JSON has no infinity: the head wrote null in its place.
    if (from.is_null()) to = std::numeric_limits<double>::quiet_NaN();
  }
  template <class T>
  static void read(const json& from, std::optional<T>& to) {
    to.reset();
    if (!from.is_null()) read(from, to.emplace());
  }
  template <class T>
  static void read(const json& from, std::vector<T>& to) {
    to.clear();
    if (!from.is_array()) return;
    for (const json& item : from) read(item, to.emplace_back());
  }
  template <class T>
  static void read(const json& from, std::map<std::string, T>& to) {
    to.clear();
    if (!from.is_object()) return;
    for (const auto& [key, item] : from.items()) read(item, to[key]);
  }
  template <class Value>
  static void read(const json& from, Value& to) {
    if (!from.is_object()) return;
    visit_fields(to, [&](const char* name, auto& field) {
      const auto found = from.find(name);
      if (found != from.end()) read(*found, field);
    });
  }
};

Result<json> parse_object(const std::string& text) {
  // This is deeper than any specification of a job, which an answer may contain.
  const JsonLimits limits{std::size_t{1} << 30, 64, "run one release of Troupe everywhere"};
  auto object = parse_json(text, "the head's answer", limits);
  if (object && object->is_object()) return object;
  return Status(Code::kBadData,
                "the head answered with something that is not an object: are both of one version "
                "of Troupe?");
}

JobStatus job_of(const json& object) {
  JobStatus job;
  Reader::read(object, job);
  if (!object.is_object()) return job;
  const auto member = [&](const char* name) { return object.value(name, json()); };
  Reader::read(member("waits_for"), job.waits_for);
  if (const json spec = member("spec"); !spec.is_null()) job.spec = spec.dump();
  if (const json error = member("error"); error.is_string()) {
    job.error = Status(Code::kFailedPrecondition, error.get<std::string>());
  }
  return job;
}

}  // namespace

template <class Answer>
Result<Answer> read_answer(const std::string& text) {
  TROUPE_ASSIGN_OR_RETURN(const json object, parse_object(text));
  Answer answer;
  Reader::read(object, answer);
  return answer;
}
template Result<ClusterStatus> read_answer(const std::string& text);
template Result<Plan> read_answer(const std::string& text);
template Result<UnloadedModel> read_answer(const std::string& text);
template Result<DrainedNode> read_answer(const std::string& text);
template Result<EventList> read_answer(const std::string& text);
template Result<NewToken> read_answer(const std::string& text);
template Result<KeyList> read_answer(const std::string& text);
template Result<RevokedKey> read_answer(const std::string& text);
template Result<ApprovedKey> read_answer(const std::string& text);
template Result<JobLog> read_answer(const std::string& text);

Result<JobStatus> read_job(const std::string& text) {
  TROUPE_ASSIGN_OR_RETURN(const json object, parse_object(text));
  return job_of(object);
}

Result<std::vector<JobStatus>> read_jobs(const std::string& text) {
  TROUPE_ASSIGN_OR_RETURN(const json object, parse_object(text));
  std::vector<JobStatus> jobs;
  const auto found = object.find("jobs");
  if (found == object.end() || !found->is_array()) return jobs;
  for (const json& job : *found) jobs.push_back(job_of(job));
  return jobs;
}

Result<bool> read_flag(const std::string& text, const char* field) {
  TROUPE_ASSIGN_OR_RETURN(const json object, parse_object(text));
  bool flag = false;
  Reader::read(object.value(field, json()), flag);
  return flag;
}

}  // namespace troupe::actors
