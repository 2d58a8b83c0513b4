#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

// Decides whose turn it is: a deployment's tokens are shared between askers by their weights. A
// share that is not used goes to the others, and nobody saves up turns while nothing is asked.
// Pure; called by EngineState.

namespace troupe::actors {

constexpr std::uint32_t kWeightMax = 100;
// A request of a smaller number goes first. People's requests have numbers from -9 to 9.
constexpr std::int32_t kPriorityMost = 9, kJobPriority = 10;

class FairShares {
 public:
  // Records that an asker has one request more, or one less. The newest request's weight counts.
  void begin(const std::string& asker, std::uint32_t weight);
  void end(const std::string& asker);
  // Records that rows of an asker's prompts or tokens of its answers were computed.
  void charge(const std::string& asker, std::size_t tokens);

  // Returns what an asker will have had in relation to its weight if it gets `more` tokens: the
  // asker with the smallest number is next. 0 for an asker that has no request.
  double had(const std::string& asker, double more = 0) const;
  // Returns the number of requests that an asker has.
  std::size_t requests(const std::string& asker) const;
  // Returns the number of askers that are remembered.
  std::size_t size() const { return askers_.size(); }

 private:
  struct Asker {
    double had = 0;  // tokens by weight
    std::uint32_t weight = 1;
    std::size_t requests = 0;
  };
  // Returns the least that any asker with requests has had; `otherwise` if there is none.
  double least(double otherwise) const;
  std::map<std::string, Asker> askers_;
};

}  // namespace troupe::actors
