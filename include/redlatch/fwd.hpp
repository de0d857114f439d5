#pragma once

/// Declarations without definitions, for headers that only mention redlatch's types.
namespace redlatch {

class Client;
class Error;
class Lock;
enum class Errc;
enum class Unlock;
struct ClientOptions;
struct LockOptions;

}  // namespace redlatch
