//! From bytes to an inspected token, and from there to a verified one.

use std::rc::Rc;
use std::time::Duration;

use super::TokenError;
use super::claims::{Claims, List};
use super::facts;
use super::header::Header;
use crate::config::JwtPolicy;
use crate::endpoint::Endpoint;
use crate::jose::base64url::decode;
use crate::jose::json::object;
use crate::jose::{Algorithm, SignatureVerifier, VerifyingKey};
use crate::policy::{Audiences, NeededFacts};
use crate::principal::{Assertion, ClientId, Method, Principal, Subject, User};

/// A token whose form, header and claims are in order. Its signature is not verified yet: none of its claims can be trusted.
#[derive(Debug)]
pub(crate) struct InspectedToken<'t> {
    message: &'t [u8],
    signature: Vec<u8>,
    algorithm: Algorithm,
    key_id: String,
    facts: Facts,
}

/// A token that was signed by the project: only [`InspectedToken::verify`] makes one.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct VerifiedToken(Facts);

/// The facts that a token claims.
#[derive(Clone, Debug, PartialEq)]
struct Facts {
    principal: Rc<Principal>,
    audiences: MeantFor,
    /// In Unix seconds.
    not_before: u64,
    /// In Unix seconds.
    expires_at: u64,
    revalidation_scope: Option<RevalidationScope>,
}

/// The audiences of a token that project or rules name.
#[derive(Clone, Debug, PartialEq)]
struct MeantFor {
    /// Whether one of them is the project's.
    project: bool,
    /// Those of rules.
    rules: Vec<Rc<str>>,
}

impl MeantFor {
    /// # Errors
    /// There are none.
    fn new(
        claims: &Claims<'_>,
        policy: &JwtPolicy,
        needed: &NeededFacts,
    ) -> Result<Self, TokenError> {
        let all = || claims.aud.0.iter();
        let meant = Self {
            project: all().any(|aud| policy.audiences.iter().any(|audience| aud == audience)),
            rules: all().filter_map(|aud| needed.audience(aud)).collect(),
        };
        if meant.project || !meant.rules.is_empty() {
            Ok(meant)
        } else {
            Err(TokenError::Audience)
        }
    }

    fn is_in(&self, audiences: &Audiences) -> bool {
        match audiences {
            Audiences::Project => self.project,
            Audiences::Of(audiences) => {
                let mut rules = self.rules.iter();
                rules.any(|rule| audiences.iter().any(|audience| **audience == **rule))
            }
        }
    }
}

/// The client and the audiences of a token: they decide whether the resolver can judge it at all.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RevalidationScope(Rc<str>);

impl RevalidationScope {
    fn from_claims(claims: &Claims<'_>) -> Self {
        let client = claims.client_id.as_deref().unwrap_or_default();
        let mut text = String::new();
        // Each part follows its length, so that no two lists make the same text.
        for part in std::iter::once(client).chain(claims.aud.0.iter().map(AsRef::as_ref)) {
            text.push_str(&part.len().to_string());
            text.push(':');
            text.push_str(part);
        }
        Self(text.into())
    }
}

impl<'t> InspectedToken<'t> {
    /// Checks the form, the header and the claims of a compact token against the policy. `unix` is the time in seconds.
    ///
    /// # Errors
    /// The first error that is found.
    pub(crate) fn inspect(
        token: &'t [u8],
        issuer: &Endpoint,
        policy: &JwtPolicy,
        needed: &NeededFacts,
        unix: u64,
    ) -> Result<Self, TokenError> {
        let [header, payload, signature] = segments(token).ok_or(TokenError::Malformed)?;
        let header = decode(header).ok_or(TokenError::Malformed)?;
        let header = Header::parse(&header, policy)?;
        let payload = decode(payload).ok_or(TokenError::Malformed)?;
        let signature_length = signature.len();
        let signature = decode(signature).ok_or(TokenError::Malformed)?;
        let claims: Claims<'_> = object(&payload).ok_or(TokenError::Claims)?;
        let facts = judge(&claims, &payload, issuer, policy, needed, unix)?;
        // The message is everything before the last dot.
        let message_length = token
            .len()
            .saturating_sub(signature_length.saturating_add(1));
        Ok(Self {
            message: token.get(..message_length).ok_or(TokenError::Malformed)?,
            signature,
            algorithm: header.algorithm,
            key_id: header.key_id,
            facts,
        })
    }

    /// The ID of the key that it claims to be signed with.
    #[must_use]
    pub(crate) fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The algorithm that it claims to be signed with; the policy allows it.
    #[must_use]
    pub(crate) fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Verifies the signature with the key of its [`key_id`](Self::key_id).
    ///
    /// # Errors
    /// The key is not one for the token's algorithm, or the signature is wrong.
    pub(crate) fn verify(
        self,
        key: &VerifyingKey,
        verifier: &dyn SignatureVerifier,
    ) -> Result<VerifiedToken, TokenError> {
        if !key.suits(self.algorithm) {
            return Err(TokenError::KeyMismatch);
        }
        if verifier.verify(self.algorithm, key, self.message, &self.signature) {
            Ok(VerifiedToken(self.facts))
        } else {
            Err(TokenError::Signature)
        }
    }
}

impl VerifiedToken {
    /// Whom it authenticates.
    #[must_use]
    pub(crate) fn principal(&self) -> &Rc<Principal> {
        &self.0.principal
    }

    /// Its scope, if the resolver is to confirm it: it is a user's token, and the project itself is among its audiences. The
    /// resolver cannot judge tokens for other resources.
    #[must_use]
    pub(crate) fn revalidation_scope(&self) -> Option<&RevalidationScope> {
        self.0.revalidation_scope.as_ref()
    }

