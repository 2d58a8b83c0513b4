#include <filesystem>
#include <memory>
#include <random>
#include <string_view>

#include <nlohmann/json.hpp>

#include <troupe/actors/jobs/generate_spec.h>
#include <troupe/runtime/file.h>
#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/models.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/input.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/views/job_views.h>

namespace troupe::tools {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr std::size_t kFileBytesMax = 1u << 20;
constexpr std::size_t kInputBytesMax = 1u << 30;

struct SubmitOptions {
  CommonOptions common;
  std::string cluster, file, id;
  bool wait = false;
};

Status wrong(const std::string& file, const std::string& what) {
  return {Code::kInvalidArgument, file + ": " + what};
}

// Takes a text member out of the object.
Result<std::string> take_text(json& object, const std::string& file, const char* field) {
  const auto found = object.find(field);
  if (found == object.end()) return std::string();
  if (!found->is_string() || found->get<std::string>().empty()) {
    return wrong(file, "\"" + std::string(field) + "\" is " + found->dump().substr(0, 80) +
                           ", expected a text");
  }
  std::string text = *found;
  object.erase(found);
  return text;
}

// Returns a path of the file, which is relative to the file's folder.
std::string beside(const std::string& file, const std::string& path) {
  if (path.empty()) return path;
  return fs::absolute(fs::absolute(file).parent_path() / path).lexically_normal().string();
}

// Checks every line, so that a mistake is reported before anything is submitted.
Status check_lines(const actors::GenerateSpec& spec, const std::vector<std::string>& shards,
                   const std::string& input, std::string_view jsonl) {
  for (const std::string& shard : shards) {
    TROUPE_ASSIGN_OR_RETURN(const auto packed, actors::unpack_lines(shard));
    for (std::size_t i = 0; i < packed.lines.size(); ++i) {
      const auto line = actors::parse_generate_line(spec, packed.lines[i]);
      if (line) continue;
      return wrong(input, "line " + std::to_string(line_of_prompt(jsonl, packed.first + i)) + ": " +
                              line.message());
    }
  }
  return Status::ok();
}

struct Prepared {
  JobRequest request;         // without its specification
  actors::GenerateSpec spec;  // names the model as the file does
  std::string output;
};

Result<Prepared> prepare(const SubmitOptions& options) {
  const std::string& file = options.file;
  TROUPE_ASSIGN_OR_RETURN(const std::string text, read_file(file, kFileBytesMax));
  auto parsed = parse_json(text, "it", actors::spec_limits());
  if (!parsed || !parsed->is_object()) {
    return wrong(file,
                 "it is not a JSON object in UTF-8, such as {\"kind\": \"generate\", "
                 "\"model\": \"smollm2-135m\", \"input\": \"prompts.jsonl\"}" +
                     (parsed ? "" : ": " + parsed.message()));
  }
  json& object = *parsed;
  Prepared prepared;
  prepared.request.id = options.id;
  TROUPE_ASSIGN_OR_RETURN(prepared.request.kind, take_text(object, file, "kind"));
  TROUPE_ASSIGN_OR_RETURN(const std::string input, take_text(object, file, "input"));
  TROUPE_ASSIGN_OR_RETURN(const std::string output, take_text(object, file, "output"));
  prepared.output = beside(file, output);
  if (prepared.request.kind.empty()) prepared.request.kind = actors::kGenerateKind;
  if (prepared.request.kind != actors::kGenerateKind) {
    return wrong(file, "\"kind\" is \"" + prepared.request.kind +
                           "\"; this command only submits \"generate\"; a program that registers a "
                           "kind of its own submits it itself (Cluster::submit)");
  }
  if (input.empty()) {
    return wrong(file, "\"input\" is missing: name a JSONL file with a prompt on each line");
  }
  auto spec = actors::read_generate_spec(object);
  if (!spec) return wrong(file, spec.message());
  // The job has one seed, which is known from now on, so that shards that are computed again give
  // the same text.
  if (spec->base.sampling.temperature != 0.0f && !spec->seeded) {
    spec->base.sampling.seed = std::random_device()();
    spec->seeded = true;
    say("drawn with \"seed\": " + std::to_string(spec->base.sampling.seed));
  }
  const std::string path = beside(file, input);
  TROUPE_ASSIGN_OR_RETURN(const std::string lines, read_file(path, kInputBytesMax));
  prepared.request.shards = generate_shards(lines);
  if (prepared.request.shards.empty()) return wrong(path, "it has no line with a prompt");
  TROUPE_RETURN_IF_ERROR(check_lines(*spec, prepared.request.shards, path, lines));
  prepared.spec = std::move(*spec);
  return prepared;
}

int submit(const SubmitOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  const bool as_json = options.common.json;
  Result<Prepared> prepared = prepare(options);
  if (!prepared) return fail(prepared.status(), as_json);
  // Check this now, because it must not fail after hours of work.
  const bool writes = options.wait && !prepared->output.empty();
  const Status writable = writes ? check_writable(prepared->output) : Status::ok();
  if (!writable) return fail(wrong(options.file, "\"output\": " + writable.message()), as_json);
  const std::string& home = options.common.home;
  Result<Cluster> cluster = connect_cluster(home, options.cluster);
  if (!cluster) return fail(cluster.status(), as_json);
  Result<std::shared_ptr<model::Store>> store = open_store(home);
  if (!store) return fail(store.status(), as_json);
  actors::GenerateSpec& spec = prepared->spec;
  const std::string named = spec.open.model;
  // A path is relative to the file's folder; a name is not.
  const std::string near = beside(options.file, named);
  const bool is_path = named.find('/') != std::string::npos || fs::exists(near);
  Result<std::string> model =
      prepare_model(**store, home, is_path && named.rfind("sha256:", 0) != 0 ? near : named, true);
  if (!model) return fail(model.status(), as_json);
  spec.open.model = *model;
  prepared->request.spec = actors::to_json(spec);
  const Result<std::string> id = cluster->submit(prepared->request);
  if (!id) return fail(id.status(), as_json);
  if (options.wait) return wait_for_job(*cluster, *id, prepared->output, as_json);
  if (as_json) {
    print_json({{"id", *id}, {"shards", prepared->request.shards.size()}});
    return kExitOk;
  }
  std::printf("%s\n", id->c_str());
  // If the id exists already, it names that job.
  const Result<JobStatus> job = cluster->job(*id);
  if (!options.id.empty() && job && (job->state == "cancelled" || job->state == "failed")) {
    say("job " + *id + " was submitted before, and is " + job->state +
        "; give another --id to run it again");
  } else {
    say("submitted; `troupe wait " + *id +
        (prepared->output.empty() ? "` prints the answers when they are ready"
                                  : " --output " + prepared->output + "` writes the answers"));
  }
  return kExitOk;
}

}  // namespace

