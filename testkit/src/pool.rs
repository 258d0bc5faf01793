//! RSA keys take seconds to make, so they are made once and kept under the target directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, PoisonError};
use std::{env, fs, io};

use rand::rngs::OsRng;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{DecodePrivateKey, EncodePrivateKey};

type Keys = HashMap<(usize, usize), RsaPrivateKey>;

static LOADED: LazyLock<Mutex<Keys>> = LazyLock::new(Mutex::default);

/// The `n`-th key of this size. Two processes that miss at once both make one; the first to store it wins.
pub(super) fn rsa(bits: usize, n: usize) -> RsaPrivateKey {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded
        .entry((bits, n))
        .or_insert_with(|| stored_or_new(bits, n))
        .clone()
}

fn stored_or_new(bits: usize, n: usize) -> RsaPrivateKey {
    let directory = directory();
    let path = directory.join(format!("rsa-{bits}-{n}.der"));
    if let Some(key) = read(&path) {
        return key;
    }
    let key = RsaPrivateKey::new(&mut OsRng, bits).expect("an RSA key of a possible size");
    // A read-only folder is no reason to fail: the key then lives as long as the process.
    if store(&directory, &path, &key).is_err() {
        return read(&path).unwrap_or(key);
    }
    key
}

fn read(path: &Path) -> Option<RsaPrivateKey> {
    RsaPrivateKey::from_pkcs8_der(&fs::read(path).ok()?).ok()
}

/// Fails where another process was faster: then its key is the one.
fn store(directory: &Path, path: &Path, key: &RsaPrivateKey) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let file = tempfile::NamedTempFile::new_in(directory)?;
    fs::write(
        &file,
        key.to_pkcs8_der()
            .expect("a key that was made here")
            .as_bytes(),
    )?;
    file.persist_noclobber(path)?;
    Ok(())
}

/// `$CARGO_TARGET_DIR`, else the workspace's `target`; outside a checkout the system's temporary directory.
fn directory() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    target
        .or_else(|| {
            workspace
                .filter(|root| root.join("Cargo.toml").is_file())
                .map(|root| root.join("target"))
        })
        .unwrap_or_else(env::temp_dir)
        .join("devkit-keys")
}
