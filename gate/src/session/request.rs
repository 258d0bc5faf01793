//! What the resolver is asked.

use crate::callout::Call;
use crate::config::SessionPolicy;
use crate::credential::{Headers, SessionCredential};
use crate::endpoint::Endpoint;

/// What a call to the resolver says of the client's request: the client chooses it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientFacts {
    /// `user-agent`, if it is ASCII.
    pub(crate) user_agent: Option<String>,
    /// The client's address, as the gateway sees it.
    pub(crate) address: Option<String>,
    /// `traceparent`, if it is one (W3C Trace Context, version 00).
    pub(crate) traceparent: Option<Box<str>>,
}

impl ClientFacts {
    /// What is known of the client that sent these headers.
    #[must_use]
    pub(crate) fn new(headers: &Headers<'_>, address: Option<String>) -> Self {
        let (_, value) = headers
            .iter()
            .find(|(name, _)| *name == b"user-agent")
            .copied()
            .unwrap_or_default();
        let printable = value.iter().all(|byte| matches!(byte, b' '..=b'~'));
        let carried = printable && !value.is_empty() && value.len() <= MAX_USER_AGENT_BYTES;
        Self {
            user_agent: carried
                .then(|| String::from_utf8(value.to_vec()).ok())
                .flatten(),
            address,
            traceparent: traceparent(headers),
        }
    }

    /// Whether nothing is known of the client.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.user_agent.is_none() && self.address.is_none() && self.traceparent.is_none()
    }
}

impl SessionCredential {
    /// The call that asks for it: nothing of the client's request gets into it but what is named here.
    #[must_use]
    pub(crate) fn call(
        &self,
        endpoint: &Endpoint,
        policy: &SessionPolicy,
        client: &ClientFacts,
    ) -> Call {
        let mut call = Call::get(endpoint, &policy.cluster, &policy.path, policy.timeout);
        call = match self {
            Self::Bearer(token) | Self::Jwt(token) => {
                call.with("authorization", format!("Bearer {token}"))
            }
            Self::Cookies(cookies) => call.with("cookie", &**cookies),
            Self::Nothing => call,
        };
        if let Some(user_agent) = &client.user_agent {
            call = call.with("user-agent", user_agent);
        }
        if let Some(address) = &client.address {
            call = call.with("x-forwarded-for", address);
        }
        if let Some(traceparent) = &client.traceparent {
            call = call.with("traceparent", &**traceparent);
        }
        call
    }
}

/// The one `traceparent`: `00-<trace ID>-<parent ID>-<flags>`, in small hexadecimal digits, neither ID all zeros.
#[inline(never)]
fn traceparent(headers: &Headers<'_>) -> Option<Box<str>> {
    let mut lines = headers.iter().filter(|(name, _)| *name == b"traceparent");
    let (Some((_, value)), None) = (lines.next(), lines.next()) else {
        return None;
    };
    if value.len() != TRACEPARENT_BYTES {
        return None;
    }
    let (mut trace, mut parent) = (0, 0);
    for (at, byte) in value.iter().enumerate() {
        let fits = match at {
            0 | 1 => *byte == b'0',
            2 | 35 | 52 => *byte == b'-',
            _ => matches!(byte, b'0'..=b'9' | b'a'..=b'f'),
        };
        if !fits {
            return None;
        }
        match at {
            3..=34 => trace |= byte ^ b'0',
            36..=51 => parent |= byte ^ b'0',
            _ => {}
        }
    }
    let text = std::str::from_utf8(value).ok()?;
    (trace != 0 && parent != 0).then(|| text.into())
}

const TRACEPARENT_BYTES: usize = 55;

/// The longest `user-agent` that is passed on, in bytes.
const MAX_USER_AGENT_BYTES: usize = 1_024;
