//! All calls to the host.
//!
//! Values are bytes, whole maps are read at once, and what the host cannot do is a value, not a trap: the SDK's getters
//! of `String`s trap on the first client that sends a byte above 0x7F, its getters of single headers hide repeated ones.

use std::time::Duration;

use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;

use super::abi::{self, Refusal};
use super::wire::HeaderMap;
use gate::callout::{Answer, Call, DispatchError};
use gate::engine::Reply;
use gate::jose::{
    Algorithm, ForHost, HostSignature, RustCrypto, SignatureVerifier, VerifyingKey, for_host,
    self_test,
};
use gate::jwks::{NoSharedData, NotWritten, SharedData};
use gate::time::{Now, Ticks};

/// The time; a wall clock before 1970 is 1970, so that every token is refused as issued in the future.
pub(super) fn now() -> Now {
    Now {
        unix: since_1970().as_secs(),
        ticks: ticks(),
    }
}

/// The time on the clock that never steps back; on the wall clock, where a host has no other.
pub(super) fn ticks() -> Ticks {
    let wall = || u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX);
    Ticks::from_millis(abi::monotonic_millis().unwrap_or_else(wall))
}

/// Whether the host has a clock.
pub(super) fn has_clock() -> bool {
    abi::wall_nanos().is_some()
}

fn since_1970() -> Duration {
    abi::wall_nanos().map_or(Duration::ZERO, Duration::from_nanos)
}

/// What the gateway's configuration calls this plugin. Empty: no name, or the host does not say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plugin {
    /// Plugins of one `vm_id` and one Wasm file share a VM, those of one `vm_id` share data.
    pub(super) vm_id: Vec<u8>,
    pub(super) root_id: Vec<u8>,
    pub(super) name: Vec<u8>,
}

/// This plugin; the host says it in callbacks of the root.
pub(super) fn plugin() -> Plugin {
    let property = |name| abi::property(name).unwrap_or_default();
    Plugin {
        vm_id: property("plugin_vm_id"),
        root_id: property("plugin_root_id"),
        name: property("plugin_name"),
    }
}

/// The data that the workers of this plugin share. Under the empty `vm_id` that is none: every plugin of the process that
/// names no other could write it.
pub(super) fn shared_data(plugin: &Plugin) -> &'static dyn SharedData {
    if plugin.vm_id.is_empty() || !shares_data() {
        &NoSharedData
    } else {
        &ProcessData
    }
}

/// Whether the host gives back what it took. Where it did one without the other, workers would wait for each other.
fn shares_data() -> bool {
    const NAME: &str = "authgear-filter\nshared";
    const VALUE: &[u8] = b"yes";
    // Refused, too, where a host overwrites no value without its version: then the value is there.
    let _ = abi::set_shared_data(NAME, VALUE, 0);
    abi::shared_data(NAME).is_ok_and(|(value, _)| value == VALUE)
}

/// The data of the process, as far as it belongs to one `vm_id`.
#[derive(Clone, Copy, Debug)]
struct ProcessData;

impl SharedData for ProcessData {
    fn read(&self, name: &str) -> Option<(Vec<u8>, u32)> {
        abi::shared_data(name).ok()
    }

    fn write(&self, name: &str, bytes: &[u8], over: Option<u32>) -> Result<(), NotWritten> {
        abi::set_shared_data(name, bytes, over.unwrap_or(0)).map_err(|refusal| match refusal {
            Refusal::CAS_MISMATCH => NotWritten::Conflict,
            _ => NotWritten::Unsupported,
        })
    }
}

/// `None`: the host has none to give; a request without any does not exist.
pub(super) fn request_headers() -> Option<HeaderMap> {
    let bytes = abi::header_map(abi::REQUEST_HEADERS)?;
    (!bytes.is_empty()).then(|| HeaderMap::new(bytes))
}

pub(super) fn remove_request_header(name: &[u8]) -> bool {
    abi::remove_header(abi::REQUEST_HEADERS, name)
}

pub(super) fn set_request_header(name: &[u8], value: &[u8]) -> bool {
    abi::set_header(abi::REQUEST_HEADERS, name, value)
}

