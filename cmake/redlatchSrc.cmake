# Writes redlatch/src.hpp: all of the library's sources in one header, each of its internal headers
# in the place where it is included first. What users may include themselves stays an #include.
# OUTPUT.d says, as a rule of make, which files it was made of.
#
#   cmake -D OUTPUT=FILE -D INCLUDE_DIR=DIR -D SOURCE_DIR=DIR -D SOURCES=FILE,... -P redlatchSrc.cmake
#
# SOURCES are relative to the parent of SOURCE_DIR. A source includes internal headers by "name",
# beside it or from SOURCE_DIR, or as <redlatch/detail/name> or <redlatch/protocol/name>.
cmake_policy(VERSION 3.24)

set(stays "redlatch/detail/export.hpp")  # public headers include it

# Sets `variable` to the path of an internal header, or to nothing.
function(find_internal variable name beside)
  set(${variable} "" PARENT_SCOPE)
  if(name MATCHES "^\"(.+)\"$")
    foreach(dir IN ITEMS "${beside}" "${SOURCE_DIR}")
      if(EXISTS "${dir}/${CMAKE_MATCH_1}")
        file(REAL_PATH "${dir}/${CMAKE_MATCH_1}" path)
        set(${variable} "${path}" PARENT_SCOPE)
        return()
      endif()
    endforeach()
    message(FATAL_ERROR "there is no ${name} beside ${beside} or in ${SOURCE_DIR}")
  elseif(name MATCHES "^<(redlatch/(detail|protocol)/.+)>$" AND NOT CMAKE_MATCH_1 STREQUAL stays)
    file(REAL_PATH "${INCLUDE_DIR}/${CMAKE_MATCH_1}" path)
    set(${variable} "${path}" PARENT_SCOPE)
  endif()
endfunction()

# Appends a file with its internal headers to the text, if it is not in it yet.
function(append file)
  get_property(seen GLOBAL PROPERTY redlatch_seen)
  if(file IN_LIST seen)
    return()
  endif()
  set_property(GLOBAL APPEND PROPERTY redlatch_seen "${file}")
  cmake_path(GET file PARENT_PATH dir)
  file(READ "${file}" rest)
  string(REPLACE "#pragma once\n" "" rest "\n${rest}")
  while(rest MATCHES "\n#include (\"[^\"]+\"|<redlatch/[^>]+>)")
    set(include "${CMAKE_MATCH_0}")
    set(name "${CMAKE_MATCH_1}")
    string(FIND "${rest}" "${include}" begin)
    string(LENGTH "${include}" length)
    math(EXPR end "${begin} + ${length}")
    string(SUBSTRING "${rest}" 0 ${begin} before)
    string(SUBSTRING "${rest}" ${end} -1 rest)
    set_property(GLOBAL APPEND_STRING PROPERTY redlatch_text "${before}")
    find_internal(path "${name}" "${dir}")
    if(path)
      append("${path}")
    else()
      set_property(GLOBAL APPEND_STRING PROPERTY redlatch_text "${include}")
    endif()
  endwhile()
  set_property(GLOBAL APPEND_STRING PROPERTY redlatch_text "${rest}")
endfunction()

set_property(GLOBAL PROPERTY redlatch_text "#pragma once

/// All of redlatch, for programs that do not link the library: include this in exactly one source
/// file, compile that as C++20, and link hiredis and the threads of the system
/// (g++ -std=c++20 main.cpp -lhiredis -pthread). The other files include what they use, as ever.
///
/// Made from the sources by cmake/redlatchSrc.cmake.

#pragma GCC system_header
")
string(REPLACE "," ";" SOURCES "${SOURCES}")
foreach(source IN LISTS SOURCES)
  file(REAL_PATH "${SOURCE_DIR}/../${source}" path)
  append("${path}")
endforeach()
get_property(text GLOBAL PROPERTY redlatch_text)
string(REGEX REPLACE "\n\n\n+" "\n\n" text "${text}")
file(WRITE "${OUTPUT}" "${text}")
get_property(seen GLOBAL PROPERTY redlatch_seen)
string(REPLACE " " "\\ " seen "${seen}")
string(REPLACE ";" " " seen "${seen}")
file(WRITE "${OUTPUT}.d" "${OUTPUT}: ${seen}\n")
