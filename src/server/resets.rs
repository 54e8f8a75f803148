//! Limits how many calls an HTTP/2 client may cancel.

use tokio::time::Instant;

use super::limits::{PREFACE, RESETS_BURST_MAX, STREAMS_MAX};

/// Counts the calls that a client resets, in the frames that it sends (RFC 9113, section 4.1).
///
/// To open calls and reset them at once costs the client nothing and the server a call each ("rapid reset",
/// CVE-2023-44487). But honest clients reset calls as well, and all together: when a deadline passes, or a lobby ends.
/// So there may be a burst of two times the calls that may be open, and then as many a second as may be open.
///
/// The h2 crate's own limit does not tell the two apart: it counts resets that come in one read, however long the
/// client was quiet before, and those of a flood that pauses between reads not at all.
pub struct Resets {
    /// Bytes to come that are no frame's head: of the preface, or of a frame's payload.
    skip: usize,
    head: [u8; HEAD_SIZE],
    /// How much of the next frame's head has come.
    head_length: usize,
    /// How many may come now, and since when that counts.
    tokens: u32,
    since: Option<Instant>,
}

const HEAD_SIZE: usize = 9;
const RST_STREAM: u8 = 3;
const PER_SECOND: u32 = STREAMS_MAX;

impl Default for Resets {
    fn default() -> Self {
        Self { skip: PREFACE.len(), head: [0; HEAD_SIZE], head_length: 0, tokens: RESETS_BURST_MAX, since: None }
    }
}

impl Resets {
    /// Looks at what a client sent; false if it has cancelled too many calls.
    pub fn admit(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let skipped = self.skip.min(bytes.len());
            self.skip -= skipped;
            bytes = &bytes[skipped..];
            let part = (HEAD_SIZE - self.head_length).min(bytes.len());
            self.head[self.head_length..self.head_length + part].copy_from_slice(&bytes[..part]);
            self.head_length += part;
            bytes = &bytes[part..];
            if self.head_length == HEAD_SIZE {
                let [high, middle, low, kind, ..] = self.head;
                self.head_length = 0;
                self.skip = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                if kind == RST_STREAM && !self.take() {
                    return false;
                }
            }
        }
        true
    }

    fn take(&mut self) -> bool {
        let now = Instant::now();
        let since = *self.since.get_or_insert(now);
        let more = (now - since).as_millis() * u128::from(PER_SECOND) / 1_000;
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(u32::MAX);
            (self.tokens, self.since) = (self.tokens.saturating_add(more).min(RESETS_BURST_MAX), Some(now));
        }
        self.tokens.checked_sub(1).map(|rest| self.tokens = rest).is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time;

    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, 0, 0, 0, 0, 1], payload].concat()
    }

    /// So many calls that are opened and reset, with a payload that looks like resets itself.
    fn calls(count: u32) -> Vec<u8> {
        let call = [frame(1, &frame(RST_STREAM, &[0; 4]).repeat(9)), frame(RST_STREAM, &[0; 4])].concat();
        call.repeat(usize::try_from(count).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_and_one_more_does_not_however_it_is_cut() {
        let burst = [&PREFACE[..], &calls(RESETS_BURST_MAX)].concat();
        for piece in [1, 7, 9, 4_096, burst.len()] {
            let mut resets = Resets::default();
            assert!(burst.chunks(piece).all(|bytes| resets.admit(bytes)), "{piece}");
            assert!(!resets.admit(&calls(1)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_may_be_repeated_after_a_pause_and_a_flood_may_not() {
        let mut resets = Resets::default();
        assert!(resets.admit(PREFACE));
        for _ in 0..100 {
            assert!(resets.admit(&calls(RESETS_BURST_MAX)));
            time::sleep(Duration::from_secs(2)).await;
        }
        // Twice as many a second as may be, a few at a time.
        let mut seconds = 0;
        while resets.admit(&calls(PER_SECOND / 5)) {
            time::sleep(Duration::from_millis(100)).await;
            seconds += 1;
        }
        assert!((10..30).contains(&seconds), "{seconds} tenths");
    }
}
