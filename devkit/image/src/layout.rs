//! The folder: [OCI image layout](https://github.com/opencontainers/image-spec/blob/main/image-layout.md).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::ensure;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::layer::Layer;

/// What the annotations say.
#[derive(Clone, Debug)]
pub(crate) struct About {
    pub(crate) version: String,
    pub(crate) revision: String,
    pub(crate) source: String,
    pub(crate) licenses: String,
}

/// All files of the folder.
pub(crate) struct Layout {
    blobs: BTreeMap<String, Vec<u8>>,
    index: Value,
    digest: String,
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Where a manifest says its tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What the tag of the index for image volumes ends with.
const FOR_VOLUMES: &str = "-volume";

/// The main image says that it is for this one, whatever it runs on: who pulls it by itself looks for it.
const MAIN_PLATFORM: &str = "amd64";
const OTHER_PLATFORMS: [&str; 1] = ["arm64"];

impl About {
    /// The version must serve as a tag (OCI distribution, "Pulling manifests"), and never be one that moves.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let version = &self.version;
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
        let begins = version.starts_with(|first: char| first.is_ascii_digit());
        ensure!(
            begins && version.len() <= 100 && version.bytes().all(fits),
            "{version:?} is no version: it begins with a digit, and has letters, digits, \".\", \"-\" and \"_\" alone"
        );
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        ensure!(
            self.revision.len() == 40 && self.revision.bytes().all(is_hex),
            "{:?} is no commit: expected 40 hexadecimal digits",
            self.revision
        );
        Ok(())
    }

    fn annotations(&self) -> Value {
        json!({
            "org.opencontainers.image.title": "authgear_filter.wasm",
            "org.opencontainers.image.description":
                "Authgear authentication for Envoy: a Proxy-Wasm HTTP filter that verifies access tokens and sessions",
            "org.opencontainers.image.version": self.version,
            "org.opencontainers.image.revision": self.revision,
            "org.opencontainers.image.source": self.source,
            "org.opencontainers.image.licenses": self.licenses,
        })
    }
}

impl Layout {
    pub(crate) fn new(module: &[u8], about: &About) -> anyhow::Result<Self> {
        let mut layout = Self {
            blobs: BTreeMap::new(),
            index: Value::Null,
            digest: String::new(),
        };
        let layer = Layer::new(module)?;
        let diff = digest(&layer.diff);
        let layer = layout.add(LAYER, layer.gzipped)?;
        let mut image = |platform: &str| {
            let config = json!({
                "architecture": platform,
                "os": "linux",
                "config": {},
                "rootfs": { "type": "layers", "diff_ids": [diff] },
            });
            let config = layout.add(CONFIG, config.to_string().into_bytes())?;
            let manifest = json!({
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": config,
                "layers": [layer],
                "annotations": about.annotations(),
            });
            layout.add(MANIFEST, manifest.to_string().into_bytes())
        };
        let main = image(MAIN_PLATFORM)?;
        let mut for_platforms = vec![on_platform(&main, MAIN_PLATFORM)];
        for platform in OTHER_PLATFORMS {
            for_platforms.push(on_platform(&image(platform)?, platform));
        }
        let index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": for_platforms,
            "annotations": about.annotations(),
        });
        let index = layout.add(INDEX, index.to_string().into_bytes())?;
        layout.digest = main["digest"].as_str().unwrap_or_default().to_owned();
        layout.index = json!({
            "schemaVersion": 2,
            "mediaType": INDEX,
            "manifests": [
                tagged(&main, &about.version),
                tagged(&index, &format!("{}{FOR_VOLUMES}", about.version)),
            ],
        });
        Ok(layout)
    }

    /// The digest of the main manifest.
    pub(crate) fn digest(&self) -> &str {
        &self.digest
    }

    pub(crate) fn write(&self, folder: &Path) -> std::io::Result<()> {
        let blobs = folder.join("blobs/sha256");
        fs::create_dir_all(&blobs)?;
        for (digest, content) in &self.blobs {
            fs::write(blobs.join(digest), content)?;
        }
        let version = json!({ "imageLayoutVersion": "1.0.0" });
        fs::write(folder.join("oci-layout"), version.to_string())?;
        fs::write(folder.join("index.json"), self.index.to_string())
    }

    /// Adds a blob, and returns its descriptor.
    fn add(&mut self, media_type: &str, content: Vec<u8>) -> anyhow::Result<Value> {
        let digest = digest(&content);
        let descriptor = json!({
            "mediaType": media_type,
            "digest": digest,
            "size": u64::try_from(content.len())?,
        });
        let name = digest.trim_start_matches("sha256:").to_owned();
        self.blobs.insert(name, content);
        Ok(descriptor)
    }
}

