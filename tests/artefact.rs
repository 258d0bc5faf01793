//! The file that operators load: its size, what a host must be able to do, and what it is offered.
#![allow(missing_docs, reason = "the tests' names say it")]
#![allow(clippy::expect_used, reason = "a test fails by panicking")]

use std::fs;

use devkit::envoy::{CAPABILITIES, filter_wasm};
use wasmparser::{Parser, Payload, Validator, WasmFeatures};

fn artefact() -> Vec<u8> {
    let path = filter_wasm().expect("make build");
    fs::read(path).expect("the artefact")
}

fn sections(artefact: &[u8]) -> Vec<Payload<'_>> {
    let sections = Parser::new(0).parse_all(artefact);
    sections.collect::<Result<_, _>>().expect("a module")
}

#[test]
fn it_is_no_larger_than_it_may_be() {
    // V8 compiles all of it as Envoy starts, and every worker keeps it in memory.
    let size = artefact().len();
    assert!(size <= 650_000, "{size} bytes");
}

#[test]
fn it_says_which_version_it_is() {
    let artefact = artefact();
    let about: Vec<(&str, &[u8])> = sections(&artefact)
        .into_iter()
        .filter_map(|section| match section {
            Payload::CustomSection(section) => Some((section.name(), section.data())),
            _ => None,
        })
        .collect();
    let said = |name: &str| {
        let mut named = about.iter().filter(|(other, _)| *other == name);
        let text = named.next().map(|(_, text)| String::from_utf8_lossy(text));
        assert!(named.next().is_none(), "{name} is there once");
        text.map(String::from)
    };
    assert_eq!(said("version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(said("licenses").as_deref(), Some("Apache-2.0"));
    let source = said("source");
    assert_eq!(source.as_deref(), Some(env!("CARGO_PKG_REPOSITORY")));
}

#[test]
fn it_is_the_wasm_that_every_host_of_today_runs() {
    let common = WasmFeatures::FLOATS
        | WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::REFERENCE_TYPES;
    let valid = Validator::new_with_features(common).validate_all(&artefact());
    valid.expect("a module of WebAssembly 2.0 without vectors");
}

/// The functions of a host that the module imports, with their modules.
fn imports(artefact: &[u8]) -> Vec<(&str, &str)> {
    let imports = sections(artefact).into_iter().filter_map(|section| {
        let Payload::ImportSection(imports) = section else {
            return None;
        };
        Some(imports.into_imports())
    });
    imports
        .flatten()
        .map(|import| import.expect("an import"))
        .map(|import| (import.module, import.name))
        .collect()
}

/// What a host finds in the module, in alphabetical order.
fn exports(artefact: &[u8]) -> Vec<&str> {
    let exports = sections(artefact).into_iter().filter_map(|section| {
        let Payload::ExportSection(exports) = section else {
            return None;
        };
        Some(exports)
    });
    let mut exports: Vec<&str> = exports
        .flatten()
        .map(|export| export.expect("an export").name)
        .collect();
    exports.sort_unstable();
    exports
}

#[test]
fn it_asks_a_host_for_nothing_unusual() {
    // A host that lacks one function refuses the module, used or not. Those of Proxy-Wasm are the SDK's.
    const WASI: [&str; 6] = [
        "clock_time_get",
        "environ_get",
        "environ_sizes_get",
        "fd_write",
        "proc_exit",
        "random_get",
    ];
    let artefact = artefact();
    let imports = imports(&artefact);
    for (module, name) in &imports {
        let usual = match *module {
            "env" => name.starts_with("proxy_"),
            "wasi_snapshot_preview1" => WASI.contains(name),
            _ => false,
        };
        assert!(usual, "{module}.{name}");
    }
    assert!(imports.len() > WASI.len(), "{imports:?}");
}

#[test]
fn what_tests_can_withhold_from_it_is_all_that_it_imports_and_exports() {
    let artefact = artefact();
    let imports = imports(&artefact).into_iter().map(|(_, name)| name);
    let exports = exports(&artefact).into_iter();
    let callbacks = exports.filter(|name| name.starts_with("proxy_on_"));
    let mut capabilities: Vec<&str> = imports.chain(callbacks).collect();
    capabilities.sort_unstable();
    assert_eq!(capabilities, CAPABILITIES);
}

#[test]
fn a_host_is_offered_only_the_callbacks_that_there_are() {
    let artefact = artefact();
    let exports = exports(&artefact);
    let all = [
        "_initialize",
        "memory",
        "proxy_abi_version_0_2_1",
        "proxy_on_configure",
        "proxy_on_context_create",
        "proxy_on_delete",
        "proxy_on_http_call_response",
        "proxy_on_memory_allocate",
        "proxy_on_request_headers",
        "proxy_on_request_trailers",
        "proxy_on_response_headers",
        "proxy_on_tick",
        "proxy_on_vm_start",
    ];
    assert_eq!(exports, all);
}
