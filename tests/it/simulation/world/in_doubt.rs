//! Commits whose answers are lost, and what becomes of them.

use std::time::Duration;

use tokio::time::Instant;
use wallet::ledger::{Changes, Shard};
use wallet::store::{StoreError, Version};

use super::{Bug, World, pass};
use crate::support::seed::Seeded;

/// What becomes of a commit whose answer is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Made,
    NotMade,
    /// It is made later, if nothing else is committed to its shard before.
    Late,
}

impl Fate {
    pub fn of(seeded: &mut Seeded) -> Self {
        match seeded.of(0..3) {
            0 => Self::Made,
            1 => Self::NotMade,
            _ => Self::Late,
        }
    }
}

/// A commit whose answer was lost: whether it was made.
#[derive(Debug)]
pub struct Question {
    commit_id: i64,
    batch: u64,
    /// Until when nobody answers it.
    away_until: Instant,
}

/// What was sent to be committed, and may still be, though its writer has given it up.
#[derive(Debug)]
pub struct Zombie {
    changes: Changes,
    batch: u64,
}

impl World {
    /// The answer to a commit is lost, whatever becomes of the commit.
    pub(super) fn lose_answer(
        &mut self,
        shard: Shard,
        changes: &Changes,
        commit_id: i64,
        fate: Fate,
        is_stale: bool,
    ) -> StoreError {
        let batch = self.batch();
        let away_ms = if self.seeded.percent(50) { self.seeded.of(0..700).unsigned_abs() } else { 0 };
        let away_until = Instant::now() + Duration::from_millis(away_ms);
        let world = self.shard(shard);
        match fate {
            Fate::Made if !is_stale => world.ledger.write(changes, batch),
            Fate::Late => world.zombies.push(Zombie { changes: changes.clone(), batch }),
            Fate::Made | Fate::NotMade => (),
        }
        world.sessions += 1;
        world.question = Some(Question { commit_id, batch, away_until });
        self.count("in doubt");
        if self.fault_plan.rival_percent > 0 && self.seeded.percent(50) {
            self.rival_commits();
        }
        StoreError::InDoubt("planted".into())
    }

    /// One of the commits that were given up may be made now.
    pub(super) fn stir(&mut self, shard: Shard) {
        let world = self.shard(shard);
        let next = world.ledger.head().commit.commit_id + 1;
        world.zombies.retain(|zombie| zombie.changes.commit.is_some_and(|commit| commit.commit_id == next));
        if world.zombies.is_empty() || !self.seeded.percent(30) {
            return;
        }
        let world = self.shard(shard);
        let Zombie { changes, batch } = world.zombies.swap_remove(0);
        world.ledger.write(&changes, batch);
        self.late.extend(changes.entries.iter().map(|entry| entry.entry_id));
        self.count("late commit");
    }

    /// What became of the commit whose answer was lost last.
    pub(super) fn resolve(&mut self, shard: Shard) -> Result<Option<Version>, StoreError> {
        if !self.alive {
            return Err(StoreError::unavailable("the process is dead"));
        }
        if self.seeded.percent(self.fault_plan.crash_percent) {
            self.count("crash");
            self.kill();
            return Err(StoreError::unavailable("the process is dead"));
        }
        self.rival();
        self.stir(shard);
        let session = self.shard(shard).sessions;
        let question = self.shard(shard).question.take().expect("it is asked only while it is open");
        if question.away_until > Instant::now() {
            pass(Duration::from_millis(self.seeded.of(1..30).unsigned_abs()));
            self.shard(shard).question = Some(question);
            self.count("not resolved");
            return Err(StoreError::unavailable("planted"));
        }
        let place = usize::try_from(question.commit_id - 1).expect("a number from 1");
        let found = self.shard(shard).ledger.writers.get(place).copied();
        let is_made = match self.bug {
            Some(Bug::TakesForeignCommit) => found.is_some(),
            Some(Bug::DeniesACommit) => false,
            _ => found == Some(question.batch),
        };
        self.count(if is_made { "resolved: made" } else { "resolved: not made" });
        Ok(is_made.then_some(Version { session, number: question.commit_id }))
    }
}
