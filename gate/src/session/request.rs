//! What the resolver is asked.

use crate::callout::Call;
use crate::config::SessionPolicy;
use crate::credential::{Headers, SessionCredential};
use crate::endpoint::Endpoint;

/// What the resolver records of the client as its last access: the client chooses it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ClientFacts {
    /// `user-agent`, if it is ASCII.
    pub(crate) user_agent: Option<String>,
    /// The client's address, as the gateway sees it.
    pub(crate) address: Option<String>,
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
        }
    }

    /// Whether nothing is known of the client.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.user_agent.is_none() && self.address.is_none()
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
        call
    }
}

/// The longest `user-agent` that is passed on, in bytes.
const MAX_USER_AGENT_BYTES: usize = 1_024;
