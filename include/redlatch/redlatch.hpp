#pragma once

/// Everything public.
#include <redlatch/client.hpp>
#include <redlatch/error.hpp>
#include <redlatch/event.hpp>
#include <redlatch/lock.hpp>
#include <redlatch/options.hpp>
#include <redlatch/token.hpp>
#include <redlatch/version.hpp>
