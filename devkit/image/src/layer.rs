//! The layer: a gzipped tar with the module alone.

use std::io::Write as _;

use flate2::{Compression, GzBuilder};

/// A layer, and the digest of what it unpacks to.
pub(crate) struct Layer {
    pub(crate) gzipped: Vec<u8>,
    pub(crate) diff: Vec<u8>,
}

/// The name that all who pull look for.
pub(crate) const FILE_NAME: &str = "plugin.wasm";

impl Layer {
    pub(crate) fn new(module: &[u8]) -> anyhow::Result<Self> {
        let mut header = tar::Header::new_ustar();
        header.set_size(u64::try_from(module.len())?);
        header.set_mode(0o644);
        // Of nobody, and of no time.
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_entry_type(tar::EntryType::Regular);
        let mut archive = tar::Builder::new(Vec::new());
        archive.append_data(&mut header, FILE_NAME, module)?;
        let diff = archive.into_inner()?;
        let mut gzip = GzBuilder::new()
            .mtime(0)
            .operating_system(UNKNOWN_SYSTEM)
            .write(Vec::new(), Compression::best());
        gzip.write_all(&diff)?;
        Ok(Self {
            gzipped: gzip.finish()?,
            diff,
        })
    }
}

/// RFC 1952 §2.3.1.
const UNKNOWN_SYSTEM: u8 = 255;

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn the_module_is_all_that_is_in_it_and_says_nothing_of_its_builder() {
        let module = b"\0asm\x01\0\0\0 and more";
        let layer = Layer::new(module).unwrap();
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&layer.gzipped[..])
            .read_to_end(&mut unpacked)
            .unwrap();
        assert_eq!(unpacked, layer.diff);
        let mut archive = tar::Archive::new(&unpacked[..]);
        let mut entries = archive.entries().unwrap();
        let mut entry = entries.next().unwrap().unwrap();
        assert_eq!(entry.path().unwrap().to_str(), Some(FILE_NAME));
        let header = entry.header();
        let of_whom = (header.uid().unwrap(), header.gid().unwrap());
        assert_eq!(
            (of_whom, header.mtime().unwrap(), header.mode().unwrap()),
            ((0, 0), 0, 0o644)
        );
        assert!(header.username().unwrap().is_none_or(str::is_empty));
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        assert_eq!(content, module);
        assert!(entries.next().is_none());
    }
}
