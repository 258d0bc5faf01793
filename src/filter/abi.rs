//! The host's functions, each imported here: the SDK traps where a host answers with a status that it does not expect.
//!
//! A status is a number, as the host wrote it, and every one is a value. One function is called by the SDK all the same,
//! `proxy_http_call` (see [`super::sdk`]). The only unsafe code of the crate. Signatures: Proxy-Wasm ABI 0.2.1.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

use super::wire;
use gate::credential::Headers;

/// `PROXY_STATUS_OK`
const OK: u32 = 0;

/// Why a host does not do something: a status other than `PROXY_STATUS_OK`, whatever number it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal(u32);

impl Refusal {
    /// `PROXY_STATUS_NOT_FOUND`
    pub(super) const NOT_FOUND: Self = Self(1);
    /// `PROXY_STATUS_BAD_ARGUMENT`
    pub(super) const BAD_ARGUMENT: Self = Self(2);
    /// `PROXY_STATUS_CAS_MISMATCH`
    pub(super) const CAS_MISMATCH: Self = Self(8);
    /// `PROXY_STATUS_INTERNAL_FAILURE`; Envoy's, for what a plugin's `capability_restriction_config` does not allow, too.
    pub(super) const INTERNAL_FAILURE: Self = Self(10);
}

fn done(status: u32) -> Result<(), Refusal> {
    if status == OK {
        Ok(())
    } else {
        Err(Refusal(status))
    }
}

/// `LogLevel`
pub(super) const DEBUG: u32 = 1;
pub(super) const INFO: u32 = 2;
pub(super) const WARN: u32 = 3;
pub(super) const ERROR: u32 = 4;
pub(super) const CRITICAL: u32 = 5;
/// `MapType`
pub(super) const REQUEST_HEADERS: u32 = 0;
pub(super) const REQUEST_TRAILERS: u32 = 1;
pub(super) const RESPONSE_HEADERS: u32 = 2;
pub(super) const CALL_RESPONSE_HEADERS: u32 = 6;
/// `BufferType`
pub(super) const CALL_RESPONSE_BODY: u32 = 4;
pub(super) const VM_CONFIGURATION: u32 = 6;
pub(super) const PLUGIN_CONFIGURATION: u32 = 7;
/// `StreamType`
const REQUEST: u32 = 0;
/// `MetricType`
pub(super) const COUNTER: u32 = 0;
pub(super) const GAUGE: u32 = 1;
pub(super) const HISTOGRAM: u32 = 2;
/// No gRPC status of our own: the host finds the one that goes with the HTTP status.
const FROM_HTTP_STATUS: i32 = -1;

#[cfg_attr(target_family = "wasm", link(wasm_import_module = "env"))]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, message_size: usize) -> u32;

    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;

    fn proxy_set_effective_context(context: u32) -> u32;

    fn proxy_continue_stream(stream: u32) -> u32;

    fn proxy_get_buffer_bytes(
        buffer: u32,
        start: usize,
        max_size: usize,
        bytes: *mut *mut u8,
        size: *mut usize,
    ) -> u32;

    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        results: *mut *mut u8,
        results_size: *mut usize,
    ) -> u32;

    fn proxy_http_call(
        upstream: *const u8,
        upstream_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;

    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;

    fn proxy_get_header_map_pairs(map: u32, pairs: *mut *mut u8, size: *mut usize) -> u32;

    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;

    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;

    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;

    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;

    fn proxy_increment_metric(id: u32, offset: i64) -> u32;

    fn proxy_record_metric(id: u32, value: u64) -> u32;

    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;

    fn proxy_get_property(
        path: *const u8,
        path_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
    ) -> u32;

    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        value: *mut *mut u8,
        value_size: *mut usize,
        version: *mut u32,
    ) -> u32;

    fn proxy_set_shared_data(
        key: *const u8,
        key_size: usize,
        value: *const u8,
        value_size: usize,
        version: u32,
    ) -> u32;
}

/// The action for a request's headers where the request must not be forwarded: the Proxy-Wasm action `PAUSE`.
const PAUSE: u32 = 1;
/// The same for Envoy's own hosts: `StopAllIterationAndWatermark`. `PAUSE` stops the body and the trailers only where
/// the plugin's `allow_on_headers_stop_iteration` is off; this stops them in any case. Requests that wait keep their
/// bodies, which a body callback would have to buffer (and answer 413 where they are large).
const PAUSE_ALL: u32 = 4;

/// The action for this host; until that is known, the one that stops most.
static HOST_PAUSE: AtomicU32 = AtomicU32::new(PAUSE_ALL);

/// Whether the host knows Envoy's own action for a pause.
pub(super) fn pause_all(known: bool) {
    HOST_PAUSE.store(if known { PAUSE_ALL } else { PAUSE }, Ordering::Relaxed);
}

