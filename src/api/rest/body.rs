//! Reads a request's body down to the exact text of each field.
//!
//! A field is kept as the text it was written with ([`RawValue`]), so that no number passes through a float and each
//! field's own rule decides what is wrong with it.

use axum::body::Body;
use axum::extract::{FromRef, FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time;

use super::RestOptions;
use super::error::Failure;
use crate::api::reason::{Problem, Reason};
use crate::ledger::{Currency, DecimalError, parse_decimal};

/// A whole request body whose media type is JSON.
pub struct JsonBody(Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody
where
    RestOptions: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        Ok(Self(read(&parts.headers, body, RestOptions::from_ref(state)).await?))
    }
}

impl JsonBody {
    /// Reads the body as an object.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`] if it is no JSON, no object, or names a field of `T` twice.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        let not_json = || Problem::invalid("Request body is not valid JSON");
        let text = std::str::from_utf8(&self.0).map_err(|_| not_json())?;
        // An array would be taken for the fields in order.
        if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            let any: Result<&RawValue, _> = serde_json::from_str(text);
            return Err(any.map_or_else(|_| not_json(), |_| Problem::invalid("Request body must be a JSON object")));
        }
        serde_json::from_str(text)
            .map_err(|error| if error.is_data() { duplicate(&error).unwrap_or_else(not_json) } else { not_json() })
    }
}

/// The problem of a field that is given twice, from what serde says about it.
pub fn duplicate(error: &impl ToString) -> Option<Problem> {
    let text = error.to_string();
    let (_, rest) = text.split_once("duplicate field `")?;
    let (name, _) = rest.split_once('`')?;
    Some(Problem::invalid(format!("{name} is given more than once")))
}

async fn read(headers: &HeaderMap, body: Body, options: RestOptions) -> Result<Bytes, Problem> {
    if !headers.get(CONTENT_TYPE).is_some_and(is_json) {
        return Err(Reason::UnsupportedMediaType.into());
    }
    if headers.get(CONTENT_ENCODING).is_some_and(|encoding| encoding != "identity") {
        let message = "Content-Encoding is not supported".to_owned();
        return Err(Problem { message, ..Reason::UnsupportedMediaType.into() });
    }
    // A body that declares a length over the limit is not read at all.
    if headers.get(CONTENT_LENGTH).is_some_and(|length| exceeds(length, options.body_size_max)) {
        return Err(Reason::PayloadTooLarge.into());
    }
    let collected = Limited::new(body, options.body_size_max).collect();
    match time::timeout(options.body_timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Reason::PayloadTooLarge.into()),
        Ok(Err(_)) => Err(Problem::invalid("Request body could not be read")),
        Err(_) => Err(Reason::RequestTimeout.into()),
    }
}

fn exceeds(length: &HeaderValue, max: usize) -> bool {
    let length = length.to_str().ok().and_then(|text| text.parse::<u64>().ok());
    length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > max))
}

/// Whether a media type is `application/json` or `application/…+json` (RFC 6839), whatever its parameters.
fn is_json(content_type: &HeaderValue) -> bool {
    let essence = content_type.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let Some((main, subtype)) = essence.split_once('/') else { return false };
    let suffix = subtype.rsplit_once('+').map(|(name, suffix)| if name.is_empty() { "" } else { suffix });
    main.eq_ignore_ascii_case("application") && suffix.unwrap_or(subtype).eq_ignore_ascii_case("json")
}

/// A field of a request: the text it was written with, `null` included, or nothing if it was not given.
#[derive(Clone, Copy, Debug, Default)]
pub struct Field<'a>(Option<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Field<'a> {
    /// Not through `Option`, which would take `null` for a field that was not given.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(Some(raw)))
    }
}

impl Field<'_> {
    /// The id that the field called `name` must hold.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`], in a message that names the field.
    pub fn id<T>(self, name: &str, new: fn(i64) -> Option<T>) -> Result<T, Problem> {
        parse_id(self.text(name)?, name, new)
    }

    /// The amount that the field called `name` must hold, in minor units; it may be negative.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`], in a message that names the field.
    pub fn amount_minor(self, name: &str, currency: Currency) -> Result<i64, Problem> {
        currency.parse_minor(self.text(name)?).map_err(|error| match error {
            DecimalError::NotANumber => Problem::invalid(format!("{name} must be a number")),
            DecimalError::TooFine(_) | DecimalError::OutOfRange => Problem::invalid(format!("{name} {error}")),
        })
    }

    /// The id that the field called `name` holds, if the request has it.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`], in a message that names the field.
    pub fn optional_id<T>(self, name: &str, new: fn(i64) -> Option<T>) -> Result<Option<T>, Problem> {
        if self.is_given() { self.id(name, new).map(Some) } else { Ok(None) }
    }

    /// Whether the request has the field at all.
    pub const fn is_given(self) -> bool {
        self.0.is_some()
    }

    fn text(&self, name: &str) -> Result<&str, Problem> {
        self.0.map(RawValue::get).ok_or_else(|| Problem::missing(name))
    }
}

