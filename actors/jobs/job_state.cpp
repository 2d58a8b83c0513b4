#include <algorithm>

#include <troupe/actors/jobs/job_state.h>

namespace troupe::actors {
namespace {

constexpr std::int64_t kFirstPauseUs = 500'000, kLongestPauseUs = 10'000'000;

bool may_pass(Code code) {
  return code == Code::kUnavailable || code == Code::kResourceExhausted ||
         code == Code::kDeadlineExceeded || code == Code::kCancelled;
}

std::string name_of(const JobTask& task) {
  return task.merge ? std::string("merging") : "shard " + std::to_string(task.from);
}

}  // namespace

void JobState::add(const JobRecord& record, const std::vector<std::uint32_t>& finished,
                   bool merges) {
  Job& job = jobs_[record.number];
  job.kind = record.kind;
  job.shards = record.shards;
  job.merges = merges;
  job.merged = record.merged;
  job.finished_count = static_cast<std::uint32_t>(finished.size());
  for (std::uint32_t shard = 0; shard < record.shards; ++shard) job.waiting.insert(shard);
  for (const std::uint32_t shard : finished) {
    job.waiting.erase(shard);
    if (shard >= job.merged) job.finished.insert(shard);
  }
}

std::vector<JobTask> JobState::end(std::uint64_t number) {
  std::vector<JobTask> dropped;
  for (auto it = tasks_.begin(); it != tasks_.end();) {
    if (it->second.job != number) {
      ++it;
      continue;
    }
    const auto worker = workers_.find(it->second.worker);
    if (worker != workers_.end()) --worker->second.busy;
    dropped.push_back(it->second);
    it = tasks_.erase(it);
  }
  jobs_.erase(number);
  return dropped;
}

void JobState::set_worker(const std::string& name, std::set<std::string> kinds, std::size_t slots) {
  Worker& worker = workers_[name];
  worker.kinds = std::move(kinds);
  worker.slots = slots;
}

JobState::Trouble& JobState::trouble_of(const JobTask& task) {
  return jobs_.at(task.job).troubles[task.merge ? kMerge : task.from];
}

JobTask JobState::put_back(std::uint64_t attempt) {
  const auto found = tasks_.find(attempt);
  const JobTask task = found->second;
  tasks_.erase(found);
  const auto worker = workers_.find(task.worker);
  if (worker != workers_.end()) --worker->second.busy;
  Job& job = jobs_.at(task.job);
  if (task.merge) {
    job.merging = false;
  } else {
    job.waiting.insert(task.from);
  }
  return task;
}

std::vector<JobState::Setback> JobState::lose_worker(const std::string& name, std::int64_t now_us) {
  workers_.erase(name);
  std::vector<std::uint64_t> attempts;
  for (const auto& [attempt, task] : tasks_) {
    if (task.worker == name) attempts.push_back(attempt);
  }
  std::vector<Setback> setbacks;
  for (const std::uint64_t attempt : attempts) {
    const JobTask task = put_back(attempt);
    Trouble& trouble = trouble_of(task);
    trouble.lost.push_back(name);
    trouble.not_before_us = now_us;
    Setback& setback = setbacks.emplace_back(Setback{task, Status::ok()});
    if (trouble.lost.size() < kLossesMax) continue;
    std::string names;
    for (const std::string& lost : trouble.lost) names += (names.empty() ? "" : ", ") + lost;
    setback.failed = Status(
        Code::kInternal, name_of(task) + " was lost with " + std::to_string(trouble.lost.size()) +
                             " workers (" + names + "): it is not given to another one");
  }
  return setbacks;
}

std::optional<JobState::Setback> JobState::fail(std::uint64_t attempt, const Status& why,
                                                std::int64_t now_us) {
  if (task(attempt) == nullptr) return std::nullopt;
  Setback setback{put_back(attempt), Status::ok()};
  Trouble& trouble = trouble_of(setback.task);
  ++trouble.failures;
  const Status named = why.with_context(name_of(setback.task));
  if (!may_pass(why.code())) {
    setback.failed = named;
  } else if (trouble.failures >= kFailuresMax) {
    setback.failed =
        Status(why.code(), named.message() + " (" + std::to_string(trouble.failures) + " tries)");
  }
  std::int64_t pause = kFirstPauseUs;
  for (std::size_t i = 1; i < trouble.failures && pause < kLongestPauseUs; ++i) pause *= 2;
  trouble.not_before_us = now_us + std::min(pause, kLongestPauseUs);
  return setback;
}

std::optional<JobTask> JobState::next_of(std::uint64_t number, Job& job, std::int64_t now_us) {
  const auto ready = [&](std::uint32_t what) {
    const auto found = job.troubles.find(what);
    return found == job.troubles.end() || found->second.not_before_us <= now_us;
  };
  JobTask task;
  task.job = number;
  task.kind = job.kind;
  if (job.merges && !job.merging && ready(kMerge)) {
    task.from = task.to = job.merged;
    while (job.finished.contains(task.to) && task.to - task.from < kMergedAtOnceMax) ++task.to;
    // A merge waits until it is as large as it may be, or has the last shard, because each merge
    // costs a message each way.
    const bool last = task.to == job.shards;
    if (task.to > task.from && (last || task.to - task.from == kMergedAtOnceMax)) {
      task.merge = true;
      job.merging = true;
      return task;
    }
  }
  for (const std::uint32_t shard : job.waiting) {
    if (!ready(shard)) continue;
    job.waiting.erase(shard);
    task.from = shard;
    task.to = shard + 1;
    return task;
  }
  return std::nullopt;
}

std::vector<JobTask> JobState::assign(std::int64_t now_us) {
  std::vector<JobTask> given;
  // Gives one task to each worker in turn, so that no worker has two while another one that could
  // help has none.
  for (bool more = true; more;) {
    more = false;
    for (auto& [name, worker] : workers_) {
      if (worker.busy >= worker.slots) continue;
      for (auto& [number, job] : jobs_) {
        if (!worker.kinds.contains(job.kind)) continue;
        auto task = next_of(number, job, now_us);
        if (!task) continue;
        task->attempt = next_attempt_++;
        task->worker = name;
        ++worker.busy;
        given.push_back(*task);
        tasks_[task->attempt] = std::move(*task);
        more = true;
        break;
      }
    }
  }
  return given;
}

std::optional<std::int64_t> JobState::next_try_us() const {
  std::optional<std::int64_t> next;
  for (const auto& [number, job] : jobs_) {
    for (const auto& [what, trouble] : job.troubles) {
      const bool waits = what == kMerge ? !job.merging : job.waiting.contains(what);
      if (waits) next = std::min(next.value_or(trouble.not_before_us), trouble.not_before_us);
    }
  }
  return next;
}

void JobState::shorten(std::uint64_t attempt, std::uint32_t to) {
  const auto found = tasks_.find(attempt);
  if (found != tasks_.end()) found->second.to = to;
}

const JobTask* JobState::task(std::uint64_t attempt) const {
  const auto found = tasks_.find(attempt);
  return found == tasks_.end() ? nullptr : &found->second;
}

bool JobState::ends_with(const JobTask& task) const {
  const Job& job = jobs_.at(task.job);
  if (task.merge) return task.to == job.shards;
  return !job.merges && job.finished_count + 1 == job.shards;
}

void JobState::done(std::uint64_t attempt) {
  const auto found = tasks_.find(attempt);
  if (found == tasks_.end()) return;
  const JobTask task = std::move(found->second);
  tasks_.erase(found);
  const auto worker = workers_.find(task.worker);
  if (worker != workers_.end()) --worker->second.busy;
  Job& job = jobs_.at(task.job);
  job.troubles.erase(task.merge ? kMerge : task.from);
  if (task.merge) {
    job.merging = false;
    job.merged = task.to;
    job.finished.erase(job.finished.begin(), job.finished.lower_bound(task.to));
  } else {
    ++job.finished_count;
    job.finished.insert(task.from);
  }
}

std::size_t JobState::running(std::uint64_t job) const {
  return static_cast<std::size_t>(std::count_if(
      tasks_.begin(), tasks_.end(), [&](const auto& entry) { return entry.second.job == job; }));
}

bool JobState::has_worker(const std::string& kind) const {
  return std::any_of(workers_.begin(), workers_.end(),
                     [&](const auto& entry) { return entry.second.kinds.contains(kind); });
}

}  // namespace troupe::actors
