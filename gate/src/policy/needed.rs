//! What rules ask of tokens, so that no more of them is kept.

use std::collections::HashMap;
use std::rc::Rc;

use super::condition::{Condition, ConditionName};
use super::rule::{Audiences, Requirement};
use crate::claim::ClaimPath;
use crate::hashing::{self, Hasher};

/// What some rule asks of tokens.
#[derive(Clone, Debug)]
pub(crate) struct NeededFacts {
    audiences: HashMap<Rc<str>, (), Hasher>,
    claims: Vec<ClaimPath>,
    scopes: bool,
}

impl NeededFacts {
    /// What these ask.
    pub(crate) fn of<'r>(requirements: impl Iterator<Item = &'r Requirement>) -> Self {
        let mut needed = Self {
            audiences: HashMap::with_hasher(hashing::seeded()),
            claims: Vec::new(),
            scopes: false,
        };
        for requirement in requirements {
            for audiences in &requirement.audiences {
                if let Audiences::Of(audiences) = audiences {
                    let audiences = audiences
                        .iter()
                        .map(|audience| (audience.as_str().into(), ()));
                    needed.audiences.extend(audiences);
                }
            }
            for condition in &requirement.allow {
                condition.visit(&mut |condition| needed.add(condition));
            }
        }
        needed
    }

    fn add(&mut self, condition: &Condition) {
        match (condition, condition.name()) {
            (Condition::Claim(path, _), _) if !self.claims.contains(path) => {
                self.claims.push(path.clone());
            }
            (_, ConditionName::ScopesAny | ConditionName::ScopesAll) => self.scopes = true,
            _ => {}
        }
    }

    /// This audience, if a rule names it.
    pub(crate) fn audience(&self, text: &str) -> Option<Rc<str>> {
        let (audience, ()) = self.audiences.get_key_value(text)?;
        Some(Rc::clone(audience))
    }

    /// Whether any rule asks for scopes.
    pub(crate) fn scopes(&self) -> bool {
        self.scopes
    }

    /// The claims that rules ask for.
    pub(crate) fn claims(&self) -> &[ClaimPath] {
        &self.claims
    }
}
