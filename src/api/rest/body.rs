//! Reads a request's body down to the exact text of each field.
//!
//! A field is kept as the text it was written with ([`RawValue`]), so that no number passes through a float and each
//! field's own rule decides what is wrong with it.

use axum::extract::{FromRef, FromRequest, FromRequestParts, Request};
use axum::http::HeaderValue;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use tokio::time;

use super::error::Failure;
use super::names::{self, ReadError};
use super::uri::NoQuery;
use super::{Amounts, RestOptions};
use crate::api::reason::{Problem, Reason};
use crate::ledger::{DecimalError, parse_decimal};

/// A whole request body whose media type is JSON.
pub struct JsonBody(Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBody
where
    RestOptions: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let size_max = RestOptions::from_ref(state).body_size_max;
        read(request, state, size_max).await.map(Self)
    }
}

/// The body of many commands, which may be larger than that of one.
pub struct BatchBody(pub JsonBody);

impl<S: Send + Sync> FromRequest<S> for BatchBody
where
    RestOptions: FromRef<S>,
{
    type Rejection = Failure;

    async fn from_request(request: Request, state: &S) -> Result<Self, Failure> {
        let size_max = RestOptions::from_ref(state).batch_size_max;
        Ok(Self(JsonBody(read(request, state, size_max).await?)))
    }
}

impl JsonBody {
    /// Reads the body as an object.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`] if it is no JSON, no object, names a field of `T` twice, or spells one in another
    /// case.
    pub fn parse<'a, T: Deserialize<'a>>(&'a self) -> Result<T, Problem> {
        object(std::str::from_utf8(&self.0).map_err(|_| not_json(BODY))?, BODY)
    }
}

/// What messages call a body.
const BODY: &str = "Request body";

fn not_json(what: &str) -> Problem {
    Problem::invalid(format!("{what} is not valid JSON"))
}

/// Reads a text as an object, which messages call `what`.
fn object<'a, T: Deserialize<'a>>(text: &'a str, what: &str) -> Result<T, Problem> {
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        let any: Result<&RawValue, _> = serde_json::from_str(text);
        let not_object = |_| Problem::invalid(format!("{what} must be a JSON object"));
        return Err(any.map_or_else(|_| not_json(what), not_object));
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let read = names::read_object(&mut json).map_err(|error| match error {
        ReadError::Name(problem) => problem,
        ReadError::Input(_) => not_json(what),
    })?;
    json.end().map_err(|_| not_json(what))?;
    Ok(read)
}

