//! The tokens file: who may call, in TOML, for people to read and for `wallet token` to change.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use thiserror::Error;
use toml_edit::{ArrayOfTables, Datetime, DocumentMut, Item, Table as TomlTable, value};

use super::table::Issued;
use super::{Grant, Scope, Status, Table, Token, TokenHash, TokenId};
use crate::ledger::{Caller, Timestamp};

/// What a new file begins with.
const HEADER: &str = "\
# Who may call the wallet. `wallet token new|list|revoke` changes the tokens. Of each token, this file has the SHA-256.
#
# A client certificate is named by one of its DNS names or URIs; only if it has none, by its common name:
#
#   [[certificate]]
#   subject = \"engine-b.example\"
#   name = \"engine-b\"               # what entries and logs call this caller
#   scope = \"engine\"                # engine, operator or auditor
";

/// Why a tokens file cannot be used.
#[derive(Debug, Error)]
pub enum TokenError {
    #[error("cannot read the tokens file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the tokens file {} is not valid: {why}", path.display())]
    Invalid { path: PathBuf, why: String },
}

/// A tokens file, as it was read.
#[derive(Clone, Debug)]
pub struct TokensFile {
    path: PathBuf,
    document: DocumentMut,
    form: Form,
}

/// What the file must look like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Form {
    #[serde(default, rename = "token")]
    tokens: Vec<TokenForm>,
    #[serde(default, rename = "certificate")]
    certificates: Vec<CertificateForm>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenForm {
    name: String,
    scope: Scope,
    sha256: TokenHash,
    created: Datetime,
    expires: Option<Datetime>,
    revoked: Option<Datetime>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CertificateForm {
    subject: String,
    name: String,
    scope: Scope,
}

/// A token, as it is listed.
#[derive(Clone, Debug)]
pub struct Listed {
    pub caller: Caller,
    pub scope: Scope,
    pub id: TokenId,
    pub created: Timestamp,
    pub expires: Option<Timestamp>,
    pub revoked: Option<Timestamp>,
}

impl Listed {
    /// Whether the token is taken at a moment.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> Status {
        Status::of(self.revoked.is_some(), self.expires, now)
    }
}

