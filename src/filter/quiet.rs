//! A request's context without the SDK's own calls to the host.
//!
//! The dispatcher keeps contexts as trait objects, and so all methods of the trait are linked: those, too, that nobody calls,
//! each of which would call the host by the SDK. Here they do nothing, which leaves out of the module what they call.

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::{Action, Bytes, GrpcStatusCode};

/// The context of one request, as the dispatcher keeps it. It passes on the callbacks that `scripts/wasm-ld` keeps.
pub(super) struct Quiet<C>(pub(super) C);

impl<C: Context> Context for Quiet<C> {
    fn on_http_call_response(&mut self, token: u32, headers: usize, body: usize, trailers: usize) {
        self.0.on_http_call_response(token, headers, body, trailers);
    }
}

/// Methods that do nothing.
macro_rules! nothing {
    ($(fn $name:ident($($argument:ty),*) $(-> $value:ty)?;)*) => {
        $(fn $name(&self, $(_: $argument),*) $(-> $value)? { $(<$value>::default())? })*
    };
}

impl<C: HttpContext> HttpContext for Quiet<C> {
    fn on_http_request_headers(&mut self, headers: usize, end_of_stream: bool) -> Action {
        self.0.on_http_request_headers(headers, end_of_stream)
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        self.0.on_http_request_body(size, end_of_stream)
    }

    fn on_http_request_trailers(&mut self, trailers: usize) -> Action {
        self.0.on_http_request_trailers(trailers)
    }

    fn on_http_response_headers(&mut self, headers: usize, end_of_stream: bool) -> Action {
        self.0.on_http_response_headers(headers, end_of_stream)
    }

    nothing! {
        fn get_http_request_headers() -> Vec<(String, String)>;
        fn get_http_request_headers_bytes() -> Vec<(String, Bytes)>;
        fn set_http_request_headers(Vec<(&str, &str)>);
        fn set_http_request_headers_bytes(Vec<(&str, &[u8])>);
        fn get_http_request_header(&str) -> Option<String>;
        fn get_http_request_header_bytes(&str) -> Option<Bytes>;
        fn set_http_request_header(&str, Option<&str>);
        fn set_http_request_header_bytes(&str, Option<&[u8]>);
        fn add_http_request_header(&str, &str);
        fn add_http_request_header_bytes(&str, &[u8]);
        fn remove_http_request_header(&str);
        fn get_http_request_body(usize, usize) -> Option<Bytes>;
        fn set_http_request_body(usize, usize, &[u8]);
        fn get_http_request_trailers() -> Vec<(String, String)>;
        fn get_http_request_trailers_bytes() -> Vec<(String, Bytes)>;
        fn set_http_request_trailers(Vec<(&str, &str)>);
        fn set_http_request_trailers_bytes(Vec<(&str, &[u8])>);
        fn get_http_request_trailer(&str) -> Option<String>;
        fn get_http_request_trailer_bytes(&str) -> Option<Bytes>;
        fn set_http_request_trailer(&str, Option<&str>);
        fn set_http_request_trailer_bytes(&str, Option<&[u8]>);
        fn add_http_request_trailer(&str, &str);
        fn add_http_request_trailer_bytes(&str, &[u8]);
        fn remove_http_request_trailer(&str);
        fn resume_http_request();
        fn reset_http_request();
        fn get_http_response_headers() -> Vec<(String, String)>;
        fn get_http_response_headers_bytes() -> Vec<(String, Bytes)>;
        fn set_http_response_headers(Vec<(&str, &str)>);
        fn set_http_response_headers_bytes(Vec<(&str, &[u8])>);
        fn get_http_response_header(&str) -> Option<String>;
        fn get_http_response_header_bytes(&str) -> Option<Bytes>;
        fn set_http_response_header(&str, Option<&str>);
        fn set_http_response_header_bytes(&str, Option<&[u8]>);
        fn add_http_response_header(&str, &str);
        fn add_http_response_header_bytes(&str, &[u8]);
        fn remove_http_response_header(&str);
        fn get_http_response_body(usize, usize) -> Option<Bytes>;
        fn set_http_response_body(usize, usize, &[u8]);
        fn get_http_response_trailers() -> Vec<(String, String)>;
        fn get_http_response_trailers_bytes() -> Vec<(String, Bytes)>;
        fn set_http_response_trailers(Vec<(&str, &str)>);
        fn set_http_response_trailers_bytes(Vec<(&str, &[u8])>);
        fn get_http_response_trailer(&str) -> Option<String>;
        fn get_http_response_trailer_bytes(&str) -> Option<Bytes>;
        fn set_http_response_trailer(&str, Option<&str>);
        fn set_http_response_trailer_bytes(&str, Option<&[u8]>);
        fn add_http_response_trailer(&str, &str);
        fn add_http_response_trailer_bytes(&str, &[u8]);
        fn remove_http_response_trailer(&str);
        fn resume_http_response();
        fn reset_http_response();
        fn send_http_response(u32, Vec<(&str, &str)>, Option<&[u8]>);
        fn send_grpc_response(GrpcStatusCode, Option<&str>, Vec<(&str, &[u8])>);
    }
}
