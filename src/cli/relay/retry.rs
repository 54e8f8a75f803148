//! How long to wait before something is tried again, and what the log says of it.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// The shortest wait.
const DELAY_MIN: Duration = Duration::from_millis(200);

/// What is tried for ever: it is logged when it begins to fail and when it succeeds again, and not at each attempt.
pub struct Retry {
    peer: &'static str,
    delays: ExponentialBuilder,
    state: State,
}

enum State {
    /// Nothing was tried yet.
    New,
    Good,
    Failing {
        since: Instant,
        attempts: u64,
        delays: ExponentialBackoff,
    },
}

impl Retry {
    /// Nothing was tried yet of what `peer` does. Two attempts are at most `delay_max` apart.
    pub fn new(peer: &'static str, delay_max: Duration) -> Self {
        // The jitter adds up to as much again: relays that failed together do not come back together.
        let delay_max = delay_max / 2;
        let delays = ExponentialBuilder::new()
            .with_min_delay(DELAY_MIN.min(delay_max))
            .with_max_delay(delay_max)
            .without_max_times()
            .with_jitter();
        Self { peer, delays, state: State::New }
    }

    /// Takes note of a success.
    pub fn succeeded(&mut self) {
        let peer = self.peer;
        match std::mem::replace(&mut self.state, State::Good) {
            State::New => tracing::info!(peer, "working"),
            State::Good => (),
            State::Failing { since, attempts, .. } => {
                let failed_for_ms = u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(peer, failed_for_ms, attempts, "working again");
            }
        }
    }

    /// Takes note of a failure. Returns how long to wait before the next attempt.
    pub fn failed(&mut self, cause: &str) -> Duration {
        let peer = self.peer;
        match &mut self.state {
            State::New | State::Good => {
                tracing::warn!(peer, cause, "failing; trying again until it succeeds");
                let mut delays = self.delays.build();
                let wait = delays.next();
                self.state = State::Failing { since: Instant::now(), attempts: 1, delays };
                wait.unwrap_or(DELAY_MIN)
            }
            State::Failing { attempts, delays, .. } => {
                *attempts += 1;
                tracing::debug!(peer, cause, attempts, "still failing");
                delays.next().unwrap_or(DELAY_MIN)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_the_longest_and_begin_anew_after_a_success() {
        let longest = Duration::from_secs(60);
        let mut retry = Retry::new("receiver", longest);
        let waits: Vec<Duration> = (0..100).map(|_| retry.failed("it is down")).collect();
        assert!(waits[0] >= DELAY_MIN && waits[0] <= 2 * DELAY_MIN, "{waits:?}");
        assert!(waits[10..].iter().all(|wait| (longest / 2..=longest).contains(wait)), "{waits:?}");
        assert!(waits[10..].windows(2).any(|pair| pair[0] != pair[1]), "without jitter: {waits:?}");
        retry.succeeded();
        assert!(retry.failed("it is down") <= 2 * DELAY_MIN);
    }

    #[test]
    fn the_longest_wait_may_be_shorter_than_the_usual_shortest() {
        let mut retry = Retry::new("receiver", Duration::from_millis(10));
        assert!((0..100).all(|_| retry.failed("it is down") <= Duration::from_millis(10)));
    }
}
