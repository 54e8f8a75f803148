//! How the values of settings are read, where their type does not say it.

use std::ops::RangeInclusive;

use crate::ledger::Checkpoint;

/// The durations that a setting takes, in milliseconds: up to a day. None is a timeout of nothing, which would refuse
/// everything.
const MILLISECONDS: RangeInclusive<u128> = 1..=86_400_000;

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
pub(super) fn checkpoint(text: &str) -> Result<Checkpoint, String> {
    let text = text.trim();
    let text = text.strip_prefix("checkpoint:").map_or(text, str::trim_start);
    if !text.starts_with('{') {
        return text.parse().map_err(|error| format!("{error}"));
    }
    let answer: serde_json::Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let field = answer["Checkpoint"].as_str().ok_or("the JSON has no field `Checkpoint`")?;
    field.parse().map_err(|error| format!("{error}"))
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
            assert_eq!(checkpoint(&spelling).unwrap().to_string(), text, "{spelling}");
        }
        for wrong in ["", "7", "checkpoint:", "{", "{}", r#"{"Checkpoint":7}"#, r#"{"Checkpoint":"7"}"#] {
            assert!(checkpoint(wrong).is_err(), "{wrong}");
        }
    }
}
