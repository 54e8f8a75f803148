//! One wallet process that writes: what it remembers, where its batch is, and what it does next.

use super::ledger::{Call, Commit, Decision, Known, Outcome, head};
use super::plant::{Plant, Refusals};
use super::server::{Message, Reply, Seen, Stage};
use super::world::{Protocol, World};

/// What a writer believes of the ledger from its last transaction on this connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Memory {
    pub head: u8,
    pub balance: i8,
}

/// Which path a batch takes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Path {
    Fast,
    Slow,
}

/// How far a writer is with its batch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Idle,
    /// Fast path, nothing remembered: one of the two reads without the lock is done.
    HasReadHead(u8),
    HasReadWallet(Known),
    /// Fast path: the write statement is sent.
    Writing(Decision),
    /// Fast path, nothing to write: it is asked whether the head is still the same.
    Checking(Decision),
    /// Slow path: the lock is asked for.
    Locking,
    /// Slow path: the write and COMMIT are sent.
    Finishing(Decision),
    /// The outcome of a write is not known: it is asked whose commit is at its number.
    Resolving,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    pub memory: Option<Memory>,
    pub phase: Phase,
    pub batch: Vec<Call>,
    /// What was decided for this batch and sent, without an answer. The last one is the newest.
    pub unresolved: Vec<Decision>,
}

impl Writer {
    pub const NEW: Self = Self { memory: None, phase: Phase::Idle, batch: Vec::new(), unresolved: Vec::new() };

    /// The number of the newest commit whose fate is not known; 0, which no commit has, if there is none.
    fn unresolved_number(&self) -> u8 {
        let newest = self.unresolved.last().and_then(|decision| decision.commit.as_ref());
        newest.map_or(0, |commit| commit.number)
    }

    /// The decision whose commit is in the ledger, as a locked read shows it.
    fn recognise(&self, seen: Seen, plant: Option<Plant>) -> Option<Decision> {
        let number = self.unresolved_number();
        let is_there = |commit: &Commit| {
            let is_ours = seen.nonce == Some(commit.nonce) || plant == Some(Plant::NonceNotCompared);
            commit.number == number && seen.nonce.is_some() && is_ours
        };
        let there = self.unresolved.iter().find(|decision| decision.commit.as_ref().is_some_and(is_there));
        there.cloned()
    }
}

impl Protocol {
    /// Takes all that waits as a batch.
    pub fn begin(&self, world: &mut World, index: usize, path: Path) {
        world.writers[index].batch = world.queue(index);
        match (path, world.writers[index].memory) {
            (Path::Slow, _) => Self::lock(world, index),
            (Path::Fast, Some(memory)) => {
                // The cache holds wallets, not events: these are read, at whatever head the ledger has now.
                let known = Known { balance: memory.balance, events: self.scenario.events(&world.server.chain) };
                self.write(world, index, memory.head, known);
            }
            (Path::Fast, None) if self.plant == Some(Plant::HeadReadLast) => {
                let known = self.scenario.known(&world.server.chain);
                world.writers[index].phase = Phase::HasReadWallet(known);
            }
            (Path::Fast, None) => world.writers[index].phase = Phase::HasReadHead(head(&world.server.chain)),
        }
    }

    /// Reads, without the lock, what the fast path lacks, and goes on.
    pub fn read(&self, world: &mut World, index: usize) {
        match world.writers[index].phase.clone() {
            Phase::HasReadHead(head) => {
                let known = self.scenario.known(&world.server.chain);
                self.write(world, index, head, known);
            }
            Phase::HasReadWallet(known) => self.write(world, index, head(&world.server.chain), known),
            phase => unreachable!("nothing is read in {phase:?}"),
        }
    }

    /// Fast path: decides, and sends one message.
    fn write(&self, world: &mut World, index: usize, head: u8, known: Known) {
        if self.plant == Some(Plant::ReadKeptAfterReconnect) {
            world.writers[index].memory = Some(Memory { head, balance: known.balance });
        }
        let decision = self.decide(world, index, head, known);
        let told_at_once = match self.plant {
            Some(Plant::ReplaysToldAtOnce) => |outcome| matches!(outcome, Outcome::Replayed(_)),
            Some(Plant::RefusalsToldAtOnce) => |outcome| outcome == Outcome::Refused,
            _ => |_| false,
        };
        match decision.commit.clone() {
            Some(commit) => {
                world.server.send(index, Message::Write(commit));
                world.writers[index].phase = Phase::Writing(decision);
            }
            None if decision.outcomes.iter().all(|(_, outcome)| told_at_once(*outcome)) => {
                Self::answer(world, index, &decision);
            }
            None => {
                world.server.send(index, Message::Check { number: 0 });
                world.writers[index].phase = Phase::Checking(decision);
            }
        }
    }

    /// Slow path, first message.
    fn lock(world: &mut World, index: usize) {
        let number = world.writers[index].unresolved_number();
        world.server.send(index, Message::Lock { number });
        world.writers[index].phase = Phase::Locking;
    }

    /// Slow path, last message.
    fn finish(&self, world: &mut World, index: usize, decision: Decision, commit: Option<Commit>) {
        let rolls_back = commit.is_none() && self.plant == Some(Plant::Rollback);
        world.server.send(index, if rolls_back { Message::Rollback } else { Message::Finish(commit) });
        world.writers[index].phase = Phase::Finishing(decision);
    }

