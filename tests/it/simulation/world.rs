//! A store that fails on a seeded schedule, over a ledger in memory that outlives each crash, and another process that
//! commits to the same ledger.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::sync::Notify;
use tokio::time;
use wallet::engine::Clock;
use wallet::ledger::{
    AuditReport, Changes, Entry, EntryFilter, EntryId, EventId, EventKey, Fetched, Finding, Genesis, Head, Heads, Keys,
    Shard, Timestamp, UserId, Wallet,
};
use wallet::store::{Reader, Scan, ScanLimits, Store, StoreError, Transaction, Version, Writer, WriterCounts};

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
}

/// How often calls fail in one process.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    pub fail_percent: i64,
    pub crash_percent: i64,
    pub lock_percent: i64,
    pub slow_percent: i64,
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
    /// What is on disk.
    ledger: Ledger,
    /// False once the process was killed: no answer reaches a caller any more.
    pub alive: bool,
    died: Arc<Notify>,
    locked_until: Option<time::Instant>,
    /// Sessions of the writer so far: each failure ends one.
    sessions: u64,
    /// Commits by the other process so far.
    rival_commits: i64,
    now_us: i64,
    pub faults: BTreeMap<&'static str, u64>,
}

/// The world, as the engine's parts and the callers share it.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(seed: u64, bug: Option<Bug>, record: Arc<Mutex<Record>>) -> Self {
        let mut seeded = Seeded::new(seed);
        let isolation = if seeded.percent(50) { Isolation::Lock } else { Isolation::CompareAndSwap };
        let world = World {
            seeded,
            fault_plan: FaultPlan::default(),
            bug,
            isolation,
            record,
            ledger: Ledger::default(),
            alive: true,
            died: Arc::default(),
            locked_until: None,
            sessions: 0,
            rival_commits: 0,
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
        (world.alive, world.fault_plan, world.locked_until) = (true, fault_plan, None);
        world.sessions += 1;
        let (writer, reader) = (Box::new(self.clone()), Arc::new(self.clone()));
        Store { writers: vec![writer], reader, genesis: Genesis::new(currency()) }
    }

    /// Waits until the process is killed.
    pub async fn died(&self) {
        let died = Arc::clone(&self.lock().died);
        died.notified().await;
    }
}

impl World {
    pub fn entries(&self) -> &[Entry] {
        &self.ledger.entries
    }

    /// The ledger's own proof over what is on disk.
    pub fn audit(&self) -> Result<AuditReport, Finding> {
        self.ledger.audit()
    }

    fn count(&mut self, fault: &'static str) {
        *self.faults.entry(fault).or_default() += 1;
    }

    fn kill(&mut self) {
        self.alive = false;
        if self.bug == Some(Bug::LosesTheLastCommit) {
            self.ledger.lose_last_commit();
        }
        self.died.notify_one();
    }

    /// What becomes of a transaction that begins, and how long that takes.
    fn fault(&mut self) -> Result<Fault, StoreError> {
        if !self.alive {
            return Err(StoreError::unavailable("the process is dead"));
        }
        let FaultPlan { fail_percent, crash_percent, lock_percent, slow_percent, .. } = self.fault_plan;
        if self.seeded.percent(slow_percent) {
            self.count("slow");
            pass(Duration::from_millis(self.seeded.of(1..60).unsigned_abs()));
        }
        if self.locked_until.is_none() && self.seeded.percent(lock_percent) {
            self.locked_until =
                Some(time::Instant::now() + Duration::from_millis(self.seeded.of(1..900).unsigned_abs()));
        }
        if self.locked_until.is_some_and(|until| until > time::Instant::now() + LOCK_WAIT) {
            self.count("locked");
            pass(LOCK_WAIT);
            return Err(StoreError::Locked);
        }
        self.locked_until = None;
        let after = self.seeded.percent(50);
        if self.seeded.percent(crash_percent) {
            self.count("crash");
            return Ok(if after { Fault::CrashesAfter } else { Fault::CrashesBefore });
        }
        if self.seeded.percent(fail_percent) {
            self.count("failure");
            return Ok(if after { Fault::FailsAfter } else { Fault::FailsBefore });
        }
        Ok(Fault::None)
    }

