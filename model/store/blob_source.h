#pragma once

#include <filesystem>
#include <memory>

#include <troupe/model/source/tensor_source.h>
#include <troupe/model/store/manifest.h>

// A tensor source over single blobs: the header's, and those of the tensors that are here.

namespace troupe::model {

// `blobs` is the folder of the blobs by hash.
//   Errors: kNotFound if the header's blob is not here; kBadData if the header and `manifest`
//   disagree.
Result<std::unique_ptr<TensorSource>> open_blobs(const std::filesystem::path& blobs,
                                                 const Manifest& manifest);

}  // namespace troupe::model
