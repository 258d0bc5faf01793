//! What is left of the SDK (proxy-wasm 0.2.5), and why none of it can trap.
//!
//! The SDK exports the callbacks, and its dispatcher passes each to the context that it is for. Every call to the host is
//! made by [`abi`](super::abi), but for two below. What of the SDK can panic:
//!
//! | where | on what | why no supported host gets there |
//! | --- | --- | --- |
//! | `hostcalls::dispatch_http_call` | a status other than `Ok`, `BadArgument`, `InternalFailure` | It must be the SDK's: only there does the dispatcher learn of the call's token, without which it panics at the answer. Envoy answers these three only, `InternalFailure` where a restriction of capabilities forbids calls. A host that knows no calls says so in another way to [`call_nobody`](super::abi::call_nobody), which is ours, and a configuration that makes calls is refused there ([`powers`](super::powers)). |
//! | its `register_callout` | a token that is under way already | Envoy counts tokens up, to 2³². |
//! | `on_http_call_response` | a token that nobody knows | Envoy answers only calls that it has accepted, each once, and never from within the call. The only call made without the SDK is the one that nobody accepts. |
//! | the same | any status but `Ok` of `set_effective_context`, for the context that made the call | The context is in the dispatcher's map, so the host has not ended it. A host without `set_effective_context` is refused where a configuration makes calls. |
//! | `on_create_context` | an identifier given twice, a root that is not there, a root of no type, no context for a request | Envoy makes the root first, and gives each identifier once; [`Root`](super::root::Root) is of a type and makes a context for every request. |
//! | every other callback | a context that is not there | Envoy calls back only between `proxy_on_context_create` and `proxy_on_delete`. |
//! | every callback | a host that calls back from within a host call: `already borrowed` | Envoy puts off, until the callback has returned, what would (local replies, resumed streams, calls that fail at once). |
//! | the methods of `Context` and `RootContext` that call the host | any status that is not listed | They are linked, as the traits have them, and nobody calls them. Those of `HttpContext` do nothing ([`quiet`](super::quiet)). |
//! | `set_log_level` | a host that refuses a line | It is not called: [`logger`](super::logger) replaces it. |
//!
//! Not of the SDK, but of Rust's hash maps: the first one of a VM traps where the host has no random numbers (WASI's `random_get`).
//! That is while the plugin is configured, and every host of WASI has them.
//!
//! `tests/host` is a host that does all this on purpose, and checks that the module does as the table says.
//!
//! The SDK reads statuses and maps them to enums, which is undefined for a number that they do not have. That too is left
//! only where the table has it: Envoy's statuses are those of the enum.
