// A job kind of your own: counts the words of many files on every node that takes part.
//   example_word_count FILE...                                  in this process
//   example_word_count --join TOKEN@HOST:PORT HOME HOST:PORT    be a node that counts (own address)
//   example_word_count --cluster ADDRESS FILE...                hand the files in, print the counts
// Shards are files. The head (`troupe start`) keeps shards and results, and knows nothing about
// words.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>

#include <troupe/actors/troupe.h>

namespace {

using Counts = std::map<std::string, unsigned long>;
using Bytes = troupe::Result<std::string>;

std::string to_bytes(const Counts& counts) {
  std::string bytes;
  for (const auto& [word, count] : counts) bytes += word + " " + std::to_string(count) + "\n";
  return bytes;
}

Counts from_bytes(const std::string& bytes) {
  Counts counts;
  std::istringstream lines(bytes);
  std::string word;
  for (unsigned long count = 0; lines >> word >> count;) counts[word] += count;
  return counts;
}

// Counts words: runs of letters, in lower case.
Bytes count_words(const std::string& text, const troupe::JobContext&) {
  Counts counts;
  std::string word;
  for (const char c : text + " ") {
    if (std::isalpha(static_cast<unsigned char>(c)) != 0) {
      word += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    } else if (!word.empty()) {
      ++counts[word];
      word.clear();
    }
  }
  return to_bytes(counts);
}

Bytes add_counts(const std::string& left, const std::string& right) {
  Counts sum = from_bytes(left);
  for (const auto& [word, count] : from_bytes(right)) sum[word] += count;
  return to_bytes(sum);
}

int fail(const troupe::Status& why) {
  std::fprintf(stderr, "%s\n", why.message().c_str());
  return 1;
}

int be_a_node(const char* join, const char* home, const char* listen) {
  troupe::DaemonOptions options;
  options.join = join;
  options.home = home;
  const auto endpoint = troupe::net::parse_endpoint(listen);
  if (!endpoint) return fail(endpoint.status());
  options.listen = *endpoint;
  auto cluster = troupe::Cluster::join(options);
  if (!cluster) return fail(cluster.status());
  const troupe::Status registered = cluster->register_job("word_count", count_words, add_counts);
  if (!registered) return fail(registered);
  std::printf("counting\n");
  std::fflush(stdout);
  const troupe::Status ended = cluster->wait_daemon();
  return ended ? 0 : fail(ended);
}

// Prints the ten most frequent words.
int count(troupe::Cluster& cluster, char** files, int number_of_files) {
  troupe::JobRequest job;
  job.kind = "word_count";
  for (int i = 0; i < number_of_files; ++i) {
    std::ifstream file(files[i], std::ios::binary);
    if (!file) return fail({troupe::Code::kNotFound, std::string("cannot read ") + files[i]});
    job.shards.emplace_back(std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>());
  }
  const auto id = cluster.submit(job);
  if (!id) return fail(id.status());
  const auto ended = cluster.wait(*id);
  if (!ended) return fail(ended.status());
  const auto result = cluster.job_result(*id);
  if (!result) return fail(result.status());
  std::vector<std::pair<unsigned long, std::string>> words;
  for (const auto& [word, times] : from_bytes(*result)) words.emplace_back(times, word);
  std::sort(words.begin(), words.end(), [](const auto& a, const auto& b) {
    return a.first != b.first ? a.first > b.first : a.second < b.second;
  });
  words.resize(std::min<std::size_t>(words.size(), 10));
  for (const auto& [times, word] : words) std::printf("%8lu %s\n", times, word.c_str());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const bool join = argc == 5 && std::strcmp(argv[1], "--join") == 0;
  if (join) return be_a_node(argv[2], argv[3], argv[4]);
  const bool remote = argc > 3 && std::strcmp(argv[1], "--cluster") == 0;
  if (argc < 2 || (!remote && argv[1][0] == '-')) {
    std::fprintf(stderr,
                 "usage: %s [--cluster ADDRESS] FILE... | --join TOKEN@HOST:PORT HOME "
                 "HOST:PORT\n",
                 argv[0]);
    return 2;
  }
  troupe::ConnectOptions address;
  if (remote) address.cluster = argv[2];
  auto cluster = remote ? troupe::Cluster::connect(address) : troupe::Cluster::local({});
  if (!cluster) return fail(cluster.status());
  if (!remote) {
    const auto registered = cluster->register_job("word_count", count_words, add_counts);
    if (!registered) return fail(registered);
  }
  const int first = remote ? 3 : 1;
  return count(*cluster, argv + first, argc - first);
}
