//! What happens to streams and calls, as the host sees it.

use std::time::Duration;

/// Names and values, in order.
pub(super) type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// A call of the module's to an upstream.
#[derive(Clone, Debug)]
pub(super) struct HttpCall {
    pub(super) token: u32,
    pub(super) cluster: String,
    pub(super) headers: Headers,
    pub(super) timeout: Duration,
    pub(super) answered: bool,
}

impl HttpCall {
    /// The value of this header; empty where there is none.
    pub(super) fn header(&self, name: &str) -> String {
        let mut headers = self.headers.iter();
        let header = headers.find(|(known, _)| known == name.as_bytes());
        header.map_or_else(String::new, |(_, value)| {
            String::from_utf8_lossy(value).into_owned()
        })
    }
}

/// An answer of the module's to a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    pub(super) status: u32,
    pub(super) details: String,
    pub(super) headers: Headers,
}

/// Who a stream may be forwarded as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum May {
    /// Nobody: its credential is not valid where one is required.
    Never,
    /// It is forwarded with just these headers of the reserved family.
    GoOnAs(Vec<(String, String)>),
}

/// A request, from its headers to its end.
#[derive(Clone, Debug)]
pub(super) struct Stream {
    may: May,
    headers: Headers,
    pub(super) trailers: Option<Headers>,
    pub(super) response: Option<Headers>,
    /// The headers with which it was forwarded to the backend.
    forwarded: Option<Headers>,
    replies: Vec<Reply>,
    /// What must not happen, and did.
    pub(super) violations: Vec<String>,
}

impl Stream {
    pub(super) fn new(headers: Headers, may: May) -> Self {
        Self {
            may,
            headers,
            trailers: None,
            response: None,
            forwarded: None,
            replies: Vec::new(),
            violations: Vec::new(),
        }
    }

    pub(super) fn is_undecided(&self) -> bool {
        self.forwarded.is_none() && self.replies.is_empty()
    }

    pub(super) fn was_forwarded(&self) -> bool {
        self.forwarded.is_some()
    }

    /// The headers, until they are forwarded.
    pub(super) fn request_headers(&mut self) -> Option<&mut Headers> {
        self.forwarded.is_none().then_some(&mut self.headers)
    }

    /// It is forwarded, with the headers as they are.
    pub(super) fn forward(&mut self) {
        if !self.replies.is_empty() {
            self.violate("forwarded, though it was answered");
        }
        let mut identity = reserved(&self.headers);
        identity.sort();
        match &self.may {
            May::Never => self.violate("forwarded, though it must not be"),
            May::GoOnAs(expected) if *expected != identity => {
                let violation = format!("forwarded as {identity:?}, not as {expected:?}");
                self.violate(&violation);
            }
            May::GoOnAs(_) => {}
        }
        self.forwarded = Some(self.headers.clone());
    }

    /// Its trailers are forwarded, and its headers before them.
    pub(super) fn forward_trailers(&mut self) {
        if self.forwarded.is_none() {
            self.forward();
        }
        let left = reserved(self.trailers.as_deref().unwrap_or_default());
        if !left.is_empty() {
            self.violate(&format!("trailers forwarded with {left:?}"));
        }
    }

    pub(super) fn answer(&mut self, reply: Reply) {
        if !self.replies.is_empty() {
            self.violate(&format!("answered again, with {}", reply.status));
        }
        if reply.status < 300 {
            self.violate(&format!("answered with {}", reply.status));
        }
        self.replies.push(reply);
    }

    pub(super) fn violate(&mut self, violation: &str) {
        self.violations.push(violation.to_owned());
    }

    /// How it ended, or that it has not.
    pub(super) fn fate(&self) -> Fate {
        match (self.replies.first(), &self.forwarded) {
            (_, Some(headers)) => Fate::Forwarded(texts(headers)),
            (Some(reply), None) => Fate::Answered(reply.status),
            (None, None) => Fate::Paused,
        }
    }
}

/// How a stream ended, or that it has not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Forwarded(Vec<(String, String)>),
    Answered(u32),
    Paused,
}

impl Fate {
    /// Whether it was forwarded.
    pub(super) fn is_forwarded(&self) -> bool {
        matches!(self, Self::Forwarded(_))
    }
}

/// Headers of the family that only the filter may write, however they are spelt.
fn reserved(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(String, String)> {
    let ours = |name: &str| {
        let name = name.to_ascii_lowercase().replace('_', "-");
        name.starts_with("x-authgear-")
    };
    let mut headers = texts(headers);
    headers.retain(|(name, _)| ours(name));
    headers
}

fn texts(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let headers = headers.iter();
    headers
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

/// A header map as host and module exchange it.
pub(super) fn serialize(headers: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
    let number = |number: usize| u32::try_from(number).expect("small").to_le_bytes();
    let mut bytes = number(headers.len()).to_vec();
    for (name, value) in headers {
        bytes.extend(number(name.len()));
        bytes.extend(number(value.len()));
    }
    for text in headers.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text);
        bytes.push(0);
    }
    bytes
}

/// The header map in these bytes, which the module has written.
pub(super) fn deserialize(bytes: &[u8]) -> Headers {
    let number = |place: usize| {
        let number = bytes[place..place + 4].try_into().expect("4 bytes");
        u32::from_le_bytes(number) as usize
    };
    let count = number(0);
    let mut place = 4 + 8 * count;
    let mut text = |length: usize| {
        let text = bytes[place..place + length].to_vec();
        assert_eq!(bytes[place + length], 0);
        place += length + 1;
        text
    };
    (0..count)
        .map(|nth| {
            let name = text(number(4 + 8 * nth));
            (name, text(number(8 + 8 * nth)))
        })
        .collect()
}
