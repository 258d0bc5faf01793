//! What rules ask of tokens, so that no more of them is kept.

use std::rc::Rc;

use super::condition::{Condition, ConditionName};
use super::rule::{Audiences, Requirement};
use crate::claim::ClaimPath;
use crate::hashing::TextIndex;

/// What some rule asks of tokens.
#[derive(Clone, Debug)]
pub(crate) struct NeededFacts {
    audiences: Vec<Rc<str>>,
    /// Where each audience is.
    places: TextIndex,
    claims: Vec<ClaimPath>,
    scopes: bool,
}

impl NeededFacts {
    /// What these ask.
    pub(crate) fn of<'r>(requirements: impl Iterator<Item = &'r Requirement>) -> Self {
        let mut needed = Self {
            audiences: Vec::new(),
            places: TextIndex::default(),
            claims: Vec::new(),
            scopes: false,
        };
        for requirement in requirements {
            for audiences in &requirement.audiences {
                if let Audiences::Of(audiences) = audiences {
                    for audience in audiences {
                        needed.places.insert(audience, needed.audiences.len());
                        needed.audiences.push(audience.as_str().into());
                    }
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
        self.audiences.get(self.places.get(text)?).map(Rc::clone)
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