    /// Decides on the batch. It stays the same when it is decided again, so at one head it has one outcome: a write of
    /// it that is still on its way does what was decided now, or loses the race for its number.
    fn decide(&self, world: &mut World, index: usize, head: u8, known: Known) -> Decision {
        let is_of_all = self.refusals == Refusals::OfAllAttempts;
        if is_of_all && self.plant != Some(Plant::ToldCallDecidedAgain) || self.plant == Some(Plant::BatchChanged) {
            let waiting: Vec<Call> = world.waiting(index).collect();
            world.writers[index].batch.retain(|call| waiting.contains(call));
        }
        let nonce = world.new_nonce();
        let writes_refusals = is_of_all && self.plant != Some(Plant::RefusalsNotWritten);
        self.scenario.decide(head, known, nonce, &world.writers[index].batch, writes_refusals)
    }

    /// Takes the answer of the server.
    pub fn receive(&self, world: &mut World, index: usize) {
        let Stage::Replied { reply, warns } = world.server.connections[index].stage.clone() else {
            unreachable!("there is an answer")
        };
        if warns && self.plant != Some(Plant::WarningIgnored) {
            // What was committed may not be replicated: it is as if no answer had come.
            return self.lose(world, index);
        }
        world.server.connections[index].stage = Stage::Idle;
        match (world.writers[index].phase.clone(), reply) {
            (Phase::Writing(decision), Reply::Wrote(true))
            | (Phase::Finishing(decision), Reply::Wrote(true) | Reply::Ended) => {
                Self::answer(world, index, &decision);
            }
            (Phase::Writing(_) | Phase::Finishing(_), Reply::Wrote(false)) => self.decide_again(world, index),
            (Phase::Checking(decision), Reply::Checked(seen)) => {
                if seen.head == decision.head || self.plant == Some(Plant::HeadNotCompared) {
                    Self::answer(world, index, &decision);
                } else {
                    self.decide_again(world, index);
                }
            }
            (Phase::Locking, Reply::Locked(seen)) => self.locked(world, index, seen),
            (Phase::Resolving, Reply::Checked(seen)) => match world.writers[index].recognise(seen, self.plant) {
                Some(decision) => Self::answer(world, index, &decision),
                None => self.decide_again(world, index),
            },
            (phase, reply) => unreachable!("{reply:?} in {phase:?}"),
        }
    }

    /// Slow path: nobody else can write now.
    fn locked(&self, world: &mut World, index: usize, seen: Seen) {
        if let Some(decision) = world.writers[index].recognise(seen, self.plant) {
            return self.finish(world, index, decision, None);
        }
        let mut known = self.scenario.known(&world.server.chain);
        if let Some(memory) = world.writers[index].memory {
            let holds = memory.head == seen.head || self.plant == Some(Plant::MemoryKeptAfterLostRace);
            known.balance = if holds { memory.balance } else { known.balance };
        }
        let decision = self.decide(world, index, seen.head, known);
        let commit = decision.commit.clone();
        self.finish(world, index, decision, commit);
    }

    fn decide_again(&self, world: &mut World, index: usize) {
        if self.plant != Some(Plant::MemoryKeptAfterLostRace) {
            world.writers[index].memory = None;
        }
        if self.plant == Some(Plant::OwnCommitNotRecognised) {
            world.writers[index].unresolved.clear();
        }
        Self::lock(world, index);
    }

    /// The connection is lost: connects again, and goes on with the batch.
    pub fn lose(&self, world: &mut World, index: usize) {
        world.server.reconnect(index);
        let writer = &mut world.writers[index];
        if !matches!(self.plant, Some(Plant::MemoryKeptAfterReconnect | Plant::ReadKeptAfterReconnect)) {
            writer.memory = None;
        }
        match writer.phase.clone() {
            Phase::Idle => (),
            Phase::Writing(decision) | Phase::Finishing(decision) if decision.commit.is_some() => {
                if self.plant == Some(Plant::Unresolved) {
                    return Self::lock(world, index);
                }
                if !writer.unresolved.contains(&decision) {
                    writer.unresolved.push(decision);
                }
                self.resolve(world, index);
            }
            Phase::Resolving => self.resolve(world, index),
            _ => Self::lock(world, index),
        }
    }

    fn resolve(&self, world: &mut World, index: usize) {
        let number = world.writers[index].unresolved_number();
        let message = match self.plant {
            Some(Plant::ResolvedWithoutLock) => Message::Peek { number, locks: false },
            Some(Plant::ResolvedBeforeCommit) => Message::Peek { number, locks: true },
            _ => Message::Check { number },
        };
        world.server.send(index, message);
        world.writers[index].phase = Phase::Resolving;
    }

    /// Tells every caller of the batch that still waits what was decided.
    fn answer(world: &mut World, index: usize, decision: &Decision) {
        for (call, outcome) in &decision.outcomes {
            world.tell(index, *call, *outcome);
        }
        let head = decision.commit.as_ref().map_or(decision.head, |commit| commit.number);
        world.writers[index] = Writer { memory: Some(Memory { head, balance: decision.balance }), ..Writer::NEW };
    }
}