    /// The other process commits, now and then. Whether it did.
    fn rival(&mut self) -> bool {
        if !self.seeded.percent(self.fault_plan.rival_percent) {
            return false;
        }
        let user_id = UserId::new(self.seeded.of(0..super::USERS)).expect("a number from 0");
        let command = super::command(&mut self.seeded, user_id);
        let (before, now) = (self.ledger.commits.len(), self.ledger.head().commit.created_at);
        let mut record = self.record.lock().expect("nothing panics while it holds the record");
        if let Err(finding) = self.ledger.audit() {
            record.violations.push(format!("the other process finds the ledger wrong: {finding}"));
            return false;
        }
        let index = record.begin(Call::Command(command.clone()));
        let outcome = self.ledger.apply(&command, now);
        record.answer(index, Answer::Decision(Decision::from(&outcome)));
        drop(record);
        let committed = self.ledger.commits.len() > before;
        if committed {
            self.rival_commits += 1;
            self.count("rival");
        }
        committed
    }

    fn version(&self) -> Version {
        let number = match (self.isolation, self.bug) {
            (Isolation::Lock, Some(Bug::HidesOtherCommits)) => 0,
            (Isolation::Lock, _) => self.rival_commits,
            (Isolation::CompareAndSwap, _) => self.ledger.head().commit.commit_id,
        };
        Version { session: self.sessions, number }
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

    fn commit(&mut self, changes: &Changes, fault: Fault, began: Version) -> Result<Version, StoreError> {
        let (opened, updated) =
            (changes.opened.iter().map(|(user, ..)| *user), changes.updated.iter().map(|(user, _)| *user));
        self.check(opened.chain(updated))?;
        if fault == Fault::CrashesBefore {
            self.kill();
        }
        if matches!(fault, Fault::CrashesBefore | Fault::FailsBefore) {
            return Err(self.failed());
        }
        if self.isolation == Isolation::CompareAndSwap {
            self.rival();
            if self.version() != began && self.bug != Some(Bug::CommitsOnAnOldHead) {
                self.count("stale");
                return Err(StoreError::Stale);
            }
        }
        self.ledger.write(changes);
        if fault == Fault::CrashesAfter {
            self.kill();
        }
        if matches!(fault, Fault::CrashesAfter | Fault::FailsAfter) {
            return Err(self.failed());
        }
        Ok(self.version())
    }

    /// A failure after which the writer does not know what was written, and so begins another session.
    fn failed(&mut self) -> StoreError {
        self.sessions += 1;
        StoreError::unavailable("planted")
    }
}

/// Moves the time that all share, as a call that blocks would.
fn pass(duration: Duration) {
    // The first step of it moves the time; what follows only lets others run, whom a blocked thread would not.
    let _ = time::advance(duration).now_or_never();
}

impl Writer for Shared {
    fn begin(&mut self) -> Result<Box<dyn Transaction + '_>, StoreError> {
        let mut world = self.lock();
        let fault = world.fault()?;
        world.rival();
        let version = world.version();
        drop(world);
        Ok(Box::new(Simulated { world: self, fault, version }))
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        match self.lock().fault()? {
            Fault::None => Ok(()),
            _ => Err(StoreError::unavailable("planted")),
        }
    }

    fn check(&mut self) -> Result<(), StoreError> {
        self.probe()
    }

    fn maintain(&mut self) -> Result<(), StoreError> {
        Ok(())
    }

    fn counts(&self) -> Arc<WriterCounts> {
        Arc::default()
    }
}

/// A transaction, with the fault that its commit has.
struct Simulated<'w> {
    world: &'w Shared,
    fault: Fault,
    version: Version,
}

