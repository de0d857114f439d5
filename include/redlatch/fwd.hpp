#pragma once

/// Declarations without definitions, for headers that only mention redlatch's types.
namespace redlatch {

class Client;
class Error;
class Lock;
enum class Errc;
enum class EventKind;
enum class Unlock;
struct ClientOptions;
struct Event;
struct LockOptions;

}  // namespace redlatch
