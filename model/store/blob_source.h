#pragma once

#include <filesystem>
#include <memory>

#include <troupe/model/store/store.h>

// A tensor source over single blobs: the header's and those of the tensors that are here.

namespace troupe::model {

// `blobs`: the folder of the blobs by hash.
//   Errors: kNotFound without the header's blob; kBadData when the header and `manifest` disagree.
Result<std::unique_ptr<TensorSource>> open_blobs(const std::filesystem::path& blobs,
                                                 const Manifest& manifest);

}  // namespace troupe::model
