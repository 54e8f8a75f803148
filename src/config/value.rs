//! How the values of settings are read, where their type does not say it.

use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use axum::http::Uri;
use axum::http::uri::Scheme;
use ipnet::IpNet;

use super::address::is_host_name;
use crate::ledger::{Caller, Checkpoints, Kind, Shards, UserId};

/// The durations that a setting takes, in milliseconds: up to a day. None is a timeout of nothing, which would refuse
/// everything.
const MILLISECONDS: RangeInclusive<u128> = 1..=86_400_000;

/// How long a token may be valid.
const LIFETIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

/// Reads a duration: `5s`, `500ms`, `1m 30s`, or milliseconds without a unit.
pub(super) fn milliseconds(text: &str) -> Result<u64, String> {
    const FORM: &str = "needs a duration, such as 5s, 500ms, or 5000 for milliseconds";
    let milliseconds = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        text.parse().unwrap_or(u128::MAX)
    } else {
        let duration = humantime::parse_duration(text).map_err(|_| FORM.to_owned())?;
        if duration.subsec_nanos() % 1_000_000 != 0 {
            return Err("needs whole milliseconds".to_owned());
        }
        duration.as_millis()
    };
    if !MILLISECONDS.contains(&milliseconds) {
        return Err("needs at least 1 ms and at most a day".to_owned());
    }
    u64::try_from(milliseconds).map_err(|error| error.to_string())
}

/// Reads a checkpoint: its text, the line that `wallet verify` prints, or the JSON that the API answers.
pub(super) fn checkpoints(text: &str) -> Result<Checkpoints, String> {
    let text = text.trim();
    let text = text.strip_prefix("checkpoint:").map_or(text, str::trim_start);
    if !text.starts_with('{') {
        return text.parse().map_err(|error| format!("{error}"));
    }
    let answer: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let field = answer["Checkpoint"].as_str().ok_or("the JSON has no field `Checkpoint`")?;
    field.parse().map_err(|error| format!("{error}"))
}

/// Reads a number of shards.
pub(super) fn shards(text: &str) -> Result<Shards, String> {
    let shards = text.parse().ok().and_then(Shards::new);
    shards.ok_or_else(|| format!("needs a whole number from 1 to {}", Shards::MAX))
}

/// Reads a user's id.
pub(super) fn user_id(text: &str) -> Result<UserId, String> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let id = text.parse().ok().filter(|_| is_number).and_then(UserId::new);
    id.ok_or_else(|| format!("needs a whole number from 0 to {}", i64::MAX))
}

/// Reads a host's name, which has no port and is no address.
pub(super) fn host_name(text: &str) -> Result<String, &'static str> {
    if is_host_name(text) {
        Ok(text.to_owned())
    } else {
        Err("needs the name of a host without a port, such as wallet.example.com")
    }
}

/// Reads the kind of an entry, by its name.
pub(super) fn kind(text: &str) -> Result<Kind, String> {
    Kind::from_name(text).ok_or_else(|| format!("needs one of {}", Kind::names()))
}

/// Reads the name of a caller.
pub(super) fn caller(text: &str) -> Result<Caller, String> {
    let is_trimmed = text == text.trim();
    let caller = Caller::new(text).filter(|_| is_trimmed);
    caller.ok_or_else(|| "needs 1 to 64 characters, no control characters, no space at either end".to_owned())
}

/// Reads for how long a token is valid, in microseconds.
pub(super) fn lifetime(text: &str) -> Result<i64, String> {
    let duration = humantime::parse_duration(text).map_err(|_| "needs a duration, such as 90d or 12h".to_owned())?;
    if duration < Duration::from_secs(1) || duration > LIFETIME_MAX {
        return Err("needs at least a second and at most 100 years".to_owned());
    }
    i64::try_from(duration.as_micros()).map_err(|error| error.to_string())
}

/// Reads an address or a network of proxies.
pub(super) fn network(text: &str) -> Result<IpNet, String> {
    let text = text.trim();
    let addr = || text.parse::<IpAddr>().map(IpNet::from);
    let network = text
        .parse::<IpNet>()
        .or_else(|_| addr())
        .map_err(|_| "needs an address, such as 10.0.0.2, or a network, such as 10.0.0.0/24".to_owned())?;
    Ok(network.trunc())
}

/// Reads the URL of a service: what is behind its host would mean nothing to gRPC.
pub(super) fn server_url(text: &str) -> Result<Uri, String> {
    let url = target_url(text)?;
    let is_bare = url.path_and_query().is_none_or(|path| path.as_str() == "/");
    if is_bare { Ok(url) } else { Err("must end after the host and the port".to_owned()) }
}

