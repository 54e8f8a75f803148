//! A store that fails on a seeded schedule, over a ledger in memory that outlives each crash.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt as _;
use tokio::sync::Notify;
use tokio::time;
use wallet::engine::Clock;
use wallet::ledger::{
    AuditReport, Command, Commit, Entry, EntryId, EventId, Finding, Outcome, Timestamp, UserId, Wallet, WalletState,
};
use wallet::store::{Reader, Store, StoreError, Writer};

use super::ledger::Ledger;
use crate::support::seed::Seeded;

/// How long one attempt waits for a lock that another process holds, as the SQLite writer does.
const LOCK_WAIT: Duration = Duration::from_millis(100);

/// A violation planted in the fake, to see that the checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// A crash takes the last commit with it, though its callers were answered.
    LosesTheLastCommit,
    /// Earlier entries of an event are not looked up: what is sent again is done again.
    ForgetsEvents,
    /// Reads are answered from before the last commit.
    ReadsTheCommitBefore,
    /// The first answers of a batch go to each other's callers.
    SwapsAnswers,
}

/// What happens to one call of the writer.
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
    bug: Option<Bug>,
    /// What is on disk.
    ledger: Ledger,
    /// False once the process was killed: no answer reaches a caller any more.
    pub alive: bool,
    died: Arc<Notify>,
    locked_until: Option<time::Instant>,
    now_us: i64,
    pub faults: BTreeMap<&'static str, u64>,
}

/// The world, as the engine's parts and the callers share it.
#[derive(Clone, Debug)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(seed: u64, bug: Option<Bug>) -> Self {
        let (seeded, fault_plan, ledger) = (Seeded::new(seed), FaultPlan::default(), Ledger::default());
        let (died, faults) = (Arc::default(), BTreeMap::new());
        let world = World { seeded, fault_plan, bug, ledger, alive: true, died, locked_until: None, now_us: 0, faults };
        Self(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("nothing panics while it holds the world")
    }

    /// A new process begins, with its fault plan, on what the last one left.
    pub fn live(&self, fault_plan: FaultPlan) -> Store {
        let mut world = self.lock();
        (world.alive, world.fault_plan, world.locked_until) = (true, fault_plan, None);
        Store { writer: Box::new(self.clone()), reader: Arc::new(self.clone()) }
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

    /// What becomes of a call, and how long that takes.
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

    fn transact(&mut self, batch: &[Command], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        let fault = self.fault()?;
        if let Some(user_id) = self.fault_plan.corrupt.filter(|user| batch.iter().any(|c| c.user_id == *user)) {
            self.count("corrupt");
            let (table, column, row) = ("wallet", "balance", user_id.get());
            return Err(StoreError::Corrupt { table, column, row, found: "planted".to_owned() });
        }
        if fault == Fault::CrashesBefore {
            self.kill();
        }
        if matches!(fault, Fault::CrashesBefore | Fault::FailsBefore) {
            return Err(StoreError::unavailable("planted"));
        }
        let (mut outcomes, changes) = self.ledger.decide(batch, now, self.bug == Some(Bug::ForgetsEvents));
        self.ledger.write(changes);
        if fault == Fault::CrashesAfter {
            self.kill();
        }
        if matches!(fault, Fault::CrashesAfter | Fault::FailsAfter) {
            return Err(StoreError::unavailable("planted"));
        }
        if self.bug == Some(Bug::SwapsAnswers) && outcomes.len() > 1 {
            outcomes.swap(0, 1);
        }
        Ok(outcomes)
    }
}

/// Moves the time that all share, as a call that blocks would.
fn pass(duration: Duration) {
    // The first step of it moves the time; what follows only lets others run, whom a blocked thread would not.
    let _ = time::advance(duration).now_or_never();
}

impl Writer for Shared {
    fn transact(&mut self, batch: &[Command], now: Timestamp) -> Result<Vec<Outcome>, StoreError> {
        let poisoned = self.lock().fault_plan.poisoned;
        if poisoned.is_some_and(|event| batch.iter().any(|command| command.event_id == event)) {
            self.lock().count("panic");
            // As a panic, but it is not printed: there will be thousands.
            std::panic::resume_unwind(Box::new("planted"));
        }
        self.lock().transact(batch, now)
    }

    fn probe(&mut self) -> Result<(), StoreError> {
        match self.lock().fault()? {
            Fault::None => Ok(()),
            _ => Err(StoreError::unavailable("planted")),
        }
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
        Ok(ledger.wallets.get(&user_id).map(|(wallet_id, created_at, WalletState { balance, sequence, .. })| Wallet {
            user_id,
            wallet_id: *wallet_id,
            balance: *balance,
            sequence: *sequence,
            created_at: *created_at,
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
        let found = world.ledger.entries.iter().rev().filter(is_asked).take(limit).copied().collect();
        Ok(world.ledger.wallets.contains_key(&user_id).then_some(found))
    }

    async fn head(&self) -> Result<Commit, StoreError> {
        Ok(self.lock().ledger.commits.last().copied().unwrap_or(Commit::GENESIS))
    }

    async fn close(&self) {}
}
