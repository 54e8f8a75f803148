//! The whole world of the model: the callers, two writers, the server, and all that can happen.

use super::actions::Action;
use super::checker::Model;
use super::ledger::{Call, Outcome, Scenario};
use super::plant::{Plant, Refusals};
use super::properties;
use super::server::{Connection, Server, Stage};
use super::writer::{Phase, Writer};

/// The attempts that a caller makes at most.
const ATTEMPTS: u8 = 2;
pub const WRITERS: usize = 2;

/// The protocol, or what is left of it with a fault planted.
#[derive(Clone, Copy, Debug)]
pub struct Protocol {
    pub scenario: Scenario,
    /// How much goes wrong at most, and what.
    pub faults: (u8, Faults),
    pub plant: Option<Plant>,
    pub refusals: Refusals,
    /// What is passed over in the search, so that something worse is found behind it.
    pub tolerated: Option<&'static str>,
}

/// What may go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Faults {
    Any,
    /// Those that can together lose a commit that somebody saw: a connection is lost or terminated, the standby takes
    /// over.
    OfReplication,
    /// Those by which a caller leaves a batch: a connection is lost, and time runs out while a commit is in doubt.
    OfDoubt,
}

/// What a caller was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Answer {
    Outcome(Outcome),
    /// Refused, and at no moment since it called did the durable ledger refuse it.
    FalselyRefused,
    /// DEADLINE: time ran out, and this attempt has done nothing.
    NothingDone,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Caller {
    /// It will call, for the first time or again.
    Ready {
        attempt: u8,
    },
    Waiting {
        call: Call,
        writer: usize,
        /// Whether the durable ledger has refused it at some moment since it called.
        may_be_refused: bool,
    },
    Told {
        call: Call,
        answer: Answer,
    },
    /// It was told UNAVAILABLE, and does not call again.
    GivenUp,
}

/// One state of everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    pub server: Server,
    pub writers: Vec<Writer>,
    pub callers: Vec<Caller>,
    /// How much can still go wrong.
    pub faults: u8,
}

impl World {
    /// The attempts that wait for a writer.
    pub fn waiting(&self, index: usize) -> impl Iterator<Item = Call> {
        self.callers.iter().filter_map(move |caller| match caller {
            Caller::Waiting { call, writer, .. } if *writer == index => Some(*call),
            _ => None,
        })
    }

    /// Those of them that are in no batch yet.
    pub fn queue(&self, index: usize) -> Vec<Call> {
        self.waiting(index).filter(|call| !self.writers[index].batch.contains(call)).collect()
    }

    /// Whether a caller's batch has a commit in doubt.
    fn is_in_doubt(&self, caller: usize) -> bool {
        self.writers
            .iter()
            .any(|writer| writer.in_doubt.is_some() && writer.batch.iter().any(|call| call.caller == caller))
    }

    /// A number that no commit has. As random numbers do not meet, the smallest that is free stands for all of them.
    pub fn new_nonce(&self) -> u8 {
        let of_writers = self.writers.iter().flat_map(|writer| {
            let now = match &writer.phase {
                Phase::Writing(decision) | Phase::Finishing(decision) => Some(decision),
                _ => None,
            };
            writer.in_doubt.iter().chain(now).filter_map(|decision| decision.commit.as_ref())
        });
        let of_connections = self.server.connections.iter().filter_map(Connection::commit);
        let taken: Vec<u8> =
            self.server.chain.iter().chain(of_writers).chain(of_connections).map(|commit| commit.nonce).collect();
        (0..=u8::MAX).find(|nonce| !taken.contains(nonce)).expect("a number is free")
    }

    /// Tells an attempt its outcome, if it still waits for it.
    pub fn tell(&mut self, index: usize, call: Call, outcome: Outcome) {
        let caller = &mut self.callers[call.caller];
        let Caller::Waiting { call: waits, writer, may_be_refused } = *caller else { return };
        if (waits, writer) == (call, index) {
            let is_false = outcome == Outcome::Refused && !may_be_refused;
            let answer = if is_false { Answer::FalselyRefused } else { Answer::Outcome(outcome) };
            *caller = Caller::Told { call, answer };
        }
    }

