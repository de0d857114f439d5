#pragma once

/// Declarations without definitions, for headers that only mention redlatch's types.
namespace redlatch {

class Client;
class Error;
class FairLock;
class Lock;
class MultiLock;
class Permit;
class Quorum;
class ReadLock;
class RecursiveLock;
class Redlock;
class WriteLock;
enum class Errc;
enum class EventKind;
enum class Unlock;
struct ClientOptions;
struct Event;
struct LockOptions;
struct Owner;
struct QuorumOptions;

}  // namespace redlatch
