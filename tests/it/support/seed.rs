//! Random numbers that a seed repeats.

use std::ops::Range;

/// Numbers that look random and follow from a seed alone, on every machine and in every version (`SplitMix64`).
#[derive(Clone, Debug)]
pub struct Seeded(u64);

impl Seeded {
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number of `range`.
    pub fn of(&mut self, range: Range<i64>) -> i64 {
        let width = range.end.abs_diff(range.start);
        range.start + i64::try_from(self.next() % width).expect("no wider than the range")
    }

    /// True so many times in a hundred.
    pub fn percent(&mut self, percent: i64) -> bool {
        self.of(0..100) < percent
    }
}

/// Seeds for a test: those of `count` runs, or the one in `WALLET_SEED`, to run a failure again.
pub fn seeds(count: u64) -> Range<u64> {
    let again = std::env::var("WALLET_SEED").ok().map(|seed| seed.parse().expect("WALLET_SEED is a number"));
    again.map_or(0..count, |seed: u64| seed..seed + 1)
}

/// How often to go round: `usual` times, or `torture` times with `WALLET_TORTURE` set, as `just torture` does.
pub fn rounds(usual: u64, torture: u64) -> u64 {
    if std::env::var_os("WALLET_TORTURE").is_some() { torture } else { usual }
}
