//! Host functions that the SDK does not offer as the filter needs them: it cannot name the reason of a local response,
//! and it traps where the host cannot do something.
//!
//! The only unsafe code of the crate. Signatures: Proxy-Wasm ABI 0.2.1.
#![allow(unsafe_code)]

/// `PROXY_STATUS_OK`
const OK: u32 = 0;
/// `PROXY_STATUS_CAS_MISMATCH`
pub(super) const CAS_MISMATCH: u32 = 8;
/// `MetricType`
pub(super) const COUNTER: u32 = 0;
pub(super) const GAUGE: u32 = 1;
pub(super) const HISTOGRAM: u32 = 2;
/// No gRPC status of our own: the host finds the one that goes with the HTTP status.
const FROM_HTTP_STATUS: i32 = -1;

#[cfg_attr(target_family = "wasm", link(wasm_import_module = "env"))]
unsafe extern "C" {
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

    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;

    fn proxy_increment_metric(id: u32, offset: i64) -> u32;

    fn proxy_record_metric(id: u32, value: u64) -> u32;

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

/// `None`: the host cannot.
pub(super) fn define_metric(kind: u32, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: the pointer goes with the length of the string it was taken from, and `id` outlives the call.
    let answer = unsafe { proxy_define_metric(kind, name.as_ptr(), name.len(), &raw mut id) };
    (answer == OK).then_some(id)
}

pub(super) fn increment_metric(id: u32, offset: i64) {
    // SAFETY: numbers only. A host that refuses is not asked why.
    unsafe { proxy_increment_metric(id, offset) };
}

pub(super) fn record_metric(id: u32, value: u64) {
    // SAFETY: as above.
    unsafe { proxy_record_metric(id, value) };
}

/// Answers the request. `details` becomes `%RESPONSE_CODE_DETAILS%` of Envoy's access log.
pub(super) fn send_local_response(
    status: u32,
    details: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> bool {
    let headers = serialize(headers);
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

/// A header map on the wire: the number of pairs, the lengths of each, then names and values, each with a NUL behind it.
fn serialize(headers: &[(&str, &str)]) -> Vec<u8> {
    let length = |text: &str| u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes();
    let count = u32::try_from(headers.len()).unwrap_or(u32::MAX);
    let mut wire = count.to_le_bytes().to_vec();
    for (name, value) in headers {
        wire.extend_from_slice(&length(name));
        wire.extend_from_slice(&length(value));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        wire.extend_from_slice(text.as_bytes());
        wire.push(0);
    }
    wire
}

/// The bytes under this key in the data that VMs share, and their version. `None`: there are none, or the host has no such data.
pub(super) fn shared_data(key: &str) -> Option<(Vec<u8>, u32)> {
    let (mut value, mut size, mut version) = (std::ptr::null_mut(), 0, 0);
    // SAFETY: the pointer goes with the length of the string it was taken from, and the others outlive the call.
    let answer = unsafe {
        proxy_get_shared_data(
            key.as_ptr(),
            key.len(),
            &raw mut value,
            &raw mut size,
            &raw mut version,
        )
    };
    if answer != OK || value.is_null() {
        return None;
    }
    // SAFETY: what the host gives back lies in memory of this size, taken from the SDK's `proxy_on_memory_allocate`, which makes a
    // boxed slice of just that size; the host keeps nothing of it.
    Some((unsafe { Vec::from_raw_parts(value, size, size) }, version))
}

/// Writes into the data that VMs share; over this version only, where it is not 0.
///
/// # Errors
/// The host's status: [`CAS_MISMATCH`], or that it has no such data.
pub(super) fn set_shared_data(key: &str, value: &[u8], version: u32) -> Result<(), u32> {
    // SAFETY: each pointer goes with the length of what it was taken from; the host reads them before it returns.
    let answer = unsafe {
        proxy_set_shared_data(
            key.as_ptr(),
            key.len(),
            value.as_ptr(),
            value.len(),
            version,
        )
    };
    if answer == OK { Ok(()) } else { Err(answer) }
}

/// Milliseconds on a clock that never steps back and that all VMs of a process share.
#[cfg(target_family = "wasm")]
pub(super) fn monotonic_millis() -> u64 {
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        #[link_name = "clock_time_get"]
        fn wasi_clock_time_get(clock: i32, precision: i64, time: *mut u64) -> i32;
    }
    const MONOTONIC: i32 = 1;
    let mut nanos = 0;
    // SAFETY: `nanos` outlives the call. A host without the clock leaves it at 0: everything is young then, and fetched once.
    unsafe { wasi_clock_time_get(MONOTONIC, 0, &raw mut nanos) };
    nanos / 1_000_000
}

/// Milliseconds on a clock that never steps back.
#[cfg(not(target_family = "wasm"))]
pub(super) fn monotonic_millis() -> u64 {
    use std::sync::LazyLock;
    use std::time::Instant;
    static START: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::serialize;

    #[test]
    fn a_header_map_is_lengths_first() {
        let wire = serialize(&[("a", "bc"), ("d", "")]);
        let expected = b"\x02\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\0\0\0\0a\0bc\0d\0\0";
        assert_eq!(wire, expected);
    }
}
