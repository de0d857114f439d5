#include <utility>

#include <redlatch/quorum.hpp>

#include "client/quorum_core.hpp"

namespace redlatch {

Quorum::Quorum(std::initializer_list<std::string> urls, QuorumOptions options)
    : Quorum(std::vector<std::string>(urls), std::move(options)) {}

Quorum::Quorum(const std::vector<std::string>& urls, QuorumOptions options)
    : executor_(std::make_shared<detail::QuorumCore>(urls, std::move(options))) {}

Metrics Quorum::metrics() const { return executor_->metrics(); }

}  // namespace redlatch
