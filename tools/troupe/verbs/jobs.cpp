#include <chrono>
#include <cstdio>
#include <memory>
#include <thread>

#include <nlohmann/json.hpp>
#include <unistd.h>

#include <troupe/runtime/file.h>
#include <troupe/runtime/text/bounded_json.h>
#include <troupe/tools/troupe/connect.h>
#include <troupe/tools/troupe/options.h>
#include <troupe/tools/troupe/terminal/logging.h>
#include <troupe/tools/troupe/terminal/output.h>
#include <troupe/tools/troupe/terminal/signals.h>
#include <troupe/tools/troupe/terminal/time_text.h>
#include <troupe/tools/troupe/terminal/units.h>
#include <troupe/tools/troupe/verbs.h>
#include <troupe/tools/troupe/views/job_views.h>
#include <troupe/tools/troupe/views/to_json.h>

// The verbs about existing jobs: `jobs`, `wait`, `logs`, `cancel`.

namespace troupe::tools {
namespace {

using namespace std::chrono_literals;
using nlohmann::json;

struct JobsOptions {
  CommonOptions common;
  std::string cluster, id, output;
  bool follow = false;
};

Result<Cluster> connect(const JobsOptions& options) {
  set_up_logging(LogLevel::kWarning, options.common.verbose);
  return connect_cluster(options.common.home, options.cluster);
}

json job_json(const JobStatus& job) {
  json object = tools::to_json(job);
  object["error"] = job.error.is_ok() ? json() : json(job.error.message());
  if (!job.waits_for.empty()) object["waits_for"] = job.waits_for;
  // The head has checked the depth, and wrote a text that is not JSON as a string.
  const auto spec = parse_json(job.spec, "the specification", {std::size_t{1} << 30, 64});
  object["spec"] = spec ? *spec : json(job.spec);
  return object;
}

int list(const JobsOptions& options) {
  Result<Cluster> cluster = connect(options);
  if (!cluster) return fail(cluster.status(), options.common.json);
  const Result<std::vector<JobStatus>> jobs = cluster->jobs();
  if (!jobs) return fail(jobs.status(), options.common.json);
  if (options.common.json) {
    json all = json::array();
    for (const JobStatus& job : *jobs) all.push_back(job_json(job));
    print_json({{"jobs", all}});
    return kExitOk;
  }
  if (jobs->empty()) {
    std::printf("no job was submitted yet; `troupe submit FILE.json` submits one\n");
    return kExitOk;
  }
  std::vector<std::vector<std::string>> rows = {
      {"ID", "KIND", "STATE", "SHARDS", "SUBMITTED", "ENDED", ""}};
  for (const JobStatus& job : *jobs) {
    const std::string why =
        job.waits_for.empty() ? job.error.message() : "waits for " + job.waits_for;
    rows.push_back({job.id, job.kind, job.state,
                    std::to_string(job.finished) + "/" + std::to_string(job.shards),
                    time_text(job.submitted_unix_ms),
                    job.ended_unix_ms ? time_text(*job.ended_unix_ms) : "-", why});
  }
  print_table(rows);
  return kExitOk;
}

int wait(const JobsOptions& options) {
  Result<Cluster> cluster = connect(options);
  if (!cluster) return fail(cluster.status(), options.common.json);
  return wait_for_job(*cluster, options.id, options.output, options.common.json);
}

int cancel(const JobsOptions& options) {
  Result<Cluster> cluster = connect(options);
  if (!cluster) return fail(cluster.status(), options.common.json);
  const Result<bool> cancelled = cluster->cancel(options.id);
  if (!cancelled) return fail(cancelled.status(), options.common.json);
  if (options.common.json) {
    print_json({{"id", options.id}, {"cancelled", *cancelled}});
  } else {
    say("job " + options.id + (*cancelled ? " was cancelled" : " was over already"));
  }
  return kExitOk;
}

int logs(const JobsOptions& options) {
  Result<Cluster> cluster = connect(options);
  if (!cluster) return fail(cluster.status(), options.common.json);
  SignalWatch watch;
  std::uint64_t after = 0;
  json all = json::array();
  for (;;) {
    const Result<JobLog> log = cluster->job_log(options.id, after);
    if (!log) return fail(log.status(), options.common.json);
    for (const JobLine& line : log->lines) {
      after = line.sequence;
      if (options.common.json) {
        all.push_back(tools::to_json(line));
      } else {
        std::printf("%s  %s\n", time_text(line.unix_ms).c_str(), line.text.c_str());
      }
    }
    std::fflush(stdout);
    if (watch.count() > 0) return kExitInterrupted;
    if (!log->lines.empty()) continue;  // there may be more lines than fit into one answer
    if (!options.follow || log->over) break;
    std::this_thread::sleep_for(300ms);
  }
  if (options.common.json) print_json({{"id", options.id}, {"lines", all}});
  return kExitOk;
}

void add_job_options(CLI::App& app, const std::shared_ptr<JobsOptions>& options, bool with_id) {
  if (with_id) {
    app.add_option("ID", options->id, "The job (`troupe jobs` lists them)")
        ->required()
        ->type_name("");
  }
  add_cluster_option(app, options->cluster);
  add_common_options(app, options->common);
}

// Delivers the complete result, or an error: a file of this name never holds only a part.
Status give_result(const std::string& result, const std::string& output) {
  if (!output.empty()) return write_file_atomically(output, result);
  std::fwrite(result.data(), 1, result.size(), stdout);
  std::fflush(stdout);
  return Status::ok();
}

}  // namespace

int wait_for_job(Cluster& cluster, const std::string& id, const std::string& output, bool as_json) {
  SignalWatch watch;
  std::uint32_t said = 0;
  for (;;) {
    const Result<JobStatus> status = cluster.wait(id, 1000);
    if (watch.count() > 0) {
      say("the job goes on; `troupe wait " + id + "` waits again, `troupe cancel " + id +
          "` ends it");
      return kExitInterrupted;
    }
    if (!status && status.code() != Code::kDeadlineExceeded) return fail(status.status(), as_json);
    if (!status) {
      const Result<JobStatus> now = cluster.job(id);
      if (now && now->finished != said) {
        said = now->finished;
        say(std::to_string(said) + " of " + std::to_string(now->shards) + " shards are done");
      }
      continue;
    }
    const Result<std::string> result = cluster.job_result(id);
    if (!result) return fail(result.status(), as_json);
    if (as_json && output.empty()) {
      print_json(
          {{"id", id}, {"state", status->state}, {"shards", status->shards}, {"result", *result}});
      return kExitOk;
    }
    const Status given = give_result(*result, output);
    if (!given) {
      return fail(
          Status(given.code(), given.message() + "; job " + id +
                                   " keeps its answers: troupe wait " + id + " --output FILE"),
          as_json);
    }
    if (as_json) {
      print_json({{"id", id},
                  {"state", status->state},
                  {"shards", status->shards},
                  {"output", output},
                  {"bytes", result->size()}});
    } else if (!output.empty()) {
      say("wrote " + format_bytes(result->size()) + " to " + output);
    }
    return kExitOk;
  }
}

Action add_jobs(CLI::App& app) {
  auto options = std::make_shared<JobsOptions>();
  add_job_options(app, options, false);
  app.footer(
      "The newest 1000 jobs that are over are kept, with their results.\n"
      "\n"
      "Examples:\n"
      "  troupe jobs\n"
      "  troupe jobs --json    "
      "{\"jobs\":[{\"id\",\"kind\",\"state\",\"shards\",\"finished\",...}]}");
  return [options] { return list(*options); };
}

Action add_wait(CLI::App& app) {
  auto options = std::make_shared<JobsOptions>();
  app.add_option("-o,--output", options->output,
                 "The file for the result, written when it is complete [stdout]")
      ->type_name("FILE");
  add_job_options(app, options, true);
  app.footer(
      "Waits until the job is over, even if the head is restarted meanwhile. The exit status is 0\n"
      "if the job is done, and 1 if it has failed or was cancelled. The job continues if this\n"
      "command is interrupted.\n"
      "\n"
      "Examples:\n"
      "  troupe wait 3f9a12bc77d0 -o answers.jsonl\n"
      "  troupe wait 3f9a12bc77d0 --json     {\"id\",\"state\",\"shards\",\"result\"}");
  return [options] { return wait(*options); };
}

Action add_logs(CLI::App& app) {
  auto options = std::make_shared<JobsOptions>();
  app.add_flag("-f,--follow", options->follow, "Go on printing until the job is over");
  add_job_options(app, options, true);
  app.footer(
      "Prints a line for each shard of the job that was done, tried again or lost. `troupe wait`\n"
      "prints the answers themselves.\n"
      "\n"
      "Examples:\n"
      "  troupe logs 3f9a12bc77d0\n"
      "  troupe logs 3f9a12bc77d0 -f\n"
      "  troupe logs 3f9a12bc77d0 --json     "
      "{\"id\",\"lines\":[{\"sequence\",\"unix_ms\",\"text\"}]}");
  return [options] { return logs(*options); };
}

Action add_cancel(CLI::App& app) {
  auto options = std::make_shared<JobsOptions>();
  add_job_options(app, options, true);
  app.footer(
      "Work under way is dropped; finished results stay in the journal. Cancelling a job\n"
      "that is over changes nothing.\n"
      "\n"
      "Examples:\n"
      "  troupe cancel 3f9a12bc77d0\n"
      "  troupe cancel 3f9a12bc77d0 --json   {\"id\",\"cancelled\"}");
  return [options] { return cancel(*options); };
}

}  // namespace troupe::tools