pub(super) fn request_trailers() -> Option<HeaderMap> {
    abi::header_map(abi::REQUEST_TRAILERS).map(HeaderMap::new)
}

pub(super) fn remove_request_trailer(name: &[u8]) -> bool {
    abi::remove_header(abi::REQUEST_TRAILERS, name)
}

/// `false`: the host refuses the header.
pub(super) fn add_response_header(name: &str, value: &str) -> bool {
    abi::add_header(abi::RESPONSE_HEADERS, name.as_bytes(), value.as_bytes()).is_ok()
}

/// Resumes a request that has waited. `false`: it waits for ever, unless it is answered.
pub(super) fn resume_request() -> bool {
    abi::continue_request().is_ok()
}

/// Answers the request; the reason goes into Envoy's access log, not to the client.
pub(super) fn reply(reply: &Reply) -> bool {
    let headers = reply.headers();
    let headers: Vec<(&[u8], &[u8])> = headers
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    let details = ["authgear_filter{", reply.reason().name(), "}"].concat();
    abi::send_local_response(reply.status(), &details, &headers, reply.body().as_bytes())
}

/// Lets the following host calls act on another stream. `false`: that stream has ended, and nothing may be done for it.
pub(super) fn act_for(context_id: u32) -> bool {
    abi::set_effective_context(context_id).is_ok()
}

/// Makes a call; the answer comes with the returned token.
///
/// By the SDK, which must know the token to pass the answer on (see [`super::sdk`]).
pub(super) fn dispatch(call: &Call) -> Result<u32, DispatchError> {
    let headers = call
        .headers
        .iter()
        .map(|(name, value)| (*name, value.as_str()));
    hostcalls::dispatch_http_call(
        &call.cluster,
        headers.collect(),
        None,
        Vec::new(),
        call.timeout,
    )
    .map_err(|status| match status {
        // All else that a call must have, every call has.
        Status::BadArgument => DispatchError::UnknownCluster,
        _ => DispatchError::NotStarted,
    })
}

/// Whether the host makes calls, as far as can be found out without making one: it knows a bad one. A host without calls says
/// that it has none, and one that says yes to this would say so to anything.
pub(super) fn refuses_bad_calls() -> bool {
    abi::call_nobody() == Err(Refusal::BAD_ARGUMENT)
}

/// The answer to a call; of a body, what is to be read where one may have `longest` bytes. `None`: there was no answer.
pub(super) fn answer(header_count: usize, body_size: usize, longest: usize) -> Option<Answer> {
    // Without headers the host has none to give, and some trap the module for asking.
    if header_count == 0 {
        return None;
    }
    let map = HeaderMap::new(abi::header_map(abi::CALL_RESPONSE_HEADERS)?);
    let mut answer = Answer::new(map.lines()?, None);
    answer.body = match answer.bytes_to_read(body_size, longest) {
        None => None,
        Some(0) => Some(Vec::new()),
        Some(size) => Some(abi::buffer(abi::CALL_RESPONSE_BODY, size).ok()?),
    };
    Some(answer)
}

/// The address of the client as the gateway sees it, without its port.
pub(super) fn client_address() -> Option<String> {
    let address = abi::property("source\0address").ok()?;
    let address = String::from_utf8(address).ok()?;
    let (host, _) = gate::endpoint::split_port(&address);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // The host says so; text with other characters than an address has is a pipe, or unknown.
    let sign = |byte: u8| byte.is_ascii_hexdigit() || matches!(byte, b'.' | b':');
    (!host.is_empty() && host.bytes().all(sign)).then(|| host.to_owned())
}

/// Whether this is Envoy, or another host made of its parts: no other knows its bootstrap, or its cryptography. Where the
/// plugin's capabilities are restricted, the question fails, and only there.
fn is_envoy(verifier: Verifier) -> bool {
    verifier == Verifier::Host
        || match abi::property("xds\0node") {
            Ok(node) => !node.is_empty(),
            Err(refusal) => refusal == Refusal::INTERNAL_FAILURE,
        }
}

/// Chooses how requests that wait are paused on this host.
pub(super) fn choose_pause(verifier: Verifier) {
    abi::pause_all(is_envoy(verifier));
}