    /// Whether it was issued for one audience of each of these sets.
    #[must_use]
    pub(crate) fn is_for(&self, audiences: &[Audiences]) -> bool {
        audiences.iter().all(|one| self.0.audiences.is_in(one))
    }

    /// Whether it is valid at this time, in Unix seconds; the clock skew is part of its bounds already.
    ///
    /// # Errors
    /// It has expired, or is not valid yet: the clock may have been set back since it was verified.
    pub(crate) fn check_time(&self, unix: u64) -> Result<(), TokenError> {
        if unix >= self.0.expires_at {
            Err(TokenError::Expired)
        } else if unix < self.0.not_before {
            Err(TokenError::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// The three segments of a compact JWS, none of them empty.
fn segments(token: &[u8]) -> Option<[&[u8]; 3]> {
    let (header, rest) = split_at_dot(token)?;
    let (payload, signature) = split_at_dot(rest)?;
    let three = [header, payload, signature];
    let whole =
        split_at_dot(signature).is_none() && three.iter().all(|segment| !segment.is_empty());
    whole.then_some(three)
}

fn split_at_dot(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let (head, tail) = text.split_at_checked(memchr::memchr(b'.', text)?)?;
    Some((head, tail.get(1..)?))
}

fn judge(
    claims: &Claims<'_>,
    payload: &[u8],
    issuer: &Endpoint,
    policy: &JwtPolicy,
    needed: &NeededFacts,
    unix: u64,
) -> Result<Facts, TokenError> {
    if claims.iss != issuer.origin() {
        return Err(TokenError::Issuer);
    }
    let audiences = MeantFor::new(claims, policy, needed)?;
    if claims.cnf.is_some() {
        return Err(TokenError::SenderConstrained);
    }
    if !policy.client_ids.is_empty() {
        let client = claims.client_id.as_deref().ok_or(TokenError::Client)?;
        if !policy.client_ids.iter().any(|allowed| allowed == client) {
            return Err(TokenError::Client);
        }
    }
    let (not_before, expires_at) = judge_times(claims, policy, unix)?;
    let subject = subject(claims)?;
    let confirmable = policy.revalidate.is_some()
        && matches!(subject, Subject::User(_))
        && claims.aud.0.iter().any(|aud| aud == issuer.origin());
    let method = Method::Token {
        client_id: claims.client_id.as_deref().map(Into::into),
        facts: facts::read(payload, needed)?,
    };
    Ok(Facts {
        principal: Rc::new(Principal::new(subject, method)),
        audiences,
        not_before,
        expires_at,
        revalidation_scope: confirmable.then(|| RevalidationScope::from_claims(claims)),
    })
}

/// The first second at which the token is valid and the first at which it is not, clock skew included (RFC 7519 §4.1.4 to
/// 4.1.6).
fn judge_times(
    claims: &Claims<'_>,
    policy: &JwtPolicy,
    unix: u64,
) -> Result<(u64, u64), TokenError> {
    let skew = policy.clock_skew.as_secs();
    let expires_at = claims.exp.0.saturating_add(skew);
    if unix >= expires_at {
        return Err(TokenError::Expired);
    }
    let starts = [claims.nbf, claims.iat].into_iter().flatten();
    let not_before = starts
        .map(|date| date.0.saturating_sub(skew))
        .max()
        .unwrap_or(0);
    if claims
        .nbf
        .is_some_and(|nbf| unix < nbf.0.saturating_sub(skew))
    {
        return Err(TokenError::NotYetValid);
    }
    if claims.nbf.is_some_and(|nbf| nbf > claims.exp) {
        return Err(TokenError::NotYetValid);
    }
    if claims
        .iat
        .is_some_and(|iat| unix < iat.0.saturating_sub(skew))
    {
        return Err(TokenError::IssuedInTheFuture);
    }
    if let Some(longest) = policy.max_lifetime {
        let issued_at = claims.iat.ok_or(TokenError::Lifetime)?;
        let lifetime = claims.exp.0.saturating_sub(issued_at.0);
        if Duration::from_secs(lifetime) > longest {
            return Err(TokenError::Lifetime);
        }
    }
    Ok((not_before, expires_at))
}

/// Authgear marks its users' tokens with `is_anonymous`, true or false; a token without it is a machine's.
fn subject(claims: &Claims<'_>) -> Result<Subject, TokenError> {
    const MACHINE: &str = "client_id_";
    let Some(anonymous) = claims.is_anonymous else {
        // Whoever it is, it is no user.
        let named = claims.client_id.as_deref();
        let client = named.filter(|client| claims.sub.strip_prefix(MACHINE) == Some(*client));
        return Ok(Subject::Machine(client.and_then(ClientId::new)));
    };
    if claims.sub.starts_with(MACHINE) {
        return Err(TokenError::Claims);
    }
    let roles = texts(claims.roles.as_ref());
    let amr = texts(claims.amr.as_ref());
    let user = User::new(&Assertion {
        user_id: &claims.sub,
        anonymous,
        verified: claims.is_verified.ok_or(TokenError::Claims)?,
        can_reauthenticate: claims.can_reauthenticate.ok_or(TokenError::Claims)?,
        roles: &roles,
        amr: &amr,
        authenticated_at: claims.auth_time.and_then(|time| time.0),
    })?;
    Ok(Subject::User(user))
}

fn texts<'a>(list: Option<&'a List<'_>>) -> Vec<&'a str> {
    list.map(|list| list.0.iter().map(AsRef::as_ref).collect())
        .unwrap_or_default()
}
