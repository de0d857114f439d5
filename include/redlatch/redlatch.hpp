#pragma once

/// All public headers.
#if __cplusplus <= 201703L
#error "redlatch needs C++20: compile with -std=c++20 or newer"
#endif

#include <redlatch/client.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>
#include <redlatch/fair_lock.hpp>
#include <redlatch/lock.hpp>
#include <redlatch/multi_lock.hpp>
#include <redlatch/options.hpp>
#include <redlatch/permit.hpp>
#include <redlatch/quorum.hpp>
#include <redlatch/read_write_lock.hpp>
#include <redlatch/recursive_lock.hpp>
#include <redlatch/redlock.hpp>
#include <redlatch/token.hpp>
#include <redlatch/version.hpp>