/// Reads the URL of whom a command connects to.
pub(super) fn target_url(text: &str) -> Result<Uri, String> {
    const FORM: &str = "needs a URL, such as https://example.com/wallet";
    let url: Uri = text.parse().map_err(|_| FORM.to_owned())?;
    let is_web = url.scheme().is_some_and(|scheme| *scheme == Scheme::HTTPS || *scheme == Scheme::HTTP);
    let authority = url.authority().filter(|_| is_web).ok_or_else(|| FORM.to_owned())?;
    if authority.as_str().contains('@') {
        return Err("a user and a password must not stand in the URL".to_owned());
    }
    if authority.host().is_empty() { Err(FORM.to_owned()) } else { Ok(url) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_a_unit_or_is_in_milliseconds() {
        for (text, expected) in [
            ("5000", 5_000),
            ("1", 1),
            ("5s", 5_000),
            ("500ms", 500),
            ("2m", 120_000),
            ("1m 30s", 90_000),
            ("24h", 86_400_000),
        ] {
            assert_eq!(milliseconds(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in ["", "0", "0s", "-1", "5 parsecs", "500us", "1500us", "25h", "99999999999999999999999"] {
            assert!(milliseconds(text).is_err(), "{text}");
        }
        assert!(milliseconds(&"9".repeat(60)).is_err());
    }

    #[test]
    fn a_checkpoint_is_taken_as_it_was_printed_or_answered() {
        let text = format!("7:{}", "ab".repeat(32));
        for spelling in [
            text.clone(),
            format!("checkpoint: {text}\n"),
            format!(r#"{{"success":true,"Checkpoint":"{text}","CommitId":7}}"#),
        ] {
            assert_eq!(checkpoints(&spelling).unwrap().to_string(), text, "{spelling}");
        }
        for wrong in ["", "7", "checkpoint:", "{", "{}", r#"{"Checkpoint":7}"#, r#"{"Checkpoint":"7"}"#] {
            assert!(checkpoints(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_and_a_kind_are_read_as_the_api_writes_them() {
        assert_eq!(user_id("123123").map(UserId::get), Ok(123_123));
        for text in ["", "-1", "x", "9223372036854775808"] {
            assert!(user_id(text).is_err(), "{text}");
        }
        for expected in Kind::ALL {
            assert_eq!(kind(expected.name()), Ok(expected));
        }
        assert!(kind("Charge").unwrap_err().contains("open, charge, win"));
    }

    #[test]
    fn a_token_is_valid_for_a_second_or_longer() {
        assert_eq!(lifetime("90d"), Ok(90 * 86_400_000_000));
        assert_eq!(lifetime("1h 30m"), Ok(5_400_000_000));
        for text in ["", "90", "0s", "999ms", "-1d", "101 years", "never"] {
            assert!(lifetime(text).is_err(), "{text}");
        }
    }

    #[test]
    fn proxies_are_addresses_and_networks() {
        for (text, expected) in [("10.0.0.2", "10.0.0.2/32"), ("10.1.2.3/8", "10.0.0.0/8"), (" ::1", "::1/128")] {
            assert_eq!(network(text).unwrap().to_string(), expected);
        }
        for text in ["", "proxy", "10.0.0.0/33", "10.0.0.2:80"] {
            assert!(network(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_name_is_nothing_but_a_name() {
        for text in ["wallet.example.com", "Wallet", "xn--bcher-kva.example"] {
            assert_eq!(host_name(text), Ok(text.to_owned()));
        }
        for text in
            ["", " ", "wallet:5000", "http://wallet", ".example.com", "*.example.com", "wallet.", "10.0.0.7", "[::1]"]
        {
            assert!(host_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_url_is_one_of_the_web_without_a_password() {
        for text in ["https://example.com/wallet?a=b", "http://127.0.0.1:80/", "https://[::1]", "HTTPS://EXAMPLE.COM"] {
            assert!(target_url(text).is_ok(), "{text}");
        }
        for text in ["", "example.com", "/wallet", "ftp://example.com", "https://user:secret@example.com", "https:///x"]
        {
            assert!(target_url(text).is_err(), "{text}");
        }
        assert!(server_url("https://example.com/").is_ok() && server_url("http://example.com:50051").is_ok());
        assert!(server_url("https://example.com/wallet").is_err() && server_url("https://example.com/?a").is_err());
    }
}
