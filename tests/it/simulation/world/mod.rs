//! A store that fails on a seeded schedule, over a ledger in memory that outlives each crash, and another process that
//! commits to the same ledger.

mod in_doubt;
mod reader;
mod writer;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use futures::FutureExt as _;
use tokio::sync::Notify;
use tokio::time;
use wallet::engine::Clock;
use wallet::ledger::{
    Changes, Entry, EntryId, EventId, Finding, Genesis, LedgerReport, Shard, Shards, Timestamp, UserId,
};
use wallet::store::{Store, StoreError, Version, Writer};

use self::in_doubt::{Fate, Question, Zombie};
use self::writer::ShardWriter;
use super::Record;
use super::ledger::{Ledger, currency};
use crate::support::oracle::{Answer, Call, Decision};
use crate::support::seed::Seeded;

/// How long one attempt waits for a lock that another process holds, as the SQLite writer does.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// A violation planted in the fake, to see that the checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A crash takes the last commit with it, though its callers were answered.
    LosesTheLastCommit,
    /// Earlier entries of an event are not fetched: what is sent again is done again.
    ForgetsEvents,
    /// Reads are answered from before the last commit.
    ReadsTheCommitBefore,
    /// The first two answers of a stream are exchanged.
    SwapsAnswers,
    /// The version does not change when another process commits.
    HidesOtherCommits,
    /// A transaction without a lock commits although another process has committed since it began.
    CommitsOnAnOldHead,
    /// Another's commit is taken for the one in doubt.
    TakesForeignCommit,
    /// A commit that was in doubt is said not to be made, although it was.
    DeniesACommit,
    /// A caller whose deadline has passed is told that nothing was done, although its commit is in doubt.
    TellsDeadlineForDoubt,
}

/// How the store keeps a transaction's promise that it sees one state of the ledger.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Isolation {
    /// A lock is held from the beginning.
    Lock,
    /// The commit is refused as stale if another process has committed since the beginning.
    CompareAndSwap,
}

/// What happens to one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    FailsBefore,
    FailsAfter,
    CrashesBefore,
    CrashesAfter,
    /// The answer to its commit is lost.
    InDoubt(Fate),
}

/// How often calls fail in one process.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    pub fail_percent: i64,
    pub crash_percent: i64,
    pub lock_percent: i64,
    pub slow_percent: i64,
    /// How often the answer to a commit is lost.
    pub doubt_percent: i64,
    /// How often another process commits in between.
    pub rival_percent: i64,
    /// A user whose row cannot be read.
    pub corrupt: Option<UserId>,
    /// An event over which the writer panics.
    pub poisoned: Option<EventId>,
}

/// Everything except the engine and its callers.
#[derive(Debug)]
pub struct World {
    pub seeded: Seeded,
    pub fault_plan: FaultPlan,
    pub bug: Option<Bug>,
    isolation: Isolation,
    record: Arc<Mutex<Record>>,
    pub genesis: Genesis,
    shards: Vec<ShardWorld>,
    /// Batches so far, of all processes.
    batches: u64,
    /// Entries that were written after their commit was given up.
    pub late: BTreeSet<EntryId>,
    /// False once the process was killed: no answer reaches a caller any more.
    pub alive: bool,
    died: Arc<Notify>,
    now_us: i64,
    pub faults: BTreeMap<&'static str, u64>,
}

/// What is known of one shard.
#[derive(Debug)]
struct ShardWorld {
    /// What is on disk.
    ledger: Ledger,
    locked_until: Option<time::Instant>,
    /// Sessions of the writer so far: each failure ends one.
    sessions: u64,
    /// Commits by the other process so far.
    rival_commits: i64,
    /// The commit whose answer was lost last, until it is known what became of it.
    question: Option<Question>,
    /// What may still be committed though nobody waits for it.
    zombies: Vec<Zombie>,
}

impl ShardWorld {
    fn new(genesis: Genesis, shard: Shard) -> Self {
        let ledger = Ledger::new(genesis, shard);
        Self { ledger, locked_until: None, sessions: 0, rival_commits: 0, question: None, zombies: Vec::new() }
    }
}

