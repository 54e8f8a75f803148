//! A limit on the failed attempts of each address.

use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};

use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use crate::ledger::Caller;

/// Failed attempts that an address has at once.
const BURST: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Failed attempts that it gets back in a second.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(1).unwrap();
/// The same for a caller that is known, and asks for what it may not do. It has its own: whoever else is at its address
/// must not hide what it does.
const CALLER_BURST: NonZeroU32 = NonZeroU32::new(100).unwrap();
const CALLER_PER_SECOND: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// After so many failed attempts, addresses that have all of theirs back are forgotten.
const SWEEP_INTERVAL: u64 = 1_024;

/// Whether a failed attempt is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// It is within the limit.
    Within,
    /// It is not: nothing is said but that.
    TooMany,
}

/// Attempts that were refused, by the label `reason`.
pub type RefusedByReason = Family<[(&'static str, &'static str); 1], Counter>;

/// The failed attempts of each address. Attempts that succeed are neither counted nor limited: who has a valid token is
/// not shut out by others behind the same address.
pub struct Attempts {
    limiter: DefaultKeyedRateLimiter<IpAddr>,
    callers: DefaultKeyedRateLimiter<Caller>,
    failed: AtomicU64,
    refused: RefusedByReason,
}

impl Default for Attempts {
    fn default() -> Self {
        let addresses = Quota::per_second(PER_SECOND).allow_burst(BURST);
        let callers = Quota::per_second(CALLER_PER_SECOND).allow_burst(CALLER_BURST);
        let (limiter, callers) = (RateLimiter::keyed(addresses), RateLimiter::keyed(callers));
        Self { limiter, callers, failed: AtomicU64::new(0), refused: Family::default() }
    }
}

impl Attempts {
    /// Counts a failed attempt from an address.
    pub fn fail(&self, addr: IpAddr) -> Attempt {
        let failed = self.failed.fetch_add(1, Ordering::Relaxed);
        if failed % SWEEP_INTERVAL == SWEEP_INTERVAL - 1 {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(&network(addr)) {
            Ok(()) => Attempt::Within,
            Err(_) => Attempt::TooMany,
        }
    }

    /// Counts an attempt of a caller that is known, at what it may not do.
    pub fn forbid(&self, caller: &Caller) -> Attempt {
        match self.callers.check_key(caller) {
            Ok(()) => Attempt::Within,
            Err(_) => Attempt::TooMany,
        }
    }

    /// The counter of attempts that were refused for the reason of this name. It is a metric from now on.
    #[must_use]
    pub fn refused(&self, reason: &'static str) -> Counter {
        self.refused.get_or_create_owned(&[("reason", reason)])
    }

    /// All these counters. A clone goes on with them.
    #[must_use]
    pub fn refused_by_reason(&self) -> RefusedByReason {
        self.refused.clone()
    }
}

/// What is limited together: an IPv4 address, or the 64 bits of an IPv6 address that one customer is given.
fn network(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V4(addr) => addr.into(),
        IpAddr::V6(addr) => Ipv6Addr::from_bits(addr.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_ten_failed_attempts_at_once_and_others_have_theirs() {
        let attempts = Attempts::default();
        for _ in 0..10 {
            assert_eq!(attempts.fail(addr("192.0.2.1")), Attempt::Within);
        }
        assert_eq!(attempts.fail(addr("192.0.2.1")), Attempt::TooMany);
        assert_eq!(attempts.fail(addr("::ffff:192.0.2.1")), Attempt::TooMany, "it is the same address");
        assert_eq!(attempts.fail(addr("192.0.2.2")), Attempt::Within);
    }

    #[test]
    fn a_caller_that_is_known_has_its_own_whoever_is_at_its_address() {
        let (attempts, caller) = (Attempts::default(), Caller::new("engine-a").unwrap());
        for _ in 0..20 {
            attempts.fail(addr("192.0.2.1"));
        }
        assert_eq!((0..100).filter(|_| attempts.forbid(&caller) == Attempt::Within).count(), 100);
        assert_eq!(attempts.forbid(&Caller::new("engine-b").unwrap()), Attempt::Within);
    }

    #[test]
    fn one_customers_ipv6_addresses_are_one() {
        assert_eq!(network(addr("2001:db8:1:2:3:4:5:6")), network(addr("2001:db8:1:2::1")));
        assert_ne!(network(addr("2001:db8:1:2::1")), network(addr("2001:db8:1:3::1")));
    }

    #[test]
    fn addresses_that_made_no_attempt_for_long_are_forgotten() {
        let attempts = Attempts::default();
        for number in 0..SWEEP_INTERVAL - 1 {
            attempts.fail(IpAddr::V4(u32::try_from(number).unwrap().into()));
        }
        assert_eq!(attempts.limiter.len(), usize::try_from(SWEEP_INTERVAL - 1).unwrap());
    }
}
