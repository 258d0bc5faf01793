//! A filter that reads three headers and writes one: the least a useful Proxy-Wasm filter can do.
#![allow(missing_docs, reason = "what the macro below exports has no reader")]

use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

proxy_wasm::main! {{
    proxy_wasm::set_root_context(|_| Box::new(Root));
}}

struct Root;

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Stream))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Stream;

impl Context for Stream {}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        let length: usize = [":path", "authorization", "cookie"]
            .iter()
            .filter_map(|name| self.get_http_request_header_bytes(name))
            .map(|value| value.len())
            .sum();
        self.set_http_request_header("x-noop", Some(&length.to_string()));
        Action::Continue
    }
}
