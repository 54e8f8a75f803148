//! Two who write one ledger, and what was observed of them.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::task::block_in_place;
use wallet::engine::{self, Cache, Committed};
use wallet::ledger::{Command, Entry, EventId, Timestamp, UserId, WalletId};
use wallet::store::{Location, Store, StoreError, StoreOptions, WriterCount};

use crate::support::linear::Operation;
use crate::support::oracle::{Answer, Call, Decision};
use crate::support::seed::Seeded;
use crate::support::store::{close, entries, eur, user};

const USERS: i64 = 4;
/// How many numbers back an event is taken from that may be known.
const RECENT: i64 = 30;

pub type Observed = Operation<Call, Answer>;

/// What was asked and answered, by both.
#[derive(Clone, Default)]
pub struct Observer(Arc<Observations>);

#[derive(Default)]
struct Observations {
    moment: AtomicU64,
    /// The last event number that was given out.
    events: AtomicI64,
    history: Mutex<Vec<Observed>>,
    /// Commands that were answered as done.
    done: Mutex<Vec<Command>>,
}

impl Observer {
    pub fn openings() -> Vec<Command> {
        let open = |number| {
            let wallet_id = WalletId::from_bytes([u8::try_from(number).unwrap(); 16]);
            Command::open(user(number), wallet_id, 1_000).unwrap()
        };
        (0..USERS).map(open).collect()
    }

    fn moment(&self) -> u64 {
        self.0.moment.fetch_add(1, Ordering::SeqCst)
    }

    fn record(&self, batch: &[Command], called: u64, answered: Option<(u64, &Committed)>) {
        let mut history = self.0.history.lock().unwrap();
        for (place, command) in batch.iter().enumerate() {
            let answered = answered.map(|(moment, committed)| {
                let decision = Decision::from(&committed.outcomes[place]);
                if matches!(decision, Decision::Applied { .. }) {
                    self.0.done.lock().unwrap().push(command.clone());
                }
                (moment, Answer::Decision(decision))
            });
            history.push(Operation { call: Call::Command(command.clone()), called, answered });
        }
    }

    pub fn history(&self) -> Vec<Observed> {
        std::mem::take(&mut self.0.history.lock().unwrap())
    }

    /// Commands of which the first writes for certain: a win of a number that nobody has used.
    pub fn write(&self, seeded: &mut Seeded) -> Vec<Command> {
        let event = EventId::new(self.0.events.fetch_add(1, Ordering::Relaxed) + 1).unwrap();
        let win = Command::win(user(seeded.of(0..USERS)), event, seeded.of(1..300)).unwrap();
        let mut batch = vec![win];
        batch.extend((0..seeded.of(0..4)).map(|_| self.fresh(seeded)));
        batch
    }

    /// Commands of which the first has a number that may be known.
    pub fn known(&self, seeded: &mut Seeded) -> Vec<Command> {
        let mut batch = vec![self.command(seeded, false)];
        batch.extend(self.write(seeded));
        batch
    }

    /// Any commands.
    pub fn any(&self, seeded: &mut Seeded) -> Vec<Command> {
        (0..seeded.of(1..5))
            .map(|_| if seeded.percent(50) { self.fresh(seeded) } else { self.command(seeded, false) })
            .collect()
    }

    /// Commands that were done.
    pub fn replay(&self, seeded: &mut Seeded) -> Vec<Command> {
        let done = self.0.done.lock().unwrap();
        let count = i64::try_from(done.len()).unwrap();
        let pick =
            |seeded: &mut Seeded| done[usize::try_from(seeded.of((count - RECENT).max(0)..count)).unwrap()].clone();
        (0..seeded.of(1..4)).map(|_| pick(seeded)).collect()
    }

    /// A command with a new number.
    fn fresh(&self, seeded: &mut Seeded) -> Command {
        self.command(seeded, true)
    }

