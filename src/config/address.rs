//! An address to listen on, or to ask: a host and a port.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

/// The longest host name that DNS has.
const NAME_LEN_MAX: usize = 253;
/// The longest part of a host name between two points.
const LABEL_LEN_MAX: usize = 63;

/// An IP address or a host name, and a port. A name is looked up when it is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    Ip(SocketAddr),
    /// `NAME:PORT`.
    Name(String),
}

impl Address {
    /// The same, or the loopback address if it means every interface: that is where a client on this machine asks.
    #[must_use]
    pub fn reachable(self) -> Self {
        match self {
            Self::Ip(SocketAddr::V4(addr)) if addr.ip().is_unspecified() => {
                Self::Ip((Ipv4Addr::LOCALHOST, addr.port()).into())
            }
            Self::Ip(SocketAddr::V6(addr)) if addr.ip().is_unspecified() => {
                Self::Ip((Ipv6Addr::LOCALHOST, addr.port()).into())
            }
            address => address,
        }
    }
}

impl From<SocketAddr> for Address {
    fn from(addr: SocketAddr) -> Self {
        Self::Ip(addr)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(addr) => addr.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

impl FromStr for Address {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(addr) = text.parse() {
            return Ok(Self::Ip(addr));
        }
        let (host, port) = text.rsplit_once(':').ok_or("needs a host and a port, such as localhost:5000")?;
        if !port.bytes().all(|byte| byte.is_ascii_digit()) || port.parse::<u16>().is_err() {
            return Err("the port must be a number from 0 to 65535");
        }
        if host.contains(':') {
            return Err("an IPv6 address stands in brackets, such as [::1]:5000");
        }
        if is_host_name(host) { Ok(Self::Name(text.to_owned())) } else { Err("the host is no IP address and no name") }
    }
}

/// Whether a text can be a host's name. One that ends in a number is an IP address that was misspelt.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=LABEL_LEN_MAX).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= NAME_LEN_MAX && text.split('.').all(is_label) && !last.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_shown_as_it_was_given() {
        for text in ["127.0.0.1:5000", "[::1]:0", "localhost:5000", "wallet-1.internal.example:65535", "my_host:1"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        let label = "a".repeat(64);
        for host in ["", "1.2.3", "300.1.1.1", "a..b", "two words", "a/b", "http://a", "user@a", "::1", "[::1", &label]
        {
            assert!(format!("{host}:5000").parse::<Address>().is_err(), "{host}");
        }
        for text in ["localhost", "5000", ":5000", "a:", "a:65536", "a:-1", "a:+1", "a:x", "127.0.0.1:70000", ""] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn every_interface_is_reached_on_the_loopback_one() {
        for (given, reached) in [
            ("0.0.0.0:8080", "127.0.0.1:8080"),
            ("[::]:8080", "[::1]:8080"),
            ("10.0.0.7:1", "10.0.0.7:1"),
            ("localhost:1", "localhost:1"),
        ] {
            assert_eq!(given.parse::<Address>().unwrap().reachable().to_string(), reached);
        }
    }
}
