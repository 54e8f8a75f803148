//! The rules of money, as far as the protocol needs them: one wallet, charges and wins, replays and refusals.

/// What a caller wants. A charge has a negative amount, a win a positive one.
#[derive(Clone, Copy, Debug)]
pub struct Command {
    pub event: u8,
    pub amount: i8,
}

/// One attempt of one caller to have its command done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Call {
    pub caller: usize,
    pub attempt: u8,
}

/// What an attempt did to the wallet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    pub call: Call,
    pub balance_after: i8,
}

/// A link of the chain.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit {
    pub number: u8,
    /// The random number by which a writer knows its own commit.
    pub nonce: u8,
    pub entries: Vec<Entry>,
}

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// The balance after it.
    Applied(i8),
    /// The balance after its first time.
    Replayed(i8),
    Refused,
}

/// Who calls, and what the wallet holds at first.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    pub opening: i8,
    /// The command of each caller. A batch has them in this order.
    pub commands: &'static [Command],
}

/// What a decision is made from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Known {
    pub balance: i8,
    /// The events that are in the ledger, and the balance after each.
    pub events: Vec<(u8, i8)>,
}

/// What was decided on a batch, from the ledger as it was at one head.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Decision {
    /// The number of the commit that it follows.
    pub head: u8,
    pub outcomes: Vec<(Call, Outcome)>,
    /// What is to be written, if anything.
    pub commit: Option<Commit>,
    /// The wallet's balance after all of it.
    pub balance: i8,
}

/// The number of the last commit.
pub fn head(chain: &[Commit]) -> u8 {
    chain.last().map_or(0, |commit| commit.number)
}

impl Scenario {
    pub fn command(&self, call: Call) -> Command {
        self.commands[call.caller]
    }

    /// The wallet's balance, as a chain has it.
    pub fn balance(&self, chain: &[Commit]) -> i8 {
        let last = chain.iter().rev().find_map(|commit| commit.entries.last());
        last.map_or(self.opening, |entry| entry.balance_after)
    }

    /// The events of a chain.
    pub fn events(&self, chain: &[Commit]) -> Vec<(u8, i8)> {
        let entries = chain.iter().flat_map(|commit| &commit.entries);
        entries.map(|entry| (self.command(entry.call).event, entry.balance_after)).collect()
    }

    pub fn known(&self, chain: &[Commit]) -> Known {
        Known { balance: self.balance(chain), events: self.events(chain) }
    }

    /// Decides on a batch in order. What it writes follows the commit `head`. If it only refuses, it `writes_refusals`,
    /// in a commit without entries, or writes nothing.
    pub fn decide(&self, head: u8, mut known: Known, nonce: u8, calls: &[Call], writes_refusals: bool) -> Decision {
        let (mut outcomes, mut entries) = (Vec::new(), Vec::new());
        for call in calls {
            let outcome = self.decide_one(&known, *call);
            if let Outcome::Applied(balance_after) = outcome {
                known.balance = balance_after;
                known.events.push((self.command(*call).event, balance_after));
                entries.push(Entry { call: *call, balance_after });
            }
            outcomes.push((*call, outcome));
        }
        let refuses = outcomes.iter().any(|(_, outcome)| *outcome == Outcome::Refused);
        let writes = !entries.is_empty() || (writes_refusals && refuses);
        let commit = writes.then_some(Commit { number: head + 1, nonce, entries });
        Decision { head, outcomes, commit, balance: known.balance }
    }

    /// Decides on one command: replay, then balance.
    pub fn decide_one(&self, known: &Known, call: Call) -> Outcome {
        let Command { event, amount } = self.command(call);
        let first = known.events.iter().find(|(known, _)| *known == event);
        match (first, known.balance + amount) {
            (Some((_, balance_after)), _) => Outcome::Replayed(*balance_after),
            (None, balance_after @ 0..) => Outcome::Applied(balance_after),
            (None, _) => Outcome::Refused,
        }
    }
}
