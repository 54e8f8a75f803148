//! SQLite and nothing else: what one commit costs here, which is what one caller must wait for in any case.

use std::fs;
use std::time::Duration;

use rusqlite::{Connection, TransactionBehavior, params};
use tokio::time::Instant;

use super::ledger::{Template, grow_log};
use super::load::{Sample, Seen, Window};
use super::process;
use super::wallets::{Ids, Share};

/// One connection to tables as the service has them, set as the service's own.
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
        grow_log(&template.path);
        let commit_id = connection.query_row("select max(commit_id) from ledger_commit", [], |row| row.get(0));
        let share = Share::deal(&template.wallets, 1, Ids::Rising).pop().expect("a share");
        Self { connection, commit_id: commit_id.expect("a commit"), template, share }
    }

    /// One commit after the other, each with the rows that one charge writes.
    pub fn commit(&mut self, time: Duration) -> Sample {
        let window = Window::of(time);
        let mut seen = Seen::default();
        let mut started = Instant::now();
        while started < window.ends {
            self.charge().expect("it commits");
            let ended = Instant::now();
            seen.note(window, started, ended);
            started = ended;
        }
        Sample::new(window, vec![seen])
    }

    /// The rows of a charge that knows already what to write.
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
            "insert into ledger_commit (commit_id, last_entry_id, hash, created_at) values (?1, ?2, ?3, 1700000000000000)",
        )?
        .execute(params![self.commit_id, entry_id, [7_u8; 32]])?;
        tx.commit()
    }

    /// Every commit is there. The chain is not: nothing was hashed.
    pub fn finish(self) {
        process::check_rows(&self.connection, &self.template.wallets);
        drop(self.connection);
        fs::remove_file(self.template.path).expect("a file can be removed");
    }
}