/// The world, as the engine's parts and the callers share it.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(seed: u64, bug: Option<Bug>, record: Arc<Mutex<Record>>) -> Self {
        let mut seeded = Seeded::new(seed);
        let isolation = if seeded.percent(50) { Isolation::Lock } else { Isolation::CompareAndSwap };
        let shards = Shards::new(u16::try_from(seeded.of(1..4)).expect("a small number")).expect("from 1");
        let genesis = Genesis { shards, ..Genesis::new(currency()) };
        let world = World {
            seeded,
            fault_plan: FaultPlan::default(),
            bug,
            isolation,
            record,
            genesis,
            shards: shards.all().map(|shard| ShardWorld::new(genesis, shard)).collect(),
            batches: 0,
            late: BTreeSet::new(),
            alive: true,
            died: Arc::default(),
            now_us: 0,
            faults: BTreeMap::new(),
        };
        Self(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("nothing panics while it holds the world")
    }

    /// A new process begins, with its faults, on what the last one left.
    pub fn live(&self, fault_plan: FaultPlan) -> Store {
        let mut world = self.lock();
        (world.alive, world.fault_plan) = (true, fault_plan);
        for shard in &mut world.shards {
            (shard.locked_until, shard.question) = (None, None);
            shard.sessions += 1;
        }
        let genesis = world.genesis;
        let writer = |shard| Box::new(ShardWriter { world: self.clone(), shard }) as Box<dyn Writer>;
        Store { writers: genesis.shards.all().map(writer).collect(), reader: Arc::new(self.clone()), genesis }
    }

    /// Waits until the process is killed.
    pub async fn died(&self) {
        let died = Arc::clone(&self.lock().died);
        died.notified().await;
    }
}

impl World {
    /// Every entry, those of one shard after those of the one before.
    pub fn entries(&self) -> Vec<Entry> {
        self.shards.iter().flat_map(|shard| shard.ledger.entries.iter().cloned()).collect()
    }

    /// The entries of a user, or of all.
    pub fn count_entries(&self, user_id: Option<UserId>) -> usize {
        let entries = self.shards.iter().flat_map(|shard| &shard.ledger.entries);
        entries.filter(|entry| user_id.is_none_or(|user_id| user_id == entry.user_id)).count()
    }

    /// The ledger's own proof over what is on disk.
    pub fn audit(&self) -> Result<LedgerReport, Finding> {
        let reports: Result<Vec<_>, _> = self.shards.iter().map(|shard| shard.ledger.audit()).collect();
        Ok(LedgerReport::of_shards(&reports?))
    }

    fn shard(&mut self, shard: Shard) -> &mut ShardWorld {
        &mut self.shards[shard.place()]
    }

    /// The shard of a user, as it is on disk.
    fn ledger_of(&self, user_id: UserId) -> &Ledger {
        &self.shards[self.genesis.shards.of(user_id).place()].ledger
    }

    /// The number of a new batch.
    fn batch(&mut self) -> u64 {
        self.batches += 1;
        self.batches
    }

    fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    fn kill(&mut self) {
        self.alive = false;
        if self.bug == Some(Bug::LosesTheLastCommit) {
            let last = self.shards.iter_mut().max_by_key(|shard| shard.ledger.commits.len());
            last.expect("a ledger has a shard").ledger.lose_last_commit();
        }
        self.died.notify_one();
    }

    /// What becomes of a transaction that begins, and how long that takes.
    fn fault(&mut self, shard: Shard) -> Result<Fault, StoreError> {
        if !self.alive {
            return Err(StoreError::unavailable("the process is dead"));
        }
        let FaultPlan { fail_percent, crash_percent, lock_percent, slow_percent, doubt_percent, .. } = self.fault_plan;
        if self.seeded.percent(slow_percent) {
            self.count("slow");
            pass(Duration::from_millis(self.seeded.of(1..60).unsigned_abs()));
        }
        if self.shard(shard).locked_until.is_none() && self.seeded.percent(lock_percent) {
            let until = time::Instant::now() + Duration::from_millis(self.seeded.of(1..900).unsigned_abs());
            self.shard(shard).locked_until = Some(until);
        }
        if self.shard(shard).locked_until.is_some_and(|until| until > time::Instant::now() + LOCK_WAIT) {
            self.count("locked");
            pass(LOCK_WAIT);
            return Err(StoreError::Locked);
        }
        self.shard(shard).locked_until = None;
        let after = self.seeded.percent(50);
        if self.seeded.percent(crash_percent) {
            self.count("crash");
            return Ok(if after { Fault::CrashesAfter } else { Fault::CrashesBefore });
        }
        if self.seeded.percent(fail_percent) {
            self.count("failure");
            return Ok(if after { Fault::FailsAfter } else { Fault::FailsBefore });
        }
        // A store that holds a lock is asked in its own process, and its answers are not lost.
        if self.isolation == Isolation::CompareAndSwap && self.seeded.percent(doubt_percent) {
            return Ok(Fault::InDoubt(Fate::of(&mut self.seeded)));
        }
        Ok(Fault::None)
    }