impl TokensFile {
    /// Reads and checks the file.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        match fs::read_to_string(path) {
            Ok(text) => Self::parse(path, &text),
            Err(source) => Err(TokenError::Read { path: path.to_owned(), source }),
        }
    }

    /// Reads and checks the file; one that is missing has no tokens.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn read_or_new(path: &Path) -> Result<Self, TokenError> {
        match Self::read(path) {
            Err(TokenError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => Self::parse(path, HEADER),
            read => read,
        }
    }

    /// Checks the text of the file at `path`.
    ///
    /// # Errors
    /// [`TokenError::Invalid`].
    pub fn parse(path: &Path, text: &str) -> Result<Self, TokenError> {
        let invalid = |why: String| TokenError::Invalid { path: path.to_owned(), why };
        let document = text.parse::<DocumentMut>();
        let document = document.map_err(|error| invalid(describe(text, error.message(), error.span())))?;
        let form = toml_edit::de::from_str(text);
        let form: Form = form.map_err(|error| invalid(describe(text, error.message(), error.span())))?;
        // Only so can a token be added and revoked without touching what stands around it.
        if document.get("token").is_some_and(|item| !item.is_array_of_tables()) {
            return Err(invalid("each token must stand below a [[token]] of its own".to_owned()));
        }
        let file = Self { path: path.to_owned(), document, form };
        file.table()?;
        Ok(file)
    }

    /// The file's text.
    #[must_use]
    pub fn text(&self) -> String {
        self.document.to_string()
    }

    fn invalid(&self, why: String) -> TokenError {
        TokenError::Invalid { path: self.path.clone(), why }
    }

    /// Those who may call.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if a name or a time is none, or two rows contradict each other.
    pub fn table(&self) -> Result<Table, TokenError> {
        let invalid = |why| self.invalid(why);
        let mut scopes: BTreeMap<Caller, Scope> = BTreeMap::new();
        let mut issued: Vec<Issued> = Vec::new();
        for (listed, form) in self.tokens().map_err(invalid)?.into_iter().zip(&self.form.tokens) {
            grant(&mut scopes, &listed.caller, listed.scope).map_err(invalid)?;
            if issued.iter().any(|other| other.hash.matches(&form.sha256)) {
                return Err(invalid(format!("the token {} of {} is there twice", listed.id, listed.caller)));
            }
            let grant = Arc::new(Grant { caller: listed.caller, scope: Some(listed.scope) });
            let is_revoked = listed.revoked.is_some();
            issued.push(Issued { hash: form.sha256, grant, expires: listed.expires, is_revoked });
        }
        let mut certificates = HashMap::new();
        for CertificateForm { subject, name, scope } in &self.form.certificates {
            let caller = caller(name).map_err(invalid)?;
            grant(&mut scopes, &caller, *scope).map_err(invalid)?;
            let entitled = Arc::new(Grant { caller, scope: Some(*scope) });
            if subject.is_empty() || certificates.insert(subject.clone(), entitled).is_some() {
                return Err(invalid(format!("the subject `{subject}` is empty, or there twice")));
            }
        }
        Ok(Table::new(issued.into_iter(), certificates))
    }

    /// Every token there is, in the order of the file.
    ///
    /// # Panics
    /// Never: the file was checked when it was read.
    #[must_use]
    pub fn list(&self) -> Vec<Listed> {
        self.tokens().expect("it was checked when it was read")
    }

    fn tokens(&self) -> Result<Vec<Listed>, String> {
        let listed = |form: &TokenForm| {
            Ok(Listed {
                caller: caller(&form.name)?,
                scope: form.scope,
                id: form.sha256.id(),
                created: timestamp(&form.created)?,
                expires: form.expires.as_ref().map(timestamp).transpose()?,
                revoked: form.revoked.as_ref().map(timestamp).transpose()?,
            })
        };
        self.form.tokens.iter().map(listed).collect()
    }

    /// The same file with one more token.
    ///
    /// # Errors
    /// [`TokenError::Invalid`] if the name belongs to a caller of another scope.
    ///
    /// # Panics
    /// Never: the file was checked when it was read.
    pub fn with_token(
        &self,
        caller: &Caller,
        scope: Scope,
        hash: TokenHash,
        created: Timestamp,
        expires: Option<Timestamp>,
    ) -> Result<Self, TokenError> {
        let mut row = TomlTable::new();
        row["name"] = value(caller.to_string());
        row["scope"] = value(scope.name());
        row["sha256"] = value(String::from(hash));
        row["created"] = value(datetime(created));
        if let Some(expires) = expires {
            row["expires"] = value(datetime(expires));
        }
        let mut document = self.document.clone();
        // Comments at the end of the file stay before what is added.
        let before = document.trailing().as_str().unwrap_or_default().to_owned();
        document.set_trailing("");
        row.decor_mut().set_prefix(before + "\n");
        let rows = document.entry("token").or_insert(Item::ArrayOfTables(ArrayOfTables::new()));
        rows.as_array_of_tables_mut().expect("it was checked when it was read").push(row);
        Self::parse(&self.path, &document.to_string())
    }

    /// The same file, in which the tokens of a caller that are valid now are revoked: all, or the one with this id. And
    /// how many those are.
    ///
    /// # Errors
    /// [`TokenError`]; not expected.
    pub fn without(&self, caller: &Caller, id: Option<TokenId>, now: Timestamp) -> Result<(Self, usize), TokenError> {
        let mut document = self.document.clone();
        let mut count = 0;
        if let Some(rows) = document.get_mut("token").and_then(Item::as_array_of_tables_mut) {
            for (row, listed) in rows.iter_mut().zip(self.list()) {
                let is_meant = listed.caller == *caller && id.is_none_or(|id| id == listed.id);
                if is_meant && listed.status(now) == Status::Valid {
                    row["revoked"] = value(datetime(now));
                    count += 1;
                }
            }
        }
        Ok((Self::parse(&self.path, &document.to_string())?, count))
    }
}

/// What is wrong with a text, and in which line. The line itself is not shown: somebody may have put a token there.
fn describe(text: &str, message: &str, span: Option<Range<usize>>) -> String {
    let line = span.and_then(|span| text.get(..span.start)).map_or(1, |before| before.matches('\n').count() + 1);
    let message = if message.contains(Token::PREFIX) { "a token is no value here" } else { message };
    format!("line {line}: {message}")
}

/// A name has one scope: what the log says of a caller must have one meaning.
fn grant(scopes: &mut BTreeMap<Caller, Scope>, caller: &Caller, scope: Scope) -> Result<(), String> {
    let known = *scopes.entry(caller.clone()).or_insert(scope);
    if known == scope {
        return Ok(());
    }
    Err(format!("{caller} has the scope {} already, and cannot have {} as well", known.name(), scope.name()))
}

fn caller(name: &str) -> Result<Caller, String> {
    Caller::new(name).ok_or_else(|| "a name has 1 to 64 characters, no control characters".to_owned())
}

fn timestamp(datetime: &Datetime) -> Result<Timestamp, String> {
    let text = datetime.to_string();
    text.parse().map_err(|_| format!("{text} is no time with an offset, such as 2026-01-02T03:04:05Z"))
}

/// To the second: nobody needs more.
fn datetime(timestamp: Timestamp) -> Datetime {
    let whole = timestamp.microseconds() - timestamp.microseconds().rem_euclid(1_000_000);
    let text = Timestamp::from_microseconds(whole).to_string().replace(".000000Z", "Z");
    text.parse().expect("RFC 3339 is what TOML has")
}

#[cfg(test)]
mod tests {
    use super::super::Denied;
    use super::*;

    const NOW: Timestamp = Timestamp::from_microseconds(1_767_323_045_000_006);

    fn later(seconds: i64) -> Timestamp {
        Timestamp::from_microseconds(NOW.microseconds() + seconds * 1_000_000)
    }

