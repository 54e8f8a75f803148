//! Ledgers of a given shape, made through the engine and its store without an API.

use std::path::Path;

use clap::Args;
use wallet::config::Settings;
use wallet::engine::{self, Cache, Clock as _, SystemClock};
use wallet::ledger::{Annotations, Caller, Command, EventId, Note, Outcome, RoundId, UserId, WalletId};
use wallet::store::{Location, Store, Writer};

/// The opening balance of each wallet, in minor units.
const OPENING: i64 = 1_000_000_000;

/// What a ledger is made of.
#[derive(Clone, Debug, Args)]
pub struct Shape {
    /// Entries of the ledger, the wallets' openings among them
    #[arg(long, default_value_t = 2_000_000, value_name = "N")]
    pub entries: i64,

    /// Wallets of the ledger
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    wallets: i64,

    /// Entries of each commit
    #[arg(long, default_value_t = 64, value_name = "N")]
    batch: usize,

    /// Charges alone, without rounds, callers and notes
    #[arg(long)]
    charges_only: bool,

    /// Event ids in no order, instead of rising ones
    #[arg(long)]
    random_ids: bool,
}

/// Makes the ledger in a file that is not there yet.
///
/// # Panics
/// If a command is refused.
pub fn fill(path: &Path, shape: &Shape) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let location = Location::Sqlite(path.to_owned());
    let store = runtime.block_on(location.open(Settings::defaults().store()));
    let Store { mut writers, reader, .. } = store.expect("a new ledger");
    let mut writer = writers.remove(0);
    let (mut cache, mut batch) = (Cache::default(), Vec::with_capacity(shape.batch));
    for number in 0..shape.entries {
        batch.push(if number < shape.wallets { opening(number) } else { shape.command(number) });
        if batch.len() == shape.batch || number + 1 == shape.entries {
            transact(writer.as_mut(), &mut cache, &batch);
            batch.clear();
        }
    }
    runtime.block_on(reader.close());
}

fn transact(writer: &mut dyn Writer, cache: &mut Cache, batch: &[Command]) {
    let committed = engine::transact(writer, cache, batch, SystemClock.now()).expect("outcomes");
    for (command, outcome) in batch.iter().zip(committed.outcomes) {
        assert!(matches!(outcome, Outcome::Applied(_)), "{command:?}: {outcome:?}");
    }
}

fn opening(number: i64) -> Command {
    let wallet_id = WalletId::from_bytes(i128::from(number).to_be_bytes());
    Command::open(user(number), wallet_id, OPENING).expect("an amount")
}

impl Shape {
    /// The command of this number. Of twenty, eleven are charges, seven wins, one is a deposit with a note, and one is
    /// the rollback of a charge some thousand commands before.
    fn command(&self, number: i64) -> Command {
        let charge = |number| Command::charge(self.user(number), self.event(number), 1).expect("an amount");
        if self.charges_only {
            return charge(number);
        }
        let (user, event) = (self.user(number), self.event(number));
        let earlier = number - 2_000;
        let command = match number % 20 {
            0 if earlier > self.wallets => Command::rollback(self.user(earlier - 1), self.event(earlier - 1)),
            1 => return deposit(user, event),
            2..=8 => Command::win(user, event, 2).expect("an amount"),
            _ => charge(number),
        };
        let (round_id, caller) = (RoundId::new(number / 2), Caller::new("engine-1"));
        command.with_annotations(Annotations { round_id, note: None, caller })
    }

    /// Whose command it is. Consecutive ones are far apart in the table.
    fn user(&self, number: i64) -> UserId {
        user(number.wrapping_mul(7_919).rem_euclid(self.wallets))
    }

    fn event(&self, number: i64) -> EventId {
        // To multiply by an odd number gives each 62-bit number once, in no order.
        let scattered = number.wrapping_mul(0x1e37_79b9_7f4a_7c15) & ((1 << 62) - 1);
        EventId::new(if self.random_ids { scattered } else { number }).expect("an id")
    }
}

fn user(number: i64) -> UserId {
    UserId::new(number).expect("an id")
}

fn deposit(user: UserId, event: EventId) -> Command {
    let (note, caller) = (Note::new("by bank transfer"), Caller::new("cashier"));
    let deposit = Command::deposit(user, event, 500).expect("an amount");
    deposit.with_annotations(Annotations { round_id: None, note, caller })
}
