//! Writes the OCI image of the filter's module, as a folder (`oci:FOLDER`): the same bytes each time.
//!
//! Istio's agent, Envoy Gateway and others each pull in their own way. What all of them take, by tag and by digest, is a single
//! manifest with one layer, gzipped tar, that has `plugin.wasm` in its root; an index fails where it is named by its digest. Kubernetes
//! mounts image volumes by the node's platform, so a second tag is an index of the same layer for each platform.

mod layer;
mod layout;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, ensure};
use clap::Parser;

use layout::{About, Layout};

/// Writes the OCI image of the filter's module
#[derive(Parser)]
#[command(name = "wasm-image")]
struct Arguments {
    /// The module
    module: PathBuf,
    /// The folder to write, which must not be there yet
    folder: PathBuf,
    /// The version: the tag, and an annotation
    #[arg(long)]
    version: String,
    /// The commit that it was built from
    #[arg(long)]
    revision: String,
    /// Where the sources are
    #[arg(long)]
    source: String,
    /// The licence, in SPDX
    #[arg(long)]
    licenses: String,
}

fn main() -> ExitCode {
    match write(&Arguments::parse()) {
        Ok(digest) => {
            println!("{digest}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("wasm-image: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the digest of the manifest.
fn write(arguments: &Arguments) -> anyhow::Result<String> {
    let module = read_module(&arguments.module)?;
    let about = About {
        version: arguments.version.clone(),
        revision: arguments.revision.clone(),
        source: arguments.source.clone(),
        licenses: arguments.licenses.clone(),
    };
    about.check()?;
    let folder = &arguments.folder;
    ensure!(!folder.exists(), "{}: is there already", folder.display());
    let layout = Layout::new(&module, &about)?;
    layout
        .write(folder)
        .with_context(|| format!("{}", folder.display()))?;
    Ok(layout.digest().to_owned())
}

fn read_module(path: &Path) -> anyhow::Result<Vec<u8>> {
    let module = std::fs::read(path).with_context(|| format!("{}", path.display()))?;
    ensure!(
        module.starts_with(MAGIC_AND_VERSION),
        "{}: is no WebAssembly module",
        path.display()
    );
    Ok(module)
}

const MAGIC_AND_VERSION: &[u8] = b"\0asm\x01\0\0\0";
