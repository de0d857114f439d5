#pragma once

#include <gtest/gtest.h>

#include <string>

#include <redlatch/error.hpp>

#include "base/io_error.hpp"

namespace redlatch::test {

/// The text of the `protocol_error` that the function throws; empty if it throws none.
std::string complaint(auto function) {
  try {
    function();
  } catch (const detail::IoError& error) {
    EXPECT_EQ(error.code(), Errc::protocol_error);
    return error.what();
  }
  return {};
}

}  // namespace redlatch::test
