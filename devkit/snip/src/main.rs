//! Takes out of a module what it never runs and the linker cannot know of, and writes into it what it is: `snip IN OUT`.
//!
//! The standard library's own panic handler prints backtraces, with the names of functions made readable: a tenth of the filter's
//! module. The filter has a handler of its own from its first callback on (`src/filter/logger.rs`). The bodies of these functions are
//! replaced by a trap; `wasm-opt` then removes what only they have called.

use std::collections::HashSet;
use std::convert::Infallible;
use std::process::ExitCode;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{CodeSection, CustomSection, Function, Module};
use wasmparser::{FunctionBody, KnownCustom, Name, Parser, Payload};

/// What the names of these functions begin with, without angle brackets.
const UNUSED: [&str; 4] = [
    "rustc_demangle::",
    "std::backtrace_rs::",
    "std::panicking::default_hook",
    "std::sys::backtrace::output_filename",
];
/// The same of functions that print what nobody reads, and return success: they print nothing. `serde` writes a number into the
/// text of an error about its type, which is dropped, or names a document of keys that is none; `jwt-compact` brings errors along
/// that can be printed at length.
const SILENT: [&str; 2] = [
    "core::fmt::float::float_to_decimal_common",
    "anyhow::fmt::impl anyhow::error::ErrorImpl::debug",
];
/// The compiler merges functions that do the same, under one of their names: small ones may be used by others.
const MIN_BODY_BYTES: usize = 128;

/// Custom sections that say what the module is, by the names that tools for Wasm give them (`wasm-tools metadata show`). The
/// version is that of all packages.
const ABOUT: [(&str, &str); 3] = [
    ("version", env!("CARGO_PKG_VERSION")),
    ("licenses", env!("CARGO_PKG_LICENSE")),
    ("source", env!("CARGO_PKG_REPOSITORY")),
];

/// What a function that prints returns.
const SUCCESS: i32 = 0;

struct Snip {
    /// The indices of the functions that are replaced, imported ones counted.
    unused: HashSet<u32>,
    /// The same of those that are to print nothing.
    silent: HashSet<u32>,
    /// The index of the next function whose body is read.
    next: u32,
}

impl Reencode for Snip {
    type Error = Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let large = body.as_bytes().len() >= MIN_BODY_BYTES;
        if large && self.unused.contains(&self.next) {
            let mut trap = Function::new([]);
            trap.instructions().unreachable().end();
            code.function(&trap);
        } else if large && self.silent.contains(&self.next) {
            let mut silent = Function::new([]);
            silent.instructions().i32_const(SUCCESS).end();
            code.function(&silent);
        } else {
            code.raw(body.as_bytes());
        }
        self.next = self.next.saturating_add(1);
        Ok(())
    }
}

/// Whether a name begins with one of these.
fn is_one_of(name: &str, beginnings: &[&str]) -> bool {
    let name = format!("{:#}", rustc_demangle::demangle(name)).replace(['<', '>'], "");
    beginnings
        .iter()
        .any(|beginning| name.starts_with(beginning))
}

/// The functions whose names say that they are unused, and how many functions are imported.
fn unused(module: &[u8]) -> Result<Snip, wasmparser::BinaryReaderError> {
    let mut snip = Snip {
        unused: HashSet::new(),
        silent: HashSet::new(),
        next: 0,
    };
    for payload in Parser::new(0).parse_all(module) {
        match payload? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let is_function = matches!(import?.ty, wasmparser::TypeRef::Func(_));
                    snip.next = snip.next.saturating_add(u32::from(is_function));
                }
            }
            Payload::CustomSection(section) => {
                let KnownCustom::Name(names) = section.as_known() else {
                    continue;
                };
                for names in names {
                    let Name::Function(names) = names? else {
                        continue;
                    };
                    for named in names {
                        let named = named?;
                        if is_one_of(named.name, &UNUSED) {
                            snip.unused.insert(named.index);
                        }
                        if is_one_of(named.name, &SILENT) {
                            snip.silent.insert(named.index);
                        }
                    }
                }
            }
            _ => {}
        }
    }
    Ok(snip)
}

fn run(from: &str, to: &str) -> Result<(), String> {
    let module = std::fs::read(from).map_err(|error| format!("{from}: {error}"))?;
    let mut snip = unused(&module).map_err(|error| format!("{from}: {error}"))?;
    if snip.unused.is_empty() {
        eprintln!(
            "snip: warning: {from} has none of these functions, or no names: it stays as large as it is"
        );
    }
    let mut snipped = Module::new();
    utils::parse_core_module(&mut snip, &mut snipped, Parser::new(0), &module)
        .map_err(|error| format!("{from}: {error}"))?;
    for (name, text) in ABOUT {
        snipped.section(&CustomSection {
            name: name.into(),
            data: text.as_bytes().into(),
        });
    }
    std::fs::write(to, snipped.finish()).map_err(|error| format!("{to}: {error}"))
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = arguments.as_slice() else {
        eprintln!("usage: snip IN OUT");
        return ExitCode::from(2);
    };
    match run(from, to) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("snip: {error}");
            ExitCode::FAILURE
        }
    }
}