/// The id that is written as `text`, in a body or elsewhere.
///
/// # Errors
/// [`Reason::InvalidRequest`], in a message that names the id.
pub fn parse_id<T>(text: &str, name: &str, new: fn(i64) -> Option<T>) -> Result<T, Problem> {
    let id = parse_decimal(text, 0).ok().and_then(new);
    id.ok_or_else(|| Problem::invalid_id(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::UserId;

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Probe<'a> {
        #[serde(borrow, default)]
        user_id: Field<'a>,
        #[serde(borrow, default)]
        amount: Field<'a>,
    }

    fn body(text: impl Into<Vec<u8>>) -> JsonBody {
        JsonBody(Bytes::from(text.into()))
    }

    /// The message that a body is refused with.
    fn message(text: impl Into<Vec<u8>>) -> String {
        body(text).parse::<Probe<'_>>().unwrap_err().message
    }

    fn user(value: &str) -> Result<i64, String> {
        let body = body(format!(r#"{{"UserId":{value}}}"#));
        let probe: Probe<'_> = body.parse().unwrap();
        probe.user_id.id("UserId", UserId::new).map(UserId::get).map_err(|problem| problem.message)
    }

    fn amount(value: &str) -> Result<i64, String> {
        let body = body(format!(r#"{{"Amount":{value}}}"#));
        let probe: Probe<'_> = body.parse().unwrap();
        probe.amount.amount_minor("Amount", "EUR".parse().unwrap()).map_err(|problem| problem.message)
    }

    #[test]
    fn an_amount_is_the_exact_text_of_a_json_number() {
        for (text, minor) in [("1", 100), ("1.10000000000", 110), ("10e-1", 100), ("-0.0", 0), ("-5.5", -550)] {
            assert_eq!(amount(text), Ok(minor), "{text}");
        }
        for text in [r#""1.00""#, "null", "true", "[1]", "{}"] {
            assert_eq!(amount(text), Err("Amount must be a number".to_owned()), "{text}");
        }
        for text in ["1.005", "1e-99999999"] {
            assert_eq!(amount(text), Err("Amount has more than 2 decimals".to_owned()), "{text}");
        }
        assert_eq!(amount("1e400"), Err("Amount is out of range".to_owned()));
    }

    #[test]
    fn an_id_is_a_whole_number_whatever_its_spelling() {
        for (text, id) in [("0", 0), ("1e2", 100), ("100.0", 100), ("9223372036854775807", i64::MAX)] {
            assert_eq!(user(text), Ok(id), "{text}");
        }
        for text in ["9223372036854775808", "-1", "1.5", r#""1""#, "null", "true", "[]", "1e99999999999"] {
            let message = "UserId must be a whole number from 0 to 9223372036854775807";
            assert_eq!(user(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn a_field_may_be_missing_or_unknown_but_not_twice() {
        let empty = body("{}");
        let probe: Probe<'_> = empty.parse().unwrap();
        assert!(!probe.user_id.is_given());
        let missing = probe.user_id.id("UserId", UserId::new).unwrap_err();
        assert_eq!(missing.message, "UserId is missing from the request");
        assert!(body(r#"{"Other":{"UserId":[1]},"UserId":1}"#).parse::<Probe<'_>>().is_ok());
        assert_eq!(message(r#"{"UserId":1,"UserId":1}"#), "UserId is given more than once");
        assert_eq!(message(r#"{"Amount":1,"UserId":1,"User\u0049d":1}"#), "UserId is given more than once");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["[]", "[1,2,3]", "null", "1", r#""{}""#, " \t\r\n[{}]"] {
            assert_eq!(message(text), "Request body must be a JSON object", "{text}");
        }
        let bad = ["", " ", "{", "}", "{}{}", "{]", "nul", r#"{"UserId":01}"#, r#"{"UserId":1,}"#, "\u{feff}{}"];
        for text in bad {
            assert_eq!(message(text), "Request body is not valid JSON", "{text}");
        }
        assert_eq!(message(b"{\"a\":\"\xff\"}".as_slice()), "Request body is not valid JSON");
    }

    #[test]
    fn nesting_as_deep_as_a_body_can_be_costs_no_stack() {
        let deep = format!(r#"{{"UserId":1,"Other":{}{}}}"#, "[".repeat(30_000), "]".repeat(30_000));
        assert!(body(deep).parse::<Probe<'_>>().is_ok());
        assert_eq!(message("[".repeat(60_000)), "Request body is not valid JSON");
    }

    #[test]
    fn json_is_known_by_its_media_type() {
        for yes in ["application/json", "Application/JSON; charset=utf-8", "application/problem+json"] {
            assert!(is_json(&HeaderValue::from_static(yes)), "{yes}");
        }
        for no in ["", "text/json", "application/jsonx", "application/+json", "application/x-www-form-urlencoded"] {
            assert!(!is_json(&HeaderValue::from_static(no)), "{no}");
        }
    }
}
