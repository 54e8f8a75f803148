//! Commits through SQLite alone. One commit is the least that a single caller must wait for.

use std::fs;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::time::Instant;

use super::database;
use super::ledger::Template;
use super::sample::{Recorder, Sample, Window};
use super::wallets::{Ids, Share};

/// One connection to the service's tables, with the service's settings.
pub struct Bare {
    connection: Connection,
    template: Template,
    share: Share,
    commit_id: i64,
}

impl Bare {
    pub fn open(template: Template) -> Self {
        let connection = Connection::open(&template.path).expect("it opens");
        for (name, value) in [("synchronous", "full"), ("cache_size", "-32768"), ("wal_autocheckpoint", "20000")] {
            connection.pragma_update(None, name, value).expect("a setting");
        }
        database::grow_log(&template.path);
        let commit_id = connection.query_row("select max(commit_id) from ledger_commit", [], |row| row.get(0));
        let share = Share::deal(&template.wallets, 1, Ids::Rising).pop().expect("a share");
        Self { connection, commit_id: commit_id.expect("a commit"), template, share }
    }

    /// Measures commits, one after the other, each with the rows that one charge writes.
    pub fn commit(&mut self, time: Duration) -> Sample {
        let window = Window::of(time);
        let mut recorder = Recorder::default();
        let mut started = Instant::now();
        while started < window.ends {
            self.charge().expect("it commits");
            let ended = Instant::now();
            recorder.record(window, started, ended);
            started = ended;
        }
        Sample::new(window, vec![recorder])
    }

    /// Writes the rows of a charge without reading anything first.
    fn charge(&mut self) -> rusqlite::Result<()> {
        let charge = self.share.charge();
        let (entry_id, balance) = (self.template.wallets.entries(), self.template.wallets.balance(charge.user));
        self.commit_id += 1;
        let tx = self.connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        tx.prepare_cached(
            "insert into entry (entry_id, user_id, sequence, kind, event_id, amount, balance_after, previous_entry_id,
             created_at) values (?1, ?2, 7, 2, ?3, 1, ?4, ?1 - 1, 1700000000000000)",
        )?
        .execute(params![entry_id, charge.user, charge.event, balance])?;
        tx.prepare_cached("update wallet set balance = ?2, sequence = 7, last_entry_id = ?3 where user_id = ?1")?
            .execute(params![charge.user, balance, entry_id])?;
        tx.prepare_cached(
            "insert into ledger_commit (commit_id, form, last_entry_id, hash, created_at)
             values (?1, 1, ?2, ?3, 1700000000000000)",
        )?
        .execute(params![self.commit_id, entry_id, [7_u8; 32]])?;
        tx.commit()
    }

    /// Proves that every commit is there, and removes the ledger. Its hash chain cannot be verified, because nothing
    /// was hashed.
    pub fn finish(self) {
        database::check_rows(&self.connection, &self.template.wallets);
        drop(self.connection);
        fs::remove_file(self.template.path).expect("a file can be removed");
    }
}