/// The callback for a request's headers: the SDK's, whose `Action` does not know `StopAllIterationAndWatermark`.
///
/// `scripts/wasm-ld` drops the SDK's export and gives its name to this one. Where the module was linked without it, the
/// host calls the SDK's, and the stream pauses in the callbacks for body and trailers.
#[cfg(target_family = "wasm")]
#[unsafe(no_mangle)]
extern "C" fn authgear_request_headers(context: u32, headers: usize, end_of_stream: bool) -> u32 {
    unsafe extern "C" {
        fn proxy_on_request_headers(context: u32, headers: usize, end_of_stream: bool) -> u32;
    }
    // SAFETY: the SDK's own callback, with what the host gave; its `Action` is a number in 32 bits.
    match unsafe { proxy_on_request_headers(context, headers, end_of_stream) } {
        PAUSE => HOST_PAUSE.load(Ordering::Relaxed),
        action => action,
    }
}

/// Writes a line into the host's log. A refusal is ignored: there is nowhere to report it.
pub(super) fn log(level: u32, line: &str) {
    // SAFETY: the pointer goes with the length of the string it was taken from; the host reads it before it returns.
    unsafe { proxy_log(level, line.as_ptr(), line.len()) };
}

/// Nanoseconds since 1970.
pub(super) fn wall_nanos() -> Option<u64> {
    let mut nanos = 0;
    // SAFETY: `nanos` outlives the call.
    match unsafe { proxy_get_current_time_nanoseconds(&raw mut nanos) } {
        OK => Some(nanos),
        _ => wasi_nanos(WASI_REALTIME),
    }
}

/// Lets the following calls act on another context. A host that has no such context refuses.
pub(super) fn set_effective_context(context: u32) -> Result<(), Refusal> {
    // SAFETY: a number only.
    done(unsafe { proxy_set_effective_context(context) })
}

/// Resumes the request that was paused.
pub(super) fn continue_request() -> Result<(), Refusal> {
    // SAFETY: a number only.
    done(unsafe { proxy_continue_stream(REQUEST) })
}