pub(super) fn configuration() -> Option<Vec<u8>> {
    abi::buffer(abi::PLUGIN_CONFIGURATION, usize::MAX).ok()
}

/// Whether there is a configuration for the VM, which the filter does not read.
pub(super) fn has_vm_configuration() -> bool {
    abi::buffer(abi::VM_CONFIGURATION, 1).is_ok_and(|bytes| !bytes.is_empty())
}

/// Sets how often the root of the effective context gets a tick.
pub(super) fn tick_every(period: Duration) -> bool {
    abi::set_tick_period(u32::try_from(period.as_millis()).unwrap_or(u32::MAX))
}

pub(super) fn define_counter(name: &str) -> Option<u32> {
    abi::define_metric(abi::COUNTER, name)
}

pub(super) fn define_gauge(name: &str) -> Option<u32> {
    abi::define_metric(abi::GAUGE, name)
}

pub(super) fn define_histogram(name: &str) -> Option<u32> {
    abi::define_metric(abi::HISTOGRAM, name)
}

/// Adds to a counter or a gauge, if the host has it.
pub(super) fn increment(id: Option<u32>, offset: i64) {
    if let Some(id) = id {
        abi::increment_metric(id, offset);
    }
}

/// Sets a gauge or adds to a histogram, if the host has it.
pub(super) fn record(id: Option<u32>, value: u64) {
    if let Some(id) = id {
        abi::record_metric(id, value);
    }
}

/// Who verifies signatures on this host; it does not change while the worker lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verifier {
    /// The host's own cryptography, by the foreign function `verify_signature`; RustCrypto for what it does not know.
    Host,
    /// RustCrypto.
    Rust,
}

impl Verifier {
    /// The host, if it accepts a good signature and refuses a bad one.
    pub(super) fn choose() -> Self {
        if self_test(&Self::Host) {
            Self::Host
        } else {
            Self::Rust
        }
    }
}

impl SignatureVerifier for Verifier {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &VerifyingKey,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        if *self == Self::Rust {
            return RustCrypto.verify(algorithm, key, message, signature);
        }
        match for_host(algorithm, key, signature) {
            ForHost::Supported(signature) => ask_host(key.spki(), message, &signature),
            ForHost::Invalid => false,
            ForHost::Unsupported => RustCrypto.verify(algorithm, key, message, signature),
        }
    }
}

fn ask_host(spki: &[u8], message: &[u8], signature: &HostSignature<'_>) -> bool {
    const FUNCTION: &str = "verify_signature";
    /// `VerifySignatureResult { result: true }` in protobuf.
    const YES: &[u8] = &[0x08, 0x01];
    let fields = [
        (1, signature.hash.as_bytes()),
        (2, spki),
        (3, &signature.bytes),
        (4, message),
    ];
    let arguments = protobuf(&fields);
    let answer = abi::call_foreign_function(FUNCTION, &arguments);
    answer.is_ok_and(|bytes| bytes == YES)
}

/// A protobuf message of these fields, all of them bytes.
fn protobuf(fields: &[(u8, &[u8])]) -> Vec<u8> {
    const LENGTH_DELIMITED: u8 = 2;
    let length: usize = fields.iter().map(|(_, bytes)| bytes.len()).sum();
    let mut message = Vec::with_capacity(length.saturating_add(32));
    for (number, bytes) in fields {
        message.push((number << 3) | LENGTH_DELIMITED);
        let mut length = bytes.len();
        while length > 0x7f {
            message.push(u8::try_from(length & 0x7f).unwrap_or(0) | 0x80);
            length >>= 7;
        }
        message.push(u8::try_from(length).unwrap_or(0));
        message.extend_from_slice(bytes);
    }
    message
}

#[cfg(test)]
mod tests {
    use super::protobuf;

    #[test]
    fn lengths_are_varints() {
        assert_eq!(
            protobuf(&[(1, b"ab"), (4, b"")]),
            [0x0a, 2, b'a', b'b', 0x22, 0]
        );
        let long = vec![7; 300];
        assert_eq!(
            protobuf(&[(2, &long)]).get(..3),
            Some(&[0x12, 0xac, 0x02][..])
        );
    }
}
