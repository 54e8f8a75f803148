//! Who may call, and what: tokens, names of certificates, scopes, and a limit on failed attempts.
//!
//! This layer knows no protocol. The APIs ask it whose a token or a certificate is ([`Access::token`],
//! [`Access::certificate`]) and whether that caller may do what was asked ([`Grant::may`]).

mod attempts;
mod file;
mod scope;
mod shares;
mod table;
mod token;

use std::sync::Arc;

use arc_swap::ArcSwap;
use ipnet::IpNet;

use crate::ledger::Timestamp;
pub use attempts::{Attempt, Attempts, RefusedByReason};
pub use file::{Listed, TokenError, TokensFile};
pub use scope::{Right, Scope};
pub use shares::{Share, Shares, Stream};
pub use table::{Denied, Grant, Status, Table};
pub use token::{Token, TokenHash, TokenId};

/// Who may call a service. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Access(Arc<Shared>);

struct Shared {
    /// `None` as long as nobody has to say who they are.
    table: Option<ArcSwap<Table>>,
    attempts: Attempts,
    shares: Arc<Shares>,
    trusted_proxies: Vec<IpNet>,
}

/// Access for everybody, to everything, through no proxy.
impl Default for Access {
    fn default() -> Self {
        Self::open(Vec::new())
    }
}

impl Access {
    /// Access for everybody, to everything.
    #[must_use]
    pub fn open(trusted_proxies: Vec<IpNet>) -> Self {
        Self::new(None, trusted_proxies)
    }

    /// Access for those in `table` only.
    #[must_use]
    pub fn restricted(table: Table, trusted_proxies: Vec<IpNet>) -> Self {
        Self::new(Some(ArcSwap::from_pointee(table)), trusted_proxies)
    }

    fn new(table: Option<ArcSwap<Table>>, trusted_proxies: Vec<IpNet>) -> Self {
        let (attempts, shares) = (Attempts::default(), Arc::default());
        Self(Arc::new(Shared { table, attempts, shares, trusted_proxies }))
    }

    /// Whether nobody has to say who they are.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.0.table.is_none()
    }

    /// Whose token this is.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn token(&self, hash: &TokenHash, now: Timestamp) -> Result<Arc<Grant>, Denied> {
        let table = self.0.table.as_ref().ok_or(Denied::UnknownToken)?;
        table.load().token(hash, now)
    }

    /// Whose certificate has these names.
    ///
    /// # Errors
    /// [`Denied::UnknownCertificate`].
    pub fn certificate(&self, names: &[String]) -> Result<Arc<Grant>, Denied> {
        let table = self.0.table.as_ref().ok_or(Denied::UnknownCertificate)?;
        table.load().certificate(names)
    }

    /// Lets those in `table` call from now on, and nobody else. Without effect where access is open.
    pub fn replace(&self, table: Table) {
        if let Some(current) = &self.0.table {
            current.store(Arc::new(table));
        }
    }

    /// The failed attempts of each address.
    #[must_use]
    pub fn attempts(&self) -> &Attempts {
        &self.0.attempts
    }

    /// The streams that each caller has open.
    #[must_use]
    pub fn shares(&self) -> &Arc<Shares> {
        &self.0.shares
    }

    /// The proxies that are believed when they say for whom they call.
    #[must_use]
    pub fn trusted_proxies(&self) -> &[IpNet] {
        &self.0.trusted_proxies
    }
}
