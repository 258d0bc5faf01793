//! What rules ask of a token beyond the claims that every token has.

use super::TokenError;
use crate::claim::{Claim, SeveralValues, only};
use crate::jose::json::object;
use crate::json::Node;
use crate::policy::NeededFacts;
use crate::principal::TokenFacts;

/// Reads what is needed of a payload.
///
/// # Errors
/// [`TokenError::Claims`]: a claim that is needed is there twice.
pub(super) fn read(payload: &[u8], needed: &NeededFacts) -> Result<TokenFacts, TokenError> {
    if !needed.scopes() && needed.claims().is_empty() {
        return Ok(TokenFacts::default());
    }
    let Some(Node::Object(members)) = object(payload) else {
        return Err(TokenError::Claims);
    };
    collect(&members, needed).map_err(|SeveralValues| TokenError::Claims)
}

fn collect(members: &[(String, Node)], needed: &NeededFacts) -> Result<TokenFacts, SeveralValues> {
    let mut facts = TokenFacts::default();
    if needed.scopes() {
        for name in ["scope", "scp"] {
            if let Some(claim) = only(members, name)? {
                add_scopes(claim, &mut facts.scopes);
            }
        }
    }
    for path in needed.claims() {
        let found = match only(members, path.claim())? {
            Some(claim) => path.find(claim)?,
            None => None,
        };
        facts.claims.push(Claim::new(path.clone(), found));
    }
    Ok(facts)
}

/// One text with spaces between them (RFC 9068 §2.2.3), as others write it a list. Anything else has no scope.
fn add_scopes(claim: &Node, scopes: &mut Vec<Box<str>>) {
    match claim {
        Node::String(text) => {
            let each = text.split(' ').filter(|scope| !scope.is_empty());
            scopes.extend(each.map(Into::into));
        }
        Node::Array(items) => {
            for item in items {
                if let Node::String(scope) = item {
                    scopes.push(scope.as_str().into());
                }
            }
        }
        _ => {}
    }
}
