//! Where the binary, the filter and the checkout are.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::EnvoyError;

/// The Envoy binary: `$ENVOY`, else what `scripts/envoy` of the checkout prints.
///
/// # Errors
/// Where there is neither.
pub fn binary() -> Result<PathBuf, EnvoyError> {
    static FOUND: OnceLock<PathBuf> = OnceLock::new();
    if let Some(path) = env::var_os("ENVOY") {
        return Ok(path.into());
    }
    if let Some(path) = FOUND.get() {
        return Ok(path.clone());
    }
    let script = checkout().join("scripts/envoy");
    let output = Command::new(&script)
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| {
            EnvoyError::NotFound(format!(
                "ENVOY is not set, and {}: {error}",
                script.display()
            ))
        })?;
    let path = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if !output.status.success() || path.is_empty() {
        return Err(EnvoyError::NotFound(format!(
            "{} failed: {}",
            script.display(),
            output.status
        )));
    }
    Ok(FOUND.get_or_init(|| path.into()).clone())
}

/// The version of the Envoy binary: major, minor, patch.
///
/// # Errors
/// Where there is no Envoy, or it does not say.
pub fn version() -> Result<[u32; 3], EnvoyError> {
    let binary = binary()?;
    let output = Command::new(&binary).arg("--version").output()?;
    let said = String::from_utf8_lossy(&output.stdout);
    // "envoy  version: COMMIT/1.40.0/Clean/RELEASE/BoringSSL"
    parse_version(&said)
        .ok_or_else(|| EnvoyError::NotFound(format!("{} --version: {said}", binary.display())))
}

fn parse_version(said: &str) -> Option<[u32; 3]> {
    let version = said.split('/').nth_back(3)?.split('-').next()?;
    let numbers: Vec<u32> = version
        .split('.')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    numbers.try_into().ok()
}

/// The filter: `$AUTHGEAR_FILTER_WASM`, else `dist/authgear_filter.wasm` of the checkout.
///
/// # Errors
/// Where there is no such file.
pub fn filter_wasm() -> Result<PathBuf, EnvoyError> {
    let path = env::var_os("AUTHGEAR_FILTER_WASM").map_or_else(
        || checkout().join("dist/authgear_filter.wasm"),
        PathBuf::from,
    );
    if path.is_file() {
        return Ok(path);
    }
    Err(EnvoyError::NotFound(format!(
        "{}: no such file; `make build` makes it",
        path.display()
    )))
}

/// The root of the checkout: where the current directory lies in one, that one.
#[must_use]
pub fn checkout() -> PathBuf {
    let here = env::current_dir().unwrap_or_default();
    let is_root =
        |directory: &&Path| directory.join("scripts").is_dir() && directory.join("devkit").is_dir();
    let built_in = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."));
    here.ancestors()
        .find(is_root)
        .unwrap_or(built_in)
        .to_path_buf()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_second_of_what_envoy_says() {
        let said = |version: &str| {
            format!("\n/a/b/envoy  version: 8aa6/{version}/Clean/RELEASE/BoringSSL\n\n")
        };
        assert_eq!(parse_version(&said("1.40.0")), Some([1, 40, 0]));
        assert_eq!(parse_version(&said("1.41.2-dev")), Some([1, 41, 2]));
        for other in ["", "1.40.0", "a/b/c/d/e", &said("1.40"), &said("1.40.0.1")] {
            assert_eq!(parse_version(other), None, "{other:?}");
        }
    }
}
