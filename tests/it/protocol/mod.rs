//! A model of how several wallets write to one shard of a ledger on `PostgreSQL`, and a search of everything that can
//! happen to two of them.
//!
//! # The protocol
//! The chain of commits is the fence. A commit has a number, which is its primary key, and a nonce, a random number by
//! which a writer knows its own. A writer that believes in the head `h` inserts the commit `h + 1`. If somebody else
//! has done so, nothing is written.
//!
//! **Fast path.** A writer reads what it lacks without a lock: first the head, then the rest. It decides, and sends one
//! statement, which locks the shard's row, inserts the commit unless its number is taken, and commits by itself.
//! - If it wrote, the callers are answered.
//! - If it did not, the writer forgets what it remembers, and takes the slow path.
//!
//! If the batch has nothing to write (replays and refusals alone), one message locks the row, reads the head and
//! commits. If the head is the one that the batch was decided on, the callers are answered. Otherwise the slow path
//! follows.
//!
//! **Slow path.** Lock the row and read the head; read, decide, write if there is something to write; COMMIT. The
//! callers are answered when COMMIT is.
//!
//! **Why the lock, and why COMMIT.** An operator may cancel or terminate a connection that waits for the standby. Its
//! commit is then visible, although the standby may not have it, and a fail-over loses it. A COMMIT of a transaction
//! that has locked a row waits until the standby has all that was committed before. So whatever was seen before it is
//! kept.
//!
//! **Unknown outcome.** If no answer comes, or one that warns that the wait was cancelled, the writer connects again.
//! One message locks the row, reads the commit at the number that was tried, and commits. When that is answered:
//! - If the commit has the writer's nonce, the callers are told what was decided.
//! - If there is none, or another's, the batch is decided again, on the slow path.
//!
//! The statement of the connection that was given up may still arrive. Then it wins or loses the race for its number as
//! any other. If it wins, the lock of the slow path finds the writer's own nonce, and what was decided then is told.
//!
//! **Deadlines.** A call that is in no batch yet is told at its deadline that nothing was done. A call in a batch is
//! told UNAVAILABLE, and may be sent again, to either writer. It stays in its batch: a batch that is decided twice at
//! one head must be decided in the same way, since the first write may still be on its way.
//!
//! # The model
//! [`server`] is `PostgreSQL`, [`writer`] a wallet, [`ledger`] the rules, [`world`] everything together, [`actions`]
//! all that can happen. [`properties`] says what must be true in each state. [`checker`] searches the states, and also
//! finds those from which some caller can never be answered. [`plant`] lists what the protocol would be without one of
//! its steps.
//!
//! The tables have more constraints, such as that an event is unique. The model leaves them out: the protocol must not
//! need them. An old primary that is cut off, but goes on, is not in it either.

mod actions;
mod checker;
mod ledger;
mod plant;
mod properties;
mod server;
mod world;
mod writer;

use self::checker::check;
use self::ledger::{Command, Scenario};
use self::plant::{Plant, Refusals};
use self::properties::{BALANCE, DENIED, LOST, SELF_REPLAY, UNTRUE};
use self::world::{Faults, Protocol};
use crate::support::seed::rounds;

const CHARGE: Command = Command { event: 1, amount: -2 };
const OTHER_CHARGE: Command = Command { event: 2, amount: -2 };
const WIN: Command = Command { event: 3, amount: 2 };

/// Two charges, of which only one fits.
const CHARGES: Scenario = Scenario { opening: 3, commands: &[CHARGE, OTHER_CHARGE] };
/// The same charge, sent twice.
const TWICE: Scenario = Scenario { opening: 3, commands: &[CHARGE, CHARGE] };
/// A charge that fits only after a win, and comes before it in a batch.
const CHARGE_FIRST: Scenario = Scenario { opening: 1, commands: &[CHARGE, WIN] };
/// The same, but it comes after it.
const WIN_FIRST: Scenario = Scenario { opening: 1, commands: &[WIN, CHARGE] };
/// A writer that has done the win and does a charge, while the other does a charge: three commits.
const RACE: Scenario = Scenario { opening: 1, commands: &[CHARGE, WIN, OTHER_CHARGE] };

const SCENARIOS: [Scenario; 4] = [CHARGES, TWICE, CHARGE_FIRST, WIN_FIRST];

