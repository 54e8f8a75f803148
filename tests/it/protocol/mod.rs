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
//! **Lost connection.** The statement of a connection that was given up may still arrive there, or wait for the
//! standby. So the writer connects again, and before it sends anything else, it has the server end the process that
//! served the connection, and waits until that has ended. From then on:
//! - A statement that was not carried out never will be.
//! - A commit that waited for the standby is visible, as if an operator had terminated it.
//! - What was committed stays so.
//!
//! A server that was replaced or has started again serves no connection of before. A writer that crashes ends nothing:
//! what it had sent may still win or lose the race for its number, as any other.
//!
//! **Unknown outcome.** If a commit was sent, and no answer came, or one that warns that the wait was cancelled, the
//! commit is in doubt. The connection is given up and ended. Then one message locks the row, reads the commit at the
//! number that was tried, and commits. When that is answered:
//! - If the commit has the writer's nonce, the callers are told what was decided.
//! - If there is none, or another's, the writer's own will never be there. The batch is decided again, on the slow
//!   path.
//!
//! **Deadlines.** A call that is in no batch yet is told at its deadline that nothing was done. A call in a batch is
//! told UNAVAILABLE, and may be sent again, to either writer. If a commit of the batch is in doubt, the call leaves the
//! batch; if none is, it stays. The others may then be decided again without it, and come out differently. That is safe
//! because nothing of what was decided before can be committed by then. When all have left, the writer forgets what it
//! remembers and asks no more. The next batch ends the connection that was given up, if that is still to be done, and
//! takes the slow path.
//!
//! # The model
//! [`server`] is `PostgreSQL`, [`writer`] a wallet, [`ledger`] the rules, [`world`] everything together, [`actions`]
//! all that can happen. [`properties`] says what must be true in each state. [`checker`] searches the states, and also
//! finds those from which some caller can never be answered. [`plant`] lists what the protocol would be without one of
//! its steps.
//!
//! The tables have more constraints, such as that an event is unique. The model leaves them out: the protocol must not
//! need them. An old primary that is cut off, but goes on, is not in it either. A message that ends a given-up
//! connection, and arrives after its writer has crashed, is the same as an operator who terminates that connection.

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
        let protocol = Protocol { scenario, faults, plant, refusals, tolerated: None };
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
    search(&SCENARIOS, (2, Faults::OfDoubt), Refusals::OfOneAttempt, None);
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

/// The plant is found first as a replay, by which no money is lost. That is not all the harm it does.
#[test]
fn a_connection_that_was_given_up_and_lives_on_does_what_was_refused_meanwhile() {
    let (faults, plant) = ((2, Faults::OfDoubt), Some(Plant::GivenUpConnectionNotEnded));
    let refusals = Refusals::OfOneAttempt;
    let found = check(&Protocol { scenario: WIN_FIRST, faults, plant, refusals, tolerated: Some(SELF_REPLAY) });
    assert_eq!(found.err().map(|found| found.violation), Some(DENIED));
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
        (Plant::GivenUpConnectionNotEnded, CHARGES, (1, Any), OfOneAttempt, SELF_REPLAY),
        (Plant::RefusalsNotWritten, WIN_FIRST, (1, Any), OfAllAttempts, DENIED),
        (Plant::ToldCallDecidedAgain, CHARGE_FIRST, (1, Any), OfAllAttempts, DENIED),
        (Plant::DeadlineAfterWrite, CHARGES, (1, Any), OfOneAttempt, DENIED),
    ];
    let mut wrong = Vec::new();
    for (plant, scenario, faults, refusals, expected) in plants {
        match check(&Protocol { scenario, faults, plant: Some(plant), refusals, tolerated: None }) {
            Err(found) if found.violation == expected => println!("{plant:?}: {found}"),
            Err(found) => wrong.push(format!("{plant:?}, not as `{expected}`: {found}")),
            Ok(searched) => wrong.push(format!("{plant:?}, not at all: {searched}")),
        }
    }
    assert!(wrong.is_empty(), "found otherwise than expected:\n{}", wrong.join("\n"));
}