    fn name(text: &str) -> Caller {
        Caller::new(text).unwrap()
    }

    fn new() -> TokensFile {
        TokensFile::parse(Path::new("tokens.toml"), HEADER).unwrap()
    }

    fn why(text: &str) -> String {
        match TokensFile::parse(Path::new("tokens.toml"), text) {
            Err(TokenError::Invalid { why, .. }) => why,
            other => panic!("{text} is {other:?}"),
        }
    }

    #[test]
    fn several_tokens_of_a_caller_are_valid_until_they_expire_or_are_revoked() {
        let (first, second) = (Token::generate().unwrap(), Token::generate().unwrap());
        let engine = name("engine-a");
        let file = new().with_token(&engine, Scope::Engine, first.hash(), NOW, None).unwrap();
        let file = file.with_token(&engine, Scope::Engine, second.hash(), NOW, Some(later(60))).unwrap();
        assert!(file.text().starts_with(HEADER), "what an operator wrote stays");
        let taken = |file: &TokensFile, token: &Token, now| file.table().unwrap().token(&token.hash(), now);
        for token in [&first, &second] {
            let grant = taken(&file, token, NOW).unwrap();
            assert_eq!((grant.caller.clone(), grant.scope), (engine.clone(), Some(Scope::Engine)));
        }
        let id = second.hash().id();
        assert_eq!(taken(&file, &second, later(60)), Err(Denied::Expired { caller: engine.clone(), id }));
        let (file, count) = file.without(&engine, Some(id), later(1)).unwrap();
        assert_eq!(count, 1);
        assert_eq!(taken(&file, &second, later(2)), Err(Denied::Revoked { caller: engine.clone(), id }));
        assert!(taken(&file, &first, later(2)).is_ok());
        let (file, count) = file.without(&engine, None, later(3)).unwrap();
        assert_eq!((count, file.table().unwrap().count(later(3))), (1, (0, 0)));
        assert_eq!(file.without(&engine, None, later(4)).unwrap().1, 0);
        let statuses: Vec<Status> = file.list().iter().map(|listed| listed.status(later(4))).collect();
        assert_eq!(statuses, [Status::Revoked; 2]);
    }

    #[test]
    fn a_certificate_is_known_by_any_of_its_names() {
        let text = "[[certificate]]\nsubject = \"spiffe://example/engine\"\nname = \"e\"\nscope = \"engine\"\n";
        let table = TokensFile::parse(Path::new("t"), text).unwrap().table().unwrap();
        let names = |names: &[&str]| table.certificate(&names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>());
        assert_eq!(names(&["other", "spiffe://example/engine"]).unwrap().caller, name("e"));
        assert_eq!(names(&["e"]), Err(Denied::UnknownCertificate));
        assert_eq!(names(&[]), Err(Denied::UnknownCertificate));
    }

    #[test]
    fn what_is_wrong_is_told_without_the_token_that_somebody_put_there() {
        let token = Token::generate().unwrap();
        let secret = token.reveal();
        for text in [
            format!("[[token]]\nname = \"a\"\nscope = \"{secret}\"\n"),
            format!("[[token]]\nname = \"a\"\nsha256 = \"{secret}\"\n"),
            format!("[[token]]\n{secret} = 1\n"),
            format!("[[token]]\nname = {secret}\n"),
            format!("{secret}\n"),
        ] {
            let why = why(&text);
            assert!(!why.contains(&secret[10..20]) && why.starts_with("line "), "{why}");
        }
    }

    #[test]
    fn a_file_that_is_wrong_says_where() {
        assert!(why("token = 1").contains("expected a sequence"), "{}", why("token = 1"));
        let row = |more: &str| {
            let hash = "ab".repeat(32);
            let created = "2026-01-02T03:04:05Z";
            format!("[[token]]\nname = \"a\"\nscope = \"engine\"\nsha256 = \"{hash}\"\ncreated = {created}\n{more}")
        };
        assert!(TokensFile::parse(Path::new("t"), &row("")).is_ok());
        for (text, expected) in [
            (row("expire = 2026-01-02T03:04:05Z"), "unknown field `expire`"),
            (row("expires = 2026-01-02"), "2026-01-02 is no time with an offset"),
            (row("").replace("engine", "root"), "unknown variant `root`"),
            (row("").replace("\"a\"", "\"\""), "a name has 1 to 64 characters"),
            (row("").replace("abab", "xx"), "a hash has 64 hexadecimal digits"),
            (row("") + &row(""), "is there twice"),
            (row("") + &row("").replace("ab", "cd").replace("engine", "auditor"), "a has the scope engine already"),
            (
                "[[certificate]]\nsubject = \"\"\nname = \"a\"\nscope = \"engine\"".to_owned(),
                "is empty, or there twice",
            ),
            (row("[[tokens]]"), "unknown field `tokens`"),
            ("token = []".to_owned(), "must stand below a [[token]] of its own"),
        ] {
            assert!(why(&text).contains(expected), "{}", why(&text));
        }
    }
}