impl Simulated<'_> {
    /// Panics if one of these is the poisoned event.
    fn touch(&self, mut event_ids: impl Iterator<Item = EventId>) {
        let poisoned = self.world.lock().fault_plan.poisoned;
        if poisoned.is_some_and(|poisoned| event_ids.any(|event_id| event_id == poisoned)) {
            self.world.lock().count("panic");
            // As a panic, but it is not printed: there will be thousands.
            std::panic::resume_unwind(Box::new("planted"));
        }
    }
}

impl Transaction for Simulated<'_> {
    fn version(&self) -> Version {
        self.version
    }

    fn head(&mut self) -> Result<Head, StoreError> {
        Ok(self.world.lock().ledger.head())
    }

    fn fetch(&mut self, keys: &Keys) -> Result<Fetched, StoreError> {
        self.touch(keys.events.iter().map(|event| event.event_id));
        let mut world = self.world.lock();
        world.check(keys.wallets.iter().copied())?;
        let mut fetched = world.ledger.fetch(keys);
        if world.bug == Some(Bug::ForgetsEvents) {
            fetched.events.iter_mut().for_each(|(_, entries)| entries.clear());
        }
        Ok(fetched)
    }

    fn commit(self: Box<Self>, changes: &Changes) -> Result<Version, StoreError> {
        self.touch(changes.entries.iter().map(|entry| entry.event_id));
        self.world.lock().commit(changes, self.fault, self.version)
    }
}

impl Clock for Shared {
    /// A clock that is put back an hour now and then.
    fn now(&self) -> Timestamp {
        let mut world = self.lock();
        world.now_us += if world.seeded.percent(5) { -3_600_000_000 } else { world.seeded.of(0..2_000_000) };
        Timestamp::from_microseconds(world.now_us)
    }
}

#[async_trait]
impl Reader for Shared {
    async fn wallet(&self, user_id: UserId, _at: Option<Timestamp>) -> Result<Option<Wallet>, StoreError> {
        tokio::task::yield_now().await;
        let world = self.lock();
        let mut ledger = world.ledger.clone();
        if world.bug == Some(Bug::ReadsTheCommitBefore) {
            ledger.lose_last_commit();
        }
        Ok(ledger.wallets.get(&user_id).map(|(wallet_id, created_at, state)| Wallet {
            user_id,
            wallet_id: *wallet_id,
            balance: state.balance,
            sequence: state.sequence,
            created_at: *created_at,
            frozen: state.frozen,
        }))
    }

    async fn entries(
        &self,
        user_id: UserId,
        before: Option<EntryId>,
        limit: usize,
    ) -> Result<Option<Vec<Entry>>, StoreError> {
        let world = self.lock();
        let is_asked = |entry: &&Entry| entry.user_id == user_id && before.is_none_or(|before| entry.entry_id < before);
        let found = world.ledger.entries.iter().rev().filter(is_asked).take(limit).cloned().collect();
        Ok(world.ledger.wallets.contains_key(&user_id).then_some(found))
    }

    async fn event(&self, event: EventKey) -> Result<Option<Vec<Entry>>, StoreError> {
        let world = self.lock();
        let found = world.ledger.fetch(&Keys { wallets: Vec::new(), events: vec![event] }).events.remove(0).1;
        Ok(world.ledger.wallets.contains_key(&event.user_id).then_some(found))
    }

    async fn scan(
        &self,
        _: Shard,
        after: EntryId,
        filter: &EntryFilter,
        limits: ScanLimits,
    ) -> Result<Scan, StoreError> {
        let world = self.lock();
        let head = world.ledger.head().commit.last_entry_id;
        let behind = world.ledger.entries.iter().filter(|entry| entry.entry_id > after).take(limits.rows_max);
        let (mut entries, mut end) = (Vec::new(), after);
        for entry in behind {
            end = entry.entry_id;
            if filter.matches(entry) {
                entries.push(entry.clone());
            }
            if entries.len() == limits.entries_max {
                break;
            }
        }
        Ok(Scan { entries, end, head })
    }

    async fn heads(&self) -> Result<Heads, StoreError> {
        Ok(Heads::new(vec![self.lock().ledger.head().commit]))
    }

    async fn close(&self) {}
}
