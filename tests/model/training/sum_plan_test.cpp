#include <numeric>

#include <catch2/catch.hpp>

#include <troupe/model/training/sum_plan.h>

using namespace troupe;
using namespace troupe::model;

namespace {

// Returns the shape as a text: leaves by number, "(a+b)" for a sum.
std::string shape_of(const SumPart& part, std::vector<std::string> stack, std::size_t first_leaf) {
  REQUIRE(stack.size() == part.depth_in);
  std::size_t leaf = first_leaf;
  for (const kernels::SumStep& step : part.steps) {
    const std::string name = std::to_string(leaf++);
    if (step.adds) {
      stack.back() = "(" + stack.back() + "+" + name + ")";
    } else {
      stack.push_back(name);
    }
    REQUIRE(stack.size() <= kernels::kSumStackMax);
    for (std::uint32_t merge = 0; merge < step.merges; ++merge) {
      const std::string top = stack.back();
      stack.pop_back();
      stack.back() = "(" + stack.back() + "+" + top + ")";
    }
  }
  REQUIRE(stack.size() == part.depth_out);
  std::string out;
  for (const std::string& entry : stack) out += (out.empty() ? "" : " ") + entry;
  return out;
}

std::string whole_shape(const std::vector<std::size_t>& lengths) {
  return shape_of(SumPlan(cut_leaves(lengths)).part(0, lengths.size()), {}, 0);
}

}  // namespace

TEST_CASE("leaves are chunks of an example, and slots are chains of leaves in a tree") {
  CHECK(whole_shape({5}) == "0");
  CHECK(whole_shape({5, 5}) == "(0+1)");
  CHECK(whole_shape({256, 256, 256, 256}) == "((0+1)+(2+3))");
  CHECK(whole_shape({1024}) == "(((0+1)+2)+3)");  // one example, one slot
  CHECK(whole_shape(std::vector<std::size_t>(8, 9)) == "(((0+1)+(2+3))+((4+5)+(6+7)))");
  CHECK(whole_shape(std::vector<std::size_t>(16, 9)) ==
        "((((0+1)+(2+3))+((4+5)+(6+7)))+(((8+9)+(10+11))+((12+13)+(14+15))))");
  const auto leaves = cut_leaves(std::vector<std::size_t>{300, 0, 256, 257});
  REQUIRE(leaves.size() == 5);
  CHECK(leaves[1].first == 256);
  CHECK(leaves[1].rows == 44);
  CHECK(leaves[2].example == 2);
  CHECK(leaves[4].rows == 1);
}

TEST_CASE("the parts of micro-batches make the shape of the whole batch") {
  const std::vector<std::size_t> lengths{3, 500, 17, 256, 257, 1, 90, 800, 4, 4, 30};
  const auto leaves = cut_leaves(lengths);
  const SumPlan plan(leaves);
  const std::string whole = shape_of(plan.part(0, lengths.size()), {}, 0);
  for (std::size_t step = 1; step <= lengths.size(); ++step) {
    std::vector<std::string> stack;
    std::size_t leaf = 0;
    for (std::size_t begin = 0; begin < lengths.size(); begin += step) {
      const std::size_t end = std::min(lengths.size(), begin + step);
      const SumPart part = plan.part(begin, end);
      const std::string left = shape_of(part, stack, leaf);
      leaf += part.steps.size();
      stack.clear();
      for (std::size_t at = 0; at < left.size();) {
        const std::size_t space = std::min(left.find(' ', at), left.size());
        stack.push_back(left.substr(at, space - at));
        at = space + 1;
      }
    }
    REQUIRE(stack.size() == 1);
    CHECK(stack[0] == whole);
  }
}

TEST_CASE("leaves without rows take no part in a sum") {
  auto leaves = cut_leaves(std::vector<std::size_t>(8, 9));
  for (const std::size_t i : {0, 3, 4, 5, 7}) leaves[i].rows = 0;
  CHECK(shape_of(SumPlan(leaves).part(0, 8), {}, 0) == "((0+1)+2)");  // leaves 1, 2 and 6
  for (Leaf& leaf : leaves) leaf.rows = 0;
  CHECK(SumPlan(leaves).empty());
}
