//! Which message a connection is cut at, where, and how.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// Where a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The message is not passed on.
    Before,
    /// Half of its bytes are passed on.
    Within,
    /// The message is passed on, and no byte of the server's answer to it.
    BeforeAnswer,
    /// The server's answer has come whole, up to its being ready for the next, and no byte of it is passed on.
    AfterAnswer,
}

/// How both sides see the connection end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// As the other side would close it.
    Close,
    /// As a host does that restarted (RST).
    Reset,
}

/// A cut at a message that a client sends.
pub struct Cut {
    place: Place,
    ending: Ending,
    nth: usize,
    matches: Matches,
}

/// Whether a message, by its letter and payload, is one that is counted.
type Matches = Box<dyn FnMut(u8, &[u8]) -> bool + Send>;

impl Cut {
    /// A cut at the first message that matches, with a close.
    pub fn at(place: Place, matches: impl FnMut(u8, &[u8]) -> bool + Send + 'static) -> Self {
        Self { place, ending: Ending::Close, nth: 1, matches: Box::new(matches) }
    }

    /// The same at the `nth` such message from now: the first is 1.
    pub fn nth(self, nth: usize) -> Self {
        assert_ne!(nth, 0, "the first is 1");
        Self { nth, ..self }
    }

    pub fn ending(self, ending: Ending) -> Self {
        Self { ending, ..self }
    }

    pub(super) fn plan(self) -> (Plan, Planned) {
        let state = Arc::<State>::default();
        (Plan { cut: self, teller: Teller(Arc::clone(&state)) }, Planned(state))
    }
}

/// Whether the cut was made (`true`), or never will be (`false`).
#[derive(Default)]
struct State {
    made: Mutex<Option<bool>>,
    known: Condvar,
}

/// A cut that the test is told of.
pub(super) struct Plan {
    cut: Cut,
    teller: Teller,
}

/// A cut that has begun.
pub(super) struct Made {
    pub ending: Ending,
    teller: Teller,
}

/// Tells the test what became of its cut. If it is dropped before, the cut is never made.
struct Teller(Arc<State>);

/// What the test knows of its cut.
pub struct Planned(Arc<State>);

impl Plan {
    /// Whether this message is the one to cut at. It counts what matches.
    pub fn is_due(&mut self, kind: u8, payload: &[u8]) -> bool {
        if (self.cut.matches)(kind, payload) {
            self.cut.nth -= 1;
        }
        self.cut.nth == 0
    }

    pub fn begin(self) -> (Place, Made) {
        (self.cut.place, Made { ending: self.cut.ending, teller: self.teller })
    }
}

impl Made {
    /// Tells the test, before the client can notice.
    pub fn tell(&self) {
        self.teller.tell(true);
    }
}

impl Planned {
    /// Whether the cut was made. It is true before the client can notice.
    pub fn is_made(&self) -> bool {
        *self.0.made() == Some(true)
    }

    /// Blocks until the cut is made; `false` if it never will be: another was planned, or the connection ended.
    pub fn wait(&self) -> bool {
        let made = self.0.known.wait_while(self.0.made(), |made| made.is_none());
        made.unwrap_or_else(PoisonError::into_inner).expect("it is known")
    }
}

impl State {
    fn made(&self) -> MutexGuard<'_, Option<bool>> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Teller {
    fn tell(&self, made: bool) {
        self.0.made().get_or_insert(made);
        self.0.known.notify_all();
    }
}

impl Drop for Teller {
    fn drop(&mut self) {
        self.tell(false);
    }
}
