#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <troupe/model/source/tensor_source.h>
#include <troupe/runtime/quant/scale_grid.h>

// The values of a tensor that is written, read row by row from the tensors of the model that it is
// made of. Any thread may read rows of one object.

namespace troupe::model {

// What changes on the way. The default changes nothing.
struct TensorPlan {
  std::string name;                  // in the new file
  std::vector<std::uint64_t> shape;  // there, row-major
  std::vector<std::string> parts;    // in the model; several are stacked
  bool turned = false;               // it is the transpose of its only part
  // If not 0, the number of rows of a head. Of these, `rotary_dim` rows are rotated in pairs, which
  // lie half of that dimension apart in the model and become neighbours, or the other way round.
  std::size_t head_dim = 0, rotary_dim = 0;
  bool to_neighbours = false;
  float offset = 0.0f;        // is added to every value
  std::size_t first_row = 0;  // the part's rows before it are left out

  bool is_copy() const {
    return parts.size() == 1 && !turned && head_dim == 0 && offset == 0.0f && first_row == 0;
  }
};

class PlannedTensor {
 public:
  // `source` and `plan` must outlive the object.
  //   Errors: kBadData if a part's scales do not fit it, kNotFound.
  static Result<PlannedTensor> open(const TensorSource& source, const TensorPlan& plan);

  std::size_t rows() const { return rows_; }        // for a vector, the number of its values
  std::size_t columns() const { return columns_; }  // 1 for a vector
  // Writes row `row`, columns() values.
  void read(std::size_t row, float* out) const;
  // Returns the format of the tensor's parts.
  const quant::Format& format() const { return *parts_.front().format; }

 private:
  struct Part {
    const quant::Format* format = nullptr;
    std::span<const std::byte> bytes;
    std::optional<quant::ScaleGrid> scales;
    std::size_t row_bytes = 0, rows = 0, columns = 0;
    void read(std::size_t row, float* out) const;
  };
  explicit PlannedTensor(const TensorPlan& plan) : plan_(&plan) {}
  Status add_part(const TensorSource& source, const std::string& name);

  const TensorPlan* plan_;
  std::vector<Part> parts_;
  std::vector<float> whole_;  // of a turned tensor: its part's values
  std::size_t rows_ = 0, columns_ = 0;
};

}  // namespace troupe::model
