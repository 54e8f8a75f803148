//! What must be true in every state, whatever has happened.

use super::ledger::{Call, Outcome, Scenario};
use super::plant::Refusals;
use super::world::{Answer, Caller, Protocol, World};

pub const GAP: &str = "the chain has a gap, or a number twice";
pub const TWICE: &str = "an event is in the ledger twice";
pub const BALANCE: &str = "an entry's balance is not what the entries before it give";
pub const LOST: &str = "what a caller was told is not in the ledger";
pub const SELF_REPLAY: &str = "a caller was told that another attempt did what this one has done";
pub const DENIED: &str = "a caller was told that its command was refused, or not done, and it is in the ledger";
pub const UNTRUE: &str = "a caller was refused, and the durable ledger had no reason for it since the call";

/// What is wrong with the world, if anything.
pub fn violation(protocol: &Protocol, world: &World) -> Option<&'static str> {
    let of_callers = || world.callers.iter().find_map(|caller| of_caller(protocol, world, *caller));
    of_chain(&protocol.scenario, world).or_else(of_callers)
}

fn of_chain(scenario: &Scenario, world: &World) -> Option<&'static str> {
    if (1..).zip(&world.server.chain).any(|(number, commit)| commit.number != number) {
        return Some(GAP);
    }
    let (mut balance, mut events) = (scenario.opening, Vec::new());
    for entry in world.server.chain.iter().flat_map(|commit| &commit.entries) {
        let command = scenario.command(entry.call);
        balance += command.amount;
        if events.contains(&command.event) {
            return Some(TWICE);
        }
        events.push(command.event);
        if balance != entry.balance_after || balance < 0 {
            return Some(BALANCE);
        }
    }
    None
}

fn of_caller(Protocol { scenario, refusals, .. }: &Protocol, world: &World, caller: Caller) -> Option<&'static str> {
    let Caller::Told { call, answer } = caller else { return None };
    let entries = || world.server.chain.iter().flat_map(|commit| &commit.entries);
    let is_there = |call: Call| entries().any(|entry| entry.call == call);
    match answer {
        Answer::Outcome(Outcome::Applied(balance)) => {
            let holds = entries().any(|entry| entry.call == call && entry.balance_after == balance);
            (!holds).then_some(LOST)
        }
        Answer::Outcome(Outcome::Replayed(balance)) => {
            let holds = scenario.events(&world.server.chain).contains(&(scenario.command(call).event, balance));
            (!holds).then_some(LOST).or(is_there(call).then_some(SELF_REPLAY))
        }
        Answer::Outcome(Outcome::Refused) => {
            let speaks_for = |other: Call| *refusals == Refusals::OfAllAttempts && other.caller == call.caller;
            entries().any(|entry| entry.call == call || speaks_for(entry.call)).then_some(DENIED)
        }
        Answer::NothingDone => is_there(call).then_some(DENIED),
        Answer::FalselyRefused => Some(UNTRUE),
    }
}
