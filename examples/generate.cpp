// Answers a prompt in this process, token by token:
//   example_generate MODEL "prompt"      MODEL: a name in the store, a path, or sha256:HEX
// Uses the facade alone; a cluster instead is Cluster::connect({.cluster = "HOST:PORT"}).
#include <cstdio>

#include <troupe/actors/troupe.h>

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: %s MODEL \"prompt\"\n", argv[0]);
    return 2;
  }
  troupe::Result<troupe::Cluster> cluster = troupe::Cluster::local({});
  if (!cluster) {
    std::fprintf(stderr, "%s\n", cluster.message().c_str());
    return 1;
  }
  troupe::GenerateRequest request;
  request.model = argv[1];
  request.prompt = argv[2];
  request.max_tokens = 64;
  const auto result = cluster->generate(request, [](const troupe::TokenEvent& token) {
    std::fputs(token.text.c_str(), stdout);  // on a thread of the library
    std::fflush(stdout);
    return true;  // false would stop here
  });
  const troupe::Status failure = result ? result->error : result.status();
  if (!failure) {
    std::fprintf(stderr, "%s\n", failure.message().c_str());
    return 1;
  }
  std::printf("\n[%s after %zu tokens, %.1f tokens/s]\n", result->finish_reason.c_str(),
              result->token_ids.size(), result->decode_tok_s);
}