    /// The other process commits, now and then.
    fn rival(&mut self) {
        if self.seeded.percent(self.fault_plan.rival_percent) {
            self.rival_commits();
        }
    }

    /// The other process sends a command to any shard.
    pub fn rival_commits(&mut self) {
        let user_id = UserId::new(self.seeded.of(0..super::USERS)).expect("a number from 0");
        let command = super::command(&mut self.seeded, user_id);
        let (shard, batch) = (self.genesis.shards.of(user_id), self.batch());
        let ShardWorld { ledger, rival_commits, .. } = &mut self.shards[shard.place()];
        let (before, now) = (ledger.commits.len(), ledger.head().commit.created_at);
        let mut record = self.record.lock().expect("nothing panics while it holds the record");
        if let Err(finding) = ledger.audit() {
            record.violations.push(format!("the other process finds the ledger wrong: {finding}"));
            return;
        }
        let index = record.begin(Call::Command(command.clone()));
        let outcome = ledger.apply(&command, now, batch);
        record.answer(index, Answer::Decision(Decision::from(&outcome)));
        drop(record);
        if ledger.commits.len() > before {
            *rival_commits += 1;
            self.count("rival");
        }
    }

    fn version(&self, shard: Shard) -> Version {
        let ShardWorld { ledger, sessions, rival_commits, .. } = &self.shards[shard.place()];
        let number = match (self.isolation, self.bug) {
            (Isolation::Lock, Some(Bug::HidesOtherCommits)) => 0,
            (Isolation::Lock, _) => *rival_commits,
            (Isolation::CompareAndSwap, _) => ledger.head().commit.commit_id,
        };
        Version { session: *sessions, number }
    }

    /// Refuses a row that cannot be read.
    fn check(&mut self, user_ids: impl IntoIterator<Item = UserId>) -> Result<(), StoreError> {
        let Some(user_id) = user_ids.into_iter().find(|user_id| self.fault_plan.corrupt == Some(*user_id)) else {
            return Ok(());
        };
        self.count("corrupt");
        let (table, column, row) = ("wallet", "balance", user_id.get());
        Err(StoreError::Corrupt { table, column, row, found: "planted".to_owned() })
    }

    fn commit(&mut self, shard: Shard, changes: &Changes, fault: Fault, began: Version) -> Result<Version, StoreError> {
        let (opened, updated) =
            (changes.opened.iter().map(|(user, ..)| *user), changes.updated.iter().map(|(user, _)| *user));
        self.check(opened.chain(updated))?;
        if fault == Fault::CrashesBefore {
            self.kill();
        }
        if matches!(fault, Fault::CrashesBefore | Fault::FailsBefore) {
            return Err(self.failed(shard));
        }
        if self.isolation == Isolation::CompareAndSwap {
            self.rival();
            self.stir(shard);
        }
        let is_stale = self.version(shard) != began && self.bug != Some(Bug::CommitsOnAnOldHead);
        if let Fault::InDoubt(fate) = fault
            && let Some(commit) = changes.commit
        {
            return Err(self.lose_answer(shard, changes, commit.commit_id, fate, is_stale));
        }
        if is_stale {
            self.count("stale");
            return Err(StoreError::Stale);
        }
        let batch = self.batch();
        self.shard(shard).ledger.write(changes, batch);
        if fault == Fault::CrashesAfter {
            self.kill();
        }
        if matches!(fault, Fault::CrashesAfter | Fault::FailsAfter) {
            return Err(self.failed(shard));
        }
        Ok(self.version(shard))
    }

    /// A failure after which the writer does not know what was written, and so begins another session.
    fn failed(&mut self, shard: Shard) -> StoreError {
        self.shard(shard).sessions += 1;
        StoreError::unavailable("planted")
    }
}

/// Moves the time that all share, as a call that blocks would.
fn pass(duration: Duration) {
    // The first step of it moves the time; what follows only lets others run, whom a blocked thread would not.
    let _ = time::advance(duration).now_or_never();
}

impl Clock for Shared {
    /// A clock that is put back an hour now and then.
    fn now(&self) -> Timestamp {
        let mut world = self.lock();
        world.now_us += if world.seeded.percent(5) { -3_600_000_000 } else { world.seeded.of(0..2_000_000) };
        Timestamp::from_microseconds(world.now_us)
    }
}
