//! The workers share their data under the plugin's `vm_id`: under none, every plugin of the process could write keys.

use std::fmt::Write as _;

use devkit::keys::{SigningKey, Token, User};
use devkit::testbed::{Builder, JWKS, ORIGIN, TestBed};
use serde_json::{Value, json};
use tempfile::TempDir;

const WORKERS: usize = 3;
const NO_VM_ID: &str = "";
const ALONE: &str = "every worker fetches the keys for itself";

/// A plugin that does nothing but to write records of our keys, with a key set of its own in them.
struct Intruder {
    key: SigningKey,
    folder: TempDir,
}

impl Intruder {
    fn new() -> Self {
        let key = SigningKey::rsa(1).with_kid("intruder");
        let folder = tempfile::tempdir().expect("a folder");
        let module = wat::parse_str(module(&json!({ "keys": [key.jwk()] }))).expect("a module");
        std::fs::write(folder.path().join("intruder.wasm"), module).expect("written");
        Self { key, folder }
    }

    /// As an HTTP filter of Envoy's.
    fn filter(&self, vm_id: &str) -> Value {
        json!({
            "name": "intruder",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                "config": {
                    "name": "intruder",
                    "vm_config": {
                        "vm_id": vm_id,
                        "runtime": "envoy.wasm.runtime.v8",
                        "code": { "local": { "filename": self.folder.path().join("intruder.wasm") } },
                    },
                },
            },
        })
    }

    fn token(&self) -> String {
        let admin = User::new("intruder").roles(&["admin"]);
        Token::user(ORIGIN, &admin).sign(&self.key)
    }
}

/// The records as gate/src/jwks/shared.rs writes them: one fetch, one document, fetched now.
fn module(document: &Value) -> String {
    let name = |record| format!("authgear-filter\njwks 2\n{ORIGIN}\nauthgear\n{JWKS}\n{record}");
    let (notice, document_name) = (name("state"), name("document"));
    let mut bytes = 1_u64.to_le_bytes().to_vec();
    bytes.extend(document.to_string().as_bytes());
    format!(
        r#"(module
  (import "env" "proxy_set_shared_data" (func $write (param i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 4)
  (global $free (mut i32) (i32.const 131072))
  (data (i32.const 1024) "{notice_data}")
  (data (i32.const 2048) "{name_data}")
  (data (i32.const 4096) "{document_data}")
  (func (export "proxy_abi_version_0_2_1"))
  (func (export "proxy_on_memory_allocate") (param $size i32) (result i32)
    (global.set $free (i32.add (global.get $free) (local.get $size)))
    (i32.sub (global.get $free) (local.get $size)))
  (func (export "proxy_on_context_create") (param i32 i32))
  (func (export "proxy_on_vm_start") (param i32 i32) (result i32) (i32.const 1))
  (func (export "proxy_on_configure") (param i32 i32) (result i32)
    (local $now i64)
    (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 0)))
    (local.set $now (i64.div_u (i64.load (i32.const 0)) (i64.const 1000000)))
    (i64.store (i32.const 64) (i64.const 1))
    (i64.store (i32.const 72) (i64.const 1))
    (i64.store (i32.const 80) (local.get $now))
    (i64.store (i32.const 88) (i64.add (local.get $now) (i64.const 240000)))
    (drop (call $write (i32.const 2048) (i32.const {name_size}) (i32.const 4096) (i32.const {document_size}) (i32.const 0)))
    (drop (call $write (i32.const 1024) (i32.const {notice_size}) (i32.const 64) (i32.const 72) (i32.const 0)))
    (i32.const 1)))"#,
        notice_data = escaped(notice.as_bytes()),
        notice_size = notice.len(),
        name_data = escaped(document_name.as_bytes()),
        name_size = document_name.len(),
        document_data = escaped(&bytes),
        document_size = bytes.len(),
    )
}

fn escaped(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "\\{byte:02x}").expect("a string");
        text
    })
}

fn fixture(intruder: &Intruder, its_vm_id: &str, our_vm_id: &'static str) -> Builder {
    let intruder = intruder.filter(its_vm_id);
    under(our_vm_id).envoy(|envoy| envoy.filter_before(intruder))
}

fn under(vm_id: &'static str) -> Builder {
    TestBed::builder()
        .workers(WORKERS)
        .plugin(move |plugin| plugin["vm_config"]["vm_id"] = json!(vm_id))
}

#[tokio::test]
async fn keys_that_another_plugin_has_written_are_not_believed() {
    let intruder = Intruder::new();
    for (its_vm_id, our_vm_id) in [
        (NO_VM_ID, NO_VM_ID),
        (NO_VM_ID, "ours"),
        ("its-own", "ours"),
    ] {
        let bed = fixture(&intruder, its_vm_id, our_vm_id).start().await;

        for worker in bed.every_worker().await {
            let request = bed.get("/admin").bearer(intruder.token()).over(&worker);
            let reply = request.send().await;
            assert_eq!(reply.status, 401, "{its_vm_id:?}, {our_vm_id:?}: {reply:?}");
            let reply = bed.get("/").bearer(bed.token()).over(&worker).send().await;
            assert_eq!(reply.status, 200, "{its_vm_id:?}, {our_vm_id:?}: {reply:?}");
        }

        for request in bed.forwarded() {
            assert_eq!(request.identity(), bed.alice.headers());
        }
        bed.finish().await;
    }
}

/// What docs/operations.md says of the `vm_id`: the records cannot be distinguished from our own.
#[tokio::test]
async fn a_plugin_of_the_same_vm_id_is_trusted_like_the_filter() {
    let intruder = Intruder::new();
    let bed = fixture(&intruder, "ours", "ours").start().await;

    let reply = bed.get("/admin").bearer(intruder.token()).send().await;

    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(
        bed.only_forwarded().header("x-authgear-user-roles"),
        Some("admin".to_owned())
    );
    bed.finish().await;
}

#[tokio::test]
async fn without_a_vm_id_every_worker_fetches_for_itself_and_a_line_says_so() {
    let bed = under(NO_VM_ID).start().await;
    let line = bed.envoy.wait_for_log(ALONE).await;
    assert!(
        line.contains("info") && line.contains("\"vm_id\""),
        "{line}"
    );
    // Envoy's main thread fetches too.
    bed.authgear.wait_for_calls(JWKS, WORKERS + 1).await;

    for worker in bed.every_worker().await {
        let reply = bed.get("/").bearer(bed.token()).over(&worker).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    assert_eq!(bed.jwks_calls(), WORKERS + 1);
    bed.wait_for_count("authgear_jwks_fetches_total", |n| n == WORKERS as u64 + 1)
        .await;
    assert_eq!(bed.count("authgear_jwks_shared_updates_total").await, 0);
    bed.finish().await;
}

#[tokio::test]
async fn with_a_vm_id_one_worker_fetches_for_all() {
    let bed = under("ours").start().await;

    for worker in bed.every_worker().await {
        let reply = bed.get("/").bearer(bed.token()).over(&worker).send().await;
        assert_eq!(reply.status, 200, "{reply:?}");
    }

    assert_eq!(bed.jwks_calls(), 1);
    assert!(!bed.envoy.logs().contains(ALONE));
    bed.finish().await;
}

#[tokio::test]
async fn keys_in_the_configuration_need_no_vm_id() {
    let bed = under(NO_VM_ID)
        .jwks(json!({ "inline": { "keys": [SigningKey::rsa(0).with_kid("inline").jwk()] } }))
        .start()
        .await;
    bed.envoy.wait_for_log("configured").await;
    assert!(!bed.envoy.logs().contains(ALONE));
}
