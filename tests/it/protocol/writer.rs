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
    /// A new connection, and the one that was given up is being ended.
    Ending,
    /// A commit is in doubt: it is asked whose is at its number.
    Resolving,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Writer {
    pub memory: Option<Memory>,
    pub phase: Phase,
    pub batch: Vec<Call>,
    /// What was decided for this batch and sent, without an answer.
    pub in_doubt: Option<Decision>,
}

impl Writer {
    pub const NEW: Self = Self { memory: None, phase: Phase::Idle, batch: Vec::new(), in_doubt: None };

    /// The number of the commit that is in doubt; 0, which no commit has, if there is none.
    fn number_in_doubt(&self) -> u8 {
        let commit = self.in_doubt.as_ref().and_then(|decision| decision.commit.as_ref());
        commit.map_or(0, |commit| commit.number)
    }

    /// The decision that was in doubt, if its commit is in the ledger, as a locked read of its number shows.
    fn take_resolved(&mut self, seen: Seen, plant: Option<Plant>) -> Option<Decision> {
        let is_ours = |decision: &Decision| {
            let ours = decision.commit.as_ref().map(|commit| commit.nonce);
            seen.nonce.is_some() && (seen.nonce == ours || plant == Some(Plant::NonceNotCompared))
        };
        self.in_doubt.take().filter(is_ours)
    }
}

impl Protocol {
    /// Takes all that waits as a batch. If a connection that was given up is still to be ended, that comes first, and
    /// the slow path after it.
    pub fn begin(&self, world: &mut World, index: usize, path: Path) {
        world.writers[index].batch = world.queue(index);
        match (path, world.writers[index].memory) {
            _ if world.server.has_given_up(index) => self.go_on(world, index),
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
        world.server.send(index, Message::Lock);
        world.writers[index].phase = Phase::Locking;
    }

    /// Slow path, last message.
    fn finish(&self, world: &mut World, index: usize, decision: Decision, commit: Option<Commit>) {
        let rolls_back = commit.is_none() && self.plant == Some(Plant::Rollback);
        world.server.send(index, if rolls_back { Message::Rollback } else { Message::Finish(commit) });
        world.writers[index].phase = Phase::Finishing(decision);
    }

    /// Decides on those who are in the batch now: fewer than before, if some have left it.
    fn decide(&self, world: &mut World, index: usize, head: u8, known: Known) -> Decision {
        let is_of_all = self.refusals == Refusals::OfAllAttempts;
        if is_of_all && self.plant != Some(Plant::ToldCallDecidedAgain) {
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
            (Phase::Ending, Reply::Ended) => self.resolve_or_lock(world, index),
            (Phase::Locking, Reply::Locked(head)) => self.locked(world, index, head),
            (Phase::Resolving, Reply::Checked(seen)) => match world.writers[index].take_resolved(seen, self.plant) {
                Some(decision) => Self::answer(world, index, &decision),
                None => self.decide_again(world, index),
            },
            (phase, reply) => unreachable!("{reply:?} in {phase:?}"),
        }
    }

    /// Slow path: nobody else can write now.
    fn locked(&self, world: &mut World, index: usize, head: u8) {
        let mut known = self.scenario.known(&world.server.chain);
        if let Some(memory) = world.writers[index].memory {
            let holds = memory.head == head || self.plant == Some(Plant::MemoryKeptAfterLostRace);
            known.balance = if holds { memory.balance } else { known.balance };
        }
        let decision = self.decide(world, index, head, known);
        let commit = decision.commit.clone();
        self.finish(world, index, decision, commit);
    }

    fn decide_again(&self, world: &mut World, index: usize) {
        if self.plant != Some(Plant::MemoryKeptAfterLostRace) {
            world.writers[index].memory = None;
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
            Phase::Idle => return,
            Phase::Writing(decision) | Phase::Finishing(decision)
                if decision.commit.is_some() && self.plant != Some(Plant::Unresolved) =>
            {
                writer.in_doubt = Some(decision);
            }
            _ => (),
        }
        self.go_on(world, index);
    }

    /// Goes on with the batch over a new connection. The one before is ended first, if it can still write. If it can
    /// not, the message would do nothing, and is left out: to lose it would be to lose the next one.
    fn go_on(&self, world: &mut World, index: usize) {
        if world.server.has_given_up(index) && self.plant != Some(Plant::GivenUpConnectionNotEnded) {
            world.server.send(index, Message::End);
            world.writers[index].phase = Phase::Ending;
        } else {
            self.resolve_or_lock(world, index);
        }
    }

    fn resolve_or_lock(&self, world: &mut World, index: usize) {
        if world.writers[index].in_doubt.is_some() {
            self.resolve(world, index);
        } else {
            Self::lock(world, index);
        }
    }

    /// A call of the batch has been told UNAVAILABLE. While a commit is in doubt, it leaves the batch. If it was the
    /// last, nobody waits for what is in doubt, and the writer asks no more.
    ///
    /// At other times the writer does not notice that the caller waits no longer, and decides on the call all the same.
    pub fn leave(world: &mut World, index: usize, call: Call) {
        let writer = &mut world.writers[index];
        if writer.in_doubt.is_none() {
            return;
        }
        writer.batch.retain(|other| *other != call);
        if writer.batch.is_empty() {
            *writer = Writer { memory: writer.memory, ..Writer::NEW };
            world.server.reconnect(index);
        }
    }

    fn resolve(&self, world: &mut World, index: usize) {
        let number = world.writers[index].number_in_doubt();
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
