//! Reads the commits of a ledger in order.

use std::vec;

use rusqlite::Connection;

use super::Stop;
use crate::ledger::Commit;
use crate::store::StoreError;
use crate::store::sqlite::query::query_all;
use crate::store::sqlite::row::{self, select_commit};

/// Commits in a page, which is a short transaction unless the caller has one open.
const PAGE: usize = 4_096;

const SELECT_PAGE: &str = select_commit!("where commit_id > ?1 and commit_id <= ?2 order by commit_id limit ?3");

/// The commits of a ledger, in order.
pub(super) struct Commits<'c> {
    connection: &'c Connection,
    last: i64,
    /// The last commit that was read; `None` once there are no more.
    read: Option<i64>,
    page: vec::IntoIter<Result<Commit, StoreError>>,
    next: Option<Commit>,
}

impl<'c> Commits<'c> {
    /// The commits after `after` (`None`: from the very first on) up to `last`.
    pub(super) fn new(connection: &'c Connection, after: Option<i64>, last: i64) -> Self {
        // Below the first number that there can be: what is there must be seen.
        let read = Some(after.unwrap_or(i64::MIN));
        Self { connection, last, read, page: Vec::new().into_iter(), next: None }
    }

    /// The next commit, which stays the next.
    pub(super) fn peek(&mut self) -> Result<Option<Commit>, Stop> {
        if self.next.is_none() {
            self.next = self.advance()?;
        }
        Ok(self.next)
    }

    /// The next commit.
    pub(super) fn next(&mut self) -> Result<Option<Commit>, Stop> {
        let next = self.peek()?;
        self.next = None;
        Ok(next)
    }

    fn advance(&mut self) -> Result<Option<Commit>, Stop> {
        if self.page.as_slice().is_empty()
            && let Some(after) = self.read
        {
            let limit = i64::try_from(PAGE).unwrap_or(i64::MAX);
            // A row that cannot be is an error when its turn has come.
            let page = query_all(self.connection, SELECT_PAGE, (after, self.last, limit), |row| Ok(row::commit(row)))?;
            let ends_here = page.len() < PAGE;
            let last = page.last().and_then(|commit| commit.as_ref().ok()).map(|commit| commit.commit_id);
            self.read = last.filter(|_| !ends_here);
            self.page = page.into_iter();
        }
        Ok(self.page.next().transpose()?)
    }
}