fn digest(content: &[u8]) -> String {
    let hash = Sha256::digest(content);
    let digits: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

fn on_platform(descriptor: &Value, platform: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["platform"] = json!({ "architecture": platform, "os": "linux" });
    descriptor
}

fn tagged(descriptor: &Value, tag: &str) -> Value {
    let mut descriptor = descriptor.clone();
    descriptor["annotations"] = json!({ REF_NAME: tag });
    descriptor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about() -> About {
        About {
            version: "1.2.3".to_owned(),
            revision: "0123456789abcdef0123456789abcdef01234567".to_owned(),
            source: "https://example.com/filter".to_owned(),
            licenses: "Apache-2.0".to_owned(),
        }
    }

    const MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn blob(layout: &Layout, descriptor: &Value) -> Value {
        let name = descriptor["digest"].as_str().unwrap();
        let content = &layout.blobs[name.trim_start_matches("sha256:")];
        assert_eq!(digest(content), name);
        assert_eq!(descriptor["size"], json!(content.len()));
        serde_json::from_slice(content).unwrap()
    }

    #[test]
    fn the_version_is_one_manifest_of_one_layer_and_never_an_index() {
        let layout = Layout::new(MODULE, &about()).unwrap();
        let main = &layout.index["manifests"][0];
        assert_eq!(main["annotations"][REF_NAME], "1.2.3");
        assert_eq!(main["mediaType"], MANIFEST);
        assert_eq!(main["digest"], layout.digest());
        let manifest = blob(&layout, main);
        assert_eq!(manifest["layers"].as_array().unwrap().len(), 1);
        assert_eq!(manifest["layers"][0]["mediaType"], LAYER);
        let config = blob(&layout, &manifest["config"]);
        assert_eq!(config["architecture"], "amd64");
        assert_eq!(config["os"], "linux");
        let annotations = &manifest["annotations"];
        for (name, value) in [
            ("version", "1.2.3"),
            ("revision", &about().revision),
            ("source", "https://example.com/filter"),
            ("licenses", "Apache-2.0"),
        ] {
            assert_eq!(
                annotations[format!("org.opencontainers.image.{name}")],
                value
            );
        }
    }

    #[test]
    fn the_tag_for_volumes_is_an_index_of_the_same_layer_for_each_platform() {
        let layout = Layout::new(MODULE, &about()).unwrap();
        let [main, index] = [0, 1].map(|nth| &layout.index["manifests"][nth]);
        assert_eq!(index["annotations"][REF_NAME], "1.2.3-volume");
        let layer = blob(&layout, main)["layers"].clone();
        let index = blob(&layout, index);
        let manifests = index["manifests"].as_array().unwrap();
        let platforms = manifests.iter().map(|manifest| {
            let image = blob(&layout, manifest);
            assert_eq!(image["layers"], layer);
            let config = blob(&layout, &image["config"]);
            let platform = &manifest["platform"];
            assert_eq!(platform["architecture"], config["architecture"]);
            config["architecture"].as_str().unwrap().to_owned()
        });
        assert_eq!(platforms.collect::<Vec<_>>(), ["amd64", "arm64"]);
        assert_eq!(manifests[0]["digest"], main["digest"]);
    }

    /// With the versions of Cargo.lock: another compressor is another digest, and is to be noticed.
    #[test]
    fn the_same_module_has_the_same_digest() {
        let layout = Layout::new(MODULE, &about()).unwrap();
        assert_eq!(
            layout.digest(),
            Layout::new(MODULE, &about()).unwrap().digest()
        );
        assert_eq!(layout.digest(), DIGEST);
    }

    const DIGEST: &str = "sha256:5ae0aeb8424b5aed2868c56703fb4faea59caa1e465c50b1e6c66af09ba0db29";

    #[test]
    fn what_cannot_be_a_version_or_a_commit_is_refused() {
        for version in [
            "",
            "latest",
            "v1.0",
            "1.0 beta",
            "1.0/x",
            "1.0\n",
            &"1".repeat(101),
        ] {
            let about = About {
                version: version.to_owned(),
                ..about()
            };
            assert!(about.check().is_err(), "{version:?}");
        }
        for revision in ["", "abc", "HEAD", &"g".repeat(40), &"A".repeat(40)] {
            let about = About {
                revision: revision.to_owned(),
                ..about()
            };
            assert!(about.check().is_err(), "{revision:?}");
        }
        about().check().unwrap();
        About {
            version: "0.1.0-rc.1".to_owned(),
            ..about()
        }
        .check()
        .unwrap();
    }
}