Action add_submit(CLI::App& app) {
  auto options = std::make_shared<SubmitOptions>();
  app.add_option("FILE", options->file, "The job, a JSON object")->required()->type_name("");
  app.add_option("--id", options->id,
                 "The job's id; submitting it again under the same id makes no second job [random]")
      ->type_name("ID");
  app.add_flag("--wait", options->wait, "Wait for the end, as `troupe wait` does");
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
  app.footer(
      "When its id is printed, the job is on the head's disk: it continues after this command\n"
      "has ended, when nodes are lost, and after the head was restarted. Each answer has the text\n"
      "that `troupe run` gives for the same flags and seed.\n"
      "\n"
      "FILE is an object such as\n"
      "  {\"kind\": \"generate\", \"model\": \"smollm2-135m\", \"input\": \"prompts.jsonl\",\n"
      "   \"output\": \"answers.jsonl\", \"max_tokens\": 64, \"temperature\": 0.7, \"seed\": 7}\n"
      "  model        a name, a path, model:HEX or sha256:HEX; it is loaded before the job is "
      "submitted\n"
      "  input        JSONL: a line is {\"prompt\": TEXT}, {\"messages\": "
      "[{\"role\",\"content\"}]} or\n"
      "               {\"prompt_ids\": [..]}. Each line may also have \"id\" (which is returned),\n"
      "               \"seed\" and \"max_tokens\". The file is read now; paths in FILE\n"
      "               are relative to its folder\n"
      "  output       where --wait writes the answers, a line for each line of the input:\n"
      "               {\"index\",\"id\",\"text\",\"token_ids\",\"finish_reason\"} or "
      "{\"index\",\"id\",\"error\"}\n"
      "  and, as in `troupe run`: raw, system, max_tokens, stop (a list), context, kv,\n"
      "  activations, layers, temperature, top_p, top_k, min_p, typical, seed, repeat_penalty,\n"
      "  presence_penalty, frequency_penalty, logit_bias ({\"504\": -2.5})\n"
      "\n"
      "Examples:\n"
      "  troupe submit job.json                          prints the id\n"
      "  troupe submit job.json --wait                   and waits for the answers\n"
      "  troupe submit job.json --id monday --json       {\"id\",\"shards\"}");
  return [options] { return submit(*options); };
}

}  // namespace troupe::tools
