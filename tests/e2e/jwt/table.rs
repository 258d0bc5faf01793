//! A fixture that presents one token after the other, and asserts what all refusals have in common.

use std::cell::RefCell;

use devkit::client::Request;
use devkit::keys::{SigningKey, Token, b64};
use devkit::message::Reply;
use devkit::testbed::{Builder, JWKS, ORIGIN, RESOLVER, TestBed};
use serde_json::Value;

/// The first fetch of the worker's VM, that of the main thread's, and the one that unknown key IDs may cause.
const FETCHES: usize = 3;

pub(crate) struct Table {
    pub(crate) bed: TestBed,
    pub(crate) key: SigningKey,
    /// The answer to the first token refused: every other is the same.
    refusal: RefCell<Option<String>>,
}

impl Table {
    pub(crate) async fn start() -> Self {
        Self::of(TestBed::builder()).await
    }

    /// With these options of `projects[0].jwt`.
    pub(crate) async fn jwt(options: Value) -> Self {
        Self::of(TestBed::builder().project(|project| project["jwt"] = options)).await
    }

    /// The keys are in use when this returns; from then on no call may be made.
    pub(crate) async fn of(builder: Builder) -> Self {
        let cooldown = |project: &mut Value| project["jwks"]["unknown_kid_cooldown"] = "1h".into();
        let bed = builder.project(cooldown).start().await;
        let key = bed.authgear.key();
        bed.authgear.wait_for_calls(JWKS, 1).await;
        let table = Self {
            bed,
            key,
            refusal: RefCell::default(),
        };
        // Waits for the keys, and uses up the one fetch that a key ID nobody knows may cause.
        // Two of them: the first may have waited for the first fetch, and cause none.
        for kid in ["not-there", "nor-there"] {
            let unknown = table.good().header("kid", kid).sign(&table.key);
            let reply = table.bed.get("/warm").bearer(unknown).send().await;
            assert_eq!(reply.status, 401, "{reply:?}");
        }
        table
    }

    /// A token of alice's that is valid until something of it is changed.
    pub(crate) fn good(&self) -> Token {
        Token::user(ORIGIN, &self.bed.alice)
    }

    /// The header of such a token.
    pub(crate) fn header(&self) -> String {
        self.good().header_for(&self.key).to_string()
    }

    /// Its payload.
    pub(crate) fn payload(&self) -> String {
        self.good().payload().to_string()
    }

    /// Its payload with one claim given as JSON text: numbers that no `Value` holds, say.
    pub(crate) fn payload_with(&self, claim: &str, json: &str) -> String {
        let payload = self.good().claim(claim, "@@").payload().to_string();
        payload.replace(r#""@@""#, json)
    }

    /// A true signature over these segments, whatever they are.
    pub(crate) fn compact(&self, header: &str, payload: &str) -> String {
        let input = format!("{header}.{payload}");
        let signature = b64(&self.key.signature(input.as_bytes()));
        format!("{input}.{signature}")
    }

    /// The token passes, and the backend receives alice's headers.
    pub(crate) async fn admits(&self, case: &str, token: impl AsRef<[u8]>) {
        self.admits_request(case, self.bed.get("/api/me").bearer(token))
            .await;
    }

    /// As [`Table::admits`], by any way of presenting it.
    pub(crate) async fn admits_request(&self, case: &str, request: Request) {
        let reply = request.send().await;
        assert_eq!(reply.status, 200, "{case}: {reply:?}");
        let forwarded = self.bed.only_forwarded();
        assert_eq!(forwarded.identity(), self.bed.alice.headers(), "{case}");
        self.bed.backend.clear();
    }

    /// The token is refused: 401, the one challenge, the one body, and no call is made because of it.
    pub(crate) async fn refuses(&self, case: &str, token: impl AsRef<[u8]>) {
        self.refuses_request(case, self.bed.get("/api/me").bearer(token))
            .await;
    }

    /// As [`Table::refuses`], by any way of presenting it.
    pub(crate) async fn refuses_request(&self, case: &str, request: Request) {
        let reply = request.send().await;
        assert_eq!(reply.status, 401, "{case}: {reply:?}");
        let challenge = r#"Bearer realm="auth.example.com", error="invalid_token""#;
        let given = reply.header("www-authenticate");
        assert_eq!(given.as_deref(), Some(challenge), "{case}");
        assert_eq!(reply.json()["code"], "invalid_token", "{case}");
        let answer = but_for_time_and_name(&reply);
        let first = self
            .refusal
            .borrow_mut()
            .get_or_insert_with(|| answer.clone())
            .clone();
        assert_eq!(answer, first, "{case}: an answer that differs by its cause");
        let forwarded = self.bed.forwarded();
        assert!(forwarded.is_empty(), "{case}: {forwarded:#?}");
        let asked = self.bed.authgear.calls_to(RESOLVER);
        assert!(asked.is_empty(), "{case}: {asked:#?}");
        let fetches = self.bed.authgear.calls_to(JWKS).len();
        assert!(fetches <= FETCHES, "{case}: {fetches} fetches of the keys");
    }

    pub(crate) async fn finish(self) {
        self.bed.finish().await;
    }
}

/// An answer but for its date.
fn but_for_time_and_name(reply: &Reply) -> String {
    let headers: Vec<_> = reply
        .headers
        .iter()
        .filter(|(name, _)| *name != "date")
        .map(|(name, value)| format!("{name}: {}", String::from_utf8_lossy(value)))
        .collect();
    let mut body = reply.json();
    body["request_id"].take();
    format!("{}\n{}\n{body}", reply.status, headers.join("\n"))
}

/// The three segments of a token.
pub(crate) fn segments(token: &str) -> [String; 3] {
    let segments: Vec<_> = token.split('.').map(str::to_owned).collect();
    segments.try_into().expect("three segments")
}