/// At most so many bytes of a buffer.
pub(super) fn buffer(buffer: u32, max_size: usize) -> Result<Vec<u8>, Refusal> {
    let (mut bytes, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both outlive the call.
    done(unsafe { proxy_get_buffer_bytes(buffer, 0, max_size, &raw mut bytes, &raw mut size) })?;
    // SAFETY: see `given`.
    Ok(unsafe { given(bytes, size) }.unwrap_or_default())
}

/// Calls a function that Proxy-Wasm does not know, but the host may.
pub(super) fn call_foreign_function(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Refusal> {
    let (mut results, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: each pointer goes with the length of what it was taken from, and the others outlive the call.
    done(unsafe {
        proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            arguments.as_ptr(),
            arguments.len(),
            &raw mut results,
            &raw mut size,
        )
    })?;
    // SAFETY: see `given`.
    Ok(unsafe { given(results, size) }.unwrap_or_default())
}

/// What the host says to a call that cannot be made: to no upstream, and without a header.
pub(super) fn call_nobody() -> Result<(), Refusal> {
    const ONE_MILLISECOND: u32 = 1;
    let (nothing, none) = ([], wire::serialize(&[]));
    let mut token = 0;
    // SAFETY: each pointer goes with the length of the slice it was taken from, and `token` outlives the call.
    done(unsafe {
        proxy_http_call(
            nothing.as_ptr(),
            nothing.len(),
            none.as_ptr(),
            none.len(),
            nothing.as_ptr(),
            nothing.len(),
            none.as_ptr(),
            none.len(),
            ONE_MILLISECOND,
            &raw mut token,
        )
    })
}

/// A header map, as the host writes it; empty: there are no headers. `None`: the host has no such map now.
pub(super) fn header_map(map: u32) -> Option<Vec<u8>> {
    let (mut pairs, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: both outlive the call.
    let answer = unsafe { proxy_get_header_map_pairs(map, &raw mut pairs, &raw mut size) };
    if answer != OK {
        return None;
    }
    // SAFETY: see `given`.
    Some(unsafe { given(pairs, size) }.unwrap_or_default())
}

/// Adds a header.
pub(super) fn add_header(map: u32, name: &[u8], value: &[u8]) -> Result<(), Refusal> {
    // SAFETY: as below.
    done(unsafe {
        proxy_add_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Makes this the one header of its name.
pub(super) fn set_header(map: u32, name: &[u8], value: &[u8]) -> bool {
    // SAFETY: each pointer goes with the length of the slice it was taken from; the host reads them before it returns.
    let answer = unsafe {
        proxy_replace_header_map_value(map, name.as_ptr(), name.len(), value.as_ptr(), value.len())
    };
    answer == OK
}

/// Removes every header of this name.
pub(super) fn remove_header(map: u32, name: &[u8]) -> bool {
    // SAFETY: as above.
    unsafe { proxy_remove_header_map_value(map, name.as_ptr(), name.len()) == OK }
}

/// What the host has given back, if anything.
///
/// # Safety
/// `bytes` and `size` are those that the host has just written. What it gives back is in memory of this size, taken
/// from the SDK's `proxy_on_memory_allocate`, which makes a boxed slice of just that size; the host keeps nothing of
/// it.
unsafe fn given(bytes: *mut u8, size: usize) -> Option<Vec<u8>> {
    // SAFETY: as the caller says.
    (!bytes.is_null()).then(|| unsafe { Vec::from_raw_parts(bytes, size, size) })
}

/// `None`: the host cannot.
pub(super) fn define_metric(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the pointer goes with the length of the string it was taken from, and `id` outlives the call.
    let answer = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
    (answer == OK).then_some(id)
}

pub(super) fn increment_metric(id: u32, offset: i64) {
    // SAFETY: numbers only. A refusal is ignored.
    unsafe { proxy_increment_metric(id, offset) };
}

pub(super) fn record_metric(id: u32, value: u64) {
    // SAFETY: as above.
    unsafe { proxy_record_metric(id, value) };
}

/// A property; its path's parts are separated by NULs.
pub(super) fn property(path: &str) -> Result<Vec<u8>, Refusal> {
    let (mut value, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: the pointer goes with the length of the string it was taken from, and the others outlive the call.
    done(unsafe { proxy_get_property(path.as_ptr(), path.len(), &raw mut value, &raw mut size) })?;
    // SAFETY: see `given`.
    Ok(unsafe { given(value, size) }.unwrap_or_default())
}

/// `false`: the host has no ticks, or does not change their period.
pub(super) fn set_tick_period(millis: u32) -> bool {
    // SAFETY: a number only.
    unsafe { proxy_set_tick_period_milliseconds(millis) == OK }
}

/// Answers the request. `details` becomes `%RESPONSE_CODE_DETAILS%` of Envoy's access log.
pub(super) fn send_local_response(
    status: u32,
    details: &str,
    headers: &Headers<'_>,
    body: &[u8],
) -> bool {
    let headers = wire::serialize(headers);
    // SAFETY: each pointer goes with the length of the slice it was taken from; the host reads them before it returns,
    // and keeps none.
    let answer = unsafe {
        proxy_send_local_response(
            status,
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            FROM_HTTP_STATUS,
        )
    };
    answer == OK
}

/// The bytes under this key in the data that VMs share, and their version.
pub(super) fn shared_data(key: &str) -> Result<(Vec<u8>, u32), Refusal> {
    let (mut value, mut size, mut version) = (std::ptr::null_mut(), 0, 0);
    // SAFETY: the pointer goes with the length of the string it was taken from, and the others outlive the call.
    done(unsafe {
        proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut value,
            &raw mut size,
            &raw mut version,
        )
    })?;
    // SAFETY: see `given`.
    let value = unsafe { given(value, size) };
    Ok((value.ok_or(Refusal::NOT_FOUND)?, version))
}

/// Writes into the data that VMs share; over this version only, where it is not 0, else [`Refusal::CAS_MISMATCH`].
pub(super) fn set_shared_data(key: &str, value: &[u8], version: u32) -> Result<(), Refusal> {
    // SAFETY: each pointer goes with the length of what it was taken from; the host reads them before it returns.
    done(unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            version,
        )
    })
}

/// Milliseconds on a clock that never steps back and that all VMs of a process share. `None`: the host has no such clock.
pub(super) fn monotonic_millis() -> Option<u64> {
    Some(wasi_nanos(WASI_MONOTONIC)? / 1_000_000)
}

const WASI_REALTIME: i32 = 0;
const WASI_MONOTONIC: i32 = 1;

#[cfg(target_family = "wasm")]
fn wasi_nanos(clock: i32) -> Option<u64> {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        #[link_name = "clock_time_get"]
        fn wasi_clock_time_get(clock: i32, precision: i64, time: *mut u64) -> i32;
    }
    let mut nanos = 0;
    // SAFETY: `nanos` outlives the call.
    let errno = unsafe { wasi_clock_time_get(clock, 0, &raw mut nanos) };
    (errno == 0).then_some(nanos)
}

/// Only a wasm host has WASI.
#[cfg(not(target_family = "wasm"))]
fn wasi_nanos(_: i32) -> Option<u64> {
    None
}
