//! What a connection is doing: which tells whether it is idle, and whether its client reads its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use bytes::{Buf, Bytes};
use tokio::time::{self, Instant};

use super::limits::Timeouts;

/// How many turns a piece of an answer may wait for its client, with the one in which it was offered.
const TURNS: usize = 3;
/// A connection is looked at so often in its idle timeout.
const LOOKS: u32 = 8;

/// What one connection is doing. It is counted without order between threads: a look that is late is late once.
#[derive(Debug, Default)]
pub struct Activity {
    /// Calls that have begun, ever.
    begun: AtomicU32,
    /// Calls whose answers were not yet handed over whole.
    open: AtomicU32,
    /// Pieces of answers that are not yet written to the socket, by the turn in which they were handed over.
    unwritten: [AtomicU32; TURNS],
    turn: AtomicUsize,
}

/// Why a connection has to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// There was no call for the idle timeout.
    Idle,
    /// Its client has left an answer unread for more than two write timeouts.
    Unread,
}

impl Activity {
    pub fn begun(&self) -> u32 {
        self.begun.load(Ordering::Relaxed)
    }

    pub fn is_idle(&self) -> bool {
        self.open.load(Ordering::Relaxed) == 0
    }

    /// Waits until the connection has to end.
    pub async fn watch(&self, Timeouts { idle_timeout, write_timeout, .. }: Timeouts) -> Verdict {
        // Never so short that looking is all it does.
        let pause = (idle_timeout / LOOKS).min(write_timeout).max(Timeouts::LEAST);
        let (mut begun, mut idle_since, mut turned) = (self.begun(), Instant::now(), Instant::now());
        loop {
            time::sleep(pause).await;
            let now = Instant::now();
            if !self.is_idle() || self.begun() != begun {
                (begun, idle_since) = (self.begun(), now);
            }
            if now - idle_since >= idle_timeout {
                return Verdict::Idle;
            }
            if now - turned >= write_timeout {
                turned = now;
                if !self.turn() {
                    return Verdict::Unread;
                }
            }
        }
    }

    /// Begins the next turn; false if a piece is left of the one that it takes the place of.
    fn turn(&self) -> bool {
        let next = (self.turn.load(Ordering::Relaxed) + 1) % TURNS;
        self.turn.store(next, Ordering::Relaxed);
        self.unwritten[next].load(Ordering::Relaxed) == 0
    }
}

/// A call, from its request's head until its answer was handed over whole.
#[derive(Debug)]
pub struct Call(Arc<Activity>);

impl Call {
    pub fn begin(activity: &Arc<Activity>) -> Self {
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }

    /// A piece of the call's answer, which counts until it is written.
    pub fn piece(&self, bytes: Bytes) -> Piece {
        let turn = self.0.turn.load(Ordering::Relaxed);
        self.0.unwritten[turn].fetch_add(1, Ordering::Relaxed);
        Piece { bytes, activity: Arc::clone(&self.0), turn }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A piece of an answer. The HTTP library drops it when it is written, or its call given up.
#[derive(Debug)]
pub struct Piece {
    bytes: Bytes,
    activity: Arc<Activity>,
    turn: usize,
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.activity.unwritten[self.turn].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const TIMEOUTS: Timeouts =
        Timeouts { idle_timeout: Duration::from_secs(80), write_timeout: Duration::from_secs(30), ..Timeouts::DEFAULT };

    /// How long the connection is left alone, in seconds, and why it has to end.
    async fn verdict(activity: &Activity) -> (u64, Verdict) {
        let begun = Instant::now();
        let verdict = activity.watch(TIMEOUTS).await;
        (begun.elapsed().as_secs(), verdict)
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_without_calls_is_idle() {
        assert_eq!(verdict(&Activity::default()).await, (80, Verdict::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_an_open_call_is_not_idle_however_silent() {
        let activity = Arc::default();
        let call = Call::begin(&activity);
        let ends = time::timeout(Duration::from_secs(100_000), activity.watch(TIMEOUTS)).await;
        assert!(ends.is_err(), "{ends:?}");
        drop(call);
        assert_eq!(verdict(&activity).await, (80, Verdict::Idle));
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_between_two_looks_counts() {
        let activity = Arc::default();
        let calls = async {
            for _ in 0..100 {
                time::sleep(Duration::from_secs(47)).await;
                drop(Call::begin(&activity).piece(Bytes::from_static(b"answer")));
            }
        };
        tokio::select! {
            () = calls => (),
            verdict = activity.watch(TIMEOUTS) => panic!("{verdict:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_piece_that_is_never_written_ends_its_connection_whatever_else_happens() {
        let activity = Arc::default();
        let _piece = Call::begin(&activity).piece(Bytes::from_static(b"answer"));
        let calls = async {
            loop {
                time::sleep(Duration::from_secs(1)).await;
                drop(Call::begin(&activity).piece(Bytes::from_static(b"answer")));
            }
        };
        tokio::select! {
            () = calls => unreachable!(),
            (seconds, verdict) = verdict(&activity) => {
                assert_eq!(verdict, Verdict::Unread);
                assert!((60..=100).contains(&seconds), "{seconds}");
            }
        }
    }
}
