//! Those who may call, as they are looked up.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::FixedState;
use thiserror::Error;

use super::{Right, Scope, TokenHash, TokenId};
use crate::ledger::{Caller, Timestamp};

/// Whom a token or a certificate stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The name that entries and the audit log have.
    pub caller: Caller,
    /// What the caller is there for; `None` for everything.
    pub scope: Option<Scope>,
}

impl Grant {
    /// Whether the caller has this right.
    #[must_use]
    pub fn may(&self, right: Right) -> bool {
        self.scope.is_none_or(|scope| scope.has(right))
    }
}

/// Why a caller is not let in. The caller is not told; the audit log is.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Denied {
    #[error("no credentials")]
    Missing,
    #[error("the credentials are not one `Bearer` token")]
    Malformed,
    #[error("an unknown token")]
    UnknownToken,
    #[error("the token {id} of {caller} has expired")]
    Expired { caller: Caller, id: TokenId },
    #[error("the token {id} of {caller} was revoked")]
    Revoked { caller: Caller, id: TokenId },
    #[error("a certificate whose names are unknown")]
    UnknownCertificate,
    #[error("a certificate that has ended")]
    EndedCertificate,
    #[error("the caller has another scope by now")]
    Changed,
}

/// Whether a token is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Valid,
    Expired,
    Revoked,
}

impl Status {
    /// Whether a token that was revoked or not, and expires then or never, is taken at a moment.
    pub(super) fn of(is_revoked: bool, expires: Option<Timestamp>, now: Timestamp) -> Self {
        if is_revoked {
            Self::Revoked
        } else if expires.is_some_and(|expires| expires <= now) {
            Self::Expired
        } else {
            Self::Valid
        }
    }

    /// The status in a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A token that was given out.
#[derive(Clone, Debug)]
pub(super) struct Issued {
    pub hash: TokenHash,
    pub grant: Arc<Grant>,
    pub expires: Option<Timestamp>,
    pub is_revoked: bool,
}

impl Issued {
    fn status(&self, now: Timestamp) -> Status {
        Status::of(self.is_revoked, self.expires, now)
    }
}

/// Those who may call.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// By the token's id: two may share one.
    tokens: HashMap<TokenId, Vec<Issued>, FixedState>,
    certificates: HashMap<String, Arc<Grant>>,
    any_certificate: bool,
}

impl Table {
    /// A table in which each certificate that was verified may do everything, under its first name.
    #[must_use]
    pub fn of_any_certificate() -> Self {
        Self { any_certificate: true, ..Self::default() }
    }

    pub(super) fn new(tokens: impl Iterator<Item = Issued>, certificates: HashMap<String, Arc<Grant>>) -> Self {
        let mut table = Self { certificates, ..Self::default() };
        for issued in tokens {
            table.tokens.entry(issued.hash.id()).or_default().push(issued);
        }
        table
    }

    /// Whose token has this hash.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn token(&self, hash: &TokenHash, now: Timestamp) -> Result<Arc<Grant>, Denied> {
        let mut candidates = self.tokens.get(&hash.id()).into_iter().flatten();
        let issued = candidates.find(|issued| issued.hash.matches(hash)).ok_or(Denied::UnknownToken)?;
        let caller_and_id = || (issued.grant.caller.clone(), hash.id());
        match issued.status(now) {
            Status::Valid => Ok(Arc::clone(&issued.grant)),
            Status::Revoked => {
                let (caller, id) = caller_and_id();
                Err(Denied::Revoked { caller, id })
            }
            Status::Expired => {
                let (caller, id) = caller_and_id();
                Err(Denied::Expired { caller, id })
            }
        }
    }

    /// Whose certificate has these names: the first of them that is known decides.
    ///
    /// # Errors
    /// [`Denied::UnknownCertificate`].
    pub fn certificate(&self, names: &[String]) -> Result<Arc<Grant>, Denied> {
        if self.any_certificate {
            let caller = names.iter().find_map(|name| Caller::new(name)).ok_or(Denied::UnknownCertificate)?;
            return Ok(Arc::new(Grant { caller, scope: None }));
        }
        let grant = names.iter().find_map(|name| self.certificates.get(name));
        grant.map(Arc::clone).ok_or(Denied::UnknownCertificate)
    }

    /// Whether nobody is in it, also nobody whose token has expired or was revoked.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty() && self.certificates.is_empty() && !self.any_certificate
    }

    /// How many tokens are valid at a moment, and how many certificates are known.
    #[must_use]
    pub fn count(&self, now: Timestamp) -> (usize, usize) {
        let issued = self.tokens.values().flatten();
        let valid = issued.filter(|issued| issued.status(now) == Status::Valid);
        (valid.count(), self.certificates.len())
    }
}