    /// Tells an attempt that its outcome is not known.
    fn tell_unavailable(&mut self, call: Call) {
        let attempt = call.attempt + 1;
        self.callers[call.caller] = if attempt < ATTEMPTS { Caller::Ready { attempt } } else { Caller::GivenUp };
    }

    /// Notes which of those that wait the durable ledger refuses now.
    fn note_refusals(&mut self, scenario: &Scenario) {
        let known = scenario.known(&self.server.durable());
        for caller in &mut self.callers {
            if let Caller::Waiting { call, may_be_refused, .. } = caller {
                *may_be_refused |= scenario.decide_one(&known, *call) == Outcome::Refused;
            }
        }
    }
}

impl Protocol {
    fn call(&self, world: &mut World, caller: usize, writer: usize) {
        let Caller::Ready { attempt } = world.callers[caller] else { unreachable!("it is ready") };
        world.callers[caller] = Caller::Waiting { call: Call { caller, attempt }, writer, may_be_refused: false };
        world.note_refusals(&self.scenario);
    }

    fn time_out(&self, world: &mut World, caller: usize) {
        let Caller::Waiting { call, writer, .. } = world.callers[caller] else { unreachable!("it waits") };
        let in_batch = world.writers[writer].batch.contains(&call);
        if in_batch && self.plant != Some(Plant::DeadlineAfterWrite) {
            world.tell_unavailable(call);
            Self::leave(world, writer, call);
        } else {
            world.callers[caller] = Caller::Told { call, answer: Answer::NothingDone };
        }
    }

    fn crash(world: &mut World, index: usize) {
        for call in world.waiting(index).collect::<Vec<_>>() {
            world.tell_unavailable(call);
        }
        world.writers[index] = Writer::NEW;
        world.server.reconnect(index);
        world.server.forget_given_up(index);
    }
}

impl Model for Protocol {
    type State = World;
    type Action = Action;

    fn start(&self) -> World {
        let callers = vec![Caller::Ready { attempt: 0 }; self.scenario.commands.len()];
        World { server: Server::new(), writers: vec![Writer::NEW; WRITERS], callers, faults: self.faults.0 }
    }

    fn actions(&self, world: &World) -> Vec<Action> {
        let mut actions = world.actions();
        let is_of_kind = |action| match self.faults.1 {
            Faults::Any => true,
            Faults::OfReplication => {
                matches!(action, Action::Lose { .. } | Action::Terminate { .. } | Action::FailOver)
            }
            Faults::OfDoubt => match action {
                Action::TimeOut { caller } => world.is_in_doubt(caller),
                _ => matches!(action, Action::Lose { .. }),
            },
        };
        actions.retain(|action| !self.is_fault(*action) || world.faults > 0 && is_of_kind(*action));
        actions
    }

    fn step(&self, world: &World, action: Action) -> World {
        let mut next = world.clone();
        let world = &mut next;
        world.faults -= u8::from(self.is_fault(action));
        match action {
            Action::Call { caller, writer } => self.call(world, caller, writer),
            Action::Begin { writer, path } => self.begin(world, writer, path),
            Action::Read { writer } => self.read(world, writer),
            Action::Execute { connection } => world.server.execute(connection, self.plant),
            Action::Replicate => {
                world.server.replicated += 1;
                world.note_refusals(&self.scenario);
            }
            Action::EndWait { connection } => world.server.end_wait(connection, false),
            Action::Receive { writer } => self.receive(world, writer),
            Action::Notice { writer } | Action::Lose { writer } => self.lose(world, writer),
            Action::Vanish { connection } => world.server.connections[connection].stage = Stage::Idle,
            Action::Crash { writer } => Self::crash(world, writer),
            Action::TimeOut { caller } => self.time_out(world, caller),
            Action::Cancel { connection } => world.server.end_wait(connection, true),
            Action::Terminate { connection } => world.server.terminate(connection),
            Action::FailOver => world.server.fail(true),
            Action::Restart => world.server.fail(false),
        }
        world.server.tidy();
        next
    }

    fn is_fault(&self, action: Action) -> bool {
        action.is_fault()
    }

    fn violation(&self, world: &World) -> Option<&'static str> {
        properties::violation(self, world).filter(|violation| self.tolerated != Some(*violation))
    }

    fn is_done(&self, world: &World) -> bool {
        world.callers.iter().all(|caller| matches!(caller, Caller::Told { .. } | Caller::GivenUp))
    }
}