/// Searches all that can happen in some scenarios, and fails with the first thing that must not.
fn search(scenarios: &[Scenario], faults: (u8, Faults), refusals: Refusals, plant: Option<Plant>) {
    for scenario in scenarios.iter().copied() {
        let protocol = Protocol { scenario, faults, plant, refusals };
        match check(&protocol) {
            Ok(searched) => println!("{protocol:?}: {searched}"),
            Err(found) => panic!("{protocol:?}: {found}"),
        }
    }
}

/// Two faults of any kind take a minute, so the usual run has one of any kind, and two of the kinds that lose commits.
fn search_all(refusals: Refusals) {
    let any = u8::try_from(rounds(1, 2)).expect("it is 1 or 2");
    search(&[RACE], (0, Faults::Any), refusals, None);
    search(&SCENARIOS, (any, Faults::Any), refusals, None);
    search(&SCENARIOS, (2, Faults::OfReplication), refusals, None);
}

#[test]
fn the_ledger_holds_what_callers_were_told_whatever_happens_to_two_writers() {
    search_all(Refusals::OfOneAttempt);
}

#[test]
fn with_refusals_that_are_written_a_refusal_speaks_for_earlier_attempts_too() {
    search_all(Refusals::OfAllAttempts);
}

/// Memory comes from answered commits alone, so the standby has all that it is about.
#[test]
fn what_is_remembered_from_answered_commits_would_outlive_a_connection() {
    search(&SCENARIOS, (2, Faults::OfReplication), Refusals::OfOneAttempt, Some(Plant::MemoryKeptAfterReconnect));
}

#[test]
fn each_planted_fault_is_found() {
    use Faults::{Any, OfReplication};
    use Refusals::{OfAllAttempts, OfOneAttempt};
    let plants = [
        (Plant::NumberIsNotUnique, CHARGES, (0, Any), OfOneAttempt, properties::GAP),
        (Plant::MemoryKeptAfterLostRace, RACE, (0, Any), OfOneAttempt, UNTRUE),
        (Plant::ReadKeptAfterReconnect, CHARGES, (2, OfReplication), OfOneAttempt, UNTRUE),
        (Plant::HeadReadLast, CHARGES, (0, Any), OfOneAttempt, BALANCE),
        (Plant::ReplaysToldAtOnce, TWICE, (2, OfReplication), OfOneAttempt, LOST),
        (Plant::RefusalsToldAtOnce, CHARGE_FIRST, (0, Any), OfOneAttempt, UNTRUE),
        (Plant::HeadNotCompared, CHARGE_FIRST, (0, Any), OfOneAttempt, UNTRUE),
        (Plant::Rollback, TWICE, (2, OfReplication), OfOneAttempt, LOST),
        (Plant::AdvisoryLock, TWICE, (2, OfReplication), OfOneAttempt, LOST),
        (Plant::WarningIgnored, TWICE, (2, Any), OfOneAttempt, LOST),
        (Plant::Unresolved, CHARGES, (1, Any), OfOneAttempt, SELF_REPLAY),
        (Plant::NonceNotCompared, CHARGES, (1, Any), OfOneAttempt, LOST),
        (Plant::ResolvedWithoutLock, TWICE, (2, OfReplication), OfOneAttempt, LOST),
        (Plant::ResolvedBeforeCommit, TWICE, (2, OfReplication), OfOneAttempt, LOST),
        (Plant::OwnCommitNotRecognised, CHARGES, (1, Any), OfOneAttempt, SELF_REPLAY),
        (Plant::BatchChanged, WIN_FIRST, (2, Any), OfOneAttempt, DENIED),
        (Plant::RefusalsNotWritten, WIN_FIRST, (1, Any), OfAllAttempts, DENIED),
        (Plant::ToldCallDecidedAgain, CHARGE_FIRST, (1, Any), OfAllAttempts, DENIED),
        (Plant::DeadlineAfterWrite, CHARGES, (1, Any), OfOneAttempt, DENIED),
    ];
    let mut wrong = Vec::new();
    for (plant, scenario, faults, refusals, expected) in plants {
        match check(&Protocol { scenario, faults, plant: Some(plant), refusals }) {
            Err(found) if found.violation == expected => println!("{plant:?}: {found}"),
            Err(found) => wrong.push(format!("{plant:?}, not as `{expected}`: {found}")),
            Ok(searched) => wrong.push(format!("{plant:?}, not at all: {searched}")),
        }
    }
    assert!(wrong.is_empty(), "found otherwise than expected:\n{}", wrong.join("\n"));
}