    fn command(&self, seeded: &mut Seeded, is_new: bool) -> Command {
        let last = if is_new { self.0.events.fetch_add(1, Ordering::Relaxed) + 1 } else { 0 };
        let events = self.0.events.load(Ordering::Relaxed);
        let number = if is_new { last } else { seeded.of((events - RECENT).max(0)..events + 1) };
        let (user, event) = (user(seeded.of(0..USERS)), EventId::new(number).unwrap());
        let amount = seeded.of(1..300);
        match seeded.of(0..20) {
            0..=6 => Command::charge(user, event, amount),
            7..=10 => Command::win(user, event, amount),
            11 | 12 => Command::deposit(user, event, amount),
            13 => Command::withdraw(user, event, amount),
            14 | 15 => Ok(Command::rollback(user, event)),
            16 => Ok(Command::rollback_win(user, event)),
            17 => Ok(Command::unfreeze(user, event)),
            _ => Command::play(user, (event, amount), (event, amount / 2)),
        }
        .unwrap()
    }
}

/// One who writes, as the engine does.
pub struct Racer {
    store: Option<Store>,
    cache: Cache,
    observer: Observer,
}

impl Racer {
    pub async fn open(url: &str, observer: &Observer) -> Self {
        let location: Location = url.parse().unwrap();
        let store = location.open(StoreOptions::new(eur())).await.expect("the ledger opens");
        Self { store: Some(store), cache: Cache::default(), observer: observer.clone() }
    }

    fn store(&mut self) -> &mut Store {
        self.store.as_mut().expect("it is open")
    }

    /// Forgets what it remembers of the ledger.
    pub fn forget(&mut self) {
        self.cache = Cache::default();
    }

    /// Whether it was slower than the other, and so locks first.
    pub fn may_lock_first(&mut self) -> bool {
        self.store().writers[0].counts().get(WriterCount::LostRaces) > 0
    }

    /// Sends a batch until its outcome is known, as callers do. `in_doubt` is called when an answer was lost, once.
    pub fn send(&mut self, batch: &[Command], mut in_doubt: Option<&mut dyn FnMut()>) {
        let now = Timestamp::from_microseconds(1);
        loop {
            let called = self.observer.moment();
            let writer = self.store.as_mut().expect("it is open").writers[0].as_mut();
            match block_in_place(|| engine::transact(writer, &mut self.cache, batch, now)) {
                Ok(committed) => return self.answered(batch, called, &committed),
                Err(StoreError::Locked) => (),
                Err(StoreError::InDoubt(_)) => {
                    if let Some(in_doubt) = in_doubt.take() {
                        in_doubt();
                    }
                    match self.resolve() {
                        Some(committed) => return self.answered(batch, called, &committed),
                        // As long as nothing else is written, it may still be.
                        None => self.observer.record(batch, called, None),
                    }
                }
                Err(StoreError::Unavailable(_)) => self.observer.record(batch, called, None),
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    fn answered(&self, batch: &[Command], called: u64, committed: &Committed) {
        let answered = self.observer.moment();
        self.observer.record(batch, called, Some((answered, committed)));
    }

    /// Asks what became of the last commit, until it is known.
    fn resolve(&mut self) -> Option<Committed> {
        let writer = self.store.as_mut().expect("it is open").writers[0].as_mut();
        loop {
            match block_in_place(|| engine::resolve(writer, &mut self.cache)) {
                Ok(resolved) => return resolved,
                Err(StoreError::Locked | StoreError::Unavailable(_)) => (),
                Err(error) => panic!("{error:?}"),
            }
        }
    }

    /// Looks at every wallet.
    pub async fn look(&mut self) {
        for user_id in (0..USERS).filter_map(UserId::new) {
            let called = self.observer.moment();
            let wallet = self.store().reader.wallet(user_id, None).await.expect("it is read");
            let answer = Answer::Balance(wallet.map(|wallet| wallet.balance.minor()));
            let answered = Some((self.observer.moment(), answer));
            let observed = Operation { call: Call::Wallet(user_id), called, answered };
            self.observer.0.history.lock().unwrap().push(observed);
        }
    }

    /// The whole ledger.
    pub async fn entries(&mut self) -> Vec<Entry> {
        entries(self.store()).await
    }

    pub async fn close(&mut self) {
        if let Some(store) = self.store.take() {
            close(store).await;
        }
    }
}
