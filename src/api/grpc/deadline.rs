//! A call's deadline, from its `grpc-timeout`.

use std::time::Duration;

use tokio::time::Instant;
use tonic::metadata::MetadataMap;

use crate::api::reason::Problem;

/// When the call must end; `None` if its caller sets no limit.
///
/// # Errors
/// [`Reason::InvalidRequest`](crate::api::reason::Reason::InvalidRequest) if the timeout cannot be read. Ignored,
/// it could let a command be done that its caller has given up.
pub fn of(metadata: &MetadataMap) -> Result<Option<Instant>, Problem> {
    let Some(value) = metadata.get("grpc-timeout") else { return Ok(None) };
    let timeout = value.to_str().ok().and_then(parse);
    let timeout = timeout.ok_or_else(|| Problem::invalid("grpc-timeout is not a time-out such as 100m or 5S"))?;
    // A deadline that is too far away to be represented is none.
    Ok(Instant::now().checked_add(timeout))
}

/// Reads at most eight digits and a unit: the time-out of the "gRPC over HTTP2" specification.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if !(1..=8).contains(&digits.len()) || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(count * 60 * 60)),
        "M" => Some(Duration::from_secs(count * 60)),
        "S" => Some(Duration::from_secs(count)),
        "m" => Some(Duration::from_millis(count)),
        "u" => Some(Duration::from_micros(count)),
        "n" => Some(Duration::from_nanos(count)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_of_the_specification_is_read() {
        for (text, duration) in [
            ("1H", Duration::from_secs(3_600)),
            ("2M", Duration::from_secs(120)),
            ("99999999S", Duration::from_secs(99_999_999)),
            ("100m", Duration::from_millis(100)),
            ("0u", Duration::ZERO),
            ("7n", Duration::from_nanos(7)),
        ] {
            assert_eq!(parse(text), Some(duration), "{text}");
        }
    }

    #[test]
    fn what_is_no_timeout_is_not_read() {
        for text in ["", "S", "5", "5s", "-1S", "+1S", "1.5S", "123456789S", " 1S", "1 S"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_timeout_that_is_none_is_a_bad_request() {
        let mut metadata = MetadataMap::new();
        assert_eq!(of(&metadata), Ok(None));
        metadata.insert("grpc-timeout", "soon".parse().unwrap());
        assert!(of(&metadata).is_err());
        metadata.insert("grpc-timeout", "10S".parse().unwrap());
        assert!(of(&metadata).unwrap().is_some());
    }
}