async fn read<S: Send + Sync>(request: Request, state: &S, size_max: usize) -> Result<Bytes, Failure>
where
    RestOptions: FromRef<S>,
{
    let (mut parts, body) = request.into_parts();
    let NoQuery = NoQuery::from_request_parts(&mut parts, state).await?;
    let headers = parts.headers;
    let mut media_types = headers.get_all(CONTENT_TYPE).iter();
    let is_json = media_types.next().is_some_and(is_json);
    // Whoever looks at the request on its way may go by the other.
    if media_types.next().is_some() {
        return Err(Problem::invalid("Content-Type is given more than once").into());
    }
    if !is_json {
        return Err(Problem::from(Reason::UnsupportedMediaType).into());
    }
    if !headers.get_all(CONTENT_ENCODING).iter().all(is_identity) {
        return Err(Failure::unsupported_coding());
    }
    // A body that declares a length over the limit is not read at all.
    if headers.get(CONTENT_LENGTH).is_some_and(|length| exceeds(length, size_max)) {
        return Err(Problem::from(Reason::PayloadTooLarge).into());
    }
    let collected = Limited::new(body, size_max).collect();
    match time::timeout(RestOptions::from_ref(state).body_timeout, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Problem::from(Reason::PayloadTooLarge).into()),
        Ok(Err(_)) => Err(Problem::invalid("Request body could not be read").into()),
        Err(_) => Err(Problem::from(Reason::RequestTimeout).into()),
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

/// Whether a header names no content coding but `identity`, which changes nothing (RFC 9110, section 8.4.1).
fn is_identity(codings: &HeaderValue) -> bool {
    let identity = |coding: &str| coding.trim().is_empty() || coding.trim().eq_ignore_ascii_case("identity");
    codings.to_str().is_ok_and(|codings| codings.split(',').all(identity))
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
        let id = parse_decimal(self.text(name)?, 0).ok().and_then(new);
        id.ok_or_else(|| Problem::invalid_id(name))
    }

    /// The amount that the field called `name` must hold, in minor units; it may be negative.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`], in a message that names the field.
    pub fn amount_minor(self, name: &str, amounts: Amounts) -> Result<i64, Problem> {
        amounts.parse_minor(self.text(name)?).map_err(|error| match error {
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

    /// The text that the field called `name` holds, if the request has it.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`], in a message that names the field.
    pub fn optional_text(self, name: &str) -> Result<Option<String>, Problem> {
        let not_string = |_| Problem::invalid(format!("{name} must be a string"));
        self.0.map(|raw| serde_json::from_str(raw.get()).map_err(not_string)).transpose()
    }

    /// The elements of the array that the field called `name` must hold.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`], in a message that names the field.
    pub fn elements(&self, name: &str) -> Result<Vec<Field<'_>>, Problem> {
        serde_json::from_str(self.text(name)?).map_err(|_| Problem::invalid(format!("{name} must be an array")))
    }

    /// The object that the field must hold, which a message calls `what`.
    ///
    /// # Errors
    /// [`Reason::InvalidRequest`] if it is no object, names a field of `T` twice, or spells one in another case.
    pub fn object<'a, T: Deserialize<'a>>(&'a self, what: &str) -> Result<T, Problem> {
        object(self.text(what)?, what)
    }

    /// Whether the request has the field at all.
    pub const fn is_given(self) -> bool {
        self.0.is_some()
    }

    fn text(&self, name: &str) -> Result<&str, Problem> {
        self.0.map(RawValue::get).ok_or_else(|| Problem::missing(name))
    }
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
        let amounts = Amounts { currency: "EUR".parse().unwrap(), legacy_floats: false };
        probe.amount.amount_minor("Amount", amounts).map_err(|problem| problem.message)
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
    fn a_field_is_spelled_as_it_is_documented() {
        for (text, name) in [
            (r#"{"userid":1}"#, "userid"),
            (r#"{"USERID":null,"UserId":1}"#, "USERID"),
            (r#"{"UserId":1,"userId":1}"#, "userId"),
            (r#"{"\u0075serId":1}"#, "userId"),
        ] {
            assert_eq!(message(text), format!("{name} must be spelled UserId"), "{text}");
        }
        for text in
            [r#"{"User_Id":1}"#, r#"{" UserId":1}"#, r#"{"":1}"#, r#"{"\u0000":1}"#, r#"{"Other":{"userid":1}}"#]
        {
            assert!(body(text).parse::<Probe<'_>>().is_ok(), "{text}");
        }
        // The first thing that is wrong is the one that is named, and what is no JSON is not looked at any further.
        assert_eq!(message(r#"{"userid":1"#), "userid must be spelled UserId");
        assert_eq!(message(r#"{"\ud800":1}"#), "Request body is not valid JSON");
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
    fn identity_is_no_coding() {
        for yes in ["identity", "Identity", "identity, IDENTITY", "", " , identity"] {
            assert!(is_identity(&HeaderValue::from_static(yes)), "{yes}");
        }
        for no in ["gzip", "identity, gzip", "gzip,identity", "identity;q=1", "identityx"] {
            assert!(!is_identity(&HeaderValue::from_static(no)), "{no}");
        }
        assert!(!is_identity(&HeaderValue::from_bytes(b"\xff").unwrap()));
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
