//! A primary and its standby.

use super::Server;

/// A primary that answers a commit when its standby has the commit too, and that standby.
pub struct Pair {
    pub primary: Server,
    /// Once promoted, it waits for nobody.
    pub standby: Server,
}

impl Pair {
    /// Starts both, and returns when the primary commits. `None`, after saying so, if PostgreSQL is missing.
    ///
    /// # Panics
    /// With its log, if one does not start.
    pub fn start(test: &str) -> Option<Self> {
        let primary = Server::start_own(test, &[("synchronous_standby_names", "*")])?;
        let standby = Server::standby_of(&primary, &[]);
        // Its commit waits for the standby.
        primary.database(test);
        Some(Self { primary, standby })
    }
}
