//! How posts are signed, so that the receiver knows who sent them.

use std::fs;

use anyhow::{Context as _, Result};
use standardwebhooks::Webhook;

use crate::cli::Usage;
use crate::config::{RelayArgs, Secret};

/// What a secret begins with.
const PREFIX: &str = "whsec_";
/// How many bytes a secret has, by the standard.
const SECRET_LEN: std::ops::RangeInclusive<usize> = 24..=64;

/// The secrets that posts are signed with. While one replaces another there are two, and both sign.
pub struct Secrets(Vec<Webhook>);

impl Secrets {
    /// The secrets of the variable `WALLET_RELAY_SECRET`, or of the file.
    ///
    /// # Errors
    /// If there is none, or one cannot be used. No secret is shown.
    pub fn read(args: &RelayArgs) -> Result<Self> {
        let variable = Secret::RelaySecret.variable();
        let (text, place) = match (&args.secret_file, Secret::RelaySecret.read().map_err(Usage)?) {
            (Some(_), Some(_)) => Err(Usage(format!("give --secret-file or {variable}, not both")))?,
            (None, None) => Err(Usage(format!("needs a secret to sign with, in {variable} or in --secret-file")))?,
            (None, Some(text)) => (text, variable.to_owned()),
            (Some(file), None) => {
                let shown = file.display().to_string();
                (fs::read_to_string(file).with_context(|| format!("cannot read the secret in {shown}"))?, shown)
            }
        };
        Ok(Self::parse(&text).map_err(|what| Usage(format!("{place} {what}")))?)
    }

    /// Reads secrets, separated by white space.
    fn parse(text: &str) -> Result<Self, &'static str> {
        let secrets: Option<Vec<Webhook>> = text.split_whitespace().map(parse_secret).collect();
        secrets
            .filter(|secrets| !secrets.is_empty())
            .map(Self)
            .ok_or("must hold whsec_ and the Base64 of 24 to 64 random bytes; or several of these, separated by spaces")
    }

    /// The value of `webhook-signature`: one signature for each secret.
    ///
    /// # Errors
    /// Never: the body is text.
    pub fn sign(&self, id: &str, timestamp: i64, body: &str) -> Result<String> {
        let signatures = self.0.iter().map(|secret| secret.sign(id, timestamp, body.as_bytes()));
        Ok(signatures.collect::<Result<Vec<_>, _>>()?.join(" "))
    }
}

fn parse_secret(text: &str) -> Option<Webhook> {
    let digits = text.strip_prefix(PREFIX)?;
    // Four digits of Base64 are three bytes.
    let len = digits.trim_end_matches('=').len() * 3 / 4;
    Webhook::new(text).ok().filter(|_| SECRET_LEN.contains(&len))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard.
    const SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
    const OTHER: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn sign(secrets: &str) -> String {
        let body = r#"{"email":"test@example.com","username":"test_user"}"#;
        let secrets = Secrets::parse(secrets).unwrap();
        secrets.sign("msg_27UH4WbU6Z5A5EzD8u03UvzRbpk", 1_649_367_553, body).unwrap()
    }

    #[test]
    fn the_example_of_the_standard_has_its_signature() {
        assert_eq!(sign(SECRET), "v1,tZ1I4/hDygAJgO5TYxiSd6Sd0kDW6hPenDe+bTa3Kkw=");
    }

    #[test]
    fn of_several_secrets_each_signs() {
        let both = format!("{} {}", sign(OTHER), sign(SECRET));
        assert_eq!(sign(&format!("{OTHER}\n {SECRET}\n")), both);
        assert_ne!(sign(OTHER), sign(SECRET));
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let with_len = |len: usize| format!("{PREFIX}{}", "AAAA".repeat(len / 3));
        assert!(Secrets::parse(&with_len(24)).is_ok() && Secrets::parse(&with_len(63)).is_ok());
        let no_prefix = &SECRET[PREFIX.len()..];
        for text in ["", " ", "whsec_", "whsec_not base64!", no_prefix, &with_len(21), &with_len(66)] {
            assert!(Secrets::parse(text).is_err(), "{text:?}");
        }
        assert!(Secrets::parse(&format!("{SECRET} x")).is_err());
    }
}
